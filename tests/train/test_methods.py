"""Methods other than SimSiam in the trainer: trained, stopped, continued to the same bits."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from swiftsiam.pipeline.augment.spec import AugmentConfig
from swiftsiam.pipeline.config import LoaderConfig
from swiftsiam.train.preview import draw_preview

from .conftest import Cli, assert_same_run, read_learning, read_weights, refused, tiny

GoOn = Callable[[str, Callable[[Path], object]], subprocess.CompletedProcess[str]]

METHODS = {
    "held": ["model.method=simsiam_variant", "model.target=held", "model.hold_steps=3"],
    "average": [
        *("model.method=simsiam_variant", "model.target=picture_average"),
        *("model.predictor=identity", "model.target_velocity=0.5"),
    ],
    "four": [
        *("model.method=simsiam_variant", "model.target=other_views", "augment.num_views=4"),
        "model.head_norm=nowhere",
    ],
    "simclr": ["model.method=simclr", "model.predictor=mlp", "model.stop_gradient=true"],
    "byol": ["model.method=byol", "model.momentum=0.9"],
    "moco": ["model.method=moco", "model.queue=40"],  # goes round within the run
    "swav": [
        *("model.method=swav", "model.prototypes=6", "augment.small_views=2"),
        "augment.small_size=8",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_stopped_run_goes_on_to_the_same_bits(
    name: str, pictures: Path, here: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    keys = METHODS[name]
    whole = here(*tiny(pictures, "whole", *keys))
    assert whole.returncode == 0, whole.stderr
    records = [r for r in read_learning(tmp_path / "whole") if r["type"] == "train"]
    assert records[0]["loss"] != records[-1]["loss"]
    assert 0.2 < records[-1]["z_std"] <= 1

    request.getfixturevalue("stops_at_7")
    stopped = here(*tiny(pictures, "half", *keys))
    assert stopped.returncode == 75, stopped.stderr
    resumed = here("pretrain", "--resume", "half")
    assert resumed.returncode == 0, resumed.stderr
    assert_same_run(tmp_path / "whole", tmp_path / "half")


@pytest.mark.slow
def test_alternation_with_one_step_is_simsiam_to_the_bit(
    pictures: Path, here: Cli, tmp_path: Path
) -> None:
    """The whole loss curve, under the machine's own precision; with ten steps it is another."""
    curves = {}
    held = ["model.method=simsiam_variant", "model.target=held"]
    for name, keys in {"simsiam": [], "1": held, "10": [*held, "model.hold_steps=10"]}.items():
        done = here(*tiny(pictures, name, "train.log_every=1", *keys))
        assert done.returncode == 0, done.stderr
        curves[name] = [r for r in read_learning(tmp_path / name) if r["type"] == "train"]
    assert len(curves["simsiam"]) == 10
    assert curves["1"] == curves["simsiam"]
    assert curves["10"][0] == curves["simsiam"][0]
    assert curves["10"][1] != curves["simsiam"][1]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["augment.num_views=4"], ["4 views", "model.method=simsiam takes 2"]),
        (["augment.small_views=2", "augment.small_size=8"], ["4 views", "augment.small_views=0"]),
        (["model.method=moco", "model.queue=15"], ["model.queue=15", "model.queue=16"]),
        (
            ["model.method=swav", "augment.small_views=2", "augment.small_min_scale=0.3"],
            ["augment.small_min_scale=0.3", "augment.min_scale=0.2"],
        ),
        (["model.method=simsiam_variant", "augment.num_views=3"], ["takes pairs of one size"]),
        (
            ["model.backbone=timm/vit_tiny_patch16_224", "augment.size=24"],
            ["augment.size=24", "timm/vit_tiny_patch16_224"],
        ),
    ],
)
def test_what_does_not_go_together_is_told_and_leaves_no_folder(
    keys: list[str], words: list[str], pictures: Path, here: Cli, tmp_path: Path
) -> None:
    refused(here(*tiny(pictures, "run", *keys)), *words)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def go_on(pictures: Path, here: Cli, tmp_path: Path, stops_at_7: None) -> GoOn:
    """(method, change): stopped, and continued where the pictures of a class were changed."""

    def go_on(name: str, change: Callable[[Path], object]) -> subprocess.CompletedProcess[str]:
        data = Path(shutil.copytree(pictures, tmp_path / "data"))
        assert here(*tiny(data, "run", *METHODS[name])).returncode == 75
        change(data / "train/dark")
        return here("pretrain", "--resume", "run", "data.on_change=continue")

    return go_on


@pytest.mark.slow
def test_what_is_kept_of_each_picture_goes_with_no_others(go_on: GoOn) -> None:
    # As many as before.
    resumed = go_on("average", lambda dark: (dark / "0.png").rename(dark / "zero.png"))
    refused(resumed, "data.on_change", "model.target=picture_average", "other names or labels")


@pytest.mark.slow
def test_a_schedule_of_a_methods_own_ends_with_the_run_over_fewer_pictures(
    go_on: GoOn, tmp_path: Path
) -> None:
    resumed = go_on("byol", lambda dark: [(dark / f"{n}.png").unlink() for n in range(3)])
    assert resumed.returncode == 0, resumed.stderr
    # 10 steps were made, by which it would have ended before: 2 epochs have 8 now.
    assert read_weights(tmp_path / "run")["schedule.done"] == 8


def test_all_views_are_drawn_beside_each_other(pictures: Path, tmp_path: Path) -> None:
    widths = {}
    for count in (2, 4):
        out = tmp_path / f"{count}.png"
        augment = AugmentConfig(size=96, num_views=count, small_views=count - 2, small_size=16)
        draw_preview(str(pictures / "train"), out, augment=augment, loader=LoaderConfig())
        with Image.open(out) as sheet:
            widths[count] = sheet.width
    views = (2, 4 + 2)
    assert widths[4] - widths[2] == pytest.approx(2 * (views[1] - views[0]) * 96, rel=0.1)


@pytest.mark.slow
def test_another_method_is_no_way_to_go_on(pictures: Path, here: Cli) -> None:
    done = here(*tiny(pictures, "run", "train.epochs=1", "model.method=byol"))
    assert done.returncode == 0, done.stderr
    changed = here("pretrain", "--resume", "run", "model.momentum=0.5")
    refused(changed, "model.momentum=0.5", "the run was begun with 0.99")
    refused(
        here("pretrain", "--resume", "run", "model.method=simsiam"),
        *("model.method=simsiam", "begun with byol"),
    )
    refused(here("export", "run", "--to", "reference", "out.pth"), "was trained by byol")
