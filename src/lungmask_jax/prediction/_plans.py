"""Ways to predict a scan: whole slices, one by one or as slabs, and patches of its volume."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import preprocess
from lungmask_jax.errors import SpecError
from lungmask_jax.models import Model
from lungmask_jax.prediction._predictor import Predictor
from lungmask_jax.prediction._slab import Slab
from lungmask_jax.prediction._thick import ThickSlices
from lungmask_jax.prediction._views import make_predict
from lungmask_jax.spec import PredictSpec, PreprocessSpec


class Plan(NamedTuple):
    """A way to predict a scan, from the feet up.

    Attributes:
        probabilities: ``probabilities(start, count) -> (L, count, H', W')`` of so many thick
            slices. No start is below the one before.
        size: Rows and columns of them that are meant, those of the scan; of the network's images
            where each slice has a box of its own.
        batch_size: Thick slices at a time.
        least: The smallest number that saves memory.
    """

    probabilities: Callable[[int, int], jax.Array]
    size: tuple[int, int]
    batch_size: int
    least: int


def in_slices(
    predictor: Predictor, slices: ThickSlices, box: np.ndarray, images: PreprocessSpec
) -> Plan:
    """Some whole slices at a time, or a slab of which the inner slices are used."""
    model, spec = predictor.model, predictor.spec
    inner, around = Slab.of(model)
    numbers = jax.device_put((predictor.params, predictor.state))

    def probabilities(start: int, count: int) -> jax.Array:
        first, stop = start - around, start + count + around
        seen = slices.read(first, stop)
        there = box[np.arange(first, stop).clip(0, len(box) - 1)] if images.by_slice else box
        return _of_slices(*numbers, seen, there, model=model, images=images, spec=spec)

    size = images.size if images.by_slice else slices.thin.shape[1:]
    return Plan(probabilities, size, inner, inner if model.ndim == 3 else 1)


def in_patches(
    predictor: Predictor, slices: ThickSlices, box: np.ndarray, images: PreprocessSpec
) -> Plan:
    """Patches of the volume of all slices, brought back to the scan some slices at a time."""
    if images.by_slice:
        raise SpecError("expected one box for all slices of a patch, found the region 'bodies'")
    inner, _ = Slab.of(predictor.model)
    depth = predictor.spec.patch[0]

    def read(start: int, stop: int) -> np.ndarray:
        seen = slices.read(start, start + depth)  # of one shape, also where the scan is shorter
        return np.asarray(preprocess.network_images(seen, box, spec=images))[: stop - start]

    mean = predictor.patches(read, len(slices))

    def probabilities(start: int, count: int) -> jax.Array:
        found = mean(start, min(start + count, len(slices)))
        padded = np.pad(found, [(0, count - len(found)), (0, 0), (0, 0), (0, 0)])
        return _restored(padded, box, size=slices.size)

    return Plan(probabilities, slices.thin.shape[1:], inner, 1)


@functools.partial(jax.jit, static_argnames=("model", "images", "spec"))
def _of_slices(
    params: Any,
    state: Any,
    slices: jax.Array,
    box: jax.Array,
    *,
    model: Model,
    images: PreprocessSpec,
    spec: PredictSpec,
) -> jax.Array:
    """From HU to the probabilities of each label, ``(L, N, H, W)``, of the inner slices."""
    around = Slab.of(model).around
    prepared = preprocess.network_images(slices, box, spec=images)
    predict = make_predict(model, mirror=spec.mirror, shift=spec.shift)
    found = predict(params, state, _stacked(prepared, model))
    if model.ndim == 3:
        found = found[0, around : len(slices) - around]
    if images.by_slice:
        return jnp.moveaxis(found, -1, 0)
    return _restored(found, box, size=slices.shape[1:])


def _stacked(images: jax.Array, model: Model) -> jax.Array:
    """Neighboring slices ``(N, H, W, 1)`` as channels ``(N - C + 1, H, W, C)``, or one volume."""
    if model.ndim == 3:
        return images[None]
    count = len(images) - model.in_channels + 1
    return jnp.concatenate([images[i : i + count] for i in range(model.in_channels)], axis=-1)


@functools.partial(jax.jit, static_argnames="size")
def _restored(probabilities: jax.Array, box: jax.Array, *, size: tuple[int, int]) -> jax.Array:
    """``(N, H, W, L)`` in the box as ``(L, N, H', W')`` on the grid of the scan."""
    labels = jnp.moveaxis(probabilities, -1, 0)
    return jax.vmap(functools.partial(preprocess.restore, box=box, size=size))(labels)
