"""WebDataset: tar archives of KEY.jpg (or KEY.png) and KEY.cls, with an index for DALI.

A member is a USTAR header of 512 bytes, the file, and zeros to a multiple of 512; an archive ends
with 1,024 zeros. KEY is the sample's position in the source's listing: names of files may have
dots, blanks and bytes that readers do not agree on; they stand in the manifest. `.cls` holds the
class number as text. DALI's index (v1.2) has a line for each sample with extension, offset, size
and name of each member.
"""

import json
from collections.abc import Iterable

import numpy as np

from ...sources.manifest import PNG
from ..contract import Layout, Sample
from ..planning import Shards

_BLOCK = 512


class Writer(Shards):
    """See `contract.ShardFormat`."""

    name = "webdataset"
    suffix = "tar"
    trailer = 2 * _BLOCK
    largest = 2**31 - 1

    def overhead(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = np.full(len(samples), _BLOCK, np.int64)
        return before, -samples["length"] % _BLOCK + 2 * _BLOCK

    def frame(self, sample: Sample, picture: bytes | memoryview) -> list[bytes | memoryview]:
        label = b"%d" % sample.label
        behind = bytes(-sample.length % _BLOCK) + _header(_key(sample.index, "cls"), len(label))
        return [
            _header(_key(sample.index, _extension(sample.kind)), sample.length),
            picture,
            behind + label + bytes(-len(label) % _BLOCK),
        ]

    def indexes(self, samples: np.ndarray, layout: Layout) -> Iterable[tuple[str, bytes]]:
        for number, name in enumerate(layout.names):
            rows = np.flatnonzero(layout.shard == number)
            lines = [f"v1.2 {len(rows)}"]
            for row, offset in zip(samples[rows].tolist(), layout.offset[rows], strict=True):
                sample = Sample(*row)
                label_at = int(offset) + sample.length + -sample.length % _BLOCK + _BLOCK
                extension = _extension(sample.kind)
                lines.append(
                    f"{extension} {offset} {sample.length} {_key(sample.index, extension)} "
                    f"cls {label_at} {len(str(sample.label))} {_key(sample.index, 'cls')}"
                )
            yield f"{name}.idx", "".join(f"{line}\n" for line in lines).encode()
        counts = np.bincount(layout.shard, minlength=len(layout.names)).tolist()
        shards = [
            {"url": name, "nsamples": count}
            for name, count in zip(layout.names, counts, strict=True)
        ]
        wids = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": shards}
        yield "wids.json", json.dumps(wids, indent=1).encode() + b"\n"


def _key(index: int, extension: str) -> str:
    return f"{index:08d}.{extension}"


def _extension(kind: int) -> str:
    return "png" if kind == PNG else "jpg"


def _header(name: str, size: int) -> bytes:
    """USTAR: a regular file of mode 0644, owner 0, time 0. Numbers in octal; the checksum is the
    sum of all bytes, with blanks in its own place.
    """
    encoded, octal = name.encode("ascii"), b"%011o" % size
    total = _SUM + sum(encoded) + sum(octal)
    return b"".join((
        encoded.ljust(100, b"\0"),
        _OWNER,
        octal,
        _TIME,
        b"%06o\0 " % total,
        _REST,
    ))  # fmt: skip


_OWNER = b"0000644\x000000000\x000000000\x00"
_TIME = b"\x0000000000000\x00"
_REST = (b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00").ljust(
    356, b"\0"
)
_SUM = sum(_OWNER + _TIME + b" " * 8 + _REST)
