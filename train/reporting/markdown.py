"""The figures of runs as one table, a column for each, and report.md around it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..config import to_plain
from ..terminal import format_seconds
from ..versions import describe_version
from .neighbours import Neighbours
from .paper import NOTHING, Published, find_published
from .series import Run

NONE = "–"
"""In a cell that has nothing to say."""
_ALWAYS = (
    *("model.backbone", "augment.preset", "augment.size", "train.batch_size", "optim.base_lr"),
    *("optim.weight_decay", "data.limit", "train.seed"),
)
"""Settings that are shown whether they differ or not."""
_NO_RECIPE = (
    *("run.", "loader.", "data.num_workers", "data.stall_s", "data.max_bad_samples"),
    *("data.on_change", "train.timeout_s", "train.log_every", "train.epochs", "eval.every"),
)
"""Beginnings of settings of which no figure depends, or that have a row of their own."""


_MARKS = re.compile(r"[\\|`*\[\]<>]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What Markdown would read as more than a letter; an underscore within a word is none."""


class Line(NamedTuple):
    """One row of the table."""

    title: str
    cells: list[str]
    """One for each run."""


def build_table(runs: Sequence[Run]) -> list[Line]:
    """What runs were, how far they are, and what they have reached."""
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    rows: list[tuple[str, Callable[[Run], str]]] = [
        ("state", lambda run: run.state),
        ("epochs", _tell_epochs),
        *((name, _last(name)) for name in names),
        ("kNN, %", _tell_own_knn),
        *((f"kNN of {name}, %", _floor(name)) for name in _floors(runs)),
        *((f"{name}, %", _linear(name)) for name in _protocols(runs)),
        ("the paper's linear, %", _tell_published),
        ("others' kNN, %", _tell_others_knn),
        ("images/s, end-to-end", lambda run: _number(run.median("images_per_s"), ",.0f")),
        ("waiting for data, %", lambda run: _number(run.median("data_wait_percent"), ".1f")),
        ("time in training", lambda run: NONE if (s := run.training_s) is None else _time(s)),
    ]
    lines = [Line(title, [cell(run) for run in runs]) for title, cell in rows]
    told = [line for line in lines if set(line.cells) != {NONE} or line.title in ("kNN, %", "loss")]
    return [*choose_settings(runs), *told]


def choose_settings(runs: Sequence[Run]) -> list[Line]:
    """What tells the recipes from each other, and the most important of them anyway."""
    all_of = [_flatten(to_plain(run.config)) for run in runs]
    lines = []
    for name in dict.fromkeys((*_ALWAYS, *(name for found in all_of for name in found))):
        values = [_value(found.get(name)) for found in all_of]
        differs = len(set(values)) > 1 and not name.startswith(_NO_RECIPE)
        if differs or (name in _ALWAYS and set(values) != {NONE}):
            lines.append(Line(name, values))
    return lines


def write_markdown(
    runs: Sequence[Run],
    neighbours: Mapping[str, Neighbours],
    left_out: Mapping[str, str],
    *,
    picture: str,
) -> str:
    """The text of report.md.

    Args:
        runs: columns of the table.
        neighbours: by the run's name.
        left_out: why a run has none, by its name.
        picture: the PNG's name beside it.
    """
    head = ["", *(escape(run.name) for run in runs)]
    ruler = ["---", *("---:" for _ in runs)]
    body = [[escape(line.title), *map(escape, line.cells)] for line in build_table(runs)]
    table = ["| " + " | ".join(cells) + " |" for cells in (head, ruler, *body)]
    parts = [
        f"# {', '.join(escape(run.name) for run in runs)}",
        f"![curves and nearest neighbours]({picture})",
        "\n".join(table),
        "Loss and the figures below it are the last that were logged. Rates are medians over the "
        "log points, of source images, each of which gives two views; time in training is without "
        "evaluations and stops. "
        f"kNN is the run's own ({'; '.join(dict.fromkeys(map(_tell_knn, runs)))}).",
        *_tell_missing(runs),
        "## Nearest neighbours",
        "\n".join(_tell_neighbours(run, neighbours, left_out) for run in runs),
        f"By {describe_version()}: `swiftsiam report`.",
    ]
    return "\n\n".join(parts) + "\n"


def _tell_missing(runs: Sequence[Run]) -> list[str]:
    return [f"{escape(run.name)} has no metrics yet." for run in runs if not run.steps]


def _tell_neighbours(
    run: Run, neighbours: Mapping[str, Neighbours], left_out: Mapping[str, str]
) -> str:
    name = escape(run.name)
    found = neighbours.get(run.name)
    if found is None:
        return f"- {name}: left out: {escape(left_out[run.name])}"
    return (
        f"- {name}: at step {found.step:,}, {found.num_right} of the {found.num_shown} nearest "
        f"pictures are of their query's class, {found.chance * found.num_shown:.1f} by chance; "
        f"{len(found.rows)} pictures of data.val_path, and a fixed random choice of "
        f"{found.num_bank:,} of data.path. So few tell what is alike to the features, not how good "
        "they are: kNN does."
    )


def _tell_knn(run: Run) -> str:
    evaluation = run.config.eval
    bank = "all" if evaluation.max_bank is None else f"at most {evaluation.max_bank:,}"
    return f"k = {evaluation.k}, T = {evaluation.temperature:g}, a bank of {bank} pictures"


def _tell_epochs(run: Run) -> str:
    done, of = run.epochs_done, run.config.train.epochs
    return f"{done:.0f} of {of}" if done == int(done) else f"{done:.1f} of {of}"


def _tell_own_knn(run: Run) -> str:
    if run.knn is None:
        return NONE
    value, epoch = run.knn
    return f"{value:.2f}" if epoch == run.epochs_done else f"{value:.2f} (epoch {epoch:g})"


def _last(name: str) -> Callable[[Run], str]:
    return lambda run: _number(run.last(name), ".4g")


def _floors(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.floors))


def _floor(name: str) -> Callable[[Run], str]:
    return lambda run: _number(run.floors.get(name), ".2f")


def _protocols(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.linear))


def _linear(name: str) -> Callable[[Run], str]:
    def tell(run: Run) -> str:
        if name not in run.linear:
            return NONE
        value, step = run.linear[name]
        is_newest = step is None or (run.steps and step == run.steps[-1]["step"])
        return f"{value:.2f}" if is_newest else f"{value:.2f} (step {step})"

    return tell


def _find_published(run: Run) -> Published | None:
    return find_published(run.config) if run.is_pretraining else None


def _tell_published(run: Run) -> str:
    published = _find_published(run)
    return NOTHING if published is None else f"{published.linear:.1f} ({published.source})"


def _tell_others_knn(run: Run) -> str:
    published = _find_published(run)
    return _number(None if published is None else published.knn, ".1f")


def _time(seconds: float) -> str:
    return format_seconds(seconds)


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def _value(value: Any) -> str:
    return NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _flatten(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, values in sections.items()
        for key, value in values.items()
    }


def escape(text: str) -> str:
    """A name is no Markdown, and a cell is one line."""
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return _MARKS.sub(r"\\\g<0>", text)
