"""Evaluation during and after training: kNN of the network's features, and the floors below it."""

import contextlib
import unicodedata
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..pipeline.augment.spec import IMAGENET_MEAN, IMAGENET_STD, build_eval_spec
from ..pipeline.errors import BadSampleError, UserError
from ..pipeline.loader import Loader, build_loader
from ..pipeline.philox import order_keys
from ..pipeline.sources import Source
from .config import Config
from .device import build_autocast, view_dtype
from .knn import Features, accuracy, extract_features

_RAW_SIDE = 8
_NUM_TRIED = 16  # pictures, before a run that asks for their kNN
_CHOICE_EPOCH = np.uint64(2**32 - 1)  # no epoch of training has this order


class RawPixels(nn.Module):
    """The floor that needs no network: 8×8 area means of the picture, minus 0.5."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) normalised → (B, 192)."""
        pixels = view.float() * self.std + self.mean
        return F.adaptive_avg_pool2d(pixels, _RAW_SIDE).flatten(1) - 0.5


@dataclass(frozen=True, kw_only=True)
class KnnData:
    """The bank that votes and the queries, as evaluation loaders over the same classes."""

    bank: Loader
    queries: Loader
    query_labels: torch.Tensor
    """Position in the queries' classes → position in the bank's."""

    @cached_property
    def shared(self) -> dict[int, list[int]]:
        """Queries that lie in the bank as well, of `find_shared`; none votes for itself."""
        bank, queries = self.bank, self.queries
        return find_shared(bank.source, bank.indices, queries.source, queries.indices)

    def check(self) -> None:
        """Try a few pictures of each, since all of them may be of no use.

        Raises:
            UserError: none of them can be read.
        """
        for loader in (self.bank, self.queries):
            loader.check_readable(_NUM_TRIED)

    def close(self) -> None:
        """Stop the loaders' workers."""
        self.bank.close()
        self.queries.close()


def open_knn_data(
    config: Config,
    bank: Source,
    queries: Source,
    *,
    fields: tuple[str, str],
    max_queries: int | None,
    splits: bool,
) -> KnnData:
    """The loaders of a kNN evaluation as the configuration has it.

    Args:
        config: resolved.
        bank: labelled pictures that vote.
        queries: labelled pictures, whose class names all occur in the bank.
        fields: what names the bank and the queries in errors.
        max_queries: a fixed random choice of so many; None: all.
        splits: the two are one set: a fixed fifth of it asks, and the others vote.

    Raises:
        UserError: no labels, or a class that the bank lacks.
    """
    for source, name in zip((bank, queries), fields, strict=True):
        if not source.classes:
            raise UserError(
                f"{name}: has no class folders, and kNN needs labels; give labelled data"
            )
    # One system's file names are another's decomposed ("é" in one character or two).
    place = {unicodedata.normalize("NFC", name): label for label, name in enumerate(bank.classes)}
    asked = [unicodedata.normalize("NFC", name) for name in queries.classes]
    missing = [name for name in asked if name not in place]
    if missing:
        raise UserError(
            f"{fields[1]}: class {missing[0]!r} is not among the {len(bank.classes)} "
            "classes of the bank; both need the same class folders"
        )
    labels = torch.tensor([place[name] for name in asked])
    seed, max_bank = config.train.seed, config.eval.max_bank
    voting = choose_indices(bank, limit=max_bank, seed=seed)
    if splits:
        fifth = choose_indices(queries, limit=max(len(queries) // 5, 1), seed=seed + 1)
        voting = np.setdiff1d(voting, fifth)
        asking = fifth[:: -(-len(fifth) // (max_queries or len(fifth)))]
    else:
        asking = choose_indices(queries, limit=max_queries, seed=seed)
    return KnnData(
        bank=_eval_loader(config, bank, voting),
        queries=_eval_loader(config, queries, asking),
        query_labels=labels,
    )


def find_shared(
    bank: Source, voting: np.ndarray, queries: Source, asking: np.ndarray
) -> dict[int, list[int]]:
    """Which pictures are in the bank and among the queries.

    Two names of one file, by links of any kind, are one picture; copies are not found out.

    Returns:
        {index of a query: indices in the bank}
    """
    in_bank: dict[tuple[int, int, int], list[int]] = {}
    for index in voting.tolist():
        with contextlib.suppress(BadSampleError):  # it will not vote at all
            in_bank.setdefault(bank.place(index), []).append(index)
    shared = {}
    for index in asking.tolist():
        with contextlib.suppress(BadSampleError):
            if (place := queries.place(index)) in in_bank:
                shared[index] = in_bank[place]
    return shared


def choose_indices(source: Source, *, limit: int | None, seed: int) -> np.ndarray:
    """All positions in the listing, or a fixed random choice of `limit`, sorted."""
    if limit is None or limit >= len(source):
        return np.arange(len(source))
    keys = order_keys(np.uint64(seed), _CHOICE_EPOCH, len(source))
    return np.sort(np.argsort(keys, kind="stable")[:limit])


def _eval_loader(config: Config, source: Source, indices: np.ndarray) -> Loader:
    return build_loader(
        source=source,
        specs=(build_eval_spec(config.augment),),
        global_batch_size=config.eval.batch_size,
        train=False,
        engine=config.loader.engine,
        dtype=view_dtype(config.train.precision),
        device=config.train.device,
        num_workers=config.data.num_workers or 0,
        indices=indices,
        ops=config.augment.ops,
    )


def evaluate_knn(network: nn.Module, data: KnnData, config: Config) -> float:
    """kNN accuracy of the network's features, percent."""
    autocast = build_autocast(config.train.precision, config.train.device)
    bank = extract_features(network, data.bank, autocast=autocast)
    queries = extract_features(network, data.queries, autocast=autocast)
    to_bank = data.query_labels.to(queries.labels.device)
    queries = Features(queries.features, to_bank[queries.labels], queries.indices)
    return accuracy(
        queries,
        bank,
        k=config.eval.k,
        temperature=config.eval.temperature,
        excluded=_rows_of(data.shared, queries, bank),
    )


def _rows_of(shared: dict[int, list[int]], queries: Features, bank: Features) -> torch.Tensor:
    """(P, 2) int64: the query's and the bank's row of each pair of equal pictures."""
    row_of = {index: row for row, index in enumerate(bank.indices.tolist())}
    pairs = [
        (row, row_of[same])
        for row, index in enumerate(queries.indices.tolist())
        for same in shared.get(index, ())
        if same in row_of
    ]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
