"""A digest of everything that is compiled into a function, for the key of its disk cache.

numba's own key holds the bytes of the function's own file, and so outlives a change of whatever
comes from other files. Here the code itself is walked: its bytecode and constants, the values of
the globals that it reads, and whatever it calls, down to what only a version can change.
"""

import builtins
import dis
import hashlib
import sys
from functools import cache
from types import BuiltinFunctionType, CodeType, EllipsisType, FunctionType, ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types
from numba.core import config
from numba.core.datamodel import default_manager
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic

_PLAIN = (bool, int, float, complex, str, bytes, EllipsisType, type(None))
_NAMED = (FunctionType, BuiltinFunctionType, type, Dispatcher, _Intrinsic, np.ufunc)
_VERSIONED = sys.stdlib_module_names | {"numba", "llvmlite", "numpy"}
"""Packages whose code is told by their versions, which are part of every digest."""
_SETTINGS = ("OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE")
"""numba's, from variables of the environment, that change what is compiled."""

_GLOBAL, _CACHE, _EXTENDED = (dis.opmap[name] for name in ("LOAD_GLOBAL", "CACHE", "EXTENDED_ARG"))
_ATTRIBUTES = {dis.opmap["LOAD_ATTR"]: int(sys.version_info >= (3, 12))}
"""Bytecodes that read attributes, and how many bits below the name's number mean something else."""
if sys.version_info < (3, 12):
    _ATTRIBUTES[dis.opmap["LOAD_METHOD"]] = 0
_REFUSED = [dis.opmap[name] for name in ("IMPORT_NAME", "LOAD_NAME", "STORE_GLOBAL")]


def digest_of(dispatcher: Dispatcher) -> str:
    """The digest of a compiled function: 64 hexadecimal digits.

    Raises:
        TypeError: it refers to something that no digest can cover.
        NameError: a global is not defined (yet).
    """
    walk = _Walk(dispatcher.py_func.__qualname__)
    walk.emit(sys.implementation.cache_tag, sys.version, np.__version__)
    walk.emit(numba.__version__, llvmlite.__version__)
    walk.emit(*(f"{name}={getattr(config, name, None)}" for name in _SETTINGS))
    walk.add(dispatcher)
    return walk.hexdigest()


