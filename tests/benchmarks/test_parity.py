"""The certificate holds for a right engine and not for a wrong one."""

import numpy as np
from swiftsiam.benchmarks.parity import compare, examine
from swiftsiam.pipeline.demo.images import generate
from swiftsiam.pipeline.sources import open_source


def test_kernel_holds_in_every_operation(tmp_path) -> None:
    pictures = generate(tmp_path / "pictures", num_images=40, num_workers=1).train
    rows, worst = examine(open_source(pictures), engines=["torchvision"], size=64, num_images=3)
    gated = [row for row in rows if row.limit_mean is not None]
    assert {row.ops for row in gated} >= {"crop", "hue", "blur", "whole view", "evaluation"}
    assert all(row.holds for row in gated)
    crops = [row for row in gated if row.engine.endswith("crops")]
    assert {row.engine for row in crops} == {"torchvision, crops", "resident, crops"}
    assert {row.ops for row in crops} == {"crop", "whole view"}
    assert all((row.limit_mean, row.limit_worst_image) == (0.5, 1.0) for row in crops)
    assert all(row.mean > 0.1 for row in crops)  # they are of 8 bits
    assert worst["torchvision"].size == (3 * 64, 64)


def test_half_a_level_off_does_not_hold() -> None:
    oracle = np.zeros((2, 3, 8, 8))
    assert compare("e", "crop", oracle, oracle, (0.1, 0.3)).holds
    assert not compare("e", "crop", oracle + 0.5, oracle, (0.1, 0.3)).holds
    one_bad = oracle.copy()
    one_bad[0] += 0.19  # 0.095 on average, within; raise the one picture over its own limit
    assert compare("e", "crop", one_bad, oracle, (0.1, 0.3)).holds
    assert not compare("e", "crop", one_bad, oracle, (0.1, 0.18)).holds
