"""`swiftsiam config`: every key of the configuration, as a file that `--config` reads."""

import argparse
import ast
import dataclasses
import inspect
import textwrap
from importlib import resources
from itertools import pairwise, takewhile
from typing import Any

import yaml
from pydantic import TypeAdapter

from ..pipeline.arguments import Parser
from .config import Config, parse_config, read_config
from .recipes import list_recipes

_WIDTH = 96
_TYPES = {
    "integer": "int",
    "number": "float",
    "boolean": "true | false",
    "string": "text",
    "null": "null",
}


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam config`."""
    parser = Parser(
        prog="swiftsiam config",
        description="Print every key of the configuration with its value, type, default and "
        "meaning, as YAML.",
        epilog="Example: swiftsiam config cifar10-r18-800ep > mine.yaml, then swiftsiam pretrain "
        "--config mine.yaml",
    )
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="a recipe or a YAML file (the defaults)"
    )
    parser.add_argument(
        "overrides",
        metavar="section.key=value",
        nargs="*",
        help="laid over it, such as model.method=byol, whose keys are shown then",
    )
    parser.add_argument("--list", action="store_true", help="print the recipes instead")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Print; 0."""
    args = parse_arguments(argv)
    if args.list:
        width = max(map(len, list_recipes()))
        for name in list_recipes():
            lines = textwrap.wrap(describe_recipe(name), _WIDTH - width)
            print(f"{name:<{width}}  " + f"\n{'':<{width}}  ".join(lines))
        return 0
    name, overrides = args.name, args.overrides
    if name and "=" in name:
        name, overrides = None, [name, *overrides]
    config = read_config(name, overrides) if name else parse_config({}, overrides)
    print(format_config(config), end="")
    return 0


def describe_recipe(name: str) -> str:
    """What stands at its head."""
    content = resources.files(f"{__package__}.configs").joinpath(f"{name}.yaml").read_text("utf-8")
    head = takewhile(lambda line: line.startswith("#"), content.splitlines())
    return " ".join(line.lstrip("# ") for line in head)


def format_config(config: Config) -> str:
    """All sections and keys as YAML, each key below its type, default and docstring."""
    values = TypeAdapter(Config).dump_python(config, mode="json")
    lines = []
    for section in dataclasses.fields(Config):
        owner: Any = type(getattr(config, section.name))
        meanings = read_docstrings(owner)
        lines.append(f"{section.name}:")
        for key, properties in TypeAdapter(owner).json_schema()["properties"].items():
            facts = f"{format_type(properties)}; default: {_to_yaml(properties['default'])}"
            comments = textwrap.wrap(meanings[key], _WIDTH) + textwrap.wrap(facts, _WIDTH)
            lines += [f"  # {text}" for text in comments]
            lines.append(f"  {key}: {_to_yaml(values[section.name][key])}")
        lines.append("")
    return "\n".join(lines)


def read_docstrings(owner: type) -> dict[str, str]:
    """Of a dataclass's fields: the string below each, which Python itself does not keep; of those
    that it has from another one too.
    """
    meanings: dict[str, str] = {}
    for part in reversed(owner.__mro__[:-1]):
        meanings |= _read_own_docstrings(part)
    return meanings


def _read_own_docstrings(owner: type) -> dict[str, str]:
    (definition,) = ast.parse(inspect.getsource(owner)).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value).replace("\n", " ")
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def format_type(schema: dict[str, Any]) -> str:
    """A JSON schema in words: `int from 1 to 512, or null`."""
    if "anyOf" in schema:
        return ", or ".join(map(format_type, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    words = (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
    # The largest bounds only keep numbers from overflowing.
    bounds = [f"{word} {schema[key]:g}" for key, word in words if schema.get(key, 1e6) < 1e6]
    return " ".join((_TYPES[schema["type"]], *bounds))


def _to_yaml(value: Any) -> str:
    """On one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")
