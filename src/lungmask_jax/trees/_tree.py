"""Trees as leaves by name, and back."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax.errors import WeightsError

_KINDS: Final = (np.floating, np.signedinteger, np.unsignedinteger, np.bool_)
_NAMED: Final = 200
"""Characters of a difference that an error shows."""


def fill(template: Any, arrays: Mapping[str, np.ndarray], path: Path) -> Any:
    """A tree like the template, with the arrays of a file.

    Args:
        template: Arrays, or their shapes and dtypes as of ``jax.eval_shape``.
        arrays: By name.
        path: Where they come from, for the error.

    Returns:
        Numpy arrays of the template's dtypes.

    Raises:
        WeightsError: Names, shapes or kinds of numbers differ; the first differences are named.

    Example:
        >>> fill({"w": np.zeros(2)}, {"w": np.float16([1, 2])}, Path("a.npz"))
        {'w': array([1., 2.])}
    """
    expected = leaves(template)
    check_fit(expected, arrays, path)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite
        filled = [arrays[name].astype(leaf.dtype) for name, leaf in expected.items()]
    return jax.tree.unflatten(jax.tree.structure(template), filled)


def check_fit(expected: Mapping[str, Any], there: Mapping[str, Any], path: Path) -> None:
    """Raises if leaves differ in names, shapes or kinds; `there` has arrays, headers or None."""
    wrong = [f"missing {name}" for name in sorted(expected.keys() - there.keys())]
    wrong += [f"unknown {name}" for name in sorted(there.keys() - expected.keys())]
    for name in expected.keys() & there.keys():
        leaf, one = expected[name], there[name]
        if one.shape != leaf.shape:
            wrong.append(f"{name} is {one.shape}, not {leaf.shape}")
        elif _kind(one.dtype) is None or _kind(one.dtype) is not _kind(leaf.dtype):
            wrong.append(f"{name} holds {one.dtype}, not {leaf.dtype}")
    if wrong:
        named = "; ".join(one[:_NAMED] for one in sorted(wrong)[:8])
        raise WeightsError(f"{path} does not fit the network of its spec: {named}")


def _kind(dtype: Any) -> Any:
    """Floats of any width are one kind, as are integers, integers without sign, and booleans."""
    return next((kind for kind in _KINDS if jnp.issubdtype(dtype, kind)), None)


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
