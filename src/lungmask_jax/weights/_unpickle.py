"""Pickles as plain values; nothing in them is executed.

An interpreter of the opcodes that Python's own pickler writes in protocols 2 to 5. Its values are
inert: numbers, text, bytes, lists, tuples, dicts, and objects from a table of names; a name that is
not in the table is an error. Declared sizes are compared with the bytes of the file, and each value
is charged to a budget.
"""

import pickle
import pickletools
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

import numpy as np

from lungmask_jax.weights._inert import Budget, Function, check_key, check_plain
from lungmask_jax.weights._torch import PickledArray, array_filled

_STEP: Final = 16
"""Bytes charged for each step: a place on the stack, and one in a list or in the memo."""

_PAIR: Final = 128
"""Bytes charged for a key of a dict."""

_RECENT: Final = 16
"""Values that a pickle keeps while it says what an array holds, at most."""

_NAME: Final = 200
_INTEGER: Final = 16


@dataclass
class _Run:
    """A pickle that is being read."""

    file: BinaryIO
    size: int
    names: Mapping[str, Any]
    persistent: Callable[[Any], Any]
    budget: Budget
    stack: list[Any] = field(default_factory=list)
    outer: list[list[Any]] = field(default_factory=list)
    memo: list[Any] = field(default_factory=list)


def unpickled(
    file: BinaryIO,
    size: int,
    *,
    names: Mapping[str, Any],
    persistent: Callable[[Any], Any],
    budget: Budget,
) -> Any:
    """The value of a pickle.

    Args:
        file: The pickle begins at the current position, which is then after it.
        size: Bytes of the file.
        names: By ``"module.name"``: a plain value, or a `Function`.
        persistent: Returns the object of a persistent id.
        budget: Budget of memory.

    Returns:
        Plain values and arrays, in lists, tuples and dicts that can be walked through.

    Raises:
        ValueError: The pickle is damaged, hostile or holds something else.
    """
    run = _Run(file, size, names, persistent, budget)
    while (code := _take(run, 1)) != pickle.STOP:
        step = _STEPS.get(code)
        if step is None:
            raise ValueError(f"its pickle has the opcode {_opcode(code)}")
        step(run)
    value = _pop(run)
    check_plain(value, budget)
    return value


def _opcode(code: bytes) -> str:
    known = {one.code: one.name for one in pickletools.opcodes}
    return known.get(code.decode("latin-1"), repr(code))


def _take(run: _Run, count: int) -> bytes:
    if count > 8 and count > run.size - run.file.tell():
        raise ValueError(f"its pickle declares {count} more bytes, there are fewer")
    data = run.file.read(count)
    if len(data) < count:
        raise ValueError("its pickle ends too early")
    return data


def _number(run: _Run, count: int) -> int:
    return int.from_bytes(_take(run, count), "little")


def _push(run: _Run, value: Any) -> None:
    run.budget.spend(_STEP + sys.getsizeof(value))
    run.stack.append(value)


def _pop(run: _Run) -> Any:
    if not run.stack:
        raise ValueError("its pickle takes a value that does not exist")
    return run.stack.pop()


def _top(run: _Run, kind: type) -> Any:
    """The value on top of the stack, which must be of a type to add to it."""
    if not run.stack or type(run.stack[-1]) is not kind:
        raise ValueError(f"its pickle adds to a value that is not a {kind.__name__}")
    return run.stack[-1]


def _mark(run: _Run) -> None:
    run.budget.spend(_STEP + sys.getsizeof([]))
    run.outer.append(run.stack)
    run.stack = []


def _marked(run: _Run) -> list[Any]:
    if not run.outer:
        raise ValueError("its pickle takes a mark that does not exist")
    items, run.stack = run.stack, run.outer.pop()
    return items


def _put(run: _Run, index: int) -> None:
    if not run.stack or index > len(run.memo):
        raise ValueError(f"its pickle keeps a value as number {index} of {len(run.memo)}")
    run.budget.spend(_STEP)
    run.memo[index : index + 1] = run.stack[-1:]


def _get(run: _Run, index: int) -> None:
    if index >= len(run.memo):
        raise ValueError(f"its pickle takes value {index} of {len(run.memo)}")
    run.budget.spend(_STEP)
    run.stack.append(run.memo[index])


def _integer(run: _Run) -> None:
    size = _number(run, 1)
    if size > _INTEGER:
        raise ValueError(f"its pickle has an integer of {size} bytes")
    _push(run, int.from_bytes(_take(run, size), "little", signed=True))


def _tuple(run: _Run, count: int) -> None:
    _push(run, tuple([_pop(run) for _ in range(count)][::-1]))


def _append(run: _Run, items: list[Any]) -> None:
    _top(run, list).extend(items)