class _Walk:
    """One digest in the making: what is met twice counts once, so cycles end."""

    def __init__(self, root: str) -> None:
        self._tokens: list[str] = []
        self._met: dict[int, int] = {}
        self._root = root

    def hexdigest(self) -> str:
        return hashlib.sha256(ascii(self._tokens).encode()).hexdigest()

    def emit(self, *tokens: object) -> None:
        self._tokens.extend(map(str, tokens))

    def add(self, value: Any) -> None:
        """Take a value into the digest, with all that it consists of."""
        kind = type(value)
        if kind in _PLAIN:
            self.emit(kind.__name__, repr(value))
        elif isinstance(value, tuple | list | dict | set | frozenset):
            self._add_collection(value)
        elif kind is CodeType:
            self.emit("code", _shape(value))
            self.add(value.co_consts)
        elif isinstance(value, _NAMED):
            name = _versioned_name(value)
            if name is None:
                self._add_code(value)
            else:
                self.emit("versioned", name)
        elif isinstance(value, np.dtype):
            self.emit("dtype", repr(value), value.itemsize, value.alignment)
        elif isinstance(value, np.generic | np.ndarray) and not value.dtype.hasobject:
            self.add(value.dtype)
            self.emit(kind.__name__, value.shape, value.tobytes().hex())
        elif isinstance(value, types.Type):
            self._add_numba_type(value)
        elif kind.__module__.startswith("llvmlite."):
            self._add_text(value)
        elif isinstance(value, _PLAIN):
            self.emit(kind.__qualname__, repr(value))  # of an Enum, say
        else:
            raise self._error(f"a {kind.__qualname__}, {value!r}")

    def _error(self, what: str) -> TypeError:
        return TypeError(f"compiled code of {self._root}: its digest cannot cover {what}")

    def _add_text(self, value: object) -> None:
        """A value that its text describes; an address in it would be another at each start."""
        text = str(value)
        if " at 0x" in text:
            raise self._error(text)
        self.emit(type(value).__qualname__, text)

    def _add_collection(self, value: Any) -> None:
        self.emit(type(value).__qualname__, len(value))
        if isinstance(value, set | frozenset):
            value = sorted(value, key=repr)  # the order of strings in a set differs at each start
        elif isinstance(value, dict):
            value = list(value.items())
        for part in value:
            self.add(part)

    def _add_numba_type(self, value: types.Type) -> None:
        if isinstance(value, types.ExternalFunction):
            self.emit("external", value.symbol, value.sig)
            return
        self._add_text(value)
        if not _is_versioned(type(value)):
            self.add(type(value))
            self.add(type(default_manager.lookup(value)))

    def _add_code(self, value: Any) -> None:
        if id(value) in self._met:
            self.emit("met", self._met[id(value)])
            return
        self._met[id(value)] = len(self._met)
        if isinstance(value, Dispatcher):
            self.emit("compiled")
            self.add(sorted(value.targetoptions.items()))
            self.add(value.py_func)
        elif isinstance(value, _Intrinsic):
            self.emit("intrinsic")
            self.add(value._defn)
        elif isinstance(value, FunctionType):
            self._add_function(value)
        elif isinstance(value, type):
            self._add_class(value)
        else:
            raise self._error(repr(value))

    def _add_function(self, function: FunctionType) -> None:
        self.emit("function", function.__module__, function.__qualname__)
        self.add(function.__code__)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            self.emit(name)
            self.add(cell.cell_contents)
        for names in _global_reads(function.__code__):
            self.emit(*names)
            self.add(self._resolve(names, function.__globals__))

    def _add_class(self, value: type) -> None:
        self.emit("class", value.__module__, value.__qualname__)
        self.add(value.__mro__[1:])
        if issubclass(value, tuple) and (fields := getattr(value, "_fields", None)):
            self.add(fields)  # all that numba knows of a NamedTuple
            return
        for name, member in sorted(vars(value).items()):
            if isinstance(member, FunctionType) or not name.startswith("_"):
                self.emit(name)
                self.add(getattr(member, "__func__", member))

    def _resolve(self, names: tuple[str, ...], namespace: dict[str, Any]) -> Any:
        """The value of a global, or of the attributes that are read from a module or class."""
        name = names[0]
        if name not in namespace and not hasattr(builtins, name):
            raise NameError(f"compiled code of {self._root}: {name} is not defined")
        value = namespace[name] if name in namespace else getattr(builtins, name)
        for name in names[1:]:
            if not isinstance(value, ModuleType | type):
                break
            owner = value
            value = getattr(value, name)
            if _is_library(owner) and not isinstance(value, (*_PLAIN, ModuleType, type)):
                return f"{owner.__name__}.{name}"  # some have no other name, as `ir.Undefined`
        return value


def _is_versioned(value: object) -> bool:
    module = getattr(value, "__module__", None)
    return isinstance(module, str) and module.split(".")[0] in _VERSIONED


def _is_library(value: object) -> bool:
    return isinstance(value, ModuleType) and value.__name__.split(".")[0] in _VERSIONED


def _versioned_name(value: Any) -> str | None:
    """The name of a function or class that its package's version describes; None for others."""
    if isinstance(value, np.ufunc):
        return f"numpy.{value.__name__}"
    if isinstance(value, Dispatcher | _Intrinsic):
        function = value.py_func if isinstance(value, Dispatcher) else value._defn
        return _versioned_name(function)
    return f"{value.__module__}.{value.__qualname__}" if _is_versioned(value) else None


@cache
def _shape(code: CodeType) -> str:
    """What describes a code object besides its constants and the values of its names."""
    shape = (
        code.co_code.hex(),
        code.co_names,
        code.co_varnames,
        code.co_cellvars,
        code.co_freevars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        code.co_exceptiontable.hex(),
    )
    return repr(shape)


@cache
def _global_reads(code: CodeType) -> tuple[tuple[str, ...], ...]:
    """Globals that a code object and those within it read, with attributes read from them at once.

    `turbojpeg.read_header(…)` is ("turbojpeg", "read_header").
    """
    reads: dict[tuple[str, ...], None] = {}
    chain: tuple[str, ...] = ()
    argument = 0
    # As `dis.get_instructions`, which takes twenty times as long.
    for opcode, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        argument = argument << 8 | low
        if opcode == _EXTENDED:
            continue
        if opcode in _ATTRIBUTES and chain:
            chain = (*chain, code.co_names[argument >> _ATTRIBUTES[opcode]])
        elif opcode != _CACHE:
            reads[chain] = None
            chain = (code.co_names[argument >> 1],) if opcode == _GLOBAL else ()
            if opcode in _REFUSED:
                raise TypeError(f"compiled code of {code.co_name}: {dis.opname[opcode]}")
        argument = 0
    reads.pop((), None)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            reads |= dict.fromkeys(_global_reads(const))
    return tuple(reads)
