"""What is asked of trained weights: which pictures answer it, and what cannot be asked."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from swiftsiam import open_source
from swiftsiam.train.config import parse_config
from swiftsiam.train.evaluation.asked import Asked, choose_labelled, choose_pictures, configure
from swiftsiam.train.task import Task
from swiftsiam.train.weights.trained import Trained

from ..conftest import Cli, refused
from .conftest import linear

pytestmark = pytest.mark.usefixtures("single_thread")


def test_a_share_of_each_class_is_chosen() -> None:
    labels = np.array([0] * 200 + [1] * 50 + [2] * 3 + [-1] * 40)
    few, more = (choose_labelled(labels, percent=p, seed=5) for p in (1, 10))
    assert np.bincount(labels[few]).tolist() == [2, 1, 1]
    assert np.bincount(labels[more]).tolist() == [20, 5, 1]
    assert set(few) <= set(more)
    assert list(choose_labelled(labels, percent=100, seed=5)) == list(range(253))
    assert not np.array_equal(more, choose_labelled(labels, percent=10, seed=6))


def test_pictures_are_those_of_a_run_with_the_same_limit(class_folder: Path) -> None:
    source = open_source(str(class_folder))
    config = parse_config({"data": {"limit": 9}, "train": {"seed": 3}}, [])
    chosen = choose_pictures(Asked(train="", val=""), config, source)
    assert chosen.tolist() == Task().choose(config, source).tolist()
    assert len(chosen) == 9
    few = choose_pictures(Asked(train="", val="", labels=20.0), config, source)
    assert set(few) < set(chosen)


def test_the_seed_is_that_of_the_run(class_folder: Path) -> None:
    config = parse_config({"train": {"seed": 7}}, [])
    trained = Trained(path=class_folder, config=config, backbone={}, state={})
    asked = Asked(train=str(class_folder), val=str(class_folder))
    assert configure(trained, asked, [], out="out").train.seed == 7
    assert configure(trained, asked, ["train.seed=8"], out="out").train.seed == 8


def test_what_cannot_be_answered_is_refused(
    here: Cli, run: Path, pictures: Path, tmp_path: Path
) -> None:
    train, val = str(pictures / "train"), str(pictures / "val")
    shutil.copytree(pictures / "val" / "dark", tmp_path / "others" / "night")
    shutil.copytree(pictures / "val" / "dark", tmp_path / "flat")
    (tmp_path / "empty" / "dark").mkdir(parents=True)
    for arguments, words in (
        ([train, "others"], ["VAL=", "class 'night' is not among the 2 classes of TRAIN="]),
        ([train, "flat"], ["VAL=", "has no class folders, and labels are needed"]),
        (["flat", val], ["TRAIN=", "has no class folders"]),
        ([train, "empty"], ["VAL="]),
        ([train, "nowhere"], ["VAL="]),
        ([train, val, "--labels=0"], ["--labels"]),
        ([train, val, "--finetune", "--fast"], ["--fast"]),
        ([train, val, "--finetune", "--features=pixels"], ["--features"]),
        ([train, val, "--fast", "optim.base_lr=3"], ["--fast", "optim"]),
        ([train, val, "train.batch_size=999"], ["train.batch_size=999"]),
        ([train, val, "optim.base_rl=3"], ["did you mean optim.base_lr"]),
    ):
        refused(here("linear", str(run), *arguments, "--out=none"), *words)
        assert not (tmp_path / "none").exists(), arguments
    refused(here("linear", "empty", train, val), "neither a checkpoint nor a run folder")


def test_a_run_of_something_else_is_left_alone(
    here: Cli, run: Path, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "mine")
    config = (tmp_path / "mine" / "config.yaml").read_text()
    for more in ([], ["--fast"]):
        refused(here(*linear(run, pictures, "mine"), *more), "--out=", "the folder of another run")
    assert (tmp_path / "mine" / "config.yaml").read_text() == config
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(
        path.name for path in run.iterdir()
    )


def test_another_question_is_not_answered_in_the_same_folder(
    here: Cli, probed: Path, run: Path, pictures: Path
) -> None:
    arguments = linear(run, pictures, str(probed))
    refused(here(*arguments, "--labels=50"), "--out=", "labels=100.0, not 50.0")
    refused(here(*arguments, "--fast"), "--out=", "optimizer=lars, not fast")
    # A key that may not change is told as on any other resume.
    refused(here(*arguments, "train.epochs=9"), "train.epochs=9: the run was begun with 3")
