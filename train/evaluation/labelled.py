"""Labelled pictures: a bank, queries over the same classes, and what the two share."""

import contextlib
import unicodedata
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ...pipeline.augment.spec import build_eval_spec
from ...pipeline.building import build_loader
from ...pipeline.engines import ENGINES
from ...pipeline.errors import BadSampleError, UserError
from ...pipeline.loader import Loader
from ...pipeline.order import choose_indices
from ...pipeline.sources import Source
from ...pipeline.world import World
from ..config import Config
from ..device import view_dtype

_NUM_TRIED = 16  # pictures, before a run that asks for their kNN


@dataclass(frozen=True, kw_only=True)
class LabelledData:
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


def open_labelled(
    config: Config,
    bank: Source,
    queries: Source,
    *,
    fields: tuple[str, str],
    max_queries: int | None,
    splits: bool,
    world: World | None = None,
) -> LabelledData:
    """The loaders of a kNN evaluation as the configuration has it.

    Args:
        config: resolved.
        bank: labelled pictures that vote.
        queries: labelled pictures, whose class names all occur in the bank.
        fields: what names the bank and the queries in errors.
        max_queries: a fixed random choice of so many; None: all.
        splits: the two are one set: a fixed fifth of it asks, and the others vote.
        world: the processes that share the loaders' batches.

    Raises:
        UserError: no labels, or a class that the bank lacks.
    """
    labels = match_classes(bank, queries, fields=fields)
    seed, max_bank = config.train.seed, config.eval.max_bank
    voting = choose_indices(len(bank), limit=max_bank, seed=seed)
    if splits:
        fifth = choose_indices(len(queries), limit=num_asking(len(queries)), seed=seed + 1)
        voting = np.setdiff1d(voting, fifth)
        asking = fifth[:: -(-len(fifth) // (max_queries or len(fifth)))]
    else:
        asking = choose_indices(len(queries), limit=max_queries, seed=seed)
    return LabelledData(
        bank=open_eval_loader(config, bank, voting, world or World()),
        queries=open_eval_loader(config, queries, asking, world or World()),
        query_labels=labels,
    )


def num_asking(count: int) -> int:
    """Of so many pictures, where some ask and the others vote."""
    return max(count // 5, 1)


def match_classes(known: Source, asked: Source, *, fields: tuple[str, str]) -> torch.Tensor:
    """(C,) int64: a class of `asked` → the class of the same name in `known`.

    Raises:
        UserError: one has no labels, or a class is not known; named by `fields`.
    """
    for source, name in zip((known, asked), fields, strict=True):
        if not source.classes:
            raise UserError(
                f"{name}: has no class folders, and labels are needed; give labelled data"
            )
    # One system's file names are another's decomposed ("é" in one character or two).
    place = {unicodedata.normalize("NFC", name): label for label, name in enumerate(known.classes)}
    names = [unicodedata.normalize("NFC", name) for name in asked.classes]
    missing = [name for name in names if name not in place]
    if missing:
        raise UserError(
            f"{fields[1]}: class {missing[0]!r} is not among the {len(known.classes)} classes of "
            f"{fields[0]}; both need the same class folders"
        )
    return torch.tensor([place[name] for name in names])


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


def open_eval_loader(
    config: Config, source: Source, indices: np.ndarray | None, world: World
) -> Loader:
    """This rank's share of pictures as they are evaluated: ordered, complete, one view each.

    Args:
        config: resolved.
        source: of the pictures.
        indices: (N,) of those to take; None: all.
        world: the processes that share them.
    """
    engine = config.loader.engine
    if not ENGINES[engine].reads_pictures:  # the step may be measured on noise, features may not
        engine = "torchvision"
    return build_loader(
        source=source,
        specs=(build_eval_spec(config.augment),),
        global_batch_size=max(config.eval.batch_size // world.size, 1) * world.size,
        train=False,
        engine=engine,
        dtype=view_dtype(config.train.precision, loader_device="cpu"),
        device=config.train.device,
        num_workers=config.data.num_workers or 0,
        indices=indices,
        rank=world.rank,
        world_size=world.size,
        ops=config.augment.ops,
        stall_s=config.data.stall_s,
    )
