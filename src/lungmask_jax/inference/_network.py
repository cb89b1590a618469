"""What a network makes of a scan: batches of slices in, labels or probabilities out."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import entr, logit

from lungmask_jax import io, preprocess
from lungmask_jax.models import Model, arranged, make_predict, slab
from lungmask_jax.preprocess import Box
from lungmask_jax.spec import PostprocessSpec, SegmenterSpec
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["Found", "Progress", "find", "labels", "probabilities"]

Progress = Callable[[str, int, int], None]

_Give: TypeAlias = Literal["labels", "probabilities", "unsure"]
_DTYPES: Final[Mapping[_Give, tuple[type, ...]]] = {
    "labels": (np.uint8,),
    "probabilities": (np.float32,),
    "unsure": (np.uint8, np.uint8),
}


def probabilities(ct: object, bundle: Bundle, *, lungs: Volume | None = None) -> np.ndarray:
    """How likely each voxel is the target, on the grid of the scan, before any threshold.

    The network's answer, calibrated as the bundle says; of several labels the sum.

    Args:
        ct: A CT in HU, or what else `lungmask_jax.io.as_volume` takes.
        bundle: The model.
        lungs: Lungs of the same scan, for a model whose region is the lungs.

    Returns:
        ``(slices, rows, columns)`` float32 in [0, 1]; 0 far from the given lungs.

    Raises:
        SpecError: The model wants the lungs and none are given.
        ScanError: The scan is not a CT in HU, or lies otherwise.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> from lungmask_jax.weights import load
        >>> probabilities(phantom((1, 96, 96)).ct, load("lungs")).shape
        (1, 96, 96)
    """
    ct = io.as_volume(ct)
    box = preprocess.region(ct, bundle.spec.preprocess, lungs)
    return _in_batches(bundle, ct, box, None, lungs=lungs, give="probabilities")[0]


def labels(ct: object, bundle: Bundle, *, lungs: Volume | None = None) -> Volume:
    """What a network makes of each voxel, before anything is cleaned up.

    Args:
        ct: A CT in HU, or what else `lungmask_jax.io.as_volume` takes.
        bundle: The model.
        lungs: Lungs of the same scan, for a model whose region is the lungs.

    Returns:
        uint8: 0 where the probability is below the bundle's threshold, the likeliest label
        elsewhere.

    Raises:
        SpecError: The model wants the lungs and none are given.
        ScanError: The scan is not a CT in HU, or lies otherwise.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> from lungmask_jax.weights import load
        >>> labels(phantom((1, 96, 96)).ct, load("lungs")).array.max()
        np.uint8(1)
    """
    return find(io.as_volume(ct), bundle, lungs, None).labels


class Found(NamedTuple):
    """Labels of all slices, and how unsure they are."""

    labels: Volume
    doubt: Volume | None


def find(
    ct: Volume,
    bundle: Bundle,
    lungs: Volume | None,
    progress: Progress | None,
    *,
    unsure: bool = False,
) -> Found:
    """The labels of a checked scan, and where wanted their doubt."""
    box = preprocess.region(ct, bundle.spec.preprocess, lungs)
    give: _Give = "unsure" if unsure else "labels"
    arrays = _in_batches(bundle, ct, box, progress, lungs=lungs, give=give)
    volumes = [ct.with_array(array) for array in arrays]
    return Found(volumes[0], volumes[1] if unsure else None)


def _in_batches(
    bundle: Bundle,
    ct: Volume,
    box: Box,
    progress: Progress | None,
    *,
    lungs: Volume | None,
    give: _Give,
) -> tuple[np.ndarray, ...]:
    """The answers for all slices, in batches of one shape; those without lung are passed over."""
    params, state = jax.device_put((bundle.params, bundle.state))
    corners = jnp.asarray(box, jnp.float32)
    spec = replace(bundle.spec, card={})  # the rest is part of the compiled programs
    results: tuple[np.ndarray, ...] = tuple(np.zeros(ct.shape, dtype) for dtype in _DTYPES[give])
    _, rows, columns = ct.shape
    count = preprocess.together(ct, spec.preprocess)
    before: jax.Array | None = None

    def fill(where: slice, batch: np.ndarray) -> None:
        nonlocal before
        if lungs is None or lungs.array[where].any():
            thick = _thick(batch, count, where, len(ct), slab(bundle.model).around)
            shares = _shares(params, state, thick, corners, model=bundle.model, spec=spec)
            previous = shares[:, :1] if before is None else before
            parts = preprocess.between(where, count, len(ct), follows=before is not None)
            for share, answered, slices in parts:
                answers = _answers(previous, shares, share, spec=spec.postprocess, give=give)
                for result, answer in zip(results, answers, strict=True):
                    result[slices] = np.asarray(answer)[answered, :rows, :columns]
            before = shares[:, -1:]  # last: where memory was short, all this is done again
        else:
            before = None
        if progress is not None:
            progress(bundle.spec.target, where.stop, len(ct))

    _in_memory(fill, ct.array, bundle.model, count)
    return results


def _thick(batch: np.ndarray, count: int, where: slice, total: int, around: int) -> np.ndarray:
    """The means of so many slices; past its ends the scan goes on as in training."""
    if count == 1:
        return batch
    thick = preprocess.averaged(batch, count)
    first = max(0, around - where.start // count)
    last = min(len(thick), around - (where.start - total) // count) - 1
    thick[:first], thick[last + 1 :] = thick[first], thick[last]
    return thick


def _in_memory(
    fill: Callable[[slice, np.ndarray], None], slices: np.ndarray, model: Model, together: int
) -> None:
    """Calls `fill` with batch after batch; where the device's memory is too small, with halves.

    A network of volumes has no smaller batch than one. So many slices are seen as one.
    """
    count, around = slab(model)
    least, done = count if model.ndim == 3 else 1, 0
    while done < len(slices):
        try:
            size, beside = count * together, around * together
            for where, batch in preprocess.batches(slices, size, around=beside, start=done):
                fill(where, batch)
                done = where.stop
        except jax.errors.JaxRuntimeError as error:
            if count == least or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            count //= 2


@functools.partial(jax.jit, static_argnames=("model", "spec"))
def _shares(
    params: Any,
    state: Any,
    slices: jax.Array,
    box: jax.Array,
    *,
    model: Model,
    spec: SegmenterSpec,
) -> jax.Array:
    """Of each label, ``(L, N, H, W)`` on the grid of the inner slices."""
    around = slab(model).around
    inner = slice(around, len(slices) - around)
    images = preprocess.network_images(slices, box, spec=spec.preprocess)
    predict = make_predict(model, flip=spec.flip, shift=spec.shift)
    found = predict(params, state, arranged(model, images))
    shares = jnp.moveaxis(found[0, inner] if model.ndim == 3 else found, -1, 0)
    size = slices.shape[1], slices.shape[2]
    return jax.vmap(lambda one: preprocess.restore(one, box, size=size))(shares)


@functools.partial(jax.jit, static_argnames=("spec", "give"))
def _answers(
    before: jax.Array,
    shares: jax.Array,
    share: jax.Array,
    *,
    spec: PostprocessSpec,
    give: _Give,
) -> tuple[jax.Array, ...]:
    """What is asked for, between each slice and the one before it."""
    previous = jnp.concatenate([before, shares[:, :-1]], axis=1)
    shares = share * shares + (1 - share) * previous
    likely = _calibrated(jnp.minimum(shares.sum(axis=0), 1.0), spec.calibration)
    if give == "probabilities":
        return (likely,)
    types = 1 + shares.argmax(axis=0).astype(jnp.uint8)
    labels = jnp.where(likely > spec.threshold, types, jnp.uint8(0))
    if give == "labels":
        return (labels,)
    bits = (entr(likely) + entr(1 - likely)) / jnp.log(2.0)
    return labels, jnp.round(100 * bits).astype(jnp.uint8)


def _calibrated(probabilities: jax.Array, numbers: tuple[float, float]) -> jax.Array:
    """As `lungmask_jax.calibration.calibrated`; zero, as outside the box, stays zero."""
    slope, offset = numbers
    if (slope, offset) == (1.0, 0.0):
        return probabilities
    odds = logit(jnp.clip(probabilities, 1e-6, 1 - 1e-6))
    return jnp.where(probabilities > 0, jax.nn.sigmoid(slope * odds + offset), 0.0)
