"""The optimiser's state of our checkpoints and of the reference's: the same momentum, counted in
other ways.

Ours leaves out the projector's frozen bias, and has the predictor in a group of its own. The
reference counts each parameter, and has two groups with `--fix-pred-lr`, else one.
"""

from typing import Any

import torch

from .layouts import Weights, list_parameters

_OURS = ("params", "decays", "scale")


def from_reference(state: dict[str, Any], model: Weights) -> dict[str, Any] | None:
    """The reference's → ours; None: it does not fit the parameters.

    Args:
        state: `optimizer` of a checkpoint.
        model: the weights, by our names.
    """
    names = list_parameters(model)
    groups = state.get("param_groups", [])
    numbers = [number for group in groups for number in group["params"]]
    if numbers != list(range(len(names))) or len(groups) not in (1, 2):
        return None
    trained, place = _trained(names), {}
    for number, name in enumerate(names):
        if name in trained:
            place[number] = trained.index(name)
    ours = []
    num_encoder = len([name for name in trained if not name.startswith("predictor.")])
    for part, group in zip(("encoder", "predictor"), (groups * 2)[:2], strict=True):
        options = {k: v for k, v in group.items() if k not in ("params", "fix_lr")}
        first, last = (0, num_encoder) if part == "encoder" else (num_encoder, len(trained))
        decays = not group.get("fix_lr", False)
        ours.append(options | {"decays": decays, "params": list(range(first, last))})
    moved = {place[n]: entry for n, entry in state["state"].items() if n in place}
    return {"state": moved, "param_groups": ours}


def to_reference(state: dict[str, Any], model: Weights) -> dict[str, Any]:
    """Ours → the reference's: what its `--resume` loads."""
    names = list_parameters(model)
    place = {number: names.index(name) for number, name in enumerate(_trained(names))}
    groups = []
    for group in state["param_groups"]:
        options = {k: _plain(v) for k, v in group.items() if k not in _OURS}
        groups.append(options | {"fix_lr": not group["decays"]})
    num_encoder = len([name for name in names if not name.startswith("predictor.")])
    groups[0]["params"] = list(range(num_encoder))
    groups[1]["params"] = list(range(num_encoder, len(names)))
    if not groups[1]["fix_lr"]:  # then the reference makes one group of all
        del groups[0]["fix_lr"]
        groups = [groups[0] | {"params": list(range(len(names)))}]
    return {
        "state": {place[number]: entry for number, entry in state["state"].items()},
        "param_groups": groups,
    }


def _trained(names: list[str]) -> list[str]:
    """All but the bias that the projector's last BatchNorm cancels."""
    frozen = [n for n in names if n.startswith("projector.") and n.endswith(".bias")][-1:]
    return [name for name in names if name not in frozen]


def _plain(value: Any) -> Any:
    """A learning rate that lies on a device, as a number."""
    return value.item() if isinstance(value, torch.Tensor) else value
