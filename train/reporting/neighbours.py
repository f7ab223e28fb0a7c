"""What a run's features hold to be alike: the nearest training pictures of a few others."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ...pipeline.decode import decode_rgb
from ...pipeline.errors import UserError
from ...pipeline.order import shuffled
from ...pipeline.sources import Source, open_source
from ...pipeline.sources.torchvision_spec import are_same
from ..checkpoint import list_checkpoints
from ..config import Config, replace
from ..device import build_autocast, resolve
from ..evaluation.encoder import Features, extract_features
from ..evaluation.labelled import LabelledData, open_labelled
from ..weights.trained import Trained, load_trained
from .series import Run

_SEED = 0  # and not the run's own: all runs are asked about the same pictures
_TRIED = 20  # pictures for each that is shown: of as many classes as there are rows
_SIDE = 256  # px: more is not seen in a report


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A picture with what is known of it."""

    index: int
    """In the listing of its data set."""
    class_name: str
    pixels: np.ndarray
    """(H, W, 3) uint8, the whole picture."""


class Neighbour(NamedTuple):
    """One of the nearest."""

    shown: Shown
    similarity: float
    """Cosine of the features."""
    is_right: bool
    """Whether it is of the query's class."""


class Row(NamedTuple):
    """A query, and its nearest pictures of the bank, the nearest first."""

    query: Shown
    neighbours: list[Neighbour]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Of one run."""

    rows: list[Row]
    step: int
    """Of the checkpoint."""
    num_bank: int
    """Training pictures that were looked among."""
    chance: float
    """Share of the bank that is of the query's class, mean over the rows."""

    @property
    def num_right(self) -> int:
        """Neighbours of the query's class."""
        return sum(neighbour.is_right for row in self.rows for neighbour in row.neighbours)

    @property
    def num_shown(self) -> int:
        """Neighbours in all."""
        return sum(len(row.neighbours) for row in self.rows)


def find_neighbours(run: Run, *, num_queries: int, num_bank: int, k: int) -> Neighbours:
    """The k nearest training pictures of a few validation pictures, of different classes.

    Args:
        run: its newest checkpoint is asked, on the device at hand.
        num_queries: rows.
        num_bank: a fixed random choice of so many training pictures.
        k: neighbours in a row.

    Raises:
        UserError: there are no labelled validation pictures, the pictures are gone, or there is
            no checkpoint that can be read.
        MachineError: a worker of the loader died, or the disk does not answer.
    """
    path, val_path = run.config.data.path, run.config.data.val_path
    if path is None or val_path is None:
        missing = "data.path" if path is None else "data.val_path"
        raise UserError(f"{missing}=null: the run names no such pictures")
    config = _configure(run.config, num_bank=num_bank)
    trained = _load_newest(run)
    data = open_labelled(
        config,
        open_source(path, field="data.path"),
        open_source(val_path, field="data.val_path"),
        fields=(f"data.path={path}", f"data.val_path={val_path}"),
        max_queries=_TRIED * num_queries,
        splits=are_same(path, val_path),
    )
    try:
        return _look(trained, data, config, num_queries=num_queries, k=k)
    finally:
        data.close()


def _configure(stored: Config, *, num_bank: int) -> Config:
    """The run's own views, for the machine at hand, and the same pictures for every run."""
    machine = {"device": "auto", "precision": "auto", "num_threads": None, "seed": _SEED}
    config = replace(stored, eval={"max_bank": num_bank}, train=machine, loader={"engine": "auto"})
    return resolve(config).config


def _load_newest(run: Run) -> Trained:
    """Of a run that goes on, the newest may be replaced while it is read; or it is damaged."""
    found = list_checkpoints(run.path / "checkpoints")
    if not found:
        raise UserError("no checkpoint yet")
    for path in reversed(found[1:]):
        try:
            return load_trained(path)
        except UserError:
            continue
    return load_trained(found[0])


def _look(
    trained: Trained, data: LabelledData, config: Config, *, num_queries: int, k: int
) -> Neighbours:
    network: Any = trained.build().to(config.train.device)
    network = network.to(memory_format=torch.channels_last)
    autocast = build_autocast(config.train.precision, config.train.device)
    bank = _to_cpu(extract_features(network, data.bank, autocast=autocast))
    queries = _to_cpu(extract_features(network, data.queries, autocast=autocast))
    labels = data.query_labels[queries.labels]
    asked = choose_different(queries.indices.numpy(), labels.numpy(), count=num_queries)
    similarity = queries.features[asked] @ bank.features.T
    is_right = labels[asked, None] == bank.labels
    place = {index: row for row, index in enumerate(bank.indices.tolist())}
    rows = []
    for number, row in enumerate(asked.tolist()):
        index = int(queries.indices[row])
        for same in data.shared.get(index, ()):  # the picture itself
            if same in place:
                similarity[number, place[same]] = float("-inf")
        nearest = similarity[number].topk(min(k, len(bank.indices)))
        neighbours = [
            Neighbour(
                _show(data.bank.source, int(bank.indices[at]), int(bank.labels[at])),
                value,
                bool(is_right[number, at]),
            )
            for value, at in zip(nearest.values.tolist(), nearest.indices.tolist(), strict=True)
            if value > float("-inf")
        ]
        source = data.queries.source
        rows.append(Row(_show(source, index, int(queries.labels[row])), neighbours))
    return Neighbours(
        rows=rows,
        step=trained.state["step"],
        num_bank=len(bank.indices),
        chance=float(is_right.float().mean()),
    )


def choose_different(indices: np.ndarray, labels: np.ndarray, *, count: int) -> np.ndarray:
    """(M,) int64: rows of `count` pictures, of as many classes as there are, sorted by class.

    Args:
        indices: (N,) int64 in the listing, sorted.
        labels: (N,) int64.
        count: M is less where there are fewer pictures.
    """
    rows = np.searchsorted(indices, shuffled(indices, seed=_SEED))
    rounds: dict[int, int] = {}  # how many came before of its class
    turns = []
    for label in labels[rows].tolist():
        turns.append(rounds.get(label, 0))
        rounds[label] = turns[-1] + 1
    chosen = rows[np.argsort(turns, kind="stable")[:count]]
    return chosen[np.lexsort((chosen, labels[chosen]))]


def _to_cpu(features: Features) -> Features:
    return Features(*(column.cpu() for column in features))


def _show(source: Source, index: int, label: int) -> Shown:
    pixels = decode_rgb(source.read(index), least=_SIDE)
    return Shown(index=index, class_name=source.classes[label], pixels=pixels)
