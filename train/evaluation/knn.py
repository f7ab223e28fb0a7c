"""k-nearest-neighbour accuracy of features: the usual monitor of self-supervised training.

Weighted vote over the k most similar bank features by cosine similarity, weights exp(similarity /
T) (Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", CVPR
2018).
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Le
from pydantic import ConfigDict

from ...pipeline.errors import UserError

if TYPE_CHECKING:
    from .encoder import Features  # brings libraries of the loader: 60 MB, for a name

_SIMILARITIES = 1 << 24  # of one chunk: 64 MB in float32
_SIMILARITIES_ON_GPU = 1 << 27  # 512 MB: where a bank of a million leaves 13 queries, 104 a launch


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """The section `eval` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    every: Annotated[int, Ge(0), Le(1_000_000)] = 10
    """Epochs between two kNN evaluations; 0: only at the end."""
    k: Annotated[int, Ge(1), Le(100_000)] = 200
    """Neighbours that vote."""
    temperature: Annotated[float, Ge(0.001), Le(1000)] = 0.1
    """Of the votes' weights."""
    max_bank: Annotated[int, Ge(1), Le(2**40)] | None = 50_000
    """Training pictures whose labels vote; null: all. A fixed random choice of the seed."""
    max_queries: Annotated[int, Ge(1), Le(2**40)] | None = 10_000
    """Validation pictures during training; the last evaluation takes all."""
    batch_size: Annotated[int, Ge(1), Le(1_000_000)] = 256
    """Pictures in one forward pass, over all processes."""
    floors: bool = False
    """Before training, the kNN of raw pixels and of the network at random initialisation."""


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Products of matrices in true float32, whatever training is set to: in TF32 a similarity is
    off by 1e-3, and a vote is its exponential by the temperature.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@torch.inference_mode()
def predict(
    queries: torch.Tensor,
    bank: torch.Tensor,
    bank_labels: torch.Tensor,
    *,
    k: int,
    temperature: float,
    excluded: np.ndarray | None = None,
    num_classes: int | None = None,
) -> torch.Tensor:
    """The class that the neighbours vote for.

    Args:
        queries: (Q, d) float32, normalised.
        bank: (N, d) float32, normalised.
        bank_labels: (N,) int64, from 0.
        k: neighbours; no more than N are used.
        temperature: of the weights.
        excluded: (P, 2) int64: query and row of the bank that does not vote for it, since it is
            the same picture; a query never has all of the bank against it.
        num_classes: more than any label; None: they are asked for it, which waits for the device.
            Nothing else here does.

    Returns:
        (Q,) int64. No Q × N matrix is held: queries pass in chunks.
    """
    if num_classes is None:
        num_classes = int(bank_labels.max()) + 1
    similarities = _SIMILARITIES if queries.device.type == "cpu" else _SIMILARITIES_ON_GPU
    chunk = max(similarities // max(len(bank), num_classes), 1)
    parts = queries.split(chunk)
    pairs = _by_chunk(excluded, chunk=chunk, num_chunks=len(parts), device=queries.device)
    predictions = []
    for part, itself in zip(parts, pairs, strict=True):
        with _full_float32():
            similarity = part @ bank.T
        similarity[itself[:, 0], itself[:, 1]] = float("-inf")
        similarity, neighbours = similarity.topk(min(k, len(bank)), dim=1)
        # The nearest weighs 1, or small temperatures would overflow.
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = torch.zeros(len(part), num_classes, device=part.device)
        votes.scatter_add_(1, bank_labels[neighbours], weights)
        predictions.append(votes.argmax(dim=1))
    return torch.cat(predictions)


def _by_chunk(
    excluded: np.ndarray | None, *, chunk: int, num_chunks: int, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """The pairs of each chunk of queries, counted from its first one.

    Cut on the host and moved once: to choose them on the device would wait in each chunk.
    """
    if excluded is None:
        excluded = np.empty((0, 2), np.int64)
    pairs = excluded[excluded[:, 0].argsort(kind="stable")]
    counts = np.bincount(pairs[:, 0] // chunk, minlength=num_chunks).tolist()
    pairs[:, 0] %= chunk
    return torch.as_tensor(pairs).to(device, non_blocking=True).split(counts)


def count_right(
    queries: "Features",
    bank: "Features",
    *,
    k: int,
    temperature: float,
    excluded: np.ndarray | None = None,
    num_classes: int | None = None,
) -> int:
    """Queries whose class the neighbours vote for; see `predict`. This waits for the device.

    Raises:
        UserError: the bank is nothing but the query itself.
    """
    if excluded is not None and len(excluded) and len(bank.labels) < 2:
        raise UserError("the bank holds no picture but the query itself; give more pictures")
    if not len(queries.labels):  # of a rank, where there are more ranks than queries
        return 0
    predicted = predict(
        queries.features,
        bank.features,
        bank.labels,
        k=k,
        temperature=temperature,
        excluded=excluded,
        num_classes=num_classes,
    )
    return int((predicted == queries.labels).sum())
