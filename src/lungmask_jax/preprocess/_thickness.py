"""Thin slices averaged into thick ones."""

from collections.abc import Iterator

import numpy as np

from lungmask_jax.spec import PreprocessSpec
from lungmask_jax.volume import Volume

_FEWEST = 96


def thickness(volume: Volume, spec: PreprocessSpec) -> int:
    """The number of neighboring slices that are averaged for a network.

    As many as are at most ``spec.thickness_mm`` thick. At least 96 slices remain: with so few,
    little time can be saved, and a spacing may be wrong. Slices of unknown thickness are not
    averaged.

    Args:
        volume: The scan.
        spec: The settings.

    Returns:
        At least 1.

    Example:
        >>> scan = Volume(np.zeros((300, 1, 1)), np.diag([1.2, 0.8, 0.8, 1.0]))
        >>> thickness(scan, PreprocessSpec(thickness_mm=2.5)), thickness(scan, PreprocessSpec())
        (2, 1)
    """
    if not volume.has_size:
        return 1
    thick = int(spec.thickness_mm / volume.spacing[0] + 1e-6)
    return max(1, min(thick, len(volume) // _FEWEST))


def averaged(slices: np.ndarray, count: int) -> np.ndarray:
    """The mean of every `count` slices; at the end, the last one is repeated.

    Args:
        slices: ``(N, H, W)``, any real dtype.
        count: Number of slices per mean.

    Returns:
        ``(ceil(N / count), H, W)`` of the same dtype; integers are rounded.

    Example:
        >>> averaged(np.array([1, 3, 7], np.int16).reshape(3, 1, 1), 2).ravel()
        array([2, 7], dtype=int16)
    """
    if count == 1:
        return slices
    found = np.empty((-(-len(slices) // count), *slices.shape[1:]), slices.dtype)
    for thick, some in zip(found, _groups(slices, count), strict=True):
        mean = some.mean(axis=0, dtype=np.float32)
        thick[...] = mean if slices.dtype.kind == "f" else np.rint(mean)
    return found


def majority(labels: np.ndarray, count: int) -> np.ndarray:
    """The common label of every `count` slices: the most frequent one, if half of them have any.

    Args:
        labels: ``(N, H, W)`` integers from 0, or booleans.
        count: Number of slices per result.

    Returns:
        ``(ceil(N / count), H, W)`` of the same dtype.

    Example:
        >>> majority(np.array([0, 2, 2, 0, 0, 1], np.uint8).reshape(6, 1, 1), 3).ravel()
        array([2, 0], dtype=uint8)
    """
    if count == 1:
        return labels
    found = np.empty((-(-len(labels) // count), *labels.shape[1:]), labels.dtype)
    above = range(1, int(labels.max(initial=0)) + 1)
    for thick, some in zip(found, _groups(labels, count), strict=True):
        votes = np.stack([np.zeros(thick.shape, int), *((some == one).sum(0) for one in above)])
        thick[...] = np.where(2 * votes.sum(axis=0) >= len(some), votes.argmax(axis=0), 0)
    return found


def _groups(slices: np.ndarray, count: int) -> Iterator[np.ndarray]:
    for first in range(0, len(slices), count):
        places = np.arange(first, first + count).clip(max=len(slices) - 1)
        yield slices[places]
