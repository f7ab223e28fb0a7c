"""What a run is continued with: its own configuration, and what may change about it."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..pipeline.errors import UserError
from .checkpoint import list_set_aside, load_newest
from .config import Config, parse_config, read_config, replace, split_override
from .divergence import NAME
from .recipes import read_values
from .run import CONFIG, IMPORTED, RunFolder

if TYPE_CHECKING:
    from .collapse import CollapsedError
    from .job import Job
    from .report import Report
    from .step import DivergedError

_AT_ONCE = 3  # steps behind a checkpoint

_FREE = (
    "data.path",
    "data.val_path",
    "data.on_change",
    "data.num_workers",
    "data.max_bad_samples",
    "data.stall_s",
    "loader.engine",
    "loader.hw_decoder_load",
    "loader.decoder_threads",
    "loader.decoder_batch",
    "loader.decoder_queue",
    "loader.decoder_side",
    "eval",
    "run",
    "train.log_every",
    "train.log_every_s",
    "train.on_collapse",
    "train.timeout_s",
)
"""Nothing that is learnt depends on these sections and keys."""

_TOLD = (
    "optim.base_lr",
    "optim.weight_decay",
    "train.precision",
    "train.compile",
    "train.tf32",
    "train.cuda_graph",
    "train.compress_gradients",
    "train.device",
    "train.num_threads",
    "loader.device",
    "loader.resident",
)
"""The rest of a run depends on these: a change is told, and kept in metrics.jsonl."""

MAY_CHANGE = (*_FREE, *_TOLD)
"""What may change on --resume; no other sections and keys."""


class ResumedConfig(NamedTuple):
    """The configuration that a run goes on with."""

    stored: Config
    """As config.yaml has it."""
    config: Config
    changes: tuple[str, ...]
    """What was changed that the rest of the run depends on, in words."""


def read_run_config(path: Path, overrides: list[str], *, field: str = "--resume") -> ResumedConfig:
    """The configuration of a run that exists, with what may change on resume laid over it.

    Args:
        path: of the run folder.
        overrides: `section.key=value`.
        field: what names the run in errors.

    Raises:
        UserError: no run, a damaged configuration, or an override that may not change.
    """
    if not (path / CONFIG).is_file():
        raise UserError(f"{field} {path}: not a run folder (no {CONFIG} in it); check the path")
    values = read_values(str(path / CONFIG))
    if not values:
        raise UserError(
            f"{field} {path}: its {CONFIG} is empty; put back the one that the run was begun "
            "with, or begin another run"
        )
    stored = replace(parse_config(values, []), run={"dir": str(path)})
    _refuse_other_method(stored, overrides)
    config = replace(parse_config(values, overrides), run={"dir": str(path)})
    changed = []
    for name in _given(overrides):
        old, new = _get(stored, name), _get(config, name)
        if old == new:
            continue
        if not _is_in(name, MAY_CHANGE):
            raise _stays(name, new, old)
        if _is_in(name, _TOLD):
            changed.append(f"{name}: {old} -> {new}")
    return ResumedConfig(stored, config, tuple(changed))


def _refuse_other_method(stored: Config, overrides: list[str]) -> None:
    """Before its keys are read, which are those of another method."""
    for section, key, value in map(split_override, overrides):
        if (section, key) == ("model", "method") and value != stored.model.method:
            raise _stays("model.method", value, stored.model.method)


def _stays(name: str, new: Any, old: Any) -> UserError:
    return UserError(
        f"{name}={new}: the run was begun with {old}, and that stays; on --resume only these may "
        f"change: {', '.join(MAY_CHANGE)}"
    )


def refuse_imported(path: Path) -> None:
    """Raise UserError for a folder that `swiftsiam import` has made."""
    if (path / IMPORTED).exists():
        raise UserError(
            f"--resume {path}: holds imported weights, which can be evaluated and exported and not "
            "trained on; give a run that swiftsiam pretrain has begun"
        )


def tell_differences(name: str, overrides: list[str], stored: Config) -> list[str]:
    """What `--config name` asks for and a run that exists was not begun with, in words.

    What the machine decides is not compared, nor what the overrides set, of which
    `read_run_config` takes care.
    """
    asked = read_config(name)
    given = _given(overrides)
    told = []
    for section in dataclasses.fields(Config):
        for key in dataclasses.fields(getattr(asked, section.name)):
            full = f"{section.name}.{key.name}"
            new, old = _get(asked, full), _get(stored, full)
            decided = new in (None, "auto") or full in given or full == "run.dir"
            if new != old and not decided:
                told.append(f"{full} ({old} in the run, {new} in {name})")
    return told


def _given(overrides: list[str]) -> list[str]:
    return [".".join(split_override(override)[:2]) for override in overrides]


def _get(config: Config, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(config, section), key, None)


def _is_in(name: str, names: tuple[str, ...]) -> bool:
    return name in names or name.partition(".")[0] in names


def load_progress(job: "Job", run: RunFolder | None, report: "Report") -> tuple[bool, list[str]]:
    """Load the newest checkpoint into the job, on all ranks.

    Args:
        job: at step 0.
        run: its folder; None: the first rank has it.
        report: told what is done.

    Returns:
        Whether there is one; and what to tell if it was made with other pictures.

    Raises:
        UserError: all are damaged, or the pictures are others and that is refused.
    """
    world = job.world
    state = world.once(lambda: _load_newest(run, report))
    if state is None:
        return False, []
    change = world.everyone(lambda: _check_listing(job, state))
    job.load(state, pictures_changed=change is not None)
    others = state.get("world_size", 1)
    ranks = "" if others == world.size else f", in {world.size} processes ({others} before)"
    report.note(f"continues at step {job.step} of {job.total_steps}{ranks}")
    return True, [] if change is None else [change]


def _load_newest(run: RunFolder | None, report: "Report") -> dict[str, Any] | None:
    assert run is not None, "the first rank has the folder"
    state = load_newest(run.checkpoints, tell=report.note)
    damaged = list_set_aside(run.checkpoints)
    if state is None and damaged:
        raise UserError(
            f"--resume {run.path}: its checkpoints are all damaged ({len(damaged)}, kept as "
            f"{damaged[-1].name}); put back a copy, or begin again at step 0 with --start-over"
        )
    return state


def _check_listing(job: "Job", state: dict[str, Any]) -> str | None:
    """Compare the pictures with those that the run was begun with.

    Returns:
        None where they are the same; else what to tell of it.

    Raises:
        UserError: they are not, and `data.on_change` is `refuse`.
    """
    saved = state.get("listing")  # absent in checkpoints of version 0.1.0
    if saved is None or saved["digest"] == job.listing["digest"]:
        return None
    now, before = job.listing["count"], saved["count"]
    change = f"{before:,} pictures then, {now:,} now" if now != before else "other names or labels"
    path = job.config.data.path
    if job.config.data.on_change == "refuse":
        raise UserError(
            f"data.path={path}: not the pictures that the run was begun with ({change}); put those "
            "back, or go on with these from the same place in the schedule by "
            "data.on_change=continue"
        )
    if job.model.keeps_pictures:
        raise UserError(
            f"data.on_change=continue: {job.model.keeps_pictures} keeps something of "
            f"each picture, and they are others now ({change}); put back those that the run was "
            "begun with, or begin another run"
        )
    return (
        f"data.path={path}: not the pictures that the run was begun with ({change}); goes on at "
        "the same place in the schedule: epochs and learning rate as planned, and in the rest of "
        "this epoch some pictures may come twice or not at all"
    )


def tell_divergence(job: "Job", error: "DivergedError", *, begun_at: int) -> str:
    """What has happened, and the command that goes on without it.

    Args:
        job: after the failure.
        error: as raised.
        begun_at: the step that this process has begun or continued at.
    """
    step = job.step - error.num_lost + 1
    base_lr = job.config.optim.base_lr
    again = f"{job.resume_command} optim.base_lr={base_lr / 4:.2g}"
    if begun_at > 0 and step <= begun_at + _AT_ONCE:
        again += " --start-over"  # the weights of the checkpoint lead there
    precision = job.config.train.precision
    or_else = "" if precision == "fp32" else f" (or train.precision=fp32; now {precision})"
    batch = shlex.quote(f"{job.config.run.dir}/{NAME}")
    return (
        f"optim.base_lr={base_lr:g}: the loss or a gradient was not finite at step {step}, and no "
        f"weight was changed by it; what was saved before is kept: lower it{or_else}, by {again}; "
        f"see the batch by swiftsiam preview {batch}"
    )


def tell_collapse(job: "Job", error: "CollapsedError") -> str:
    """What has happened, and what to do about it."""
    base_lr = job.config.optim.base_lr
    return (
        f"train.on_collapse=stop: collapsed by step {job.step}: {error}; begin again with a lower "
        f"rate, optim.base_lr={base_lr / 4:.2g}, or look on with train.on_collapse=warn"
    )
