"""`swiftsiam bench plan --check`: the forecast's arithmetic against one process and two.

Method: two processes with a thread each (`ranks`) measure, round by round, a step of theirs and
what two exchange; of each round's medians a step of two together is foretold by `forecast` and
divided by the one that was measured in it. A process's own step is taken while the other takes one
too, since memory and caches are shared, and with the BatchNorm that can be shared, whose arithmetic
is not torch's own. A gather counts with what it takes between pieces of work, each about as long as
what lies between two of them in a step. How much of that is the gather itself, as it is by itself,
and how much the wait for the slower of two, is told beside it: the latter is simulated from those
pieces without gathers, of which each process's longer one counts. What is left is the system's, to
wake who has waited. Nothing is taken as hidden: sums of gradients need the cores that compute. For
one process, half a batch is foretold to take half the time of a whole one.

Reading: a ratio of 1 is right; above it the forecast is too slow. Four runs of 9 rounds on two
cores of which others took a third to a half gave 0.95, 1.22, 1.23 and 0.80 (results/,
plan-check.json): right to a quarter, and no better there; without the waits at gathers always too
fast, 0.62 to 0.74. Two processes on one machine hold how the parts are put together, and that they
are all there; not what 64 GPUs do.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...pipeline.errors import MachineError
from ..neighbours import Neighbours
from ..results import Record, write_records
from ..spread import spread
from .collectives import Cluster, Link
from .exchange import Exchange, count_exchange
from .forecast import Forecast, Measured, foresee
from .ranks import Round, Setting

ROUNDS = Setting.rounds
_PROCESSES = 2
_ADDED = ("alone", "sums", "gathers")
_NAMES = {
    "idle": "one process, the other waits",
    "half": "the same, half the batch",
    "busy": "each for itself, both at once",
    "ranked": "the same with BatchNorm that can be shared",
    "together": "both together",
    "sum": "a sum of all gradients",
    "gather": "a gather of a BatchNorm's statistics",
    "piece": "convolutions as long as between two gathers",
    "paced": "the same and a gather",
}


def run(path: Path, *, rounds: int, backbone: str | None, **sizes: Any) -> list[Record]:
    """Measure, print, write.

    Args:
        path: of the results.
        rounds: of each thing.
        backbone: None: one that takes seconds on a CPU.
        sizes: other fields of `Setting`.

    Raises:
        MachineError: the processes have failed.
    """
    named = {} if backbone is None else {"backbone": backbone}
    setting = Setting(rounds=rounds, **named, **sizes)
    neighbours = Neighbours()
    record = build_record(setting, _measure(setting))
    write_records(path, [record], surroundings=neighbours.tell())
    _show(record)
    return [record]


def _measure(setting: Setting) -> list[Round]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rounds.json"
        program = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        program += [f"--nproc-per-node={_PROCESSES}", "-m", f"{__package__}.ranks"]
        arguments = [str(path), json.dumps(asdict(setting))]
        done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
        if done.returncode or not path.exists():
            sys.stderr.write(done.stderr)
            raise MachineError(f"--check: the processes ended with {done.returncode}; see above")
        return json.loads(path.read_bytes())


def build_record(setting: Setting, rounds: list[Round]) -> Record:
    """What was measured, ms, what was foretold, and the ratios round by round."""
    exchange = count_exchange(setting.model)
    medians = [{name: _median(of) for name, of in each.items()} for each in rounds]
    plans = [_foretell(setting, each, exchange) for each in medians]
    paced = [exchange.num_gathers * (_mean(e["paced"]) - _mean(e["piece"])) for e in rounds]
    slower = [find_slower(each["piece"]) for each in rounds]
    parts = {
        "alone": [plan.compute_s for plan in plans],
        "sums": [plan.exposed_s for plan in plans],
        "gathers": paced,
        "gathers_by_themselves": [plan.gathers_s for plan in plans],
        "slower": [p.compute_s * (lost - 1) for p, lost in zip(plans, slower, strict=True)],
    }
    foretold = [sum(each) for each in zip(*(parts[name] for name in _ADDED), strict=True)]
    measured = [each["together"] for each in medians]
    two = [step / each for step, each in zip(foretold, measured, strict=True)]
    fair = [plan.step_s / each for plan, each in zip(plans, measured, strict=True)]
    plain = [each["idle"] / each["together"] for each in medians]
    half = [each["idle"] / 2 / each["half"] for each in medians]
    return {
        "scope": "machine",
        "engine": "none",
        "name": setting.backbone,
        "work": f"{_PROCESSES} processes with a thread each over gloo, {setting.backbone}, "
        f"{setting.size} px, float32, {setting.batch_size} pictures each, {setting.steps} steps in "
        "a round; foretold over measured",
        "batch_size": setting.batch_size,
        "measured_ms": {name: spread([1e3 * each[name] for each in medians]) for name in _NAMES},
        "slower_of_two": spread(slower),
        "foretold_ms": spread([1e3 * step for step in foretold]),
        "parts_ms": {name: spread([1e3 * each for each in of]) for name, of in parts.items()},
        "two_processes": spread(two),
        "two_processes_if_none_waited": spread(fair),
        "two_processes_if_sharing_were_free": spread(plain),
        "half_a_batch": spread(half),
        "ranked_percent": spread([100 * (e["ranked"] / e["busy"] - 1) for e in medians]),
    }


def _median(of: list[list[float]]) -> float:
    """Over all processes and times."""
    return statistics.median(value for each in of for value in each)


def _mean(of: list[list[float]]) -> float:
    """Likewise: also of what seldom takes long."""
    return statistics.mean(value for each in of for value in each)


def find_slower(times: list[list[float]]) -> float:
    """How many times as long all pieces take where each waits for the slowest process's, as on
    average over the processes; a process that is slower throughout counts as well.
    """
    slowest = sum(max(pieces) for pieces in zip(*times, strict=True))
    return slowest * len(times) / sum(map(sum, times))


def _foretell(setting: Setting, seconds: dict[str, float], exchange: Exchange) -> Forecast:
    """Two processes that never vary, from what each was measured at."""
    summed, given = exchange.gradient_bytes, exchange.gathered_bytes / exchange.num_gathers
    rate = summed / max(seconds["sum"] - seconds["gather"], 1e-9)
    cluster = Cluster(
        gpus_per_host=_PROCESSES,
        cores_per_host=10**6,  # nothing is loaded
        link=Link(bytes_per_s=rate, latency_s=0.0),
        network=Link(bytes_per_s=rate, latency_s=0.0),
        disk_bytes_per_s=1e18,
        start_s=max(seconds["gather"] - given / rate, 0.0),
    )
    measured = Measured(
        images_per_s=setting.batch_size / seconds["ranked"],
        batch_size=setting.batch_size,
        floor_s=0.0,
        core_ms_per_image=1.0,
        picture_bytes=1.0,
        exchange=exchange,
        hidden=0.0,
    )
    return foresee(measured, cluster, _PROCESSES)


def _show(record: Record) -> None:
    table = Table(title=record["work"], title_justify="left")
    table.add_column("")
    for head in ("ms", "IQR", "n"):
        table.add_column(head, justify="right")
    rows = {_NAMES[name]: figure for name, figure in record["measured_ms"].items()}
    rows["both together, foretold"] = record["foretold_ms"]
    for name, figure in rows.items():
        table.add_row(name, f"{figure['median']:,.3f}", f"{figure['iqr']:,.3f}", str(figure["n"]))
    console = Console(highlight=False)
    console.print(table)
    parts = {name: f"{figure['median']:,.1f}" for name, figure in record["parts_ms"].items()}
    console.print(
        f"foretold: {parts['alone']} alone, {parts['sums']} sums, {parts['gathers']} gathers; of "
        f"these {parts['gathers_by_themselves']} as they take by themselves, {parts['slower']} for "
        f"the slower (× {record['slower_of_two']['median']:.2f}), the rest the system's",
        soft_wrap=True,
    )
    adds = record["ranked_percent"]
    console.print(
        f"BatchNorm that can be shared adds {adds['median']:.0f} % to a step by its arithmetic "
        f"(IQR {adds['iqr']:.0f}); --ranked-percent",
        soft_wrap=True,
    )
    for what, key in (
        ("two processes", "two_processes"),
        ("two processes, did none wait for the other", "two_processes_if_none_waited"),
        ("two processes, were sharing free", "two_processes_if_sharing_were_free"),
        ("one process, half a batch", "half_a_batch"),
    ):
        ratio = record[key]
        console.print(
            f"foretold over measured, {what}: {ratio['median']:.3f} (IQR {ratio['iqr']:.3f}, "
            f"n {ratio['n']} rounds)",
            soft_wrap=True,
        )
