"""A torchvision data set made from its name, and what is wrong with it told in one line."""

import difflib
import inspect
from typing import Any, NamedTuple

from ..errors import UserError
from .paths import shown
from .torchvision_spec import Spec

_FUNCTIONS = frozenset(("transform", "target_transform", "transforms", "loader", "is_valid_file"))
"""Arguments of which nothing but Python can give a value."""
_PACKAGES = ("h5py", "scipy", "lmdb", "gdown")
"""That some sets need and torchvision does not."""
_MOST_WORDS = 160
"""Characters of a set's own message."""


class Kept(NamedTuple):
    """What stands in a picture's place where the set lets its files be loaded by others."""

    path: str


def open_set(spec: Spec, *, field: str, may_download: bool = True) -> Any:
    """Make the data set, its pictures `Kept` where it takes a `loader`.

    Args:
        spec: of `read_spec`.
        field: the configuration's field, named in errors.
        may_download: False: leave `download=true` out, since it has been done.

    Raises:
        UserError: there is no such set, it does not take the arguments, its files are not there, or
            a package that it needs is not installed.
    """
    told = f"{field}={shown(spec.text)}"
    kind = _find_class(spec.name, told=told)
    parameters = _parameters(kind)
    arguments = spec.arguments
    _check(arguments, parameters, told=told)
    # Two sets download unless they are told not to.
    if "download" in parameters and not (may_download and "download" in arguments):
        arguments["download"] = False
    if "loader" in parameters:
        arguments["loader"] = _keep
    try:
        return kind(**arguments)
    except Exception as error:  # each class raises its own
        raise UserError(f"{told}: {_why(error, parameters, arguments)}") from error


def identify(spec: Spec) -> str:
    """What is listed: the set and all its arguments, defaults included, in one order."""
    from torchvision import datasets

    parameters = _parameters(getattr(datasets, spec.name))
    values = {key: each.default for key, each in parameters.items() if key not in _FUNCTIONS}
    values |= spec.listed.arguments
    values.pop("download", None)
    return repr((spec.name, sorted(values.items())))


def short(error: BaseException) -> str:
    """A set's own message, or the kind of error, for a message of one line."""
    # Nothing of torchvision's advice, which is how it is done in Python.
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename:
        text = f"{error.strerror}: {error.filename}"
    for end in (" You can use download", " please run"):
        text = text.partition(end)[0]
    text = text.rstrip(".:;, ") or type(error).__name__
    return shown(text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}...")


def missing_package(error: BaseException) -> str | None:
    """What is to be done where an error says that a package is not installed; else None."""
    package = error.name if isinstance(error, ImportError) else None
    if package is None and "installed" in str(error):
        package = next((name for name in _PACKAGES if name in str(error)), None)
    return f"needs {package}, which is not installed; pip install {package}" if package else None


def _keep(path: object) -> Kept:
    return Kept(str(path))


def _find_class(name: str, *, told: str) -> Any:
    from torchvision import datasets

    known = {
        each: kind
        for each in datasets.__all__
        if inspect.isclass(kind := getattr(datasets, each))
        and issubclass(kind, datasets.VisionDataset)
        and kind is not datasets.VisionDataset
    }
    if name in known:
        return known[name]
    lowered = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)
    names = " or ".join(lowered[each] for each in near)
    remedy = f"did you mean {names}?" if near else f"one of {', '.join(sorted(known))}"
    raise UserError(f"{told}: torchvision has no data set {name}; {remedy}")


def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    """What a class takes, that of its parents included where it hands `**kwargs` on."""
    found: dict[str, inspect.Parameter] = {}
    for each in kind.__mro__:
        if "__init__" not in vars(each):
            continue
        own = dict(inspect.signature(each.__init__).parameters)
        for name, parameter in own.items():
            found.setdefault(name, parameter)
        if not any(each.kind is each.VAR_KEYWORD for each in own.values()):
            break
    takes_values = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        name: parameter
        for name, parameter in found.items()
        if name != "self" and parameter.kind in takes_values
    }


def _check(
    arguments: dict[str, Any], parameters: dict[str, inspect.Parameter], *, told: str
) -> None:
    known = [key for key in parameters if key not in _FUNCTIONS and not key.startswith("_")]
    for key in arguments:
        if key in _FUNCTIONS:
            raise UserError(f"{told}: {key} is a function, which has no name here; leave it out")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
            raise UserError(f"{told}: it takes no argument {key}; {remedy}")
    for key in known:
        if arguments.get(key) in (None, "") and (
            key == "root" or (key not in arguments and parameters[key].default is inspect._empty)
        ):
            value = "DIR" if key == "root" else "VALUE"
            raise UserError(f"{told}: {key} is not given; add ,{key}={value}")


def _why(
    error: Exception, parameters: dict[str, inspect.Parameter], arguments: dict[str, Any]
) -> str:
    text = short(error)
    if needs := missing_package(error):
        return needs
    if arguments.get("download") is True:
        return f"cannot be downloaded ({text}); check the network, or unpack it in root yourself"
    is_missing = isinstance(error, OSError) or any(
        words in text for words in ("not found", "not present")
    )
    if is_missing and "download" in parameters:
        return f"{text}; add download=true, or check root"
    if is_missing:
        return f"{text}; check root"
    return f"{text}; check the arguments"
