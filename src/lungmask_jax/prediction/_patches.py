"""Sliding windows: a volume through a network in overlapping patches.

Starts, padding and weights are those of nnU-Net (Isensee et al., Nature Methods 2021). The weights
are a product over the axes, so the mean is first taken across the slices, then along them, and no
more slices are kept than a patch has.
"""

import itertools
import math
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TypeAlias

import jax
import numpy as np

from lungmask_jax.spec import PredictSpec

Forward: TypeAlias = Callable[[np.ndarray], jax.Array]
Read: TypeAlias = Callable[[int, int], np.ndarray]


def starts(length: int, size: int, step: float) -> list[int]:
    """Start positions of patches along an axis, as even as integers allow.

    Args:
        length: Length of the axis.
        size: Size of a patch.
        step: Largest distance to the next patch, as a share of the patch.

    Returns:
        The positions; only 0 if the patch is not shorter than the axis.

    Example:
        >>> starts(10, 4, 0.5), starts(11, 4, 1.0), starts(2, 4, 0.5)
        ([0, 2, 4, 6], [0, 4, 7], [0])
    """
    last = max(0, length - size)
    count = math.ceil(last / (size * step))
    return [round(last / max(count, 1) * number) for number in range(count + 1)]


def importance(size: int) -> np.ndarray:
    """Weights of the positions in a patch along an axis: a Gaussian of an eighth of its size.

    Args:
        size: Size of the patch.

    Returns:
        ``(size,)`` float32, 1 in the middle.

    Example:
        >>> importance(8)[2:7].round(2)
        array([0.14, 0.61, 1.  , 0.61, 0.14], dtype=float32)
    """
    distances = np.arange(size) - size // 2
    return np.exp(-0.5 * (distances / (size / 8)) ** 2).astype(np.float32)


def in_patches(
    forward: Forward,
    read: Read,
    length: int,
    *,
    labels: int,
    spec: PredictSpec,
) -> Callable[[int, int], np.ndarray]:
    """Probabilities of a volume, patch by patch, in one pass over its slices.

    Args:
        forward: Probabilities ``(1, D, H, W, L)`` of a patch ``(1, D, H, W, C)``.
        read: ``read(start, stop)``: slices of the volume ``(stop - start, rows, columns, C)``, at
            most as many as a patch has.
        length: Slices of the volume.
        labels: L.
        spec: Patch and step.

    Returns:
        ``probabilities(start, stop) -> (stop - start, rows, columns, L)``. A call begins where the
        last one did, or later; patches in between are skipped.
    """
    depth = spec.patch[0]
    weights = importance(depth)
    waiting = deque(starts(length, depth, spec.step))
    totals: dict[int, np.ndarray] = defaultdict(lambda: np.zeros((1, 1, labels), np.float32))
    counts: dict[int, np.float32] = defaultdict(np.float32)

    def add(first: int) -> None:
        window = read(first, min(first + depth, length))
        before, _ = _edges(len(window), depth)
        for offset, probabilities in enumerate(_across(forward, window, labels, spec)):
            weight = weights[before + offset]
            totals[first + offset] = totals[first + offset] + weight * probabilities
            counts[first + offset] += weight

    def mean(start: int, stop: int) -> np.ndarray:
        for passed in [place for place in totals if place < start]:
            del totals[passed]
        while waiting and waiting[0] < stop:
            if waiting[0] + depth > start:
                add(waiting[0])
            waiting.popleft()
        return np.stack([totals[place] / counts[place] for place in range(start, stop)])

    return mean


def _across(forward: Forward, window: np.ndarray, labels: int, spec: PredictSpec) -> np.ndarray:
    """The weighted mean over patches side by side, of a window ``(D, rows, columns, C)``."""
    edges = [_edges(side, size) for side, size in zip(window.shape, spec.patch, strict=False)]
    padded = np.pad(window, [*edges, (0, 0)])
    _, height, width = spec.patch
    weight = np.multiply.outer(importance(height), importance(width))[..., None]
    total = np.zeros((*padded.shape[:3], labels), np.float32)
    count = np.zeros((*padded.shape[1:3], 1), np.float32)
    for top, left in itertools.product(
        starts(padded.shape[1], height, spec.step), starts(padded.shape[2], width, spec.step)
    ):
        rows, columns = slice(top, top + height), slice(left, left + width)
        probabilities = np.asarray(forward(padded[None, :, rows, columns]))[0]
        total[:, rows, columns] += weight * probabilities
        count[rows, columns] += weight
    mean: np.ndarray = total / count
    inside = (slice(b, b + side) for (b, _), side in zip(edges, window.shape, strict=False))
    return mean[tuple(inside)]


def _edges(length: int, size: int) -> tuple[int, int]:
    """Zeros before and after an axis that is shorter than a patch."""
    missing = max(0, size - length)
    return missing // 2, missing - missing // 2
