"""Processes that work together: how they meet, agree and fail; one alone waits for none."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from swiftsiam.pipeline.errors import MachineError, UserError
from swiftsiam.pipeline.rendezvous import meet
from swiftsiam.pipeline.world import World
from torch.distributed import HashStore

LIMIT_S = 120.0


def meet_all(store: HashStore, size: int) -> set[str]:
    """The names that so many processes come to."""
    with ThreadPoolExecutor(size) as pool:
        return set(
            pool.map(lambda rank: meet(store, rank=rank, size=size, timeout_s=LIMIT_S), range(size))
        )


def test_all_come_to_one_name() -> None:
    assert len(meet_all(HashStore(), 4)) == 1


def test_those_of_a_new_start_take_no_name_of_the_dead() -> None:
    """Their words stand in the store, and the new rank 0 comes last."""
    store = HashStore()
    store.set_timeout(timedelta(seconds=60))  # where it fails, one waits in vain
    (old,) = meet_all(store, 2)
    found: list[str] = []
    early = threading.Thread(
        target=lambda: found.append(meet(store, rank=1, size=2, timeout_s=LIMIT_S))
    )
    early.start()
    while store.get(f"{old}/1") in store.get(f"{old}/all"):  # until the new one has said its word
        pass
    new = meet(store, rank=0, size=2, timeout_s=LIMIT_S)
    early.join()
    assert found == [new] != [old]


def test_a_rank_that_hears_nothing_gives_up() -> None:
    store = HashStore()
    store.set("root", "of the dead")
    with pytest.raises(RuntimeError, match="rendezvous: rank 0 does not answer"):
        meet(store, rank=1, size=2, timeout_s=0.1)


def test_one_alone_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with World.join() as world:
        world.settle(device="cpu", timeout_s=1)
        assert (world.rank, world.size, world.is_first, world.is_alone) == (0, 1, True, True)
        assert world.once(lambda: 3) == world.first(lambda: 3) == world.everyone(lambda: 3) == 3
        assert world.agree(True, False) == (True, False)
        assert world.mean([1.0, 2.0]) == [1.0, 2.0]
        assert world.least(2.0) == 2.0
        assert world.gather("x") == ["x"]
        assert world.share([0, 1, 2]) == [0, 1, 2]
        world.wait()


def test_half_of_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UserError, match="RANK is not; start the processes with torchrun"):
        World.join()


@pytest.mark.parametrize("call", ["once", "first", "everyone"])
def test_its_errors_are_its_own_to_tell(call: str) -> None:
    def fail() -> None:
        raise UserError("data.path: wrong")

    with pytest.raises(UserError, match="wrong") as caught:
        getattr(World(), call)(fail)
    assert not caught.value.is_told


def test_errors_of_others_become_one_line_and_ours_stay() -> None:
    world = World()
    world.size, world._dist = 2, object()
    with pytest.raises(MachineError) as caught, world.watching():
        raise RuntimeError(
            "[../gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:1: Connection reset by "
            "peer. This is typically caused by a remote worker\nand more"
        )
    assert str(caught.value) == (
        "another of the 2 processes has ended, or does not answer (Read error [127.0.0.1]:1: "
        "Connection reset by peer); see its message"
    )
    with pytest.raises(RuntimeError, match="shapes do not fit"), world.watching():
        raise RuntimeError("shapes do not fit")
    with pytest.raises(MachineError, match="full"), world.watching():
        raise MachineError("the disk is full: gloo")
