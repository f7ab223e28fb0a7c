"""The ffcv engine's second start compiles nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.engine("ffcv", formats=("beton",)), pytest.mark.slow]

_START = """
import sys
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.engines.ffcv.loop import make_rows
from swiftsiam.pipeline.augment.cpu import augment_view
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.sources import open_source
loader = build_loader(
    source=open_source(sys.argv[1]), specs=build_train_specs(AugmentConfig(size=16)),
    global_batch_size=4, train=True, engine="ffcv", num_workers=1,
)
with loader:
    next(iter(loader))
for function in (make_rows, augment_view):
    print(sum(function.stats.cache_misses.values()), sum(function.stats.cache_hits.values()))
"""


def test_a_second_start_compiles_nothing(betons: dict[str, Path]) -> None:
    command = [sys.executable, "-c", _START, betons["raw"]]
    for start in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert start == 0 or done.stdout.splitlines() == ["0 1", "0 1"]
