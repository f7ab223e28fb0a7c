"""Damaged shards: the index refuses them, or names what is damaged, and never crashes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.index.contract import Fields
from swiftsiam.pipeline.index.driver import index_folder
from swiftsiam.pipeline.index.example import parse_example
from swiftsiam.pipeline.progress import show_nothing
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.manifest import Manifest

ROUNDS = 150


@pytest.fixture(params=["webdataset", "tfrecord", "recordio"])
def shard(request: pytest.FixtureRequest, converted: dict[str, Path], tmp_path: Path) -> Path:
    """One shard, alone in a folder named after its format."""
    folder = tmp_path / request.param
    folder.mkdir()
    name = next(iter(Manifest(converted[request.param]).head.files))
    return Path(shutil.copy(converted[request.param] / name, folder))


def damage(data: bytes, generator: np.random.Generator) -> bytes:
    """Cut, flipped, overwritten, lengthened or shortened somewhere."""
    place = int(generator.integers(len(data)))
    noise = generator.bytes(int(generator.integers(1, 200)))
    kind = generator.integers(6)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + data[place + len(noise) :]
    if kind == 2:
        return data[:place] + noise + data[place:]
    if kind == 3:
        return data[:place] + bytes(len(noise)) + data[place + len(noise) :]
    if kind == 4:
        return data[:place] + noise + data[place + len(noise) :]
    return (
        data[:place] + bytes((data[place] ^ 1 << int(generator.integers(8)),)) + data[place + 1 :]
    )


def test_damage_is_refused_or_named(shard: Path) -> None:
    data = shard.read_bytes()
    generator = np.random.default_rng(0)
    cases = [one for _ in range(ROUNDS) if (one := damage(data, generator)) != data]
    unseen = 0
    for case in cases:
        shard.write_bytes(case)
        try:
            outcome = index_folder(
                shard.parent, fields=Fields(), num_workers=1, progress=show_nothing
            )
        except UserError:
            continue
        unseen += not outcome.damaged
        source = open_source(shard.parent)
        assert all(source.read(number) for number in range(len(source)))
        for name in ("manifest.json", "manifest.npz"):
            (shard.parent / name).unlink()
    # A TFRecord has checksums of everything; the others of little but their frames.
    assert unseen == 0 if shard.parent.name == "tfrecord" else unseen < len(cases) * 2 // 3


def test_what_is_no_example_is_told(converted: dict[str, Path]) -> None:
    """Whatever the bytes are."""
    generator = np.random.default_rng(1)
    data = next(converted["tfrecord"].glob("*.tfrecord")).read_bytes()[12:400]
    refused = 0
    for _ in range(3000):
        try:
            parse_example(damage(data, generator))
        except ValueError:
            refused += 1
    assert refused > 1000
