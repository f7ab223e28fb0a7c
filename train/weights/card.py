"""What an export says of itself: config.json as timm reads it, and a model card."""

import json
from typing import Any

import yaml

from ...model.libraries import TIMM, is_by_name, load_settings
from ...pipeline.augment.spec import ResizeCenterCrop, build_eval_spec
from ..config import to_plain
from ..run import read_metrics
from ..versions import describe_versions
from .trained import Trained

_METHODS = {
    "simsiam": 'SimSiam (Chen and He, "Exploring Simple Siamese Representation Learning", CVPR '
    "2021, arXiv 2011.10566)",
    "simsiam_variant": "SimSiam with its parts exchanged (Chen and He, CVPR 2021)",
    "simclr": "SimCLR (Chen et al., ICML 2020, arXiv 2002.05709)",
    "byol": "BYOL (Grill et al., NeurIPS 2020, arXiv 2006.07733)",
    "moco": "MoCo v2 (Chen et al., 2020, arXiv 2003.04297)",
    "swav": "SwAV (Caron et al., NeurIPS 2020, arXiv 2006.09882)",
}

_MEASURED = (
    ("knn", "knn", "knn_percent"),
    ("accuracy", "accuracy", "accuracy_percent"),
    ("loss", "train", "loss"),
    ("z_std", "train", "z_std"),
)
"""Figure, kind of record, and what it is called in an export."""

_CARD = """\
---
library_name: {library}
pipeline_tag: image-feature-extraction
tags:
- image-feature-extraction
- self-supervised-learning
- simsiam
{tag}---

# {backbone}, pre-trained without labels

A backbone without a classifier: {num_features} pooled features of a picture of {size} px.

## How to load it

```python
{usage}
```

## Metrics

{metrics}

## How it was trained

{origin}

Made by {versions}.
"""


def is_torchvisions(backbone: str) -> bool:
    """Whether torchvision, timm and Detectron2 have this network under the same name."""
    return not (backbone.startswith("cifar_") or is_by_name(backbone))


def is_timms(backbone: str) -> bool:
    """Whether timm builds this network from a folder for the hub."""
    return is_torchvisions(backbone) or backbone.startswith(TIMM)


def describe_for_hub(trained: Trained, *, num_features: int) -> bytes:
    """config.json: as timm reads it, where it has the network; with what we read ourselves."""
    config = trained.config
    spec = build_eval_spec(config.augment)
    crop, normalize = spec.crop, spec.normalize
    assert isinstance(crop, ResizeCenterCrop)
    name = config.model.backbone
    known: dict[str, Any] = {"pool_size": [7, 7], "first_conv": "conv1", "classifier": "fc"}
    more: dict[str, Any] = {"global_pool": "avg"}
    if name.startswith(TIMM):  # which pools its networks as it built them
        known, arguments = load_settings(name)
        more = {"model_args": arguments} if arguments else {}
    content: dict[str, Any] = {
        "architecture": name.removeprefix(TIMM),
        "num_classes": 0,
        "num_features": num_features,
        **more,
        "pretrained_cfg": {
            "tag": config.model.method,
            "input_size": [3, crop.size, crop.size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": crop.size / crop.resize,
            "crop_mode": "center",
            "mean": list(normalize.mean),
            "std": list(normalize.std),
            "num_classes": 0,
            **known,
        },
        "swiftsiam": {**_recipe(trained), "metrics": find_metrics(trained)},
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def write_card(trained: Trained, *, num_features: int) -> bytes:
    """README.md, as the Hugging Face hub shows it."""
    config = trained.config
    backbone = config.model.backbone
    if is_timms(backbone):
        library = "timm"
        usage = (
            'import timm\n\nmodel = timm.create_model("local-dir:FOLDER", pretrained=True)'
            '  # or "hf-hub:USER/NAME"'
        )
    else:
        library = "swiftsiam"
        usage = 'from swiftsiam import load_encoder\n\nnetwork, transform = load_encoder("FOLDER")'
    metrics = find_metrics(trained)
    lines = [f"- {name}: {value}" for name, value in metrics.items()]
    versions = ", ".join(f"{name} {text}" for name, text in describe_versions().items() if text)
    text = _CARD.format(
        library=library,
        tag="- timm\n" if library == "timm" else "",
        backbone=backbone,
        num_features=num_features,
        size=config.augment.size,
        usage=usage,
        metrics="\n".join(lines) or "None were measured by what made this export.",
        origin=_describe_origin(trained),
        versions=versions,
    )
    return text.encode()


def find_metrics(trained: Trained) -> dict[str, float]:
    """Of these weights, as far as the run has measured them: the last at or before their step."""
    metrics: dict[str, float] = {}
    if trained.run is None:
        return metrics
    step = trained.state["step"]
    records = [r for r in read_metrics(trained.run) if r["step"] <= step]
    for name, kind, title in _MEASURED:
        values = [r[name] for r in records if r["type"] == kind and name in r]
        if values:
            metrics[title] = values[-1]
    return metrics


def _describe_origin(trained: Trained) -> str:
    state = trained.state
    if "imported" in state:
        told = state["imported"]
        epoch = "" if told["epoch"] is None else f", epoch {told['epoch']}"
        return f"By another trainer ({told['trainer']}{epoch}); its recipe is not known."
    if trained.run is None:
        return "By another trainer; its recipe is not known."
    method = trained.config.model.method
    count = f"{state['listing']['count']:,} " if "listing" in state else ""
    name = _METHODS.get(method, method)
    if any(part.startswith("head.") for part in state["model"]):
        name = "`swiftsiam linear`, on a backbone that was pre-trained before"
    recipe = yaml.safe_dump(_recipe(trained), sort_keys=False)
    return (
        f"By {name}: {state['step']:,} steps of swiftsiam on {count}pictures, with this "
        f"configuration:\n\n```yaml\n{recipe}```"
    )


def _recipe(trained: Trained) -> dict[str, Any]:
    """The sections of the configuration that are known of the weights."""
    shown = ("augment", "model")
    if trained.step is not None:
        shown = (*shown, "optim", "train", "eval")
    return {name: keys for name, keys in to_plain(trained.config).items() if name in shown}
