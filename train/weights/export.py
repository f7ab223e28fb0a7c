"""Writers of the layouts that other tools load."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from ...model.backbones import build_backbone
from ...model.libraries import TIMM, TORCHVISION, examine, is_by_name
from ...pipeline.errors import UserError
from ...pipeline.files import check_output, write_atomically
from . import momentum
from .card import describe_for_hub, is_torchvisions, write_card
from .layouts import Weights, to_detectron2, to_reference
from .trained import CONFIG, WEIGHTS, Trained


class Layout(NamedTuple):
    """A row of the table."""

    what: str
    """In words, for `--help`."""
    write: Callable[[Trained, Path], None]
    usage: str
    """How it is loaded; {out}, and {name} and {settings} of the network."""


def export(trained: Trained, layout: str, out: Path) -> str:
    """Write weights as another tool loads them; every bit stays.

    Args:
        trained: what to write.
        layout: of `LAYOUTS`.
        out: a file, or a folder for `huggingface`.

    Returns:
        How to load it, as code.

    Raises:
        UserError: the tool has no such network, a part is missing, or the place cannot be written.
        OSError: the disk.
    """
    name = trained.config.model.backbone
    _refuse_others(trained, layout)
    LAYOUTS[layout].write(trained, out)
    usage = LAYOUTS[layout].usage
    if is_by_name(name):
        library, _, own = name.partition("/")
        usage = _USAGE_BY_NAME.get((library, layout), usage)
        settings = "".join(f", {key}={value}" for key, value in examine(name).arguments.items())
        return usage.format(out=out, name=own, settings=settings)
    if not is_torchvisions(name):
        usage = _OWN_USAGE if layout == "huggingface" else _SMALL_STEM + usage
        name = name.removeprefix("cifar_")
    return usage.format(out=out, name=name, settings="")


_OWN_USAGE = 'network, transform = swiftsiam.load_encoder("{out}")'

_USAGE_BY_NAME = {
    ("torchvision", "torchvision"): 'model = torchvision.models.get_model("{name}"); '
    'model.load_state_dict(torch.load("{out}"), strict=False)  # misses the classifier alone',
    ("torchvision", "huggingface"): _OWN_USAGE,
}
"""Where it is another than that of a ResNet, by library and layout."""

_SMALL_STEM = (
    "# a 3x3 stem without max-pool: first "
    "model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False); "
    "model.maxpool = torch.nn.Identity()\n"
)


def _write_plain(trained: Trained, out: Path) -> None:
    if not is_by_name(trained.config.model.backbone):
        _require(trained, "torchvision and timm have", small_too=True)
    _save(_contiguous(trained.backbone), out)


def _write_detectron2(trained: Trained, out: Path) -> None:
    _require(trained, "Detectron2 has")
    content = {
        "model": to_detectron2(_contiguous(trained.backbone)),
        "__author__": "swiftsiam",
        "matching_heuristics": True,
    }
    write_atomically(check_output(out, field="OUT"), pickle.dumps(content))


def _write_huggingface(trained: Trained, out: Path) -> None:
    weights = _contiguous(trained.backbone)
    with torch.device("meta"):
        _, num_features = build_backbone(trained.config.model.backbone)
    _make_folder(out)
    write_atomically(out / WEIGHTS, safetensors.torch.save(weights, {"format": "pt"}))
    write_atomically(out / CONFIG, describe_for_hub(trained, num_features=num_features))
    write_atomically(out / "README.md", write_card(trained, num_features=num_features))


def _write_reference(trained: Trained, out: Path) -> None:
    state = trained.state
    model = state.get("model", {})
    if trained.config.model.method != "simsiam":
        raise UserError(
            f"{trained.path}: was trained by {trained.config.model.method}, and the reference has "
            "SimSiam's parts alone; choose another --to"
        )
    if not any(name.startswith("predictor.") for name in model):
        raise UserError(
            f"{trained.path}: holds a backbone alone, and the reference's layout has projector and "
            "predictor as well; choose another --to"
        )
    imported = state.get("imported")
    if imported:
        epoch, arch = imported["epoch"], imported["arch"]
    else:
        done = state["step"] + state.get("offset", 0)
        epoch, arch = done // state["steps_per_epoch"], trained.config.model.backbone
    content: dict[str, Any] = {
        "epoch": epoch,
        "arch": arch,
        "state_dict": to_reference(_contiguous(model)),
    }
    if state.get("optimizer"):
        content["optimizer"] = momentum.to_reference(state["optimizer"], model)
    _save(content, out)


LAYOUTS = {
    "torchvision": Layout(
        "the state of torchvision's network, without fc",
        _write_plain,
        "model = torchvision.models.{name}(); "
        'model.load_state_dict(torch.load("{out}"), strict=False)  # misses fc alone',
    ),
    "timm": Layout(
        "the state of timm's network, without its classifier",
        _write_plain,
        'model = timm.create_model("{name}", num_classes=0{settings}, checkpoint_path="{out}")',
    ),
    "huggingface": Layout(
        "a folder for the hub: safetensors, config.json as timm reads it, model card",
        _write_huggingface,
        'model = timm.create_model("local-dir:{out}", pretrained=True)',
    ),
    "detectron2": Layout(
        "a pickle as Detectron2's checkpointer reads it",
        _write_detectron2,
        "MODEL.WEIGHTS: {out}  # MODEL.RESNETS.STRIDE_IN_1X1: False, INPUT.FORMAT: RGB",
    ),
    "reference": Layout(
        "the SimSiam reference's own checkpoint, with heads and momentum",
        _write_reference,
        "python main_lincls.py --pretrained {out} …, or main_simsiam.py --resume {out}",
    ),
}
"""By name, as `--to` has it."""


def _refuse_others(trained: Trained, layout: str) -> None:
    """A network of a library goes to that library, and to the hub."""
    name = trained.config.model.backbone
    if not is_by_name(name):
        return
    own = "timm" if name.startswith(TIMM) else TORCHVISION.removesuffix("/")
    if layout not in (own, "huggingface"):
        raise UserError(
            f"--to {layout}: has no layout for model.backbone={name} of {trained.path}, which is "
            f"{own}'s; choose --to {own} or --to huggingface"
        )


def _require(trained: Trained, who: str, *, small_too: bool = False) -> None:
    name = trained.config.model.backbone
    if not (is_torchvisions(name) or (small_too and name == "cifar_resnet18")):
        raise UserError(
            f"{trained.path}: {who} no network like {name}; choose --to huggingface, which "
            "swiftsiam.load_encoder reads, or --to reference"
        )


def _contiguous(weights: Weights) -> Weights:
    """In the plain order in memory, which all readers know; each in memory of its own."""
    return {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in weights.items()}


def _save(content: dict[str, Any], out: Path) -> None:
    """By torch; weights alone also as safetensors, where the name says so."""
    check_output(out, field="OUT")
    if out.suffix == ".safetensors":
        if "state_dict" in content:
            raise UserError(f"OUT={out}: safetensors hold weights alone; name a .pth.tar")
        write_atomically(out, safetensors.torch.save(content, {"format": "pt"}))
        return
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(out, buffer.getvalue())


def _make_folder(out: Path) -> None:
    """OUT as a folder that is empty, or holds an earlier export."""
    try:
        out.mkdir(exist_ok=True)
        names = {path.name for path in out.iterdir()}
    except FileNotFoundError:
        raise UserError(f"OUT={out}: its folder does not exist; make it first") from None
    except OSError as error:
        raise UserError(f"OUT={out}: cannot be made a folder ({error.strerror})") from error
    if not names <= {WEIGHTS, CONFIG, "README.md"}:
        raise UserError(f"OUT={out}: holds other files; name a folder that is new")
    check_output(out / CONFIG, field="OUT")
