"""Features cached once, in the order of the listing, and what is found in them."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from swiftsiam import build_eval_spec, build_loader, load_encoder, open_source
from swiftsiam.pipeline.augment.spec import AugmentConfig
from swiftsiam.train.evaluation import features as module
from swiftsiam.train.evaluation.fast import _Progress
from swiftsiam.train.evaluation.features import CachedFeatures, FeatureCache
from swiftsiam.train.report import Report, Sink

from ..conftest import Cli, refused, start

pytestmark = pytest.mark.usefixtures("single_thread")


def fast(run: Path, train: Path, val: Path, *more: str) -> list[str]:
    settings = ["train.epochs=4", "train.batch_size=16", "eval.batch_size=4"]
    machine = ["train.num_threads=1", "train.precision=fp32"]
    return ["linear", str(run), str(train), str(val), "--fast", *settings, *machine, *more]


def answer(here: Cli, *arguments: str) -> str:
    done = here(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain_features(run: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    network, _ = load_encoder(run)
    spec = build_eval_spec(AugmentConfig(preset="cifar", size=16))
    source = open_source(str(folder))
    loader = build_loader(source=source, specs=(spec,), global_batch_size=4, train=False)
    parts, labels = [], []
    for batch in loader:
        with torch.inference_mode():
            parts.append(network(batch.views[0]).half().numpy())
        labels.append(batch.label.numpy())
    return np.concatenate(parts), np.concatenate(labels)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """In float16: another layout in memory, or another batch, rounds otherwise on some machines."""
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=3e-3, atol=1e-3)


def test_what_is_cached_is_used_again(
    here: Cli, run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = fast(run, pictures / "train", pictures / "val", "--out=fast", "--json=f.json")
    told = answer(here, *arguments)
    assert "features of TRAIN: 40 in " in told
    summary = json.loads((tmp_path / "f.json").read_text())
    assert summary == json.loads((tmp_path / "fast" / "summary.json").read_text())
    for name, folder in (("train", "train"), ("val", "val")):
        features, labels = plain_features(run, pictures / folder)
        kept = tmp_path / "fast" / "features" / name
        assert_close(np.load(kept / "features.npy"), features)
        assert np.array_equal(np.load(kept / "labels.npy"), labels)
    head = torch.load(tmp_path / "fast" / "head.pt", weights_only=True)
    logits = features.astype(np.float32) @ head["weight"].T.numpy() + head["bias"].numpy()
    right = (logits.argmax(1) == labels).mean()
    assert summary["accuracy"] == pytest.approx(100 * right)
    assert head["classes"] == ["dark", "light"]
    assert f"linear-fast: {100 * right:.2f} % of 12 pictures" in told
    monkeypatch.setattr(module, "each_batch", lambda *_, **__: pytest.fail("made again"))
    told = answer(here, *arguments, "train.epochs=5")  # the sweep alone depends on it
    assert "features of TRAIN: 40 found where they were cached" in told


def test_classes_are_those_of_the_same_name(
    here: Cli, run: Path, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures / "val" / "light", tmp_path / "val" / "light")
    for out, val in (("both", pictures / "val"), ("light", tmp_path / "val")):
        answer(here, *fast(run, pictures / "train", val, f"--out={out}"))
    head = torch.load(tmp_path / "light" / "head.pt", weights_only=True)
    features, labels = plain_features(run, tmp_path / "val")
    assert not labels.any()  # where light is the only class, and the first
    logits = features.astype(np.float32) @ head["weight"].T.numpy() + head["bias"].numpy()
    summary = json.loads((tmp_path / "light" / "summary.json").read_text())
    assert summary["accuracy"] == pytest.approx(100 * (logits.argmax(1) == 1).mean())
    assert summary["accuracy"] > 0


def test_other_pictures_are_not_taken_from_the_cache(
    here: Cli, run: Path, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures / "val", tmp_path / "val")
    arguments = fast(run, pictures / "train", tmp_path / "val", "--out=fast")
    answer(here, *arguments)
    (tmp_path / "val" / "dark" / "0.png").unlink()
    told = answer(here, *arguments)
    assert "features of TRAIN: 40 found" in told
    assert "features of VAL: 11 in " in told
    features, _ = plain_features(run, tmp_path / "val")
    kept = np.load(tmp_path / "fast" / "features" / "val" / "features.npy")
    assert_close(kept, features)


def test_bad_pictures_are_left_out_and_told(
    here: Cli, run: Path, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures / "val", tmp_path / "val")
    (tmp_path / "val" / "dark" / "2.png").write_bytes(b"no picture")
    arguments = fast(run, pictures / "train", tmp_path / "val", "--out=fast")
    told = answer(here, *arguments)
    assert "1 cannot be read, the first is dark/2.png" in told
    assert "% of 11 pictures" in told
    for path in (tmp_path / "val").rglob("*.png"):
        path.write_bytes(b"no picture")
    done = here(*fast(run, pictures / "train", tmp_path / "val", "--out=other"))
    assert done.returncode == 2
    assert "VAL: none of its pictures has a label and can be read" in done.stderr.splitlines()[-1]


class Tick:
    """Kills the cache's writer behind so many pictures."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, done: int) -> None:
        if done >= self.at:
            raise KeyboardInterrupt


