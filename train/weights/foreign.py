"""Files that others have written, read without running anything that stands in them."""

import io
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch

from ...pipeline.errors import UserError
from .layouts import Found, Weights, find_weights

# What trainers keep the weights under; the first that is there.
_WEIGHTS = ("state_dict", "online_network_state_dict", "model_state_dict", "model", "teacher")


class Foreign(NamedTuple):
    """What a file of another trainer or library holds."""

    found: Found
    content: dict[str, Any]
    """What stands in it beside the weights: `epoch`, `arch`, `optimizer`."""


def read_foreign(path: Path) -> Foreign:
    """Weights of a ResNet, as torch or safetensors has saved them.

    Raises:
        UserError: not such a file, damaged, holding more than tensors and plain data, or weights of
            something else.
    """
    is_safe = path.suffix == ".safetensors"
    content: dict[str, Any] = read_safetensors(path) if is_safe else _read_torch(path)
    weights = next(
        (content[key] for key in _WEIGHTS if isinstance(content.get(key), dict)), content
    )
    tensors = {
        str(name): tensor.detach()
        for name, tensor in weights.items()
        if isinstance(tensor, torch.Tensor)
    }
    found = find_weights(tensors)
    if found is None:
        names = ", ".join(list(tensors or content)[:3]) or "nothing"
        raise UserError(
            f"{path}: no weights of a ResNet are in it (it holds {names:.200}, …); give a "
            "checkpoint of swiftsiam, of the SimSiam reference, of MoCo or BYOL, or plain weights"
        )
    rest = {key: value for key, value in content.items() if value is not weights}
    return Foreign(found, {} if weights is content else rest)


def read_safetensors(path: Path) -> Weights:
    """Tensors by name.

    Raises:
        UserError: not such a file, or damaged.
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: damaged, or no safetensors file ({error})") from None


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that torch did not write
            content = torch.load(
                io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True
            )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except pickle.UnpicklingError as error:
        reason = _reason(error)
        raise UserError(
            f"{path}: refused, and nothing in it was run: it holds more than tensors and plain "
            f"data, or is no checkpoint ({reason}); if you trust it, save its weights alone by "
            "torch.save(…['state_dict'], …)"
        ) from None
    except (RuntimeError, EOFError, KeyError, ValueError, IndexError, struct.error) as error:
        reason = _reason(error) if isinstance(error, RuntimeError) else type(error).__name__
        raise UserError(
            f"{path}: damaged, or not a checkpoint of swiftsiam or of torch ({reason})"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not weights by name")
    return {str(key): value for key, value in content.items()}


def _reason(error: Exception) -> str:
    """The one line of torch's explanation that names what was met."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("WeightsUnpickler error:")]
    return (named or lines or [type(error).__name__])[0][:160]
