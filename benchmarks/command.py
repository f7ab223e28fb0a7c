"""`swiftsiam bench`: the benchmarks by name."""

from ..pipeline.errors import UserError
from . import convert, loader
from .gpu import command as gpu

_BENCHMARKS = {"loader": loader.main, "convert": convert.main, "gpu": gpu.main}


def main(argv: list[str]) -> int:
    """Run one benchmark."""
    if not argv or argv[0] not in _BENCHMARKS:
        known = "|".join(_BENCHMARKS)
        if argv and argv[0] in ("-h", "--help"):
            print(f"usage: swiftsiam bench {known} [arguments]")
            return 0
        raise UserError(f"bench {' '.join(argv[:1])}: name a benchmark: {known}")
    return _BENCHMARKS[argv[0]](argv[1:])
