"""Workers give all results, pass on what fails, and never hang."""

import os
import signal

import pytest
from swiftsiam.pipeline.errors import MachineError
from swiftsiam.pipeline.pool import Workers, run_tasks


def power(task: int) -> tuple[int, int]:
    if task == -1:
        raise ZeroDivisionError("a bug in a task")
    if task == -2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task, task**2


def prepare(base: int) -> None:
    global _base
    _base = base


def add(task: int) -> int:
    return _base + task


@pytest.mark.parametrize("num_workers", [1, 2])
def test_all_results_come(num_workers: int) -> None:
    with Workers(num_workers, prepare=prepare, arguments=(5,)) as workers:
        assert sorted(workers.run(power, range(20))) == [(n, n * n) for n in range(20)]
        assert sorted(workers.run(add, range(3))) == [5, 6, 7]  # the same workers again


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_in_a_task_comes_out(num_workers: int) -> None:
    with pytest.raises(ZeroDivisionError, match="a bug in a task"):
        list(run_tasks(power, [1, -1, 2], num_workers=num_workers))


def test_a_killed_worker_is_told() -> None:
    with pytest.raises(MachineError, match="a worker was killed"):
        list(run_tasks(power, [1, -2, 2], num_workers=2))


def test_workers_that_are_dead_before_they_start_are_told() -> None:
    with Workers(2) as workers:
        with pytest.raises(MachineError, match="a worker was killed"):
            list(workers.run(power, [-2]))
        with pytest.raises(MachineError, match="a worker was killed"):
            workers.start(meanwhile=int)
