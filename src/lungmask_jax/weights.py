"""Weights bundles: one ``.npz`` with a network's arrays and the spec that says how to use them.

Readable without this library: ``numpy.load`` gives arrays under ``/``-joined names (``params/...``,
``state/...``) and ``__spec__``, a JSON text. Nothing in a bundle is executed.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lungmask_jax import models, trees
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.models import Model
from lungmask_jax.registry import Registry
from lungmask_jax.spec import ModelSpec, SegmenterSpec, from_json, to_json

__all__ = ["Bundle", "create_model", "ensemble", "load", "names", "registry", "save"]


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


def ensemble(bundles: Sequence[Bundle]) -> Bundle:
    """Several bundles as one that answers with the mean of their probabilities.

    Made of the networks of a cross-validation it is better than each, and where they differ it is
    less sure. They run as one program.

    Args:
        bundles: Of one network, preprocessing and target; what comes after the network is that of
            the first. One bundle is returned as it is.

    Returns:
        The bundle; `save` writes it like any other.

    Raises:
        SpecError: There is none, or two differ in more than their numbers and cards.

    Example:
        >>> two = ensemble([load("lungs"), load("lungs")])
        >>> two.spec.model.members, two.name
        (2, 'lungs+lungs')
    """
    if not bundles:
        raise SpecError("expected bundles for an ensemble, found none")
    first, *others = bundles
    if not others:
        return first
    for other in others:
        _check_alike(first, other)
    params, state = jax.tree.map(lambda *leaves: np.concatenate(leaves), *map(_members, bundles))
    count = sum(bundle.spec.model.members for bundle in bundles)
    card = {"members": [{"name": one.name, **one.spec.card} for one in bundles]}
    spec = replace(first.spec, model=replace(first.spec.model, members=count), card=card)
    checksum = trees.checksum(trees.leaves({"params": params, "state": state}))
    return Bundle("+".join(one.name for one in bundles), spec, params, state, checksum)


def _members(bundle: Bundle) -> tuple[Any, Any]:
    """Parameters and state with a first axis for the members."""
    numbers = bundle.params, bundle.state
    if bundle.spec.model.members > 1:
        return numbers
    stacked: tuple[Any, Any] = jax.tree.map(lambda leaf: np.asarray(leaf)[None], numbers)
    return stacked


def _check_alike(first: Bundle, other: Bundle) -> None:
    for name in ("target", "model", "preprocess"):
        ours, theirs = getattr(first.spec, name), getattr(other.spec, name)
        if name == "model":
            ours, theirs = replace(ours, members=1), replace(theirs, members=1)
        if ours != theirs:
            raise SpecError(
                f"expected bundles of one {name} for an ensemble, found {first.name} with {ours} "
                f"and {other.name} with {theirs}: use one of them"
            )


def _spec(texts: Mapping[str, str], path: Path) -> SegmenterSpec:
    if "spec" not in texts:
        raise WeightsError(f"expected a weights bundle, {path} has no __spec__: get it again")
    try:
        return from_json(texts["spec"], SegmenterSpec)
    except SpecError as error:
        raise WeightsError(f"the spec of {path} cannot be read: {error}") from error
