"""Pickled plain data, read without unpickling: nothing in the data can call anything.

A pickle is a program for a stack machine, and the usual machine calls whatever function the program
names.  The one here knows the opcodes by which protocols 2 to 5 build plain data, and rebuilds NumPy
arrays and scalars, which are pickled as calls of a few functions, from their bytes itself.
"""

from __future__ import annotations

import pickletools
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.npz.numpy_pickles import REDUCTIONS, SYMBOLS, Symbol, Unbuilt, malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_PICKLE_BYTES = 64 * 2**10
"""Largest pickle that is read; the metadata of a published case takes about 200 bytes."""

MAX_VALUES = 100_000
"""Most values a result may have, those that stand in several places counted in each."""

MAX_DEPTH = 32
"""Deepest nesting of a result, so that whoever walks it needs no precautions."""

_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NO_OPERATION = frozenset({"PROTO", "FRAME"})
_CALLS = frozenset({"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"})
"""Opcodes that name a class or call it, besides GLOBAL, STACK_GLOBAL and REDUCE."""

_KEY_TYPES = (str, bytes, int, float, type(None))
"""Of dictionaries.  Nested tuples are left out, as Python hashes them by unguarded recursion."""


def read_pickle(pickled: bytes) -> object:
    """Read pickled plain data.

    Parameters
    ----------
    pickled : bytes
        Protocols 2 to 5.

    Returns
    -------
    object
        None, bool, int, float, str, bytes, list, tuple, dict, NumPy scalars and arrays, nested at
        most `MAX_DEPTH` deep.

    Raises
    ------
    CaseError
        With reason UNSAFE_ARCHIVE if unpickling would call a function or make an instance of a class
        other than these; with MALFORMED_FILE if it is no pickle, is larger than metadata are, or
        holds something else.
    """
    if len(pickled) > MAX_PICKLE_BYTES:
        raise malformed(f"{len(pickled)} bytes; at most {MAX_PICKLE_BYTES} are read")
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name == "STOP":
                break
            machine.step(opcode.name, argument)
        result = machine.pop()
    # An opcode for which the stack holds too little or the wrong things; a number beyond its range.
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
        raise malformed(f"not a pickle, or a damaged one ({error})") from None
    _check_extent(result)
    return result


class _Machine:
    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._below_marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Execute one opcode."""
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif operation := _OPERATIONS.get(name):
            operation(self, argument)
        elif name in _CALLS:
            raise _unsafe(f"{name} {argument}" if argument else name)
        elif name not in _NO_OPERATION:
            raise malformed(f"pickle opcode {name} is not read")

    def pop(self) -> Any:
        """Take a finished value from the stack."""
        return _finished(self._stack.pop())

    def _pop_to_mark(self) -> list[Any]:
        values = [_finished(value) for value in self._stack]
        self._stack = self._below_marks.pop()
        return values

    def mark(self, _: object) -> None:
        self._below_marks.append(self._stack)
        self._stack = []

    def bytearray8(self, argument: bytearray) -> None:
        self._stack.append(bytes(argument))

    def empty_list(self, _: object) -> None:
        self._stack.append([])

    def empty_dict(self, _: object) -> None:
        self._stack.append({})

    def empty_tuple(self, _: object) -> None:
        self._stack.append(())

    def tuple_of_mark(self, _: object) -> None:
        values = self._pop_to_mark()
        self._stack.append(tuple(values))

    def tuple_of(self, length: int) -> None:
        values = [self.pop() for _ in range(length)]
        self._stack.append(tuple(reversed(values)))

    def append(self, _: object) -> None:
        self._extend([self.pop()])

    def appends(self, _: object) -> None:
        self._extend(self._pop_to_mark())

    def setitem(self, _: object) -> None:
        value = self.pop()
        self._update([self.pop(), value])

    def setitems(self, _: object) -> None:
        self._update(self._pop_to_mark())

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def memoize(self, _: object) -> None:
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def symbol(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_symbol(module, name)

    def stack_symbol(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        self._push_symbol(module, name)

    def reduce(self, _: object) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Symbol) or not isinstance(arguments, tuple):
            raise malformed("calls what is no function")
        self._stack.append(REDUCTIONS[function](*arguments))

    def build(self, _: object) -> None:
        state = self.pop()
        target = self._stack[-1]
        if not isinstance(target, Unbuilt) or not isinstance(state, tuple):
            raise malformed("sets the state of plain data")
        target.value = target.build(state)

    def _push_symbol(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise malformed("a name is no text")
        symbol = SYMBOLS.get((module, name))
        if symbol is None:
            raise _unsafe(f"{module}.{name}")
        self._stack.append(symbol)

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise malformed("appends to what is no list")
        target.extend(values)

    def _update(self, keys_and_values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise malformed("sets an item of what is no dictionary")
        keys = keys_and_values[::2]
        if not all(isinstance(key, _KEY_TYPES) for key in keys):
            raise malformed("a key is neither text nor a number")
        target.update(zip(keys, keys_and_values[1::2], strict=True))


_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "BYTEARRAY8": _Machine.bytearray8,
    "EMPTY_LIST": _Machine.empty_list,
    "EMPTY_DICT": _Machine.empty_dict,
    "EMPTY_TUPLE": _Machine.empty_tuple,
    "TUPLE": _Machine.tuple_of_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.setitem,
    "SETITEMS": _Machine.setitems,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.symbol,
    "STACK_GLOBAL": _Machine.stack_symbol,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}


def _finished(value: Any) -> Any:
    if not isinstance(value, Unbuilt):
        return value
    if value.value is None:
        raise malformed("an array is used before it is complete")
    return value.value


def _check_extent(result: object) -> None:
    """Refuse what is too large or too deep to walk, cycles included, and names that nothing called."""
    remaining: list[tuple[object, int]] = [(result, 0)]
    visited = 0
    while remaining:
        value, depth = remaining.pop()
        visited += 1
        if visited > MAX_VALUES or depth > MAX_DEPTH:
            raise malformed(f"more than {MAX_VALUES} values, or nested deeper than {MAX_DEPTH}")
        if isinstance(value, Symbol):
            raise malformed("a function or class is no data")
        remaining += [(child, depth + 1) for child in _children(value)]


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    return value.flat if isinstance(value, np.ndarray) and value.dtype.hasobject else ()


def _unsafe(called: str) -> CaseError:
    return CaseError(
        FailureReason.UNSAFE_ARCHIVE, f"unpickling it would call {called[:80]}; nothing was called"
    )
