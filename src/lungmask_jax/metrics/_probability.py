"""Reliability of probabilities."""

from typing import NamedTuple

import numpy as np

from lungmask_jax.errors import ShapeError
from lungmask_jax.metrics._overlap import binary


class Reliability(NamedTuple):
    """Probabilities in bins of equal width, compared with observed frequencies.

    Attributes:
        edges: ``(B + 1,)`` of the bins, from 0 to 1.
        confidence: ``(B,)`` mean probability in each bin; NaN in an empty one.
        frequency: ``(B,)`` share of true voxels in each bin; NaN in an empty one.
        voxels: ``(B,)`` number of voxels in each bin.

    Example:
        >>> table = reliability(np.array([0.1, 0.9, 0.9]), np.array([0, 1, 0]), bins=2)
        >>> table.frequency.tolist()
        [0.0, 0.5]
    """

    edges: np.ndarray
    confidence: np.ndarray
    frequency: np.ndarray
    voxels: np.ndarray


def brier(probabilities: np.ndarray, target: np.ndarray) -> float:
    """Mean squared difference between probability and truth (Brier, 1950).

    Args:
        probabilities: In [0, 1], any shape.
        target: Boolean or 0/1, same shape.

    Returns:
        0 for perfect certainty, 0.25 for always one half, 1 at worst; NaN without voxels.

    Raises:
        ShapeError: The shapes differ, or values are out of range.

    Example:
        >>> brier(np.array([0.5, 0.5]), np.array([0, 1]))
        0.25
    """
    probabilities, target = checked(probabilities, target)
    if not probabilities.size:
        return float("nan")
    return float(np.mean((probabilities - target) ** 2))


def reliability(probabilities: np.ndarray, target: np.ndarray, *, bins: int = 10) -> Reliability:
    """The table behind a reliability diagram.

    Args:
        probabilities: Of the foreground, in [0, 1], any shape.
        target: Boolean or 0/1, same shape.
        bins: How many of equal width; each holds its lower edge, the last both.

    Returns:
        The table.

    Raises:
        ShapeError: The shapes differ, or values are out of range.

    Example:
        >>> reliability(np.array([0.2, 0.8]), np.array([0, 1]), bins=2).voxels.tolist()
        [1, 1]
    """
    probabilities, target = checked(probabilities, target)
    edges = np.linspace(0, 1, bins + 1)
    which = np.minimum((probabilities * bins).astype(int), bins - 1).ravel()
    count = np.bincount(which, minlength=bins)
    sums = np.bincount(which, probabilities.ravel(), bins), np.bincount(which, target.ravel(), bins)
    share = np.where(count > 0, count, np.nan)
    return Reliability(edges, sums[0] / share, sums[1] / share, count)


def calibration_error(probabilities: np.ndarray, target: np.ndarray, *, bins: int = 10) -> float:
    """Expected calibration error: distance of `reliability` from the diagonal, over all voxels.

    Most voxels of a scan are certain background, which makes this small: give only the relevant
    voxels, for example those of the lungs.

    Args:
        probabilities: Of the foreground, in [0, 1], any shape.
        target: Boolean or 0/1, same shape.
        bins: How many of equal width.

    Returns:
        A number in [0, 1]; NaN without voxels.

    Raises:
        ShapeError: The shapes differ, or values are out of range.

    References:
        Guo et al., On calibration of modern neural networks, ICML 2017, arXiv:1706.04599.

    Example:
        >>> round(calibration_error(np.array([0.75, 0.75]), np.array([1, 0])), 3)
        0.25
    """
    table = reliability(probabilities, target, bins=bins)
    if not table.voxels.sum():
        return float("nan")
    distance = np.abs(table.confidence - table.frequency)
    return float(np.nansum(distance * table.voxels) / table.voxels.sum())


def checked(probabilities: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities as float64 and the target as booleans, of one shape."""
    probabilities, target = np.asarray(probabilities, np.float64), binary(target, "target")
    if probabilities.shape != target.shape:
        raise ShapeError(
            f"expected arrays of one shape, found {probabilities.shape} and {target.shape}"
        )
    if probabilities.size and not 0 <= probabilities.min() <= probabilities.max() <= 1:
        raise ShapeError(
            f"expected probabilities in [0, 1], found {probabilities.min():.4g} to "
            f"{probabilities.max():.4g}: apply a sigmoid to logits first"
        )
    return probabilities, target
