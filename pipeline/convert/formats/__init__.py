"""The table of formats that can be written: a row is a module with a class `Writer`."""

from importlib import import_module
from typing import Any

from ..contract import ShardFormat

FORMATS = {
    "beton": "FFCV's own format: one file, read by stock FFCV",
    "webdataset": "tar shards, read by webdataset, DALI (with its index) and tar",
    "tfrecord": "TFRecord shards of tf.train.Example, read by TensorFlow and DALI",
    "recordio": "MXNet's RecordIO shards, read by MXNet and DALI",
}
"""Name, and what it is in words."""


def build_format(name: str, **options: Any) -> ShardFormat:
    """The format of this name. Options: `page_size` of a beton."""
    return import_module(f".{name}", __package__).Writer(**options)
