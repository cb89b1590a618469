"""Sliding windows: a volume through a network in overlapping patches.

Starts, padding and weights are those of nnU-Net (Isensee et al., Nature Methods 2021). Slices are
finished one after the other, and no more are kept than a patch has.
"""

import functools
import itertools
import math
from collections import deque
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
    count = math.ceil(last / max(size * step, 1))
    return [round(last / max(count, 1) * number) for number in range(count + 1)]


@functools.lru_cache(maxsize=4)
def importance(patch: tuple[int, ...]) -> np.ndarray:
    """Weights of the voxels of a patch: a Gaussian of an eighth of its sides.

    As in nnU-Net the weight is 10 in the middle and rounded to float16; where that gives zero, in
    corners, it is the least of the others.

    Args:
        patch: Sides of the patch.

    Returns:
        Of this shape, float32.

    Example:
        >>> importance((8,))[2:7].round(2)
        array([ 1.35,  6.07, 10.  ,  6.07,  1.35], dtype=float32)
    """
    weights: np.ndarray = np.array(10.0)
    for side in patch:
        distances = np.arange(side) - side // 2
        weights = np.multiply.outer(weights, np.exp(-0.5 * (distances / (side / 8)) ** 2))
    rounded: np.ndarray = weights.astype(np.float16).astype(np.float32)
    floored: np.ndarray = np.where(rounded == 0, rounded[rounded > 0].min(), rounded)
    return floored


class _Slice:
    """Sums over the patches that reach a slice."""

    def __init__(self, shape: tuple[int, ...], labels: int, inside: tuple[slice, ...]) -> None:
        self.total = np.zeros((*shape[1:3], labels), np.float32)
        self.weight = np.zeros((*shape[1:3], 1), np.float32)
        self.inside = inside

    def mean(self) -> np.ndarray:
        found: np.ndarray = (self.total / self.weight)[self.inside]
        return found


def in_patches(
    forward: Forward,
    read: Read,
    length: int,
    *,
    labels: int,
    spec: PredictSpec,
) -> Callable[[int, int], np.ndarray]:
    """Probabilities or logits of a volume, patch by patch, in one pass over its slices.

    Args:
        forward: Answers ``(1, D, H, W, L)`` to a patch ``(1, D, H, W, C)``.
        read: ``read(start, stop)``: slices of the volume ``(stop - start, rows, columns, C)``, at
            most as many as a patch has.
        length: Slices of the volume.
        labels: L.
        spec: Patch and step.

    Returns:
        ``mean(start, stop) -> (stop - start, rows, columns, L)``. A call begins where the last one
        did, or later; patches in between are skipped.
    """
    depth, weights = spec.patch[0], importance(spec.patch)[..., None]
    waiting = deque(starts(length, depth, spec.step))
    sums: dict[int, _Slice] = {}

    def add(first: int) -> None:
        padded, inside = _padded(read(first, min(first + depth, length)), spec)
        offsets = range(inside[0].start, inside[0].stop)
        some = [
            sums.setdefault(first + n, _Slice(padded.shape, labels, inside[1:]))
            for n in range(len(offsets))
        ]
        for corner in _corners(padded.shape[1:3], spec):
            answers = np.asarray(forward(padded[(None, slice(None), *corner)]))[0]
            for one, offset in zip(some, offsets, strict=True):
                one.total[corner] += weights[offset] * answers[offset]
                one.weight[corner] += weights[offset]

    def mean(start: int, stop: int) -> np.ndarray:
        for passed in [place for place in sums if place < start]:
            del sums[passed]
        while waiting and waiting[0] < stop:
            if waiting[0] + depth > start:
                add(waiting[0])
            waiting.popleft()
        return np.stack([sums[place].mean() for place in range(start, stop)])

    return mean


def _padded(window: np.ndarray, spec: PredictSpec) -> tuple[np.ndarray, tuple[slice, ...]]:
    """With zeros around it where a patch is larger, and the place of the window within."""
    missing = [max(0, size - side) for size, side in zip(spec.patch, window.shape, strict=False)]
    before = [one // 2 for one in missing]
    edges = [(half, one - half) for half, one in zip(before, missing, strict=True)]
    inside = (slice(n, n + side) for n, side in zip(before, window.shape, strict=False))
    return np.pad(window, [*edges, (0, 0)]), tuple(inside)


def _corners(sides: tuple[int, int], spec: PredictSpec) -> list[tuple[slice, slice]]:
    """Rows and columns of patches side by side."""
    _, height, width = spec.patch
    firsts = itertools.product(
        starts(sides[0], height, spec.step), starts(sides[1], width, spec.step)
    )
    return [(slice(top, top + height), slice(left, left + width)) for top, left in firsts]
