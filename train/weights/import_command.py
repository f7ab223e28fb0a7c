"""`swiftsiam import`: another trainer's checkpoint as a run folder, to evaluate and to export."""

import json
from pathlib import Path
from typing import Any

from ...pipeline.arguments import Parser, user_path
from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ..checkpoint import is_checkpoint, save_checkpoint
from ..config import to_yaml
from ..run import CONFIG, IMPORTED, RunFolder, is_unbegun
from ..versions import describe_version
from . import momentum
from .foreign import Foreign, read_foreign
from .layouts import Found, Weights
from .recognise import check_heads, has_heads, recognise_model
from .trained import guess_config


def main(argv: list[str]) -> int:
    """Write the run folder and say what is in it; 0 when done."""
    parser = Parser(
        prog="swiftsiam import",
        description="A checkpoint of the SimSiam reference, of MoCo, BYOL or others, or plain "
        "weights of a ResNet, as a run folder: for knn, linear, export and load_encoder.",
    )
    parser.add_argument(
        "file", metavar="FILE", type=user_path, help="as torch or safetensors has saved it"
    )
    parser.add_argument("out", metavar="OUT", type=user_path, help="the folder to make")
    args = parser.parse_args(argv)
    if not args.file.is_file():
        raise UserError(f"FILE={args.file}: not a file; give another trainer's checkpoint")
    if is_checkpoint(args.file):
        raise UserError(f"FILE={args.file}: is a checkpoint of swiftsiam; it is usable as it is")
    foreign = read_foreign(args.file)
    state = build_state(foreign, args.file)
    _write(args.out, state, _describe_config(foreign, args.file))
    print(f"{args.file} -> {args.out}: {_describe(state)}")
    return 0


def build_state(foreign: Foreign, path: Path) -> dict[str, Any]:
    """A checkpoint as ours are, without what only a run of ours has.

    Raises:
        UserError: its network is unknown, or its heads do not fit what they look like.
    """
    found, content = foreign
    config = recognise_model(found, path)
    model: Weights = {f"backbone.{name}": tensor for name, tensor in found.backbone.items()}
    if has_heads(found):
        check_heads(found, config, path)
        model |= {f"projector.{name}": tensor for name, tensor in found.projector.items()}
        model |= {f"predictor.{name}": tensor for name, tensor in found.predictor.items()}
    epoch, arch = content.get("epoch"), content.get("arch")
    state: dict[str, Any] = {
        "step": 0,
        "model": model,
        "backbone": config.backbone,
        "imported": {
            "trainer": found.trainer,
            "epoch": epoch if isinstance(epoch, int) else None,
            "arch": arch if isinstance(arch, str) else config.backbone,
        },
    }
    optimizer = content.get("optimizer")
    if has_heads(found) and isinstance(optimizer, dict):
        state["optimizer"] = momentum.from_reference(optimizer, model)
    return state


def _describe_config(foreign: Foreign, path: Path) -> bytes:
    found: Found = foreign.found
    config = guess_config(recognise_model(found, path), found.backbone)
    head = (
        f"# Imported by {describe_version()}. These weights tell their network, and its stem\n"
        "# the kind of pictures; all else is the default, and not what they were trained with.\n"
    )
    return f"{head}{to_yaml(config)}".encode()


def _write(out: Path, state: dict[str, Any], config: bytes) -> None:
    if out.exists() and not is_unbegun(out):
        raise UserError(f"OUT={out}: exists already; name a folder that is new")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"OUT={out}: cannot be made ({error.strerror})") from error
    run = RunFolder(out)
    try:
        with run.writing("the imported checkpoint"):
            told = json.dumps(state["imported"], indent=2).encode() + b"\n"
            write_atomically(out / IMPORTED, told)
            save_checkpoint(run.checkpoints, state, step=0, keep=1)
            write_atomically(out / CONFIG, config)
    finally:
        run.close()


def _describe(state: dict[str, Any]) -> str:
    told = state["imported"]
    parts = [f"{told['trainer']}, {state['backbone']}"]
    if told["epoch"] is not None:
        parts.append(f"epoch {told['epoch']}")
    names = ("backbone", "projector", "predictor")
    parts += [part for part in names if any(n.startswith(f"{part}.") for n in state["model"])]
    if state.get("optimizer"):
        parts.append("momentum")
    return ", ".join(parts)
