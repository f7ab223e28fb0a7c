"""The benchmarks of every machine, on the card: the step's lanes, a job in parts, its tuning."""

import time
from collections.abc import Iterator

from ...model.method import ModelConfig
from ...train.config import read_config
from ...train.recipes import read_values
from ..roofline import build_ceiling_record, build_ceilings, find_roof, judge_step
from ..smaller import measure_smaller
from ..step import build_records, choose_lanes, measure
from ..step_contestants import Setting, build_contestants
from ..train import build_figures
from ..train import build_records as build_job_records
from ..train import measure as measure_job
from ..tune.command import Trials, parse_arguments
from ..tune.proposals import Proposals
from ..tune.search import search
from ..verdict import judge
from .context import Context, Record
from .pictures import find_pictures

_STEPS = 10
_SECONDS = 3
_TUNE_S = 150


def step(context: Context) -> Iterator[Record]:
    """As `bench step`."""
    sizes = context.sizes
    setting = Setting(
        model=ModelConfig(backbone=sizes.backbone),  # type: ignore[arg-type]
        batch_size=sizes.batch,
        size=sizes.size,
        device=context.device.type,
        precision=context.precision,
        rounds=sizes.rounds,
        steps=_STEPS if context.is_cuda else 1,
    )
    contestants = build_contestants(setting, choose_lanes(None, setting.device))
    precisions = list(dict.fromkeys(contestant.precision for contestant in contestants))
    ceilings = build_ceilings(setting.device, precisions)
    rounds, seconds = measure(setting, contestants, ceilings)
    records = build_records(setting, contestants, rounds)
    ceiling = build_ceiling_record(ceilings, seconds, device=setting.device)
    for record in records:
        roof = find_roof(record, ceiling)
        record["roof_percent"] = round(roof.percent, 1)
        record["utilisation_percent"] = round(roof.utilisation_percent, 1)
        yield record | {"part": context.part, "name": record["lane"], "holds": None}
    yield ceiling | {"part": context.part, "name": "the machine", "holds": None}
    yield context.check("verdict", None, lines=judge_step(records, ceiling))


def _choose_job(context: Context) -> tuple[str, list[str]]:
    """A recipe, and what is set over it."""
    data = f"data.path={find_pictures(context)}"
    if context.is_cuda:
        return "imagenet-r50-100ep", [data, f"train.batch_size={context.sizes.batch}"]
    small = {
        "augment.size": context.sizes.size,
        "train.batch_size": context.sizes.batch,
        "train.precision": context.precision,
        "train.device": "cpu",
        "data.num_workers": 1,
    }
    return "cifar10-cpu", [data, *(f"{key}={value}" for key, value in small.items())]


def train(context: Context) -> Iterator[Record]:
    """As `bench train`: what limits ImageNet's recipe on this machine."""
    name, overrides = _choose_job(context)
    config = read_config(name, overrides)
    seconds = _SECONDS if context.is_cuda else 0.1
    measured = measure_job(config, rounds=context.sizes.rounds, seconds=seconds, cold=False)
    verdict = judge(build_figures(measured, smaller=measure_smaller(measured.job.source)))
    for record in build_job_records(measured, verdict):
        told = record.get("lane", "verdict")
        yield record | {"part": context.part, "name": told, "holds": None}


def tune(context: Context) -> Iterator[Record]:
    """As `bench tune`, for as long as there is; in a rehearsal one setting, once."""
    name, overrides = _choose_job(context)
    trials = Trials(parse_arguments([f"--config={name}", "--seconds=1"]), overrides)
    if not context.is_cuda:
        (rates,) = trials([{}], 1)
        yield context.check("a setting is measured", len(rates) == 1)
        return
    proposals = Proposals(read_values(name), overrides, format_name="folder")
    deadline = time.monotonic() + _TUNE_S
    found = search(
        proposals.all(),
        trials,
        has_time=lambda: time.monotonic() < deadline,
        tell=lambda line: None,
    )
    yield context.check("settings", None, changes=found.changes, tried=found.lines)
