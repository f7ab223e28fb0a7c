"""Command lines: options checked while they are read, and what is wrong told in one line."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from .errors import UserError
from .files import absolute, check_output
from .sources.torchvision_spec import absolute_data

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An argument parser that tells a mistake as everything else here is told: in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError instead of printing the usage, which `--help` does."""
        raise UserError(f"{message} (see {self.prog} --help)")


def _told(read: Callable[[str], T]) -> Callable[[str], T]:
    """Let argparse tell what `read` raises; of other errors it keeps the type's name alone."""

    def read_told(text: str) -> T:
        try:
            return read(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error).replace("%", "%%")) from error

    return read_told


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """Of a whole number within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise UserError(f"{text:.40}: must be a whole number") from None
        if not lowest <= value <= highest:
            raise UserError(f"{text:.40}: must be {lowest:,} to {highest:,}")
        return value

    return _told(read)


def real(lowest: float, highest: float) -> Callable[[str], float]:
    """Of a number within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise UserError(f"{text:.40}: must be a number") from None
        if math.isnan(value) or not lowest <= value <= highest:
            raise UserError(f"{text:.40}: must be {lowest:g} to {highest:g}")
        return value

    return _told(read)


def output(name: str) -> Callable[[str], Path]:
    """Of a file to write, which is tried before the work begins.

    Args:
        name: of the option.
    """
    return _told(lambda text: check_output(absolute(text), field=name))


user_path: Callable[[str], Path] = _told(absolute)
"""Of a path: see `absolute`."""

data_path: Callable[[str], Path] = _told(absolute_data)
"""Of what `open_source` opens: a path, or the name of a torchvision data set."""
