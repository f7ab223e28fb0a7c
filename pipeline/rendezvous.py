"""How processes that torchrun has started find those of the same start."""

import time
from typing import Any
from uuid import uuid4

_POLL_S = 0.02


def meet(store: Any, *, rank: int, size: int, timeout_s: float) -> str:
    """A name that the processes of this start have in common, and those of no start before it.

    torchrun's store outlives a restart, and addresses of processes that are dead stand in it: who
    connects to one of them waits in vain. Each process says a word of its own, and takes no name
    for good that was not given in answer to it.

    Args:
        store: that all of them reach.
        rank, size: of this one, and how many there are.
        timeout_s: how long the others are waited for, seconds.
    """
    word = uuid4().hex
    if rank == 0:
        store.set("root", word)
        words = [store.get(f"{word}/{other}").decode() for other in range(1, size)]
        store.set(f"{word}/all", " ".join(words))
        return word
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        name = store.get("root").decode()
        store.set(f"{name}/{rank}", word)
        while store.get("root").decode() == name and time.monotonic() < deadline:
            if store.check([f"{name}/all"]) and word in store.get(f"{name}/all").decode():
                return name
            time.sleep(_POLL_S)
    raise RuntimeError("rendezvous: rank 0 does not answer")
