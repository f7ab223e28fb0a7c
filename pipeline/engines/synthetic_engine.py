"""The engine without a loader: views of noise that lie on the device already.

What a step reaches with it is the ceiling of what it can reach with any loader: nothing is read,
decoded or copied. Batches have the order, the indices and the labels of the data set all the same.
"""

from collections.abc import Iterator

import numpy as np
import torch

from ..contract import EngineOptions, Request, Result


def build(options: EngineOptions) -> "SyntheticEngine":
    """The engine for these options."""
    return SyntheticEngine(options)


class SyntheticEngine:
    """See the module; the contract is `contract.Engine`. `num_workers` is of no meaning to it."""

    def __init__(self, options: EngineOptions) -> None:
        generator = torch.Generator(options.device).manual_seed(options.seed)
        with torch.inference_mode(False):  # or no step could train on views made in an evaluation
            self._views = tuple(
                torch.randn(
                    (options.batch_size, spec.size, spec.size, 3),
                    dtype=options.dtype,
                    device=options.device,
                    generator=generator,
                ).permute(0, 3, 1, 2)
                for spec in options.specs
            )

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        for request in requests:
            # The same memory for every batch, since nothing ever writes to it again.
            yield Result(
                tuple(view[: len(request.indices)] for view in self._views),
                request.indices.astype(np.int64),
            )

    def whereabouts(self) -> list[tuple[str, int]]:
        return []

    def close(self) -> None:
        """There is nothing to stop."""
