"""Metrics of foreground maps, as in the Inf-Net toolbox for COVID-SemiSeg.

Maps are ``(H, W)`` probabilities of one slice. Fan et al., Inf-Net, IEEE TMI 2020,
10.1109/TMI.2020.2996645.
"""

from typing import NamedTuple

import numpy as np

from lungmask_jax.metrics._probability import checked

_TINY = float(np.finfo(np.float64).eps)
_THRESHOLDS = np.arange(256) / 255  # the very numbers that 8-bit maps hold


class Curves(NamedTuple):
    """Scores of one map at 256 thresholds, from 0 to 1.

    Means of curves over slices are the curves of a data set: their mean is what the toolbox calls
    ``meanDic``, their largest value ``maxDic``, and so on.

    Attributes:
        dice: ``(256,)``; 0 where no true pixel is found, an empty target included.
        sensitivity: ``(256,)``, likewise.
        specificity: ``(256,)``, likewise.
        e_measure: ``(256,)`` enhanced alignment (Fan et al., IJCAI 2018).

    Example:
        >>> curves = threshold_curves(np.eye(4), np.eye(4))
        >>> float(curves.dice[1:].mean())
        1.0
    """

    dice: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    e_measure: np.ndarray


def stretched(probabilities: np.ndarray) -> np.ndarray:
    """A map stretched to its own smallest and largest value, the first step of the toolbox.

    Args:
        probabilities: Any shape.

    Returns:
        Same shape, from 0 to 1; a constant map does not change.

    Example:
        >>> stretched(np.array([0.2, 0.4, 0.6])).round(3).tolist()
        [0.0, 0.5, 1.0]
    """
    low, high = probabilities.min(), probabilities.max()
    return (probabilities - low) / (high - low) if high > low else probabilities


def threshold_curves(probabilities: np.ndarray, target: np.ndarray) -> Curves:
    r"""Dice and related scores at every threshold, to score a map rather than a single mask of it.

    A pixel counts as found from the threshold on; for the E-measure above it, as in the toolbox.
    The E-measure compares both masks less their means :math:`\varphi`,

    .. math:: E = \frac{1}{M - 1} \sum_i \frac14
        \left(1 + \frac{2 \varphi^f_i \varphi^t_i}{(\varphi^f_i)^2 + (\varphi^t_i)^2}\right)^2,

    and is the share of pixels that agree where the target is empty or full.

    Args:
        probabilities: ``(H, W)`` in [0, 1]; use `stretched` first to get the published numbers.
        target: Boolean or 0/1, same shape.

    Returns:
        The curves.

    Raises:
        ShapeError: The shapes differ, or values are out of range.

    Example:
        >>> threshold_curves(np.eye(4) / 2, np.eye(4)).dice[[0, 100, 200]].round(2).tolist()
        [0.4, 1.0, 0.0]
    """
    probabilities, target = checked(probabilities, target)
    true, false = np.sort(probabilities[target]), np.sort(probabilities[~target])
    tp = len(true) - np.searchsorted(true, _THRESHOLDS, side="left")
    fp = len(false) - np.searchsorted(false, _THRESHOLDS, side="left")
    hit = tp > 0
    above = (
        len(true) - np.searchsorted(true, _THRESHOLDS, side="right"),
        len(false) - np.searchsorted(false, _THRESHOLDS, side="right"),
    )
    return Curves(
        dice=np.where(hit, 2 * tp / np.maximum(tp + fp + len(true), 1), 0.0),
        sensitivity=np.where(hit, tp / max(len(true), 1), 0.0),
        specificity=np.where(hit, (len(false) - fp) / max(len(false), 1), 0.0),
        e_measure=_e_measures(*above, len(true), len(false)),
    )


def _e_measures(tp: np.ndarray, fp: np.ndarray, true: int, false: int) -> np.ndarray:
    """The E-measure from counts: pixels that agree in both masks have one and the same value."""
    total = true + false
    if true == 0 or false == 0:
        agreeing = tp if false == 0 else false - fp
        return agreeing / (total - 1 + _TINY)
    found = (tp + fp) / total
    result = np.zeros(len(tp))
    for value, truth, count in (
        (1, 1, tp),
        (1, 0, fp),
        (0, 1, true - tp),
        (0, 0, false - fp),
    ):
        ours, theirs = value - found, truth - true / total
        alignment = 2 * ours * theirs / (ours**2 + theirs**2 + _TINY)
        result += count * (1 + alignment) ** 2 / 4
    return result / (total - 1 + _TINY)


def s_measure(probabilities: np.ndarray, target: np.ndarray) -> float:
    r"""Structure measure: similarity of objects and of regions, half each.

    The object part compares means and spreads on the target and off it; the region part is the
    structural similarity (SSIM) in the four parts around the target's center, by area.

    Args:
        probabilities: ``(H, W)`` in [0, 1].
        target: Boolean or 0/1, same shape.

    Returns:
        A number in [0, 1]. For an empty target the mean of ``1 - probabilities``, for a full one of
        the probabilities.

    Raises:
        ShapeError: The shapes differ, or values are out of range.

    References:
        Fan et al., Structure-measure, ICCV 2017, arXiv:1708.00786.

    Example:
        >>> round(s_measure(np.eye(8), np.eye(8)), 3)
        1.0
    """
    probabilities, target = checked(probabilities, target)
    share = float(target.mean())
    if share in (0.0, 1.0):
        return float(np.mean(probabilities if share else 1 - probabilities))
    objects = share * _object(probabilities[target]) + (1 - share) * _object(
        1 - probabilities[~target]
    )
    return max(0.0, (objects + _regions(probabilities, target.astype(np.float64))) / 2)


def _object(values: np.ndarray) -> float:
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(2 * values.mean() / (values.mean() ** 2 + 1 + spread + _TINY))


def _regions(probabilities: np.ndarray, target: np.ndarray) -> float:
    rows, columns = (int(np.floor(where.mean() + 1.5)) for where in np.nonzero(target))
    total = 0.0
    for down in (slice(None, rows), slice(rows, None)):
        for across in (slice(None, columns), slice(columns, None)):
            part, truth = probabilities[down, across], target[down, across]
            total += part.size / target.size * _similarity(part, truth) if part.size else 0.0
    return total


def _similarity(values: np.ndarray, truth: np.ndarray) -> float:
    """SSIM of a region without its constants: 1 where both are empty or constant alike."""
    x, y, count = values.mean(), truth.mean(), values.size - 1 + _TINY
    variances = (((values - x) ** 2).sum() + ((truth - y) ** 2).sum()) / count
    above = 4 * x * y * ((values - x) * (truth - y)).sum() / count
    below = (x**2 + y**2) * variances
    if above:
        return float(above / (below + _TINY))
    return 1.0 if below == 0 else 0.0


def mean_absolute_error(probabilities: np.ndarray, target: np.ndarray) -> float:
    """Mean distance of a map from the truth (MAE).

    Args:
        probabilities: In [0, 1], any shape.
        target: Boolean or 0/1, same shape.

    Returns:
        A number in [0, 1].

    Raises:
        ShapeError: The shapes differ, or values are out of range.

    Example:
        >>> mean_absolute_error(np.array([0.5, 1.0]), np.array([0, 1]))
        0.25
    """
    probabilities, target = checked(probabilities, target)
    return float(np.abs(probabilities - target).mean())
