"""CIFAR's pickles, read without being trusted: nothing is called, and no pixel is copied.

They were written by Python 2 (protocols 0 and 2). Only the opcodes of those protocols that build
dictionaries, lists, tuples, bytes and integers are known; an array is what stands in the file about
it, put together here, so that not even NumPy's own unpickling runs on what a stranger wrote.
"""

import io
import pickle
import struct
from typing import Any, ClassVar, NamedTuple

_KEPT_WHOLE = 1024
"""Longer strings are not read but only located: pixels."""


class Extent(NamedTuple):
    """Where a long string lies in the file."""

    start: int
    """Bytes from the beginning."""
    size: int
    """Bytes."""


class Array:
    """A uint8 array as the pickle describes it."""

    shape: tuple[int, ...] = ()
    extent: Extent | None = None
    """Its values, row by row."""

    def __init__(self, *_: object) -> None:
        pass

    def fill(self, state: Any) -> None:
        """Of `ndarray.__setstate__`: version, shape, dtype, is it Fortran's order, values."""
        _, shape, dtype, is_fortran, extent = state
        if not (isinstance(dtype, _Dtype) and dtype.is_uint8 and not is_fortran):
            raise ValueError("an array of another type than uint8")
        if not (isinstance(extent, Extent) and all(type(side) is int for side in shape)):
            raise ValueError("an array without values")
        self.shape, self.extent = tuple(shape), extent


class _Dtype:
    def __init__(self, code: object, *_: object) -> None:
        self.is_uint8 = code in (b"u1", b"|u1", b"uint8")

    def fill(self, state: Any) -> None:
        """Nothing: one byte has no order."""


class _Ndarray:
    """What `_reconstruct` is given."""


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy", "ndarray"): _Ndarray,
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle._Unpickler):  # the one in C fills 64 GB at a damaged memo number
    dispatch: ClassVar[dict[int, Any]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]]
        for code in (
            *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NONE, pickle.GLOBAL),
            *(pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.LONG, pickle.LONG1),
            *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.STRING),
            *(pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.LIST, pickle.EMPTY_TUPLE),
            *(pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
            *(pickle.APPEND, pickle.APPENDS, pickle.SHORT_BINSTRING),
            *(pickle.GET, pickle.BINGET, pickle.LONG_BINGET),
            *(pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT),
        )
    }

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__(file, encoding="bytes")
        self.source = file

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name:.80}") from None

    def set_items(self, items: list[Any], target: Any) -> None:
        if type(target) is not dict:
            raise pickle.UnpicklingError("items of what is no dictionary")
        keys = items[::2]
        # Nested deep enough, a tuple's hash overflows the stack.
        if not all(type(key) in (bytes, int) for key in keys):
            raise pickle.UnpicklingError("a key that is no name")
        target.update(zip(keys, items[1::2], strict=True))


def _load_binstring(self: Any) -> None:
    (size,) = struct.unpack("<I", self.read(4))
    if size <= _KEPT_WHOLE:
        self.append(self.read(size))
        return
    start = self.source.tell()
    if self.source.seek(0, io.SEEK_END) < start + size:
        raise EOFError("it ends too early")
    self.source.seek(start + size)
    self.append(Extent(start, size))


def _load_setitem(self: Any) -> None:
    value, key = self.stack.pop(), self.stack.pop()
    self.set_items([key, value], self.stack[-1])


def _load_setitems(self: Any) -> None:
    items = self.pop_mark()
    self.set_items(items, self.stack[-1])


def _load_dict(self: Any) -> None:
    items = self.pop_mark()
    made: dict[Any, Any] = {}
    self.set_items(items, made)
    self.append(made)


def _load_reduce(self: Any) -> None:
    arguments, what = self.stack.pop(), self.stack.pop()
    if what not in (Array, _Dtype):
        raise pickle.UnpicklingError("it calls what is no array")
    self.append(what(*arguments))


def _load_build(self: Any) -> None:
    state = self.stack.pop()
    if type(self.stack[-1]) not in (Array, _Dtype):
        raise pickle.UnpicklingError("it changes what is no array")
    self.stack[-1].fill(state)


_Unpickler.dispatch |= {
    pickle.BINSTRING[0]: _load_binstring,
    pickle.SETITEM[0]: _load_setitem,
    pickle.SETITEMS[0]: _load_setitems,
    pickle.DICT[0]: _load_dict,
    pickle.REDUCE[0]: _load_reduce,
    pickle.BUILD[0]: _load_build,
}


def read_pickle(path: str) -> dict[bytes, Any]:
    """The dictionary in one of CIFAR's pickles.

    Args:
        path: of the file.

    Returns:
        Of dictionaries, lists, tuples, bytes, integers and `Array`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or holds anything else; says what.
    """
    with open(path, "rb") as file:
        try:
            found = _Unpickler(file).load()
        except OSError:
            raise
        except KeyError as error:
            raise ValueError("no pickle as Python 2 wrote it") from error
        except Exception as error:  # whatever damaged opcodes do to a stack
            raise ValueError(str(error) or type(error).__name__) from error
    if type(found) is not dict:
        raise ValueError("no dictionary")
    return found
