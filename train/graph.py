"""A whole step as one CUDA graph: some two thousand launches become one.

The host no longer limits a step that is short, such as a CIFAR network's.
"""

from collections.abc import Callable

import torch

from ..model.method import Output

Views = tuple[torch.Tensor, ...]
Compute = Callable[[Views, torch.Tensor], Output]

_WARM_UP = 3  # steps: cuDNN picks its algorithms, and all that lives longer than a step exists


class Captured:
    """Calls a step as it is, captures it, and replays it from then on.

    The step must read nothing but its arguments and what keeps its place in memory, and must not
    wait for the device. Its outputs are overwritten by the next call.
    """

    def __init__(self, compute: Compute) -> None:
        """
        Args:
            compute: (views, labels) → output, on a GPU.
        """
        self.failure: str | None = None
        """Why it could not be captured; each step is launched as it is then."""
        self._compute = compute
        self._num_warm = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._views: Views = ()
        self._labels = torch.empty(0)
        self._output: Output | None = None

    def __call__(self, views: Views, labels: torch.Tensor) -> Output:
        """One step; all of them on batches of one shape."""
        if self.failure is not None:
            return self._compute(views, labels)
        if self._num_warm < _WARM_UP:
            self._num_warm += 1
            return self._warm_up(views, labels)
        if self._graph is None:
            self._try_to_capture(views, labels)
            if self._graph is None:
                return self._compute(views, labels)
        for place, view in zip(self._views, views, strict=True):
            place.copy_(view, non_blocking=True)
        self._labels.copy_(labels, non_blocking=True)
        self._graph.replay()
        assert self._output is not None
        return self._output

    def _warm_up(self, views: Views, labels: torch.Tensor) -> Output:
        """A step on a stream of its own, since what a capture meets must not be the default's."""
        side, current = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            output = self._compute(views, labels)
        current.wait_stream(side)
        return output

    def _try_to_capture(self, views: Views, labels: torch.Tensor) -> None:
        """Nothing runs in here: no step is taken."""
        self._views = tuple(map(torch.empty_like, views))  # strides and all
        self._labels = torch.empty_like(labels)
        graph = torch.cuda.CUDAGraph()
        try:
            # The loader's threads go on using the device meanwhile; only this one is watched.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._output = self._compute(self._views, self._labels)
        except RuntimeError as error:  # as torch's errors of CUDA are
            self.failure = f"a CUDA graph of the step failed: {str(error).splitlines()[0]}"
            self._views = ()
        else:
            self._graph = graph
