"""The allowed values of a pickle, and their memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

_CONTAINER: Final = 200
"""Bytes charged for the check of a container."""

_DEPTH: Final = 64
_VALUES: Final = 2**24
_KEY: Final = 2**31
"""Integers from here on are no keys: many of them may share a hash, and a dict become slow."""

_PLAIN: Final = (str, bytes, bool, int, float, type(None), np.ndarray, np.dtype)


@dataclass
class Budget:
    """Bytes that may still be taken.

    Attributes:
        left: Number of bytes.
        what: Their use, for the error.
    """

    left: int
    what: str

    def spend(self, size: int) -> None:
        """Takes some bytes."""
        self.left -= size
        if self.left < 0:
            raise ValueError(f"{self.what} more memory than a file of its size may")


@dataclass(frozen=True)
class Function:
    """A function that a pickle may call by name."""

    call: Callable[..., Any]


def check_key(key: Any) -> Any:
    """The key of a dict, which must be text or a small integer."""
    if type(key) is str or (type(key) is int and -_KEY < key < _KEY):
        return key
    raise ValueError(f"a {type(key).__name__} is a key of a dict")


def check_plain(value: Any, budget: Budget) -> None:
    """Raises unless a value can be walked through.

    That is plain values and arrays in lists, tuples and dicts, without cycles, not deep, and, met
    one by one, not too many: a pickle may name one list many times, a list of such lists again.
    """
    _extent(value, {}, 0, budget)


def _extent(
    value: Any, known: dict[int, tuple[int, int] | None], depth: int, budget: Budget
) -> tuple[int, int]:
    """How deep a value is, and how many values one meets in it."""
    if type(value) not in (list, tuple, dict):
        if not isinstance(value, _PLAIN):
            raise ValueError(f"it holds a {type(value).__name__.lower()} by itself")
        return 0, 1
    if id(value) not in known:
        budget.spend(_CONTAINER)
        known[id(value)] = None  # until all of it is seen
        if depth < _DEPTH:
            inner = value.values() if type(value) is dict else value
            parts = [_extent(each, known, depth + 1, budget) for each in inner]
            height = 1 + max((height for height, _ in parts), default=0)
            known[id(value)] = height, 1 + sum(count for _, count in parts)
    extent = known[id(value)]
    if extent is None or depth + extent[0] > _DEPTH or extent[1] > _VALUES:
        raise ValueError("its containers contain themselves, or are too deep or too many")
    return extent
