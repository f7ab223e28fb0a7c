"""Damaged betons: refused, or named sample by sample; never a crash and never a hang."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.engine("ffcv", formats=("beton",)), pytest.mark.slow]

_FUZZ = '''
import collections, faulthandler, json, sys
from pathlib import Path
import numpy as np, torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.contract import EngineOptions, Request
from swiftsiam.pipeline.engines.ffcv import engine as ffcv_engine
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.beton_format import FIELD, HEADER

faulthandler.dump_traceback_later(480, exit=True)
paths, count, work = sys.argv[1:-2], int(sys.argv[-2]), Path(sys.argv[-1])
random = np.random.default_rng(0)
specs = build_train_specs(AugmentConfig(size=16))
seen = collections.Counter()


def damaged(data):
    """Some bytes changed where it hurts: in the tables, in pictures; or the end cut off."""
    header = np.frombuffer(data, HEADER, count=1)[0]
    tables = HEADER.itemsize + int(header["num_fields"]) * FIELD.itemsize
    end = int(header["alloc_table_ptr"])
    begins = np.flatnonzero(np.frombuffer(data, np.uint8)[tables + 1024 : end])[0] + tables + 1024
    pictures = (begins, begins + 20_000)
    regions = [(0, 24), (24, 64), (tables, tables + 700), (end, len(data)), pictures]
    data = bytearray(data)
    start, stop = regions[random.integers(len(regions))]
    for _ in range(random.integers(1, 5)):
        value = random.choice((0, 1, 127, 255, random.integers(256)))
        data[random.integers(start, min(stop, len(data)))] = value
    if random.random() < 0.05:
        del data[random.integers(len(data)) :]
    return data


originals = [Path(path).read_bytes() for path in paths]
for number in range(count):
    path = work / f"{number}.beton"
    path.write_bytes(damaged(originals[number % len(originals)]))
    try:
        options = EngineOptions(
            source=open_source(path), specs=specs, seed=0, batch_size=12, dtype=torch.float32,
            device=torch.device("cpu"), num_workers=number % 2, max_bad_samples=None,
        )
        engine = ffcv_engine.build(options)
    except UserError as error:
        assert str(path) in str(error), error
        seen["refused"] += 1
        continue
    finally:
        path.unlink()
    (result,) = engine.stream(iter([Request(0, np.arange(min(len(options.source), 12)))]))
    assert all(np.isfinite(view.numpy()).all() for view in result.views)
    assert sorted(bad.index for bad in result.bad) == np.flatnonzero(result.index < 0).tolist()
    assert all(bad.key.startswith(path.name) and bad.reason for bad in result.bad)
    seen["named" if result.bad else "read"] += 1
    engine.close()
print(json.dumps(seen))
'''


def test_damaged_betons(betons: dict[str, Path], tmp_path: Path) -> None:
    paths = [betons[name] for name in ("jpg", "mixed", "shuffled")]
    # In a process of its own, which may crash without taking this one along.
    done = subprocess.run(
        [sys.executable, "-c", _FUZZ, *paths, "400", tmp_path],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    assert sum(seen.values()) == 400
    assert min(seen["refused"], seen["named"], seen["read"]) >= 10, seen
