"""Configurations as text: recipes that come with the package, and YAML files."""

import codecs
import difflib
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ..pipeline.errors import UserError
from ..pipeline.files import absolute


def list_recipes() -> list[str]:
    """Names of the configurations that come with the package."""
    folder = resources.files(f"{__package__}.configs")
    return sorted(
        p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")
    )


def read_values(name: str) -> dict[str, Any]:
    """What a recipe or a YAML file says, unchecked.

    Raises:
        UserError: it does not exist, or is not YAML in UTF-8.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        try:
            content = absolute(name).read_bytes()
        except OSError as error:
            raise UserError(f"--config {name}: cannot be read ({error.strerror})") from error
    elif name in list_recipes():
        content = (resources.files(f"{__package__}.configs") / f"{name}.yaml").read_bytes()
    else:
        raise UserError(
            f"--config {name}: no such recipe{did_you_mean(name, list_recipes())}; "
            f"known: {', '.join(list_recipes())}, or a path ending in .yaml"
        )
    return _read_yaml(_as_text(content, name), name)


def _as_text(content: bytes, name: str) -> str:
    """UTF-8 whatever the locale, with or without a byte order mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"--config {name}: is in UTF-16; save it in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"--config {name}: not UTF-8 at line {line}; save it in UTF-8") from error


def did_you_mean(name: str, known: list[str]) -> str:
    """What was meant, to be added to a message; nothing where nothing is near."""
    by_key = {k.rpartition(".")[2]: k for k in known} | {k: k for k in known}
    matches = difflib.get_close_matches(name, by_key, n=1, cutoff=0.6)
    return f"; did you mean {by_key[matches[0]]}?" if matches else ""


class _StrictLoader(yaml.SafeLoader):
    """safe_load that refuses a key written twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise UserError(f"{key!r}: occurs twice in the section at line {line}; remove one")
        return super().construct_mapping(node, deep)


def _read_yaml(text: str, name: str) -> dict[str, Any]:
    try:
        # A SafeLoader at heart: no tags beyond YAML's own plain types.
        values = yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "damaged"
        raise UserError(f"--config {name}: not YAML{where}: {problem}") from error
    return values if values is not None else {}
