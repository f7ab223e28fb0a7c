"""Backbones of torchvision and of timm, by the names that these libraries have for them.

A network is taken as its library builds it, with random weights, less its classifier: the last
linear layer. Dropout and stochastic depth are off, since SimSiam's views differ enough as it is.
What a network gives, and which views it takes, is found by trying it on the meta device, which has
shapes and no numbers: in the time of a blink, and without touching torch's random state.

The heads around it hold BatchNorms whatever the network holds: a process needs two rows of a batch
at least, unless `train.sync_batch_norm` shares the statistics, and a backbone without BatchNorm
(ViT, ConvNeXt) gets its rows compared in the heads alone.
"""

import difflib
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, NoReturn

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import ResNet

TORCHVISION, TIMM = "torchvision/", "timm/"
_ROWS = 2  # the least that BatchNorm takes
_USUAL = 224  # px, of torchvision's networks
_SHAPE_ERRORS = (AssertionError, IndexError, NotImplementedError, RuntimeError, TypeError)


def is_by_name(name: str) -> bool:
    """Whether a backbone is named as torchvision or timm has it, behind the library's name."""
    return name.startswith((TORCHVISION, TIMM))


class Properties(NamedTuple):
    """What is found of a network by trying it."""

    num_features: int
    """Width of its feature."""
    size: int
    """Side of the views that it was made for, px."""
    arguments: dict[str, Any]
    """What it is built with, beside its name, so that it takes views of other sizes."""


def build_by_name(name: str) -> tuple[nn.Module, int]:
    """The network without its classifier, and the width of its pooled feature.

    Raises:
        ValueError: see `examine`.
    """
    properties = examine(name)
    if torch.get_default_device().type == "meta":
        return _build_without_data(name, properties.arguments), properties.num_features
    return _build(name, properties.arguments), properties.num_features


@cache
def examine(name: str) -> Properties:
    """What a network gives for views of the size that it was made for.

    Raises:
        ValueError: there is no such network, or it gives something else than one feature vector for
            each picture; begins with the name, and says what to take instead.
    """
    _check_known(name)
    arguments: dict[str, Any] = {}
    if name.startswith(TIMM):
        arguments["dynamic_img_size"] = True
    try:
        network = _build_without_data(name, arguments)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        arguments = {}
        network = _build_without_data(name, arguments)
    settings = getattr(network, "pretrained_cfg", None) or {}
    size = settings.get("input_size", (3, _USUAL, _USUAL))[-1]
    if arguments:  # or an export of another size would have other position embeddings
        arguments["img_size"] = size
    for mode, words in ((True, "in training"), (False, "in evaluation")):
        try:
            given = _try(network.train(mode), size)
        except _SHAPE_ERRORS as error:
            reason = f"cannot be tried {words} with views of {size} px ({_first_line(error)})"
            _refuse(name, reason)
        if not (isinstance(given, torch.Tensor) and given.dim() == 2 and len(given) == _ROWS):
            _refuse(name, f"gives {_describe(given)} {words}, not a feature vector for a picture")
    return Properties(given.shape[1], size, arguments)


@cache
def check_size(name: str, size: int) -> None:
    """Make sure that a network takes views of this size.

    Raises:
        ValueError: it does not; names key, value and remedy.
    """
    properties = examine(name)
    network = _build_without_data(name, properties.arguments)
    try:
        for mode in (True, False):
            _try(network.train(mode), size)
    except (*_SHAPE_ERRORS, ValueError) as error:
        raise ValueError(
            f"augment.size={size}: model.backbone={name} takes no views of {size} px "
            f"({_first_line(error)}); set augment.size={properties.size}, which it was made for, "
            "or choose another backbone"
        ) from None


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """`check_size` of all views of a picture; a backbone that is not `is_by_name` takes all."""
    if is_by_name(name):
        for size in sorted(set(sizes)):
            check_size(name, size)


def load_settings(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a network of timm: what its pretrained_cfg says of its parts; what it is built with."""
    properties = examine(name)
    network = _build_without_data(name, properties.arguments)
    settings: Any = network.pretrained_cfg
    parts = ("pool_size", "first_conv", "classifier")
    known = {part: settings[part] for part in parts if part in settings}
    if not properties.arguments:
        known["fixed_input_size"] = bool(settings.get("fixed_input_size"))
    return known, properties.arguments


def _check_known(name: str) -> None:
    library, _, own = name.partition("/")
    known = _list_timms() if name.startswith(TIMM) else _list_torchvisions()
    if own in known:
        return
    # A tag names weights, and none are loaded.
    nearest = difflib.get_close_matches(own.partition(".")[0], known, n=1)
    if not nearest:
        _refuse(name, f"{library} has no such network")
    raise ValueError(
        f"{name!r}: {library} has no such network; did you mean {library}/{nearest[0]}?"
    )


def _list_torchvisions() -> list[str]:
    return torchvision.models.list_models(module=torchvision.models)


@cache
def _list_timms() -> list[str]:
    import timm  # takes a second, which others keep

    return timm.list_models()


def _build(name: str, arguments: dict[str, Any]) -> nn.Module:
    own = name.partition("/")[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights to come, and of ways to write a model
        if name.startswith(TIMM):
            import timm

            network = timm.create_model(own, pretrained=False, num_classes=0, **arguments)
        else:
            network = _build_torchvisions(own)
    for module in network.modules():
        _keep_all(module)
    return network


def _build_torchvisions(name: str) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    is_resnet = builder.__module__ == ResNet.__module__
    network = builder(weights=None, **({"zero_init_residual": True} if is_resnet else {}))
    linears = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linears:
        _refuse(TORCHVISION + name, "has no linear layer at its end to be taken off")
    if getattr(network, "aux_logits", False):
        _refuse(TORCHVISION + name, "has more than one output in training")
    parent, _, child = linears[-1].rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return network


def _refuse(name: str, reason: str) -> NoReturn:
    other = "timm/resnet50" if name.startswith(TIMM) else "torchvision/resnext50_32x4d"
    raise ValueError(f"{name!r}: {reason}; take another, such as {other}") from None


def _keep_all(module: nn.Module) -> None:
    """No dropout and no stochastic depth, however the library calls them."""
    if isinstance(module, nn.modules.dropout._DropoutNd | torchvision.ops.StochasticDepth):
        module.p = 0.0
    for rate in ("drop_prob", "drop_rate"):
        if isinstance(getattr(module, rate, None), float):
            setattr(module, rate, 0.0)


def _build_without_data(name: str, arguments: dict[str, Any]) -> nn.Module:
    """On the meta device; torch's random state stays as it is."""
    with torch.random.fork_rng(devices=()):
        try:
            with torch.device("meta"):
                return _build(name, arguments)
        except (NotImplementedError, RuntimeError):  # some look at numbers while they are built
            with torch.device("cpu"):
                return _build(name, arguments).to("meta")


def _try(network: nn.Module, size: int) -> Any:
    with torch.no_grad(), torch.device("meta"), torch.random.fork_rng(devices=()):
        return network(torch.empty(_ROWS, 3, size, size))


def _describe(given: Any) -> str:
    if isinstance(given, torch.Tensor):
        return f"a tensor of {' x '.join(map(str, given.shape))} for {_ROWS} pictures"
    return f"a {type(given).__name__}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines or [type(error).__name__])[0][:120].rstrip(".")
