"""Weights bundles: one ``.npz`` with a network's arrays and the spec that says how to use them.

Readable without this library: ``numpy.load`` gives arrays under ``/``-joined names (``params/...``,
``state/...``) and ``__spec__``, a JSON text. Nothing in a bundle is executed.
"""

import functools
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lungmask_jax import models
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.files import atomic
from lungmask_jax.models import Model
from lungmask_jax.registry import Registry
from lungmask_jax.spec import ModelSpec, SegmenterSpec, from_json, to_json

__all__ = ["Bundle", "create_model", "load", "names", "registry", "save"]

_SPEC = "__spec__"
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


@dataclass(frozen=True, eq=False)
class Bundle:
    """A trained segmenter: a spec, and the numbers for its network.

    Attributes:
        name: The stem of its file.
        spec: Preprocessing, network, post-processing and card.
        params: The network's parameters, float32.
        state: The network's state, float32.
        checksum: SHA-256 of the arrays, in hex.

    Example:
        >>> spec = SegmenterSpec(target="lungs", model=ModelSpec(options={"channels": [4, 8]}))
        >>> Bundle("mine", spec, *create_model(spec.model).init(jax.random.key(0)), "").model.stride
        4
    """

    name: str
    spec: SegmenterSpec
    params: Any
    state: Any
    checksum: str

    @property
    def model(self) -> Model:
        """The network of the spec."""
        return create_model(self.spec.model)


def _shipped(name: str) -> Path:
    return Path(__file__).parent / "bundles" / f"{name}.npz"


def _lungs() -> Path:
    """The lung model that ships with the library."""
    return _shipped("lungs")


def _infection() -> Path:
    """The infection model that ships with the library."""
    return _shipped("infection")


registry: Registry[Any] = Registry(
    "lungmask_jax.weights",
    {"infection": "lungmask_jax.weights:_infection", "lungs": "lungmask_jax.weights:_lungs"},
)
"""Names of bundles to functions that return the path of one."""


def names() -> list[str]:
    """The bundles that can be loaded by name.

    Returns:
        Sorted names, of this library and of plugins.

    Example:
        >>> "infection" in names()
        True
    """
    return list(registry)


def load(name: str | os.PathLike[str]) -> Bundle:
    """A bundle by name or from a file.

    Args:
        name: One of `names`, or the path of a file, told by its ``.npz`` or a separator.

    Returns:
        The bundle, checked against its network.

    Raises:
        UnknownNameError: There is neither such a name nor such a file.
        WeightsError: The file is damaged, or its arrays do not fit its network.

    Example:
        >>> load("lungs").spec.target
        'lungs'
    """
    is_file = isinstance(name, os.PathLike) or name.endswith(".npz") or os.sep in name
    path = Path(name) if is_file else Path(registry[str(name)]())
    arrays, spec, checksum = _read(path)
    model = create_model(spec.model)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    filled = _filled({"params": params, "state": state}, arrays, path)
    return Bundle(path.stem, spec, filled["params"], filled["state"], checksum)


def save(
    path: str | os.PathLike[str],
    spec: SegmenterSpec,
    params: Any,
    state: Any,
    *,
    half: bool = True,
) -> None:
    """Writes a bundle, under a temporary name first.

    Args:
        path: Ends in ``.npz``.
        spec: How to use the network.
        params: Its parameters, a nested mapping of arrays.
        state: Its state, likewise.
        half: Whether to store float16, half the size; loading gives float32 either way.

    Raises:
        WeightsError: The path does not end in ``.npz``, or a value does not fit into float16.

    Example:
        >>> import tempfile
        >>> spec = SegmenterSpec(target="lungs", model=ModelSpec(options={"channels": [4, 8]}))
        >>> params, state = create_model(spec.model).init(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(f"{folder}/mine.npz", spec, params, state)
        ...     load(f"{folder}/mine.npz").spec == spec
        True
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise WeightsError(f"expected a path that ends in .npz, found {path}")
    kind = np.float16 if half else np.float32
    leaves = _leaves({"params": params, "state": state})
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is named below
        arrays = {name: np.asarray(leaf, kind) for name, leaf in leaves.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(
                f"expected finite numbers that fit {kind.__name__}, {name} has others"
            )
    texts = {_SPEC: np.array(to_json(spec)), _CHECKSUM: np.array(_checksum(arrays))}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **texts, **arrays)


@functools.cache
def create_model(spec: ModelSpec) -> Model:
    """The network of a spec; equal specs give the same object, so jit compiles it once.

    Args:
        spec: Name and options.

    Returns:
        The model.

    Example:
        >>> create_model(ModelSpec(name="unet")) is create_model(ModelSpec(name="unet"))
        True
    """
    return models.create(spec.name, **spec.options)


def _read(path: Path) -> tuple[dict[str, np.ndarray], SegmenterSpec, str]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        text, checksum = str(arrays.pop(_SPEC)), str(arrays.pop(_CHECKSUM))
    except FileNotFoundError as error:
        raise WeightsError(f"expected a weights bundle, found no file {path}") from error
    except _DAMAGE as error:
        raise WeightsError(
            f"expected a weights bundle, {path} is damaged or something else ({error}): "
            "download or train it again"
        ) from error
    if _checksum(arrays) != checksum:
        raise WeightsError(f"the arrays of {path} differ from its checksum: get the file again")
    try:
        return arrays, from_json(text, SegmenterSpec), checksum
    except SpecError as error:
        raise WeightsError(f"the spec of {path} cannot be read: {error}") from error


def _filled(template: Any, arrays: Mapping[str, np.ndarray], path: Path) -> Any:
    """The template with the bundle's numbers; all differences are named."""
    expected = _leaves(template)
    wrong = [f"missing {name}" for name in sorted(expected.keys() - arrays.keys())]
    wrong += [f"unknown {name}" for name in sorted(arrays.keys() - expected.keys())]
    wrong += [
        f"{name} is {arrays[name].shape}, not {leaf.shape}"
        for name, leaf in expected.items()
        if name in arrays and arrays[name].shape != leaf.shape
    ]
    if wrong:
        raise WeightsError(f"{path} does not fit the network of its spec: {'; '.join(wrong[:8])}")
    leaves = [arrays[name].astype(leaf.dtype) for name, leaf in expected.items()]
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _leaves(tree: Any) -> dict[str, Any]:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in pairs}


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
