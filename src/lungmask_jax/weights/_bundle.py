"""Bundles in memory and in files."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lungmask_jax import models, trees
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.models import Model
from lungmask_jax.registry import Registry
from lungmask_jax.spec import ModelSpec, SegmenterSpec, from_json, to_json


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
    return Path(__file__).parents[1] / "bundles" / f"{name}.npz"


def _lungs() -> Path:
    """The lung model that ships with the library."""
    return _shipped("lungs")


def _infection() -> Path:
    """The infection model that ships with the library."""
    return _shipped("infection")


registry: Registry[Any] = Registry(
    "lungmask_jax.weights",
    {
        "infection": "lungmask_jax.weights._bundle:_infection",
        "lungs": "lungmask_jax.weights._bundle:_lungs",
    },
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
    stored = trees.read(path, "a weights bundle")
    spec = _spec(stored.texts, path)
    model = create_model(spec.model)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    filled = trees.fill({"params": params, "state": state}, stored.arrays, path)
    return Bundle(path.stem, spec, filled["params"], filled["state"], stored.checksum)


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
    kind = np.float16 if half else np.float32
    leaves = trees.leaves({"params": params, "state": state})
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is named below
        arrays = {name: np.asarray(leaf, kind) for name, leaf in leaves.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(
                f"expected finite numbers that fit {kind.__name__}, {name} has others"
            )
    trees.write(Path(path), arrays, {"spec": to_json(spec)}, compress=True)


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
    model = models.create(spec.name, **spec.options)
    return model if spec.members == 1 else models.ensemble(model, spec.members)


def _spec(texts: Mapping[str, str], path: Path) -> SegmenterSpec:
    if "spec" not in texts:
        raise WeightsError(f"expected a weights bundle, {path} has no __spec__: get it again")
    try:
        return from_json(texts["spec"], SegmenterSpec)
    except SpecError as error:
        raise WeightsError(f"the spec of {path} cannot be read: {error}") from error
