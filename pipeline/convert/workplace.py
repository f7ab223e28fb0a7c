"""The folder of an unfinished conversion: what is done stays done, whenever it is killed.

    DST.converting/
      task.json          what is being made of what; a resumed conversion must be the same
      examined/N.npz     a chunk of the first pass
      spooled/N          its pictures that were encoded anew
      written/N.npz      checksums of a part, once the part is on the disk
      out/               the shards, of their full size from the beginning

All small files appear whole or not at all. At the end `out` becomes DST.
"""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import HeldElsewhereError, Lock, remove_leftovers, sync_folder, write_atomically
from .examine import EXAMINED


class Workplace:
    """See the module."""

    def __init__(self, target: Path) -> None:
        """
        Args:
            target: DST, whose folder exists.
        """
        self.target = target
        self.path = target.with_name(f"{target.name}.converting")
        self.out = self.path / "out"
        self._lock: Lock | None = None

    def begin(self, task: dict[str, Any], *, resume: bool) -> None:
        """Make it, or take up what was left.

        Raises:
            UserError: something is there already, or what was left is another conversion's.
        """
        if self.target.exists():
            if resume and self.path.exists():  # killed after the last rename
                self._hold()
                self.remove()
            raise UserError(f"DST={self.target}: exists already; remove it, or name another")
        text = json.dumps(task, indent=1, sort_keys=True)
        task_path = self.path / "task.json"
        if self.path.exists():
            if not resume and task_path.exists():
                raise UserError(
                    f"DST={self.target}: a conversion was begun in {self.path.name}; continue it "
                    "with --resume, or remove that folder"
                )
            self._hold()
            for folder in (self.path, *filter(Path.is_dir, self.path.iterdir())):
                remove_leftovers(folder)
            if task_path.exists():
                _compare(task_path, json.loads(text))
                return
        else:
            self.path.mkdir()
            self._hold()
        for name in ("examined", "spooled", "written", "out"):
            (self.path / name).mkdir(exist_ok=True)
        write_atomically(task_path, text.encode())

    def _hold(self) -> None:
        try:
            self._lock = Lock(self.path)
        except HeldElsewhereError:
            raise UserError(f"DST={self.target}: another process is converting to it") from None

    def close(self) -> None:
        """Let another process go on."""
        if self._lock:
            self._lock.release()
        self._lock = None

    def remove(self) -> None:
        """All is done."""
        shutil.rmtree(self.path)
        self.close()

    # The first pass

    def spool_path(self, chunk: int) -> Path:
        """Where a chunk's encoded pictures wait, one behind the other."""
        return self.path / "spooled" / f"{chunk:06d}"

    def is_examined(self, chunk: int) -> bool:
        """Whether a chunk is done."""
        return self._examined_path(chunk).exists()

    def keep_examined(self, chunk: int, table: np.ndarray, notes: dict[str, Any]) -> None:
        """A chunk is done, and its spool on the disk."""
        text = np.frombuffer(json.dumps(notes).encode(), np.uint8)
        _save(self._examined_path(chunk), table=table.view(np.uint8), notes=text)

    def load_examined(self, chunk: int) -> tuple[np.ndarray, dict[str, Any]]:
        """(n,) records of `EXAMINED`, and what `keep_examined` was told beside them."""
        with np.load(self._examined_path(chunk)) as arrays:
            return arrays["table"].view(EXAMINED), json.loads(arrays["notes"].tobytes())

    def _examined_path(self, chunk: int) -> Path:
        return self.path / "examined" / f"{chunk:06d}.npz"

    # The second pass

    def make_files(self, names: tuple[str, ...], sizes: tuple[int, ...]) -> None:
        """The shards, of their size, empty."""
        for name, size in zip(names, sizes, strict=True):
            file = os.open(self.out / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                if os.fstat(file).st_size != size:
                    os.ftruncate(file, size)
            finally:
                os.close(file)

    def is_written(self, part: int) -> bool:
        """Whether a part is done."""
        return self._written_path(part).exists()

    def keep_written(self, part: int, whole: int, checksums: np.ndarray) -> None:
        """A part is done, and on the disk."""
        _save(self._written_path(part), whole=np.uint64(whole), samples=checksums)

    def load_written(self, part: int) -> tuple[int, np.ndarray]:
        """What `keep_written` was told."""
        with np.load(self._written_path(part)) as arrays:
            return int(arrays["whole"]), arrays["samples"]

    def _written_path(self, part: int) -> Path:
        return self.path / "written" / f"{part:06d}.npz"

    # The end

    def publish(self) -> None:
        """Give what is in `out` its names: a folder of shards at one stroke; of a beton what lies
        beside it first. Killed in between, it is done again.
        """
        if self.target.suffix == ".beton":
            names = sorted(path.name for path in self.out.iterdir())
            for name in sorted(names, key=lambda name: name == self.target.name):
                (self.out / name).replace(self.target.with_name(name))
        else:
            sync_folder(self.out)
            self.out.rename(self.target)
        sync_folder(self.target.parent)


def _save(path: Path, **arrays: Any) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def _compare(path: Path, task: dict[str, Any]) -> None:
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove {path.parent.name}") from None
    for name in sorted({*before, *task}):
        if before.get(name) != task.get(name):
            raise UserError(
                f"--resume: {name} was {before.get(name)!r:.80} when this conversion was begun and "
                f"is {task.get(name)!r:.80} now; give the same, or remove {path.parent}"
            )
