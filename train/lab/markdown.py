"""The table of the laboratory in Markdown, the paper's figures beside ours."""

import shlex
from collections import Counter
from collections.abc import Sequence

from ..reporting.markdown import escape
from .order import UNKNOWN_MARGIN, Order, Pooled, compare_order
from .outcome import Outcome, Spread, lone_picture_std
from .plan import Plan, parse_row

NONE = "–"


def write_markdown(plan: Plan, outcomes: Sequence[Outcome], *, picture: str) -> str:
    """The page of a table.

    Args:
        plan: with which it was run.
        outcomes: of its rows.
        picture: name of the PNG beside it.
    """
    table = plan.table
    parts = [
        f"# {table.title}",
        f"Chen and He, {table.source}." if table.is_of_paper else f"{table.source}.",
        f"![loss, spread and kNN]({picture})",
        "\n".join(_tell_rows(outcomes)),
        _tell_reading(plan, outcomes),
        *([table.note] if table.note else []),
        *_tell_collapse(outcomes),
        *_tell_order(outcomes),
        *_tell_floors(outcomes),
        *(f"Left out: {reason}." for reason in plan.left_out),
        _tell_recipe(plan, outcomes),
    ]
    return "\n\n".join(parts) + "\n"


def _tell_rows(outcomes: Sequence[Outcome]) -> list[str]:
    has_published = any(outcome.row.published is not None for outcome in outcomes)
    head = ["", "", "loss", "z_std·√d", "kNN, %", *(["the paper, %"] if has_published else [])]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for outcome in outcomes:
        published = outcome.row.published
        cells = [
            escape(outcome.row.what),
            outcome.tell_states(),
            _tell(outcome.spread("loss"), ".3f"),
            _tell(outcome.spread("z_std"), ".3f"),
            _tell(outcome.spread("knn"), ".2f"),
        ]
        if has_published:
            cells.append(NONE if published is None else str(published))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _tell(spread: Spread | None, form: str) -> str:
    if spread is None:
        return NONE
    if spread.deviation is None:
        return format(spread.mean, form)
    return f"{spread.mean:{form}} ± {spread.deviation:{form}}"


def _tell_reading(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    seeds = "One seed" if plan.seeds == 1 else f"{plan.seeds} seeds: mean ± standard deviation"
    floors = [
        f"{lone_picture_std(size):.3f} of {size:,} pictures"
        for size in sorted(
            {parse_row(plan.config, p.overrides).train.batch_size for p in plan.rows}
        )
    ]
    text = (
        f"{seeds}. Loss and z_std·√d are the last that were logged. "
        "Collapsed is what the trainer's guard calls so (`train.on_collapse`). BatchNorm at the "
        "projector's output makes the projections of a batch sum up to zero: all but one can be "
        f"alike, and z_std·√d is then {', '.join(floors)} (dotted; healthy: near 1). kNN is of "
        "the backbone's features"
    )
    if plan.table.is_of_paper:
        text += (
            "; the paper's figures are of linear evaluation on ImageNet, ResNet-50 after 100 "
            "epochs unless said otherwise: orders can be compared, figures cannot"
        )
    return f"{text}. {_tell_margin(plan, outcomes)}"


def _tell_margin(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """From where on two figures of kNN are told apart."""
    pooled = Pooled.of(outcomes)
    if pooled is None:
        return (
            "Without a second seed two figures of kNN less than "
            f"{UNKNOWN_MARGIN:g} points apart are not told apart."
        )
    margin = pooled.margin(plan.seeds, plan.seeds)
    return (
        f"Two figures of kNN less than {margin:.1f} points apart are "
        f"not told apart (95 %: runs of a row deviate by {pooled.deviation:.2f} points, with "
        f"{pooled.degrees} degrees of freedom)."
    )


def _tell_collapse(outcomes: Sequence[Outcome]) -> list[str]:
    """Where the paper finds collapse and we do not, or the other way round."""
    others = [
        outcome.row.what
        for outcome in outcomes
        if outcome.row.published is not None
        for state in dict.fromkeys(outcome.states)
        if state in ("trained", "collapsed") and (state == "collapsed") != outcome.row.collapses
    ]
    told = "; ".join(map(escape, dict.fromkeys(others)))
    return [f"**Collapse otherwise than in the paper**: {told}."] if others else []


def _tell_order(outcomes: Sequence[Outcome]) -> list[str]:
    order = compare_order(outcomes)
    count = sum(map(len, order))
    if not count:
        return []
    text = (
        f"Of {count} pair{'s' * (count > 1)} that the paper tells apart (by half a point or more), "
        f"{len(order.same)} are in its order here, {len(order.undecided)} are not told apart, and "
        f"{len(order.reversed)} are the other way round."
    )
    return [text, *_tell_pairs(order)]


def _tell_pairs(order: Order) -> list[str]:
    lines = []
    for title, pairs in (
        ("**Not the paper's order**", order.reversed),
        ("Not told apart", order.undecided),
    ):
        if pairs:
            told = "; ".join(f"{escape(a)} over {escape(b)}" for a, b in pairs)
            lines.append(f"{title}: {told}.")
    return lines


def _tell_floors(outcomes: Sequence[Outcome]) -> list[str]:
    floors = {
        name: value
        for outcome in outcomes
        for run in outcome.runs
        for name, value in run.floors.items()
    }
    if not floors:
        return []
    told = ", ".join(f"{name} {value:.2f} %" for name, value in floors.items())
    return [f"kNN before training: {told}."]


def _tell_recipe(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    config, data = plan.config, plan.data
    count = data.num_classes
    classes = f" of {count} classes (by chance: {100 / count:g} %)" if count else ""
    length = f"--epochs {plan.epochs} --pictures {plan.num_pictures}"
    seeds = f"--seeds {plan.seeds}" if plan.seeds > 1 else ""
    options = " ".join(filter(None, (*plan.named, length, shlex.join(plan.options), seeds)))
    keys = " ".join(f"{key}={','.join(values)}" for key, values in plan.table.grid)
    command = f"lab sweep {keys}" if keys else f"lab run {plan.name}"
    return (
        f"{config.model.backbone}, views of {config.augment.size} px, batch "
        f"{config.train.batch_size}, {plan.epochs} epochs of {plan.num_pictures:,} of "
        f"{data.count:,} pictures{classes}, base_lr "
        f"{config.optim.base_lr:g}, weight decay {config.optim.weight_decay:g}, on a "
        f"{config.train.device.upper()}. By {_tell_versions(plan, outcomes)}: `swiftsiam {command} "
        f"{options}`."
    )


def _tell_versions(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """By which each run was made; the table's own where none is known."""
    counts = Counter(version for outcome in outcomes for version in outcome.versions)
    if len(counts) < 2:
        return next(iter(counts), plan.version)
    told = (
        f"{version} ({count} run{'s' * (count > 1)})" for version, count in counts.most_common()
    )
    return " and ".join(told)
