"""From a scan to labels or probabilities, with the network of a bundle."""

import functools
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import entr, logit

from lungmask_jax import io, postprocess, preprocess
from lungmask_jax.inference._volumes import answers
from lungmask_jax.postprocess import Decision
from lungmask_jax.prediction import Predictor, boxes, predict_scan
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

Progress = Callable[[str, int, int], None]

OnScan = Callable[[np.ndarray], np.ndarray]

_Give: TypeAlias = Literal["labels", "probabilities", "unsure"]
_DTYPES: Final[Mapping[_Give, tuple[type, ...]]] = {
    "labels": (np.uint8,),
    "probabilities": (np.float32,),
    "unsure": (np.uint8, np.uint8),
}


def probabilities(ct: object, bundle: Bundle, *, lungs: Volume | None = None) -> np.ndarray:
    """The probability of the target in each voxel, on the grid of the scan, before any threshold.

    The network's output, calibrated with the bundle; for several labels, their sum.

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
    found = _predicted(bundle, ct, lungs, None, "probabilities")
    return found.on_scan(found.arrays[0])


def labels(ct: object, bundle: Bundle, *, lungs: Volume | None = None) -> Volume:
    """The label of each voxel, before post-processing.

    Args:
        ct: A CT in HU, or what else `lungmask_jax.io.as_volume` takes.
        bundle: The model.
        lungs: Lungs of the same scan, for a model whose region is the lungs.

    Returns:
        uint8: 0 where the probability is below the bundle's threshold, the most probable label
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
    ct = io.as_volume(ct)
    found = find(ct, bundle, lungs, None)
    return ct.with_array(found.on_scan(found.labels.array))


class Found(NamedTuple):
    """Labels of all slices, and their uncertainty on the grid of the scan.

    The labels are on the grid of the network's images if each slice has its own box.
    """

    labels: Volume
    doubt: Volume | None
    on_scan: OnScan


class _Predicted(NamedTuple):
    """What was asked for, and what brings it to the grid of the scan."""

    arrays: tuple[np.ndarray, ...]
    on_scan: OnScan


def find(
    ct: Volume,
    bundle: Bundle,
    lungs: Volume | None,
    progress: Progress | None,
    *,
    unsure: bool = False,
) -> Found:
    """The labels of a checked scan and, on request, their uncertainty."""
    give: _Give = "unsure" if unsure else "labels"
    (labels, *doubts), on_scan = _predicted(bundle, ct, lungs, progress, give)
    doubt = ct.with_array(on_scan(doubts[0])) if unsure else None
    on_grid = labels.shape == ct.shape  # then it is written as the scan was
    found = ct.with_array(labels) if on_grid else Volume(labels, ct.affine)
    return Found(found, doubt, on_scan)


def _predicted(
    bundle: Bundle, ct: Volume, lungs: Volume | None, progress: Progress | None, give: _Give
) -> _Predicted:
    """The requested arrays of all slices; zero far from the lungs."""
    spec, images = bundle.spec, bundle.spec.preprocess
    told = functools.partial(progress or _unseen, spec.target)
    if spec.volume is not None:
        first = bundle.previous
        around = lungs if first is None else find(ct, first, None, progress).labels
        arrays = answers(bundle, ct, around, told, _DTYPES[give], give=give)
        return _Predicted(arrays, _same)
    box = boxes(ct, images, around=lungs)
    size = images.size if images.by_slice else ct.shape[1:]
    predictor = Predictor(bundle.model, bundle.params, bundle.state, spec.predict)
    decision = postprocess.decision(spec.postprocess)
    finish = functools.partial(_decided, decision=decision, give=give)
    results: tuple[np.ndarray, ...] = tuple(
        np.zeros((len(ct), *size), dtype) for dtype in _DTYPES[give]
    )
    for stop, parts in predict_scan(predictor, ct, images, box=box, finish=finish, lungs=lungs):
        for slices, arrays in parts:
            for result, array in zip(results, arrays, strict=True):
                result[slices] = array
        told(stop, len(ct))
    if not images.by_slice:
        return _Predicted(results, _same)
    return _Predicted(results, functools.partial(preprocess.pasted, boxes=box, size=ct.shape[1:]))


def _same(array: np.ndarray) -> np.ndarray:
    """What is on the grid of the scan already."""
    return array


def _unseen(task: str, done: int, total: int) -> None:
    """Nobody asked for progress."""


@functools.partial(jax.jit, static_argnames=("decision", "give"))
def _decided(shares: jax.Array, *, decision: Decision, give: _Give) -> tuple[jax.Array, ...]:
    """What is asked for, of the probabilities of each label ``(L, N, H, W)``."""
    likely = _calibrated(jnp.minimum(shares.sum(axis=0), 1.0), decision)
    if give == "probabilities":
        return (likely,)
    types = 1 + shares.argmax(axis=0).astype(jnp.uint8)
    clear = shares.max(axis=0) > 1 - shares.sum(axis=0)
    there = clear if decision.most_likely else likely > decision.at
    labels = jnp.where(there, types, jnp.uint8(0))
    if give == "labels":
        return (labels,)
    bits = (entr(likely) + entr(1 - likely)) / jnp.log(2.0)
    return labels, jnp.round(100 * bits).astype(jnp.uint8)


def _calibrated(probabilities: jax.Array, decision: Decision) -> jax.Array:
    """As `lungmask_jax.calibration.calibrated`; zero, as outside the box, stays zero."""
    slope, offset, *_ = decision
    if (slope, offset) == (1.0, 0.0):
        return probabilities
    odds = logit(jnp.clip(probabilities, 1e-6, 1 - 1e-6))
    return jnp.where(probabilities > 0, jax.nn.sigmoid(slope * odds + offset), 0.0)