def _set(run: _Run, items: list[Any]) -> None:
    if len(items) % 2:
        raise ValueError("its pickle has a key without a value")
    values = _top(run, dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        run.budget.spend(_PAIR)
        values[check_key(key)] = value


def _named(run: _Run, module: Any, name: Any) -> None:
    if type(module) is not str or type(name) is not str:
        raise ValueError("its pickle has a name that is not a string")
    whole = f"{module}.{name}"
    if whole not in run.names:
        raise ValueError(
            f"it names {whole[:_NAME]!r}, only tensors and plain values are read: "
            "save the state_dict of the program"
        )
    run.budget.spend(_STEP)
    run.stack.append(run.names[whole])


def _global(run: _Run) -> None:
    lines = [run.file.readline(_NAME) for _ in range(2)]
    if not all(line.endswith(b"\n") for line in lines):
        raise ValueError("its pickle has a name without an end")
    _named(run, *(line[:-1].decode() for line in lines))


def _call(run: _Run) -> None:
    arguments, function = _pop(run), _pop(run)
    if type(function) is not Function or type(arguments) is not tuple:
        raise ValueError("its pickle calls a value that is not a function")
    _push(run, function.call(*arguments))


def _build(run: _Run) -> None:
    """Sets a state: attributes of a dict are ignored; of a dtype, only the byte order is used."""
    state, value = _pop(run), run.stack[-1] if run.stack else None
    if type(value) is dict and type(state) is dict:
        return
    if isinstance(value, np.dtype) and type(state) is tuple and state[1:2] in _NATIVE:
        return
    if type(value) is PickledArray:
        run.budget.spend(_STEP)
        array = array_filled(state)
        run.stack[-1] = array
        for place in range(max(0, len(run.memo) - _RECENT), len(run.memo)):
            if run.memo[place] is value:
                run.memo[place] = array
        return
    raise ValueError("its pickle sets the state of a value without one")


_NATIVE: Final = tuple((order,) for order in ("<" if sys.byteorder == "little" else ">", "=", "|"))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _sized(width: int, make: Callable[[bytes], Any]) -> Callable[[_Run], None]:
    """A step that pushes the bytes after their length."""
    return lambda run: _push(run, make(_take(run, _number(run, width))))


def _constant(make: Callable[[], Any]) -> Callable[[_Run], None]:
    return lambda run: _push(run, make())


_STEPS: Final[dict[bytes, Callable[[_Run], Any]]] = {
    pickle.PROTO: lambda run: _take(run, 1),
    pickle.FRAME: lambda run: _take(run, 8),
    pickle.MARK: _mark,
    pickle.POP: _pop,
    pickle.POP_MARK: _marked,
    pickle.NONE: _constant(lambda: None),
    pickle.NEWTRUE: _constant(lambda: True),
    pickle.NEWFALSE: _constant(lambda: False),
    pickle.EMPTY_TUPLE: _constant(tuple),
    pickle.EMPTY_LIST: _constant(list),
    pickle.EMPTY_DICT: _constant(dict),
    pickle.BININT: lambda run: _push(run, struct.unpack("<i", _take(run, 4))[0]),
    pickle.BININT1: lambda run: _push(run, _number(run, 1)),
    pickle.BININT2: lambda run: _push(run, _number(run, 2)),
    pickle.LONG1: _integer,
    pickle.BINFLOAT: lambda run: _push(run, struct.unpack(">d", _take(run, 8))[0]),
    pickle.SHORT_BINSTRING: _sized(1, _text),
    pickle.BINSTRING: _sized(4, _text),
    pickle.SHORT_BINUNICODE: _sized(1, _text),
    pickle.BINUNICODE: _sized(4, _text),
    pickle.BINUNICODE8: _sized(8, _text),
    pickle.SHORT_BINBYTES: _sized(1, bytes),
    pickle.BINBYTES: _sized(4, bytes),
    pickle.BINBYTES8: _sized(8, bytes),
    pickle.TUPLE: lambda run: _push(run, tuple(_marked(run))),
    pickle.TUPLE1: lambda run: _tuple(run, 1),
    pickle.TUPLE2: lambda run: _tuple(run, 2),
    pickle.TUPLE3: lambda run: _tuple(run, 3),
    pickle.APPEND: lambda run: _append(run, [_pop(run)]),
    pickle.APPENDS: lambda run: _append(run, _marked(run)),
    pickle.SETITEM: lambda run: _set(run, [_pop(run), _pop(run)][::-1]),
    pickle.SETITEMS: lambda run: _set(run, _marked(run)),
    pickle.BINPUT: lambda run: _put(run, _number(run, 1)),
    pickle.LONG_BINPUT: lambda run: _put(run, _number(run, 4)),
    pickle.MEMOIZE: lambda run: _put(run, len(run.memo)),
    pickle.BINGET: lambda run: _get(run, _number(run, 1)),
    pickle.LONG_BINGET: lambda run: _get(run, _number(run, 4)),
    pickle.GLOBAL: _global,
    pickle.STACK_GLOBAL: lambda run: _named(run, *[_pop(run), _pop(run)][::-1]),
    pickle.REDUCE: _call,
    pickle.NEWOBJ: _call,
    pickle.BUILD: _build,
    pickle.BINPERSID: lambda run: _push(run, run.persistent(_pop(run))),
}
