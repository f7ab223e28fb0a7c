"""Several processes, of one machine or many, that share a conversion: started by torchrun."""

import os
from collections.abc import Callable
from typing import Any

from ..errors import MachineError, UserError


class Ranks:
    """This process among those that convert together; alone, nothing is waited for."""

    def __init__(self, *, size: int | None = None) -> None:
        """Join the others, where torchrun has started this process.

        Args:
            size: 1: stay alone at any rate.

        Raises:
            MachineError: they cannot be reached.
        """
        self.size = int(os.environ.get("WORLD_SIZE", 1)) if size is None else size
        self.rank = int(os.environ.get("RANK", 0)) if self.size > 1 else 0
        self.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if self.size > 1 else 1
        self._group: Any = None
        if self.size > 1:
            import torch.distributed

            self._group = torch.distributed
            self._call(torch.distributed.init_process_group, "gloo")

    @property
    def is_first(self) -> bool:
        """Whether this one does what is done once."""
        return self.rank == 0

    def share(self, tasks: list[int]) -> list[int]:
        """This rank's part of some numbers: it does not depend on which of them are left."""
        return [task for task in tasks if task % self.size == self.rank]

    def wait(self) -> None:
        """Until all have come here."""
        if self._group:
            self._call(self._group.barrier)

    def once(self, action: Callable[[], object]) -> None:
        """Done by the first rank, and waited for by all; its errors are everybody's."""
        failure: list[Exception | None] = [None]
        if self.is_first:
            try:
                action()
            except (UserError, MachineError, OSError) as error:
                failure = [error]
        if self._group:
            self._call(self._group.broadcast_object_list, failure)
        if failure[0] is not None:
            raise failure[0]

    def close(self) -> None:
        """Leave the others."""
        if self._group and self._group.is_initialized():
            self._group.destroy_process_group()
        self._group = None

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            function(*arguments)
        except RuntimeError as error:  # all that torch.distributed raises
            raise MachineError(
                f"another of the {self.size} processes has ended ({str(error).splitlines()[0]}); "
                "see its message, and continue with --resume"
            ) from error
