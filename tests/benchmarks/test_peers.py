"""Other libraries' loaders in `bench loader`: what each says, when it takes part, that it works."""

import configparser
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from swiftsiam.benchmarks import contestants
from swiftsiam.benchmarks.contestant import Contestant, Task, prepared
from swiftsiam.benchmarks.contestants import CONTESTANTS, installed
from swiftsiam.benchmarks.entries import Entry
from swiftsiam.benchmarks.peers import PEERS
from swiftsiam.benchmarks.recipe import TwoViews, pillow_view, tensor_view
from swiftsiam.pipeline.engines import Need
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source, recognise

NOWHERE = Need(name="Nowhere", module="nowhere_to_be_found.loader", remedy="pip install nowhere")


def test_every_peer_takes_part_and_says_in_what_it_differs() -> None:
    assert list(PEERS) == [
        "torchvision-v2",
        "torchcodec",
        "lightly",
        "spdl",
        "webdataset",
        "ffcv-stock",
    ]
    for name, peer in PEERS.items():
        assert CONTESTANTS[name] is peer
        assert "float32" in peer.work
    for lacking in ("no jitter", "no grayscale", "no blur", "decodes twice"):
        assert lacking in PEERS["ffcv-stock"].work
    assert "drawn with replacement" in PEERS["webdataset"].work
    assert "EXIF" in PEERS["torchcodec"].work


def test_what_peers_need_is_in_an_extra_of_its_own() -> None:
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    extra = config["options.extras_require"]["peers"]
    for name, peer in PEERS.items():
        for need in peer.needs:
            _, _, package = need.remedy.partition("pip install ")
            # Not among them: FFCV, an extra of its own, and FFmpeg, which is no Python package.
            assert package in extra, name


def test_a_contestant_that_is_not_installed_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contestant = replace(PEERS["spdl"], needs=(NOWHERE,))
    monkeypatch.setitem(contestants.CONTESTANTS, "spdl", contestant)
    assert contestant.missing() == [NOWHERE]
    told = "--engines=spdl: needs Nowhere, which is not installed; pip install nowhere"
    with pytest.raises(UserError) as refused:
        contestant.check("spdl")
    assert str(refused.value) == told
    assert "spdl" not in installed()


def test_without_needs_a_contestant_takes_part() -> None:
    contestant = Contestant(build=lambda task: iter(()), work="nothing")
    contestant.check("nothing")
    assert {"reference", "torchvision", "torchvision-v2", "decode-only"} <= set(installed())


def test_a_library_without_what_it_loads_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPDL is imported without FFmpeg, and fails when it decodes."""
    from swiftsiam.benchmarks import peers

    class Broken:
        def get_ffmpeg_versions(self) -> None:
            raise RuntimeError("Failed to import libspdl")

    ffmpeg = replace(PEERS["spdl"].needs[1], module="torch.nn")
    monkeypatch.setattr(peers, "import_module", lambda name: Broken())
    assert not ffmpeg.is_met()
    assert "apt-get install -y ffmpeg" in ffmpeg.remedy


@pytest.mark.slow
@pytest.mark.parametrize("reads", ["webdataset", "beton"])
def test_a_folder_is_converted_for_those_that_read_another_format(
    reads: str, class_folder: Path
) -> None:
    given = Task(data=str(class_folder), size=16, batch_size=4, num_workers=1)
    with prepared(given, reads) as task:
        assert recognise(task.data) == reads
        source = open_source(task.data)
        assert sorted(source.labels) == [0] * 9 + [1] * 8 + [2] * 6
        pictures = open_source(str(class_folder))
        stored = {source.read(index) for index in range(len(source))}
        assert stored == {pictures.read(index) for index in range(len(pictures))}
        with prepared(task, reads) as same:
            assert same is task
    assert not Path(task.data).exists()
    with prepared(given, None) as same:
        assert same is given


@pytest.mark.parametrize("kind", ["pillow", "tensor"])
def test_both_forms_of_the_recipe_make_two_views(kind: str, single_thread: None) -> None:
    picture = torch.randint(0, 256, (3, 60, 40), dtype=torch.uint8)
    if kind == "pillow":
        views = TwoViews(pillow_view(16))(Image.fromarray(picture.permute(1, 2, 0).numpy()))
    else:
        views = TwoViews(tensor_view(16))(picture)
    for view in views:
        assert view.shape == (3, 16, 16)
        assert view.dtype == torch.float32
        assert -2.2 < float(view.min()) < float(view.max()) < 2.7
    assert not torch.equal(*views)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 0])
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_delivers_batch_after_batch_over_epochs(
    name: str, num_workers: int, class_folder: Path
) -> None:
    """As it is raced, in a process of its own: FFCV's threads go on, and importing it changes
    numba for all that is compiled afterwards.
    """
    missing = PEERS[name].missing()
    if missing:
        pytest.skip(f"{missing[0].name} is not installed")
    task = Task(data=str(class_folder), size=16, batch_size=4, num_workers=num_workers)
    with prepared(task, PEERS[name].reads) as ready:
        racer = Entry(engine=name, task=ready).start(limit_s=300)
        try:
            told = racer.ask("48")  # an epoch has five batches; four are ahead
        finally:
            racer.stop()
    assert told["images"] == 4 * (4 + 12)  # what may lie ready, then the round
    assert len(told["gaps_ms"]) == 12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision-v2"])
def test_a_batch_of_more_than_there_are_is_refused(name: str, class_folder: Path) -> None:
    task = Task(data=str(class_folder), size=16, batch_size=24, num_workers=0)
    with pytest.raises(UserError, match="--batch-size=24: more than there are pictures"):
        next(PEERS[name].build(task))
