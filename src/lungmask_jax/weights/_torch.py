"""The objects in PyTorch pickles: tensors, their storages, and a few plain values."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jax.numpy as jnp
import numpy as np

from lungmask_jax.errors import shown
from lungmask_jax.weights._inert import Budget, Function

_DIMENSIONS: Final = 32
_EMPTY: Final = 2**31
"""The largest product of the non-zero sides of an empty tensor."""

_STORAGE: Final = 600
"""Bytes charged for a storage in addition to its numbers."""

_LATIN: Final = ("latin1", "latin-1")
_NUMBER: Final = re.compile(r"[biuf][1248]")

_DTYPES: Final[Mapping[str, np.dtype]] = {
    "BFloat16": np.dtype(jnp.bfloat16),
    "Bool": np.dtype(np.bool_),
    "Byte": np.dtype(np.uint8),
    "Char": np.dtype(np.int8),
    "Double": np.dtype(np.float64),
    "Float": np.dtype(np.float32),
    "Half": np.dtype(np.float16),
    "Int": np.dtype(np.int32),
    "Long": np.dtype(np.int64),
    "Short": np.dtype(np.int16),
}


@dataclass(frozen=True, eq=False)
class Storage:
    """A one-dimensional array of numbers.

    Attributes:
        raw: Their bytes, filled after the pickle is read.
        dtype: Their dtype.
    """

    raw: np.ndarray
    dtype: np.dtype

    def check(self) -> None:
        """Raises if bytes are invalid for the dtype; only bool has invalid bytes."""
        if self.dtype == np.bool_ and self.raw.max(initial=0) > 1:
            raise ValueError("a bool in it is neither true nor false")

    def swap(self) -> None:
        """Turns the byte order around."""
        self.raw.view(f"u{self.dtype.itemsize}").byteswap(inplace=True)


def storages(room: Budget, memory: Budget, kept: dict[str, Storage]) -> Callable[[Any], Storage]:
    """Maps a persistent id to the storage of its key, created on first use.

    Args:
        room: Bytes of their numbers.
        memory: Bytes of all else.
        kept: Where they are put, by key.

    Returns:
        From an id to the storage.
    """

    def storage(identity: Any) -> Storage:
        dtype, key, count = _described(identity)
        size = count * dtype.itemsize
        if key not in kept:
            memory.spend(_STORAGE)
            room.spend(size)
            kept[key] = Storage(np.empty(size, np.uint8), dtype)
        known = kept[key]
        if known.dtype != dtype or known.raw.size != size:
            raise ValueError(f"its storage {shown(key)} is described in two ways")
        return known

    return storage


def _described(identity: Any) -> tuple[np.dtype, str, int]:
    """Dtype, key and length of a storage."""
    if type(identity) is not tuple or len(identity) not in (5, 6):
        raise ValueError("a storage in it is described in an unknown way")
    kind, dtype, key, _, count, *view = identity
    if type(kind) is not str or kind != "storage" or any(each is not None for each in view):
        raise ValueError("it holds a program, or a storage that is part of another")
    if not isinstance(dtype, np.dtype) or type(key) is not str or not _wholes((count,)):
        raise ValueError("a storage in it has no dtype, key or length")
    return dtype, key, count


def _wholes(values: Any) -> bool:
    """Whether this is a tuple of integers from 0."""
    return type(values) is tuple and all(type(each) is int and each >= 0 for each in values)


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, _gradient: Any = None, _hooks: Any = None
) -> np.ndarray:
    """A read-only view of a storage, because others may share it."""
    if type(storage) is not Storage or not _wholes((offset,)):
        raise ValueError("a tensor in it has no storage or no offset")
    if not (_wholes(shape) and _wholes(strides) and len(shape) == len(strides) <= _DIMENSIONS):
        raise ValueError("a tensor in it has no shape or no strides")
    count, dtype = storage.raw.size // storage.dtype.itemsize, storage.dtype
    if 0 in shape:
        return _empty(shape, dtype)
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if last >= count or math.prod(shape) > count:
        raise ValueError(
            f"a tensor in it has the shape {shape} and strides {strides} from {offset} on, "
            f"its storage has {count} numbers"
        )
    steps = [step if side > 1 else 0 for side, step in zip(shape, strides, strict=True)]
    found: np.ndarray = np.ndarray(
        shape,
        dtype,
        storage.raw,
        offset * dtype.itemsize,
        [step * dtype.itemsize for step in steps],
    )
    found.flags.writeable = False
    return found


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if math.prod(side for side in shape if side) > _EMPTY:
        raise ValueError(f"a tensor in it has the shape {shape}")
    return np.empty(shape, dtype)


def _parameter(data: Any, *_: Any) -> np.ndarray:
    if not isinstance(data, np.ndarray):
        raise ValueError("a parameter in it is no tensor")
    return data


def _dtype(code: Any, *_: Any) -> np.dtype:
    if type(code) is not str or not _NUMBER.fullmatch(code):
        raise ValueError(f"it holds the dtype {shown(code)}, which is not numeric")
    return np.dtype(code)


def _scalar(dtype: Any, data: Any) -> Any:
    """A number of numpy, as one of Python."""
    if not isinstance(dtype, np.dtype) or type(data) is not bytes or len(data) != dtype.itemsize:
        raise ValueError("a number in it has no dtype or not its length")
    return np.frombuffer(data, dtype)[0].item()


def _encoded(text: Any, encoding: Any) -> bytes:
    """Bytes, which pickles of protocol 2 hold as text."""
    if type(text) is not str or type(encoding) is not str or encoding not in _LATIN:
        raise ValueError("bytes in it are encoded in an unknown way")
    return text.encode("latin-1")


def _size(sides: Any = ()) -> tuple[int, ...]:
    if not _wholes(sides):
        raise ValueError("it holds a size that is not a tuple of integers")
    return tuple(sides)


def _device(kind: Any, index: Any = None) -> str:
    """The name of a device."""
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise ValueError("it holds a device without a name")
    return kind if index is None else f"{kind}:{index}"


def _constant(value: Any) -> Function:
    return Function(lambda: value)


_TENSORS: Final[Mapping[str, Callable[..., Any]]] = {
    "_rebuild_parameter": _parameter,
    "_rebuild_parameter_with_state": _parameter,
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
}
_NUMPY: Final[Mapping[str, Callable[..., Any]]] = {
    **{f"{module}.multiarray.scalar": _scalar for module in ("numpy.core", "numpy._core")},
    "numpy.dtype": _dtype,
}
_NUMBERS: Final = tuple(map(np.dtype, "?bBhHiIqQefd"))

NAMES: Final[Mapping[str, Any]] = {
    **{f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()},
    **{f"torch.{dtype.name}": dtype for dtype in _DTYPES.values()},
    **{f"torch._utils.{name}": Function(make) for name, make in _TENSORS.items()},
    **{name: Function(make) for name, make in _NUMPY.items()},
    **{f"numpy.dtypes.{type(dtype).__name__}": _constant(dtype) for dtype in _NUMBERS},
    "__builtin__.bytes": _constant(b""),
    "_codecs.encode": Function(_encoded),
    "builtins.bytes": _constant(b""),
    "collections.OrderedDict": Function(lambda: {}),
    "torch.Size": Function(_size),
    "torch.device": Function(_device),
}
"""The objects for the names in a pickle."""


class PickledArray:
    """An array of numpy that is being read, until its numbers come."""

    array: np.ndarray | None = None


def _array_made(kind: Any, *_: Any) -> PickledArray:
    if kind != "ndarray":
        raise ValueError("it holds an array of an unknown kind")
    return PickledArray()


def array_filled(state: Any) -> np.ndarray:
    """The array of what numpy pickles of one: version, shape, dtype, order and bytes."""
    if type(state) is not tuple or len(state) != 5:
        raise ValueError("an array in it is described in an unknown way")
    _, shape, dtype, by_columns, data = state
    if not (_wholes(shape) and len(shape) <= _DIMENSIONS and isinstance(dtype, np.dtype)):
        raise ValueError("an array in it has no shape or no dtype")
    if type(data) is not bytes or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array in it has the shape {shape} and other bytes")
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape[::-1]).T if by_columns is True else flat.reshape(shape)


PICKLED_ARRAYS: Final[Mapping[str, Any]] = {
    **{
        f"{one}.multiarray._reconstruct": Function(_array_made)
        for one in ("numpy.core", "numpy._core")
    },
    "numpy.ndarray": "ndarray",
}
"""What stands for the names in a pickle that holds arrays of numpy."""
