"""`swiftsiam bench`: the benchmarks by name. Each is imported on use."""

from importlib import import_module

from ..pipeline.errors import UserError

_BENCHMARKS = {
    "loader": ".loader",
    "all": ".suite",
    "step": ".step",
    "train": ".train",
    "tune": ".tune.command",
    "loop": ".loop",
    "knn": ".knn",
    "features": ".features",
    "convert": ".convert",
    "compare": ".compare",
    "tables": ".tables",
    "pictures": ".pictures",
    "gpu": ".gpu.command",
    "plan": ".plan.command",
}


def main(argv: list[str]) -> int:
    """Run one benchmark."""
    if not argv or argv[0] not in _BENCHMARKS:
        known = "|".join(_BENCHMARKS)
        if argv and argv[0] in ("-h", "--help"):
            print(f"usage: swiftsiam bench {known} [arguments]")
            return 0
        raise UserError(f"bench {' '.join(argv[:1])}: name a benchmark: {known}")
    return import_module(_BENCHMARKS[argv[0]], __package__).main(argv[1:])
