"""The engine for FFCV's betons, and the fastest on the CPU for any other source as well.

Threads of this process run a compiled loop (`loop`): each picture is decoded once, and its
views are cut and augmented straight into the batch. FFCV's own Reader reads a beton's tables,
after `sources.beton_format` has checked them; neither its Loader, which hangs, leaks and reuses
batches (facts.md), nor its graph (`loop` says why) is used. Pictures that are not plain JPEGs
or raw pixels go through `decode_rgb`, so that they have the same outcome as in every other engine.
"""

import weakref
from collections.abc import Callable, Iterator

from ...augment.cpu import check_spec
from ...contract import EngineOptions, Request, Result
from ...devices import enter_device
from ...turbojpeg import load_library
from ..memory import BatchMemory
from .feeds import build_feed
from .makers import KernelMaker, LoopRows, OracleMaker
from .threads import Crew

_CHUNK = 32  # rows: each call of the loop holds the GIL for some 40 µs
_AHEAD = 3  # batches: one being made, one or two that wait for the trainer


def build(options: EngineOptions) -> "FfcvEngine":
    """The engine for these options.

    Raises:
        UserError: libturbojpeg is missing; or FFCV, for a beton; or the kernel cannot do a spec.
    """
    return FfcvEngine(options)


class FfcvEngine:
    """See the module; the contract is `contract.Engine`."""

    def __init__(self, options: EngineOptions) -> None:
        load_library()
        for spec in options.specs:
            check_spec(spec)
        self._options = options
        self._feed = build_feed(options.source)
        self._crew: Crew[LoopRows] | None = None
        self._memory: BatchMemory | None = None
        self._stop: Callable[[], object] | None = None

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        options = self._options
        num_threads = options.num_workers
        chunk = max(1, min(_CHUNK, options.batch_size // (2 * max(num_threads, 1))))
        # Small batches on many threads: enough of them that each thread has a chunk.
        ahead = _AHEAD + -(-num_threads * chunk // options.batch_size) if num_threads else 1
        # What is under way, the trainer's batch, and the one that it is about to let go of.
        self._memory = memory = BatchMemory(
            num_kept=(ahead + 2) * len(options.blocks), is_pinned=options.device.type == "cuda"
        )
        maker = OracleMaker if options.ops == "oracle" else KernelMaker
        feed = self._feed

        def build_maker() -> KernelMaker | OracleMaker:
            enter_device(options.device)  # a thread takes pinned memory for the batches it opens
            return maker(options, feed)

        self._crew = Crew(
            requests,
            open_batch=lambda request: LoopRows(request, options, allocate=memory.empty),
            build_maker=build_maker,
            num_threads=num_threads,
            chunk=chunk,
            ahead=ahead,
        )
        # Once only: threads that hang are not to be waited for again when the interpreter ends.
        self._stop = weakref.finalize(self, self._crew.stop)
        return map(LoopRows.result, self._crew.results())

    def whereabouts(self) -> list[tuple[str, int]]:
        return [] if self._crew is None else self._crew.whereabouts()

    def close(self) -> None:
        if self._stop is not None:
            self._stop()
        if self._memory is not None:
            self._memory.close()
