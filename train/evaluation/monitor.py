"""kNN of a network, as a configuration has it: the monitor of a run."""

import numpy as np
from torch import nn

from ..config import Config
from ..device import build_autocast
from .encoder import Features, extract_features
from .knn import accuracy
from .labelled import LabelledData


def evaluate_knn(network: nn.Module, data: LabelledData, config: Config) -> float:
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
        excluded=_rows_of(data.shared, queries, bank) if data.shared else None,
        num_classes=len(data.bank.source.classes),
    )


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
