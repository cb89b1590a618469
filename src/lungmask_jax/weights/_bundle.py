"""Bundles in memory and in files."""

import functools
import json
import os
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import models, postprocess, tasks, trees
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.models import Model
from lungmask_jax.registry import Registry
from lungmask_jax.spec import ModelSpec, SegmenterSpec, to_json

_PARAMETERS: Final = 10**9
"""Most parameters of a network, 4 GB: the largest nnU-Nets have a tenth."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A trained segmenter: a spec, and the weights of its network.

    Attributes:
        name: The stem of its file.
        spec: Preprocessing, network, post-processing and card.
        params: The network's parameters, float32.
        state: The network's state, float32.
        checksum: SHA-256 of the arrays, in hex.
        previous: For the second stage of a cascade of nnU-Net, the first, which runs before it.

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
    previous: "Bundle | None" = None

    @classmethod
    def of(
        cls, name: str, spec: SegmenterSpec, params: Any, state: Any, *, half: bool = True
    ) -> "Bundle":
        """A bundle in memory, as `save` and `load` would make it.

        Args:
            name: Name of the bundle.
            spec: How to use the network.
            params: Its parameters, a nested mapping of arrays.
            state: Its state, likewise.
            half: Whether its weights are rounded to float16.

        Returns:
            The bundle.

        Raises:
            WeightsError: A value is not a number, or does not fit into float16.
        """
        arrays = _arrays(params, state, half)
        spec = replace(spec, postprocess=postprocess.complete(spec.postprocess))
        filled = trees.fill({"params": params, "state": state}, arrays, Path(name))
        return cls(name, spec, filled["params"], filled["state"], trees.checksum(arrays))

    @property
    def model(self) -> Model:
        """The network of the spec."""
        return create_model(self.spec.model, average=self.spec.predict.average)


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


@functools.cache
def shapes(model: Model) -> dict[str, Any]:
    """Abstract parameters and state, as a file of weights holds them; do not change them."""
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    return {"params": params, "state": state}


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
        spec: How to use the network. Missing parameters of its steps are written with their
            defaults, so that the masks of the bundle never change.
        params: Its parameters, a nested mapping of arrays.
        state: Its state, likewise.
        half: Whether to store float16, half the size; loading gives float32 either way. Integers
            and booleans do not change.

    Raises:
        WeightsError: The path does not end in ``.npz``, or a value is not a number or does not
            fit into float16.
        UnknownNameError: The spec names an unknown network or step.
        SpecError: A step has no such parameter, or it is out of range.

    Example:
        >>> import tempfile
        >>> from lungmask_jax.weights import load
        >>> spec = SegmenterSpec(target="lungs", model=ModelSpec(options={"channels": [4, 8]}))
        >>> params, state = create_model(spec.model).init(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(f"{folder}/mine.npz", spec, params, state)
        ...     load(f"{folder}/mine.npz").spec.model == spec.model
        True
    """
    arrays = _arrays(params, state, half)
    spec = replace(spec, postprocess=postprocess.complete(spec.postprocess))
    texts = {"spec": to_json(spec), **_plugin(spec)}
    trees.write(Path(path), arrays, texts, compress=True)


def _arrays(params: Any, state: Any, half: bool) -> dict[str, np.ndarray]:
    """The arrays of a file, by name."""
    kind = np.float16 if half else np.float32
    leaves = trees.leaves({"params": params, "state": state})
    return {name: _stored(name, leaf, kind) for name, leaf in leaves.items()}


def _stored(name: str, leaf: Any, kind: type[np.floating[Any]]) -> np.ndarray:
    array = np.asarray(leaf)
    if jnp.issubdtype(array.dtype, np.floating):
        with np.errstate(over="ignore"):  # numbers that do not fit become infinite
            array = array.astype(kind)
    if array.dtype.kind not in "fiub":
        raise WeightsError(f"expected numbers for a weights bundle, {name} has {array.dtype}")
    if not np.isfinite(array).all():
        raise WeightsError(f"expected finite numbers that fit {kind.__name__}, {name} has others")
    return array


def _plugin(spec: SegmenterSpec) -> dict[str, str]:
    """The packages of the parts of a spec, and their versions, for a reader to install."""
    owners = [models.registry.owner(spec.model.name), tasks.registry.owner(spec.target)]
    owners += [postprocess.registry.owner(name) for name, _ in spec.postprocess]
    others = sorted({*owners} - {"lungmask-jax", "this process"})
    return {"plugin": ", ".join(map(_versioned, others))} if others else {}


def _versioned(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # its name is not known
        return package


def create_model(
    spec: ModelSpec, *, average: Literal["probabilities", "logits"] = "probabilities"
) -> Model:
    """The network of a spec; equal specs give the same object, so jit compiles it once.

    Args:
        spec: Name and options.
        average: Of which the answer of several members is the mean.

    Returns:
        The model.

    Raises:
        UnknownNameError: No network has that name.
        SpecError: An option is unknown or out of range, or the network has more than 10^9
            parameters, counted before any memory is allocated.
        PluginError: The network is from a package, and fails.

    Example:
        >>> create_model(ModelSpec(name="unet")) is create_model(ModelSpec(name="unet"))
        True
    """
    options = json.dumps(dict(spec.options), sort_keys=True)
    return _created(spec.name, options, spec.members, average)


@functools.cache
def _created(
    name: str, options: str, members: int, average: Literal["probabilities", "logits"]
) -> Model:
    """By text, in which true, 1 and 1.0 differ."""
    model = models.create(name, **json.loads(options))
    with models.registry.plugin_errors(name, "makes no parameters"):
        one = shapes(model)
    count = members * sum(leaf.size for leaf in jax.tree.leaves(one))
    if count > _PARAMETERS:
        raise SpecError(
            f"expected a network of at most {_PARAMETERS:,} parameters, found {count:,} in "
            f"{name!r} with {options[:200]}: give fewer channels, levels or members"
        )
    return model if members == 1 else models.ensemble(model, members, average=average)
