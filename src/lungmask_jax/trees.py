"""Pytrees of arrays as one ``.npz``: leaves under ``/``-joined names, texts, and a checksum.

Readable without this library by ``numpy.load``; nothing in a file is executed. Written under a
temporary name first.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lungmask_jax.errors import WeightsError
from lungmask_jax.files import atomic

__all__ = ["Stored", "checksum", "fill", "leaves", "read", "write"]

_CHECKSUM = "__checksum__"
_DAMAGE = (  # what numpy and zipfile raise on files that are not what they seem
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class Stored(NamedTuple):
    """What a file holds.

    Attributes:
        arrays: Leaves by name.
        texts: Texts by name.
        checksum: SHA-256 of the arrays, in hex.

    Example:
        >>> Stored({"w": np.zeros(2)}, {"spec": "{}"}, "").arrays["w"].shape
        (2,)
    """

    arrays: dict[str, np.ndarray]
    texts: dict[str, str]
    checksum: str


def write(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    texts: Mapping[str, str],
    *,
    compress: bool = False,
) -> None:
    """Writes arrays and texts as one file, whole or not at all.

    Args:
        path: Ends in ``.npz``.
        arrays: By name, as `leaves` gives them.
        texts: By name; stored as ``__name__``.
        compress: Whether to take longer and need less room.

    Raises:
        WeightsError: The path does not end in ``.npz``.
        OSError: The file cannot be written; an older one stays as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "state.npz")
        ...     write(path, leaves({"a": {"b": np.arange(3)}}), {"note": "hi"})
        ...     read(path, "a state").arrays
        {'a/b': array([0, 1, 2])}
    """
    if path.suffix != ".npz":
        raise WeightsError(f"expected a path that ends in .npz, found {path}")
    named = {f"__{name}__": np.array(text) for name, text in texts.items()}
    named[_CHECKSUM] = np.array(checksum(arrays))
    save = np.savez_compressed if compress else np.savez
    with atomic(path) as temporary, temporary.open("wb") as file:
        save(file, allow_pickle=False, **named, **arrays)


def read(path: Path, what: str) -> Stored:
    """What `write` wrote, checked against its checksum.

    Args:
        path: The file.
        what: What it should be, for the error: ``"a weights bundle"``.

    Returns:
        Arrays, texts and checksum.

    Raises:
        WeightsError: There is no such file, or it is damaged or something else.

    Example:
        >>> read(Path("nowhere.npz"), "a weights bundle")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.WeightsError: expected a weights bundle, found no file nowhere.npz
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        expected = str(arrays.pop(_CHECKSUM))
    except FileNotFoundError as error:
        raise WeightsError(f"expected {what}, found no file {path}") from error
    except _DAMAGE as error:
        raise WeightsError(
            f"expected {what}, {path} is damaged or something else ({error}): get or make it again"
        ) from error
    texts = {name[2:-2]: str(arrays.pop(name)) for name in list(arrays) if name.startswith("__")}
    if checksum(arrays) != expected:
        raise WeightsError(f"the arrays of {path} differ from its checksum: get or make it again")
    return Stored(arrays, texts, expected)


def fill(template: Any, arrays: Mapping[str, np.ndarray], path: Path) -> Any:
    """A tree like the template, with the numbers of a file.

    Args:
        template: Arrays, or their shapes and dtypes as of ``jax.eval_shape``.
        arrays: By name.
        path: Where they come from, for the error.

    Returns:
        Numpy arrays of the template's dtypes.

    Raises:
        WeightsError: Names or shapes differ; the first differences are named.

    Example:
        >>> fill({"w": np.zeros(2)}, {"w": np.float16([1, 2])}, Path("a.npz"))
        {'w': array([1., 2.])}
    """
    expected = leaves(template)
    wrong = [f"missing {name}" for name in sorted(expected.keys() - arrays.keys())]
    wrong += [f"unknown {name}" for name in sorted(arrays.keys() - expected.keys())]
    wrong += [
        f"{name} is {arrays[name].shape}, not {leaf.shape}"
        for name, leaf in expected.items()
        if name in arrays and arrays[name].shape != leaf.shape
    ]
    if wrong:
        raise WeightsError(f"{path} does not fit the network of its spec: {'; '.join(wrong[:8])}")
    filled = [arrays[name].astype(leaf.dtype) for name, leaf in expected.items()]
    return jax.tree.unflatten(jax.tree.structure(template), filled)


def leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their ``/``-joined names.

    Args:
        tree: A pytree.

    Returns:
        Name to leaf, in the order of the tree.

    Example:
        >>> leaves({"layers": [1, 2]})
        {'layers/0': 1, 'layers/1': 2}
    """
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in pairs}


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, dtypes, shapes and values.

    Args:
        arrays: By name, in any order.

    Returns:
        64 hex digits.

    Example:
        >>> checksum({"a": np.zeros(2)}) == checksum({"a": np.zeros(2, np.float32)})
        False
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
