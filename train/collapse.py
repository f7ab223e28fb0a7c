"""The guard against collapse: what a method says of its figures, and what is done about it."""

from collections.abc import Mapping
from typing import Literal

from ..model.method import Method

OnCollapse = Literal["stop", "warn", "off"]
_IN_TURN = 2  # log points: a single one may be a batch of bad luck


class CollapsedError(Exception):
    """The method has diagnosed it, and training is to stop."""


class CollapseGuard:
    """Asks the method at each log point, of figures that are there anyhow."""

    def __init__(self, method: Method, *, on_collapse: OnCollapse, num_rows: int) -> None:
        """
        Args:
            method: in training.
            on_collapse: stop: raise; warn: say so, once; off: nothing.
            num_rows: pictures of a step in this process, of which its figures are.
        """
        self._method = method
        self._on_collapse = on_collapse
        self._num_rows = num_rows
        self._num_signs = 0
        self._is_told = False

    def look(self, figures: Mapping[str, float]) -> str | None:
        """What to tell of a log point's figures; None: nothing.

        Raises:
            CollapsedError: where that is asked for.
        """
        if self._on_collapse == "off" or self._is_told:
            return None
        least = self._method.least_rows
        if self._num_rows < least:
            self._is_told = True
            return (
                f"train.on_collapse={self._on_collapse}: of {self._num_rows} pictures a process "
                f"nothing can be told of collapse, and it is not looked for ({least} are enough)"
            )
        diagnosis = self._method.diagnose(figures)
        self._num_signs = self._num_signs + 1 if diagnosis else 0
        if diagnosis is None or self._num_signs < _IN_TURN:
            return None
        if self._on_collapse == "stop":
            raise CollapsedError(diagnosis)
        self._is_told = True
        return f"collapse: {diagnosis}"
