"""kNN of a network, as a configuration has it: the monitor of a run."""

import numpy as np
from torch import nn

from ...pipeline.world import World
from ..config import Config
from ..device import build_autocast
from .encoder import Features, extract_features
from .knn import count_right
from .labelled import LabelledData


def evaluate_knn(
    network: nn.Module, data: LabelledData, config: Config, world: World | None = None
) -> float:
    """kNN accuracy of the network's features, percent.

    Args:
        network: views → features.
        data: of this rank.
        config: resolved.
        world: the ranks that share the data, each of which asks for a part of the queries.
    """
    world = world or World()
    autocast = build_autocast(config.train.precision, config.train.device)
    bank = extract_features(network, data.bank, autocast=autocast, world=world)
    queries = extract_features(network, data.queries, autocast=autocast, world=world)
    to_bank = data.query_labels.to(queries.labels.device)
    own = slice(world.rank, None, world.size)
    num_queries = len(queries.labels)
    queries = Features(queries.features[own], to_bank[queries.labels[own]], queries.indices[own])
    right = count_right(
        queries,
        bank,
        k=config.eval.k,
        temperature=config.eval.temperature,
        excluded=_rows_of(data.shared, queries, bank) if data.shared else None,
        num_classes=len(data.bank.source.classes),
    )
    return 100.0 * (sum(world.gather(right)) / num_queries)


def _rows_of(shared: dict[int, list[int]], queries: Features, bank: Features) -> np.ndarray:
    """(P, 2) int64: the query's and the bank's row of each pair of equal pictures."""
    row_of = {index: row for row, index in enumerate(bank.indices.tolist())}
    pairs = [
        (row, row_of[same])
        for row, index in enumerate(queries.indices.tolist())
        for same in shared.get(index, ())
        if same in row_of
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)
