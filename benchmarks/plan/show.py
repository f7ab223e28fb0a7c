"""A forecast as tables, as words and as records."""

import math
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from ..results import Record
from .collectives import Cluster
from .exchange import Exchange
from .figures import OPTIONS, Figures, tell
from .forecast import GOOD, Forecast, Measured, find_most
from .stragglers import simulated_steps, straggling

Plans = dict[str, list[Forecast]]
"""By what is kept."""
_ROUNDED = 6  # digits


def build_records(
    plans: Plans, figures: Figures, exchange: Exchange, *, backbone: str
) -> list[Record]:
    """One for each size of each plan; the figures that went in are in the first alone."""
    records: list[Record] = [
        {
            "scope": "machine",
            "engine": "none",
            "name": backbone,
            "kept": kept,
            "work": "a forecast, nothing of it measured at this size",
            "forecast": _plain(plan),
        }
        for kept, some in plans.items()
        for plan in some
    ]
    records[0] |= {"figures": tell(figures), "exchange": asdict(exchange)}
    return records


def _plain(plan: Forecast) -> dict[str, Any]:
    made = asdict(plan) | {"global_batch": plan.global_batch, "step_s": plan.step_s}
    return {name: _round(value) for name, value in made.items()}


def _round(value: Any) -> Any:
    """None: no number, which JSON does not have."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_ROUNDED}g}") if math.isfinite(value) else None


def show(plans: Plans, figures: Figures, measured: Measured, *, backbone: str) -> None:
    """Print the tables, what went in, and a sentence for each size."""
    console = Console(highlight=False)
    for kept, some in plans.items():
        console.print(_rates(f"{backbone}, {kept}: a forecast", some))
        console.print(_needs("what it needs: disk and network in GB/s", some))
        console.print(_steps("a step of it, ms; what a GPU sends, MB", some))
    console.print("what went in:")
    for name, figure in figures.items():
        row = OPTIONS[name]
        value = f"{figure.value:.4g} {row.unit}".strip()
        console.print(f"  {row.what}: {value} ({figure.source})", soft_wrap=True)
    exchange = measured.exchange
    console.print(
        f"  a process's gradients: {exchange.gradient_bytes / 1e6:.1f} MB; BatchNorm's statistics: "
        f"{exchange.gathered_bytes / 1e3:.0f} kB in {exchange.num_gathers} gathers (counted)",
        soft_wrap=True,
    )
    for line in (*_caveats(measured, plans), *_verdicts(plans)):
        console.print(line, soft_wrap=True)


def _rates(title: str, some: list[Forecast]) -> Table:
    heads = ("batch", "a GPU", "images/s", "efficiency", "hours", "cost")
    table = _table(title, ("GPUs", *heads))
    for plan in some:
        table.add_row(
            f"{plan.num_gpus:,}",
            f"{plan.global_batch:,}",
            f"{plan.batch_per_gpu:,}",
            f"{plan.images_per_s:,.0f}",
            f"{plan.efficiency:.3f}",
            f"{plan.hours:,.2f}",
            f"{plan.cost:.2f}",
        )
    return table


def _needs(title: str, some: list[Forecast]) -> Table:
    heads = ("cores", "a GPU", "disk", "network")
    table = _table(title, ("GPUs", *heads), "limit")
    for plan in some:
        table.add_row(
            f"{plan.num_gpus:,}",
            f"{plan.cores:,.0f}",
            f"{plan.cores / plan.num_gpus:.1f}",
            f"{plan.disk_bytes_per_s / 1e9:,.2f}",
            f"{plan.network_bytes_per_s / 1e9:,.2f}",
            plan.limit,
        )
    return table


def _steps(title: str, some: list[Forecast]) -> Table:
    heads = ("in all", "alone", "slowest", "gathers", "sums", "exposed", "sent")
    table = _table(title, ("GPUs", *heads))
    for plan in some:
        seconds = (plan.gathers_s, plan.sums_s, plan.exposed_s)
        table.add_row(
            f"{plan.num_gpus:,}",
            f"{1000 * plan.step_s:,.1f}",
            f"{1000 * plan.compute_s:,.1f}",
            f"× {plan.straggling:.3f}",
            *(f"{1000 * value:,.2f}" for value in seconds),
            f"{plan.sent_bytes / 1e6:,.0f}",
        )
    return table


def _table(title: str, heads: tuple[str, ...], *words: str) -> Table:
    table = Table(title=title, title_justify="left")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for head in words:
        table.add_column(head, no_wrap=True)
    return table


def _caveats(measured: Measured, plans: Plans) -> list[str]:
    """How the tables are to be read, and what they rest on most."""
    most = max(plan.num_gpus for some in plans.values() for plan in some)
    waits = measured.exchange.num_gathers + 1
    other = straggling(most, measured.noise, lasting=0.0, num_waits=waits)
    steps = simulated_steps(most, lasting=0.0, num_waits=waits)
    return [
        "efficiency: images/s over those of as many GPUs alone; hours: of 100 epochs of ImageNet, "
        "kNN left out (half an epoch's pictures in all, by default); cost: GPU-hours over those of "
        "one GPU; disk: GB/s, all hosts together, until the pictures lie in memory; network: GB/s "
        "that a host sends; sums: of gradients, exposed: what of them nothing hides",
        f"stragglers: were a process's noise drawn anew between any two gathers, {most:,} GPUs "
        f"would lose {100 * (other - 1):.0f} % to the slowest (simulated, n {steps} steps)",
    ]


def _verdicts(plans: Plans) -> list[str]:
    return [
        f"{kept}: {plan.num_gpus:,} GPUs need {plan.cores:,.0f} cores, "
        f"{plan.disk_bytes_per_s / 1e9:,.1f} GB/s of disk and "
        f"{plan.network_bytes_per_s / 1e9:,.1f} GB/s of network a host; they do "
        f"{plan.images_per_s:,.0f} images/s, {100 * plan.efficiency:.3g} % of so many alone, at "
        f"{plan.cost:.2f} times the GPU-hours of one; limit: {plan.limit}"
        for kept, some in plans.items()
        for plan in some
        if plan.num_gpus > 1
    ]


def advise(measured: Measured, cluster: Cluster, *, max_batch: int) -> str:
    """Up to how many GPUs a run within `max_batch` uses them well."""
    most = {
        statistics: find_most(
            replace(measured, statistics=statistics), cluster, max_batch=max_batch
        )
        for statistics in ("all", "host")
    }
    return (
        f"within {max_batch:,} pictures together, a run makes {100 * GOOD:.0f} % of so many GPUs "
        f"alone with up to {most['all']:,} of them (powers of two); with BatchNorm over each host "
        f"alone, which the trainer does not have, with up to {most['host']:,}"
    )