def batches(first: int, count: int) -> Any:
    """Of 4 pictures each: 2 features that are the picture's number; every fifth cannot be read."""
    for start_at in range(first, count, 4):
        index = np.arange(start_at, min(start_at + 4, count))
        features = np.stack([index, -index], axis=1).astype(np.float16)
        yield features, index % 3, np.where(index % 5 == 4, -1, index)


@pytest.mark.parametrize("killed_at", [1, 8, 9, 20, 37])
def test_a_cache_goes_on_where_it_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr(module, "_SAVE_EVERY", 2)
    count = 38
    cache = FeatureCache(tmp_path, {"weights": 1}, count=count)
    with pytest.raises(KeyboardInterrupt):
        cache.write(batches(0, count), tick=Tick(killed_at))
    cache = FeatureCache(tmp_path, {"weights": 1}, count=count)
    assert cache.done % 8 == 0
    assert cache.done <= killed_at + 3
    cache.write(batches(cache.done, count), tick=Tick(999))
    found = FeatureCache(tmp_path, {"weights": 1}, count=count).read()
    kept = [index for index in range(count) if index % 5 != 4]
    assert found.features[:, 0].tolist() == kept
    assert found.labels.tolist() == [index % 3 for index in kept]
    assert FeatureCache(tmp_path, {"weights": 2}, count=count).done == 0


def test_a_kill_leaves_no_lie_about_what_was_there_before(tmp_path: Path) -> None:
    count = 38
    FeatureCache(tmp_path, {"weights": 1}, count=count).write(batches(0, count), tick=Tick(99))
    assert FeatureCache(tmp_path, {"weights": 1}, count=count).done == count
    with pytest.raises(KeyboardInterrupt):
        FeatureCache(tmp_path, {"weights": 2}, count=count).write(batches(0, count), tick=Tick(4))
    assert FeatureCache(tmp_path, {"weights": 1}, count=count).done == 0


def test_the_rate_is_of_what_was_made_now() -> None:
    class Notes(Sink):
        told: ClassVar[list[str]] = []

        def note(self, text: str) -> None:
            self.told.append(text)

    progress = _Progress(Report(Notes()), "features", 100, found=60)
    progress.tick(100)
    progress.end(seconds=4.0, bad=[])
    assert Notes.told == ["features: 40 in 0:04 (10 images/s)"]


def test_pictures_of_val_without_a_label_are_left_out(
    here: Cli, run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = FeatureCache.read

    def read(self: FeatureCache) -> CachedFeatures:
        found = plain(self)
        labels = np.where(np.arange(len(found.labels)) % 3, found.labels, -1)
        return found._replace(labels=labels)

    monkeypatch.setattr(FeatureCache, "read", read)
    told = answer(here, *fast(run, pictures / "train", pictures / "val", "--out=fast"))
    assert "% of 8 pictures" in told


def test_a_full_disk_is_told(
    here: Cli, run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    done = here(*fast(run, pictures / "train", pictures / "val", "--out=fast"))
    refused(done, "features of TRAIN could not be written (No space left", code=1)
    assert done.stderr.endswith("make room, then the same command again\n")


@pytest.mark.slow
def test_two_processes_write_the_same(run: Path, pictures: Path, tmp_path: Path) -> None:
    train, val = pictures / "train", pictures / "val"
    for ranks, out in ((None, "one"), (2, "two")):
        # 12 pictures in batches of 8: the last one is padded.
        arguments = fast(run, train, val, f"--out={out}", "eval.batch_size=8")
        process = start(arguments, tmp_path, ranks=ranks)
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
    one, two = (json.loads((tmp_path / n / "summary.json").read_text()) for n in ("one", "two"))
    assert one["pictures"] == two["pictures"] == 12
    assert one["train_pictures"] == two["train_pictures"] == 40
    for name in ("train", "val"):
        files = [tmp_path / n / "features" / name for n in ("one", "two")]
        assert_close(*(np.load(file / "features.npy") for file in files))
        assert np.array_equal(*(np.load(file / "labels.npy") for file in files))


def test_a_folder_in_use_is_refused(here: Cli, run: Path, pictures: Path, tmp_path: Path) -> None:
    from swiftsiam.train.run import RunFolder

    (tmp_path / "fast").mkdir()
    held = RunFolder(tmp_path / "fast")
    try:
        done = here(*fast(run, pictures / "train", pictures / "val", "--out=fast"))
        refused(done, "another process")
    finally:
        held.close()
