"""`swiftsiam bench tables`: README's tables, made from the results that they are of.

README.md holds `<!-- table: NAME from MACHINE/FILE.json -->` and `<!-- end of table -->`; what
stands between is written anew from benchmarks/results. NAME is one of `table_rows.TABLES`.

Exit code: 0 done, or with --check all as it should be; 1 with --check, some table differs; 2 the
markers or the results are wrong.
"""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

from ..pipeline.arguments import Parser
from ..pipeline.errors import UserError
from ..pipeline.files import write_atomically
from .results import read_records
from .table_rows import TABLES, build

README = Path(__file__).parents[1] / "README.md"
RESULTS = Path(__file__).parent / "results"
_BEGIN = re.compile(r"<!-- table: (\S+) from ([\w.-]+/[\w.-]+\.json) -->")
_END = "<!-- end of table -->"
_LOOSE = re.compile(r"<!--.*\btable\b.*")  # a marker, or meant to be one


class Block(NamedTuple):
    """A table's place among the lines."""

    name: str
    file: str
    """Below `results`."""
    first: int
    """Of the lines between the markers; its marker's number as people count."""
    end: int
    """Of the marker that ends it, from 0."""


def find_blocks(lines: list[str]) -> list[Block]:
    """All of them.

    Raises:
        UserError: a marker has no end, no beginning, or another form.
    """
    blocks, begun = [], None
    for number, line in enumerate(lines):
        place, found = f"README.md:{number + 1}", _BEGIN.fullmatch(line)
        if begun is not None and line == _END:
            blocks.append(begun._replace(end=number))
            begun = None
        elif begun is None and found:
            begun = Block(found[1], found[2], number + 1, 0)
        elif begun is not None and (found or line.startswith("#")):
            break
        elif line == _END:
            raise UserError(f"{place}: ends a table that was not begun; remove it")
        elif _LOOSE.fullmatch(line):
            raise UserError(f"{place}: {line}: write <!-- table: NAME from MACHINE/FILE.json -->")
    if begun is not None:
        raise UserError(f"README.md:{begun.first}: table {begun.name} has no end; add {_END}")
    return blocks


def fill(text: str, results: Path) -> tuple[str, list[Block]]:
    """README with its tables as the results have them, and those that were not so.

    Args:
        text: of README.
        results: folder of the machines' folders.

    Raises:
        UserError: as of `find_blocks`; an unknown table; results that are missing, broken or empty.
    """
    lines = text.split("\n")
    differing = []
    for block in reversed(find_blocks(lines)):  # from below: places above stay
        made = _make(block, results)
        if lines[block.first : block.end] != made:
            lines[block.first : block.end] = made
            differing.insert(0, block)
    return "\n".join(lines), differing


def _make(block: Block, results: Path) -> list[str]:
    field = f"README.md:{block.first}: table {block.name}"
    if block.name not in TABLES:
        raise UserError(f"{field}: not one of {', '.join(TABLES)}")
    made = build(block.name, read_records(results / block.file, field=f"{field}: results"))
    if not made:
        raise UserError(f"{field}: {block.file} holds nothing for it; measure it, or remove both")
    return made


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench tables`."""
    parser = Parser(
        prog="swiftsiam bench tables",
        description="Write README's tables from benchmarks/results.",
        epilog="exit code: 0 done, 1 with --check and some table differs",
    )
    parser.add_argument("--check", action="store_true", help="only say which tables differ")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Write README's tables, or compare them; see the module for the exit code."""
    args = parse_arguments(argv)
    if not README.is_file():
        raise UserError(f"{README}: README.md is in a checkout alone; run this in one")
    text, differing = fill(README.read_text(encoding="utf-8"), RESULTS)
    for block in differing:
        told = "is not as" if args.check else "written as"
        print(f"README.md:{block.first}: table {block.name} {told} {block.file} has it")
    if args.check:
        print("write them: swiftsiam bench tables" if differing else "no table differs")
        return int(bool(differing))
    if differing:
        write_atomically(README, text.encode())
    else:
        print("no table differs")
    return 0
