"""What a torchvision data set is called here: `torchvision:NAME[,key=value...]`."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..files import absolute
from .paths import shown

_PREFIX = "torchvision:"
_EXAMPLE = "torchvision:Flowers102,root=/data,split=train"
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_INTEGER = re.compile(r"[+-]?\d+")


class Spec(NamedTuple):
    """A class of torchvision.datasets and its arguments."""

    name: str
    values: dict[str, str]
    """As they were written; `root` from the root of the file system."""

    @property
    def text(self) -> str:
        """What it is written as: means the same from any working folder."""
        given = [f"{key}={value}" for key, value in self.values.items()]
        return _PREFIX + ",".join((self.name, *given))

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the class: true, false, null and whole numbers by what they are, all else text.

        A value with commas is a list of such values, also of one with a comma at its end. `root` is
        always one text.
        """
        return {key: value if key == "root" else _read(value) for key, value in self.values.items()}

    @property
    def listed(self) -> "Spec":
        """Without `download`, which changes nothing in what is listed."""
        kept = {key: value for key, value in self.values.items() if key != "download"}
        return Spec(self.name, kept)


def is_spec(path: str | Path) -> bool:
    """Whether a data path names a torchvision data set. A folder of such a name: `./NAME`."""
    return str(path).startswith(_PREFIX)


def read_spec(text: str | Path, *, field: str = "data.path") -> Spec:
    """Take the name of a data set apart.

    A comma that no `key=` follows belongs to the value in front of it.

    Args:
        text: see the module.
        field: the configuration's field, named in errors.

    Raises:
        UserError: it is not written so, or an argument stands twice.
    """
    told = f"{field}={shown(text)}"
    name, *pieces = str(text).removeprefix(_PREFIX).split(",")
    if not name.isidentifier():
        raise UserError(f"{told}: no name of a data set; write it as {_EXAMPLE}")
    values: dict[str, str] = {}
    key = ""
    for piece in pieces:
        head, equals, value = piece.partition("=")
        if equals and head.isidentifier():
            key = head
            if key in values:
                raise UserError(f"{told}: {key} stands twice; give it once")
            values[key] = value
        elif key:
            values[key] += f",{piece}"
        else:
            raise UserError(f"{told}: {shown(piece)!r} is no key=value; write it as {_EXAMPLE}")
    if values.get("root"):
        values["root"] = str(absolute(values["root"]))
    return Spec(name, values)


def absolute_data(path: str | Path) -> Path:
    """`files.absolute` of a path of data, which may name a torchvision data set instead.

    Raises:
        UserError: as `absolute` does, and `read_spec`.
    """
    return Path(read_spec(path).text) if is_spec(path) else absolute(path)


def folder_of(path: str | Path) -> Path:
    """The path of data; of a torchvision data set its `root`, or its name where it has none.

    Raises:
        UserError: as `read_spec` does.
    """
    return Path(read_spec(path).values.get("root", path) if is_spec(path) else path)


def are_same(first: str | Path, second: str | Path) -> bool:
    """Whether two paths of data lead to the same pictures.

    Raises:
        OSError: one of them is a path that leads to nothing.
    """
    if is_spec(first) and is_spec(second):
        one, other = read_spec(first).listed, read_spec(second).listed
        return (one.name, one.arguments) == (other.name, other.arguments)
    return not (is_spec(first) or is_spec(second)) and Path(first).samefile(second)


def _read(text: str) -> Any:
    if "," in text:
        return [_read(part) for part in text.split(",") if part]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    return int(text) if _INTEGER.fullmatch(text) else text
