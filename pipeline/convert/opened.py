"""A finished conversion, with the plan that it was written by."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..sources.manifest import Manifest
from ..sources.recordio_format import extent_of
from .contract import STORED, Layout, Options, Part
from .examine import Rules, choose_rules
from .formats import FORMATS, build_format
from .verify_files import check_order, check_parts


class OpenedShards:
    """Its manifest, and what follows from it: format, samples, layout."""

    def __init__(self, target: Path, *, field: str) -> None:
        """
        Args:
            target: the folder of shards, or the beton.
            field: what names it in errors.

        Raises:
            UserError: there is no manifest, or it is damaged.
        """
        self.manifest = manifest = Manifest(target, field=field)
        head = manifest.head
        if head.format not in FORMATS or (head.format == "beton") != (target.suffix == ".beton"):
            raise manifest.damaged(f"the format {head.format!r:.40} is not that of the files")
        options = head.made.get("options")
        self._options: dict[str, Any] = options if isinstance(options, dict) else {}
        self.folder = target.parent if head.format == "beton" else target
        self.shard_format = build_format(head.format, **self._page_size())
        self.samples = np.zeros(len(manifest), STORED)
        """(N,) in the order in which they are stored."""
        for name in STORED.names or ():
            self.samples[name] = manifest[name]
        before, behind = self.shard_format.overhead(self.samples)
        offset = manifest["offset"].astype(np.int64)
        self.ends = offset + extent_of(self.samples["length"], self.samples["pieces"]) + behind
        """(N,) int64: where their frames end."""
        self.layout = Layout(
            names=tuple(head.files),
            sizes=tuple(head.files.values()),
            shard=manifest["shard"].astype(np.int64),
            start=offset - before,
            offset=offset,
            parts=self._find_parts(),
        )

    def rules(self) -> Rules:
        """By which pictures were kept or converted."""
        defaults: dict[str, Any] = asdict(Options(to=self.manifest.head.format))
        kinds = (str, int, type(None))
        given: dict[str, Any] = {
            name: value
            for name, value in self._options.items()
            if name in defaults and isinstance(value, kinds)
        }
        return choose_rules(self.shard_format, Options(**(defaults | given)))

    def _page_size(self) -> dict[str, int]:
        size = self._options.get("page_size")
        if self.manifest.head.format != "beton" or size is None:
            return {}
        if type(size) is not int or not 0 < size < 2**32 or size & (size - 1):
            raise self.manifest.damaged(f"a page size of {size!r:.40}")
        return {"page_size": size}

    def _find_parts(self) -> tuple[Part, ...]:
        """The parts with their samples; those without any are a beton's head and table."""
        head = self.manifest.head
        shard = self.manifest["shard"].astype(np.int64)
        offset = self.manifest["offset"].astype(np.int64)
        check_order(self.manifest)
        check_parts(self.manifest)
        parts, first = [], 0
        for file, begin, end, _ in head.parts:
            limit = np.searchsorted(shard, file, side="right")
            last = first + int(np.searchsorted(offset[first:limit], end))
            fixed = "" if last > first else "head" if begin == 0 else "table"
            parts.append(Part(file, begin, end, first, last, fixed))
            first = last
        if first != len(self.samples):
            raise self.manifest.damaged("its parts do not cover its samples")
        if head.format != "beton" and any(part.fixed for part in parts):
            raise self.manifest.damaged("a part without samples")
        return tuple(parts)
