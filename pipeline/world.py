"""The processes that do one piece of work together, on one machine or many: started by torchrun."""

import contextlib
import gc
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import MachineError, UserError
from .rendezvous import meet

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

_A_DAY_S = 86_400.0
_OF_A_COLLECTIVE = ("gloo", "nccl", "monitoredbarrier", "rendezvous", "tcpstore", "by peer")
_GLOO_DETAILS = re.compile(r"^\[[^]]*\.cc:\d+\] |\. This is typically.*")


class World:
    """This process among those it works with; alone, nothing is waited for.

    What is agreed on goes over the CPU (gloo), so that a GPU is never waited for.
    """

    rank = 0
    """Of this process, from 0."""
    local_rank = 0
    """The same on this machine: the number of its GPU."""
    size = 1
    """How many there are."""
    local_size = 1
    """How many of them this machine has."""

    def __init__(self) -> None:
        """Alone; see `join`."""
        self.group: Any = None
        """The torch.distributed group of whatever lies on the device; None: alone."""
        self.layer_group: Any = None
        """The same for what layers exchange while gradients are under way. Of its own on a CPU:
        gloo (torch 2.14) spoils the heap where gathers of its functional operators run beside sums
        that were begun before: in 2 of 5 runs of a minute under load, with two groups in none of 4.
        """
        self.advice = ""
        """What to do when another has ended: the rest of a sentence."""
        self._dist: Any = None
        self._control: Any = None

    @classmethod
    def join(cls, *, timeout_s: float = _A_DAY_S) -> "World":
        """The others, where torchrun has started this process; else it is alone.

        Args:
            timeout_s: how long any of them is waited for, seconds.

        Raises:
            UserError: something else has set a part of torchrun's environment.
            MachineError: they cannot be reached.
        """
        world = cls()
        size = int(os.environ.get("WORLD_SIZE", 1))
        if size == 1:
            return world
        missing = [n for n in ("RANK", "MASTER_ADDR", "MASTER_PORT") if n not in os.environ]
        if missing:
            raise UserError(
                f"WORLD_SIZE={size}: is set in the environment and {missing[0]} is not; start the "
                "processes with torchrun, or unset WORLD_SIZE"
            )
        world.size = size
        world.rank = int(os.environ["RANK"])
        world.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        world.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        import torch.distributed

        world._dist = torch.distributed
        with world.watching():
            limit = timedelta(seconds=timeout_s)
            store, _, _ = next(iter(torch.distributed.rendezvous("env://", timeout=limit)))
            store = torch.distributed.PrefixStore(
                meet(store, rank=world.rank, size=size, timeout_s=timeout_s), store
            )
            world._dist.init_process_group(
                "gloo", store=store, rank=world.rank, world_size=size, timeout=limit
            )
        world.group = world.layer_group = world._control = world._dist.group.WORLD
        return world

    def settle(self, *, device: str, timeout_s: float) -> None:
        """Work on this kind of device from now on, and wait for nobody longer than that.

        Args:
            device: cpu or cuda; of several GPUs each process takes its own.
            timeout_s: seconds.

        Raises:
            UserError: this machine has fewer GPUs than processes.
            MachineError: see `watching`.
        """
        self.everyone(lambda: self._enter(device))
        if self._dist:
            limit = timedelta(seconds=timeout_s)
            with self.watching():
                self.group = self._control = self._dist.new_group(backend="gloo", timeout=limit)
                if device == "cuda":
                    self.group = self._dist.new_group(backend="nccl", timeout=limit)
                    self.layer_group = self.group
                else:
                    self.layer_group = self._dist.new_group(backend="gloo", timeout=limit)

    def _enter(self, device: str) -> None:
        if device != "cuda" or self.is_alone:
            return
        import torch

        if self.local_size > torch.cuda.device_count():
            raise UserError(
                f"train.device=cuda: {self.local_size} processes on a machine with "
                f"{torch.cuda.device_count()} GPUs; give torchrun as many with --nproc-per-node"
            )
        torch.cuda.set_device(self.local_rank)

    @property
    def is_first(self) -> bool:
        """Whether this one does what is done once."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    def share(self, tasks: list[int]) -> list[int]:
        """This rank's part of some numbers: it does not depend on which of them are left."""
        return [task for task in tasks if task % self.size == self.rank]

    def wait(self) -> None:
        """Until all have come here.

        Raises:
            MachineError: one of them has ended, or does not come; it is named.
        """
        if self._dist:
            with self.watching():
                self._dist.monitored_barrier(self._control, wait_all_ranks=True)

    def first(self, action: Callable[[], T]) -> T | None:
        """Done by the first rank and waited for by all, for which it is None.

        Raises:
            UserError, MachineError, OSError: as of the action, by all; the others' is told already.
        """
        made, failure = _try(action) if self.is_first else (None, None)
        self._raise(self._hand_out(failure), by=0)
        return made

    def once(self, action: Callable[[], T]) -> T:
        """Done by the first rank; what it returns is everybody's. Raises: see `first`."""
        return self._hand_out(self.first(action))  # type: ignore[return-value]

    def everyone(self, action: Callable[[], T]) -> T:
        """Done by all; what one of them cannot do, none does. Nothing in it may wait for others.

        Raises:
            UserError, MachineError, OSError: of the lowest rank that has failed, by all.
        """
        made, failure = _try(action)
        for rank, failed in enumerate(self.gather(failure)):
            self._raise(failed, by=rank)
        return made  # type: ignore[return-value]

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Whether any rank has a flag up, for each of them."""
        return tuple(any(column) for column in self._columns(list(map(float, flags))))

    def mean(self, values: list[float]) -> list[float]:
        """Over the ranks, of as many on each."""
        return [sum(column) / self.size for column in self._columns(values)]

    def least(self, value: float) -> float:
        """Over the ranks."""
        return min(self._columns([value])[0])

    def _columns(self, values: list[float]) -> list[list[float]]:
        """For each of some numbers, those of all ranks: one collective."""
        if not self._dist:
            return [[value] for value in values]
        import torch

        own = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(own) for _ in range(self.size)]
        with self.watching():
            self._dist.all_gather(rows, own, group=self._control)
        return torch.stack(rows, dim=1).tolist()

    def gather(self, thing: T) -> list[T]:
        """Of all ranks, in their order."""
        if not self._dist:
            return [thing]
        things: list[Any] = [None] * self.size
        with self.watching():
            self._dist.all_gather_object(things, thing, group=self._control)
        return things

    def gather_rows(self, rows: "torch.Tensor") -> "torch.Tensor":
        """(N, …) of each rank, which has as many as every other → (N · size, …), rank by rank."""
        if not self._dist:
            return rows
        parts = [rows.new_empty(rows.shape) for _ in range(self.size)]
        with self.watching():
            self._dist.all_gather(parts, rows.contiguous(), group=self.group)
        import torch

        return torch.cat(parts)

    def _hand_out(self, thing: T) -> T:
        """The first rank's, to all."""
        if not self._dist:
            return thing
        things = [thing]
        with self.watching():
            self._dist.broadcast_object_list(things, group=self._control)
        return things[0]

    def _raise(self, failure: Exception | None, *, by: int) -> None:
        if failure is not None:
            raise failure if by == self.rank else _told(failure)

    def alike(self, error: E) -> E:
        """An error that each rank has come to by itself: the first one tells it."""
        return error if self.is_first else _told(error)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Around whatever waits for the others: their death is told in one line.

        Raises:
            MachineError: one of them has ended, or not answered in time.
        """
        try:
            yield
        except MachineError:
            raise
        except RuntimeError as error:  # all that torch.distributed raises
            if not self._dist or not _is_of_others(error):
                raise
            reason = _GLOO_DETAILS.sub("", str(error).splitlines()[0])
            failure = MachineError(
                f"another of the {self.size} processes has ended, or does not answer ({reason}); "
                f"see its message{self.advice}"
            )
            # The first may be the one that has ended; if it is not, all others would say the same.
            raise (failure if self.rank < 2 else _told(failure)) from error

    def __enter__(self) -> "World":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Leave the others. As soon as one process has ended with an error, torchrun ends all of
        them: those that have nothing to say do not go before the one that has.
        """
        if not self._dist:
            return
        if error is None:
            self.wait()
            # A group that something still refers to when the interpreter ends aborts the process.
            self.group = self.layer_group = self._control = None
            gc.collect()
            self._dist.destroy_process_group()
        elif getattr(error, "is_told", False):
            with contextlib.suppress(RuntimeError):
                self._dist.barrier(self._control)  # never met: it fails when the other has ended


def _try(action: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return action(), None
    except (UserError, MachineError, OSError) as error:
        return None, error


def _told(error: E) -> E:
    if isinstance(error, UserError | MachineError):
        error.is_told = True
    return error


def _is_of_others(error: RuntimeError) -> bool:
    """Whether a collective has failed; most of its errors have no type of their own."""
    text = str(error).lower()
    return any(word in text for word in _OF_A_COLLECTIVE)
