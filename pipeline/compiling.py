"""Compiled functions that are kept on disk, under a key that covers all that is compiled into them.

numba's own cache knows the file of the function alone, and stops the program where it finds no
folder to write to. Everything here concerns our functions only: numba's settings stay as they are.
"""

# numba's bases of caches return nothing, and its settings are known at run time alone.
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false

import hashlib
import inspect
import multiprocessing
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    NullCache,
    _Cache,
    _CacheLocator,
)
from numba.core.dispatcher import Dispatcher

from .digest import digest_of

_NAME = "swiftsiam"
_TEMPORARY = ("/tmp", "/var/tmp")


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator as `numba.njit`, with its options, for a function that is kept on disk.

    Whatever the function refers to may change between two starts, in any file: see `digest`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        if isinstance(dispatcher, Dispatcher):  # and not the function: NUMBA_DISABLE_JIT
            dispatcher._cache = DiskCache(dispatcher)
        return dispatcher

    return decorate


class DiskCache(_Cache):
    """What numba asks before it compiles, and tells afterwards.

    The digest is made at the first question, when all of a module is defined.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._digest: str | None = None
        self._files: FunctionCache | NullCache = NullCache()
        self._is_enabled = True

    @property
    def cache_path(self) -> str | None:
        """The folder; None before the first question, and where nothing can be kept."""
        return self._files.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        return self._open().load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._open().save_overload(sig, data)
        except OSError as error:  # a full disk, say, is no reason to stop
            self.disable()
            _warn(f"compiled code cannot be kept in {self.cache_path}: {error.strerror}")

    def enable(self) -> None:
        self._is_enabled = True

    def disable(self) -> None:
        self._is_enabled = False

    def flush(self) -> None:
        self._open().flush()

    def _open(self) -> FunctionCache | NullCache:
        """The files of this function as it is."""
        digest = digest_of(self._dispatcher)
        if self._digest is None:
            function = self._dispatcher.py_func
            folder = find_folder(Path(inspect.getfile(function)))
            self._digest = digest
            if folder is not None:
                self._files = _Files(function, _Locator(function, folder=folder, digest=digest))
        # A global that was patched since: what is compiled in memory may hold either value.
        is_whole = self._is_enabled and digest == self._digest
        return self._files if is_whole else NullCache()


class _Locator(_CacheLocator):
    """Says where a function is kept, and by what its files are told from others."""

    def __init__(self, function: Callable[..., Any], *, folder: Path, digest: str) -> None:
        self._py_file = inspect.getfile(function)  # numba names it in its warnings
        self._folder = folder
        self._digest = digest

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._digest

    def get_disambiguator(self) -> str:
        # Two versions in turn keep their own files.
        return self._digest[:16]


class _Impl(CompileResultCacheImpl):
    def __init__(self, function: Callable[..., Any], *, locator: _Locator) -> None:
        # Not numba's own: that would look for a locator by itself.
        self._lineno = function.__code__.co_firstlineno
        self._locator = locator
        name = f"{Path(inspect.getfile(function)).stem}.{function.__qualname__}"
        self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))


class _Files(FunctionCache):
    def __init__(self, function: Callable[..., Any], locator: _Locator) -> None:
        self._impl_class = partial(_Impl, locator=locator)
        super().__init__(function)


def find_folder(source: Path) -> Path | None:
    """The first folder for the compiled functions of a source file that can be written to.

    It follows from the environment and the user alone, so that worker processes find the same.
    """
    return _find_folder(source.absolute(), config.CACHE_DIR)


@cache
def _find_folder(source: Path, named: str) -> Path | None:
    digest = hashlib.sha256(os.fsencode(source.parent)).hexdigest()
    name = f"{source.parent.name}_{digest[:16]}"
    if named:
        folder = _absolute(named)
        if folder is not None and _is_writable(folder / name):
            return folder / name
        _warn(
            f"NUMBA_CACHE_DIR={named} cannot be written to; {_NAME} keeps compiled code elsewhere"
        )
    for folder in _own_folders(source, name):
        if _is_writable(folder):
            return folder
    private = _private_folder()
    if private is not None and _is_writable(private / name):
        return private / name
    _warn(
        "no folder can be written to, and each start compiles anew, for half a minute or more; "
        "set NUMBA_CACHE_DIR to a folder that can"
    )
    return None


def _own_folders(source: Path, name: str) -> Iterator[Path]:
    """Beside the source, as numba does; in the user's cache."""
    if source.is_file():  # not within a zip archive
        yield source.parent / "__pycache__"
    caches = _absolute(os.environ.get("XDG_CACHE_HOME", ""))
    home = _absolute("~")
    if caches is not None:
        yield caches / _NAME / name
    elif home is not None and home.is_dir():  # never made: some systems name one that is not there
        yield home / ".cache" / _NAME / name


def _absolute(path: str) -> Path | None:
    """Of a path that may begin with ~; None for no path, and without a home.

    A user whom the system does not know has none, and ~ would become the name of a folder.
    """
    try:
        folder = Path(path).expanduser()
    except RuntimeError:
        return None
    if not path or not (folder.is_absolute() or not path.startswith("~")):
        return None
    return folder.absolute()


def _private_folder() -> Path | None:
    """A folder of ours alone below the temporary one: what lies there is run as code."""
    for parent in (os.environ.get("TMPDIR"), *_TEMPORARY):
        if not parent or not Path(parent).is_dir():
            continue
        folder = Path(parent).absolute() / f"{_NAME}-{os.geteuid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
        except OSError:
            continue
        is_closed = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077 == 0
        if is_closed and found.st_uid == os.geteuid():
            return folder
    return None


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@cache
def _warn(text: str) -> None:
    """One line on stderr, once, and not from each worker process."""
    if multiprocessing.parent_process() is None:
        print(f"warning: {text}", file=sys.stderr, flush=True)
