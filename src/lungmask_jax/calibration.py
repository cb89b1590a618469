"""Calibrated probabilities, and the threshold with the best Dice.

Both are chosen on held-out cases, and must be evaluated on others again.
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize, special

from lungmask_jax.errors import ShapeError, SpecError

__all__ = ["best_threshold", "calibrated", "dice_at_best", "entropy", "fit"]

_SMALLEST = 1e-6
_THRESHOLDS = np.linspace(0.05, 0.95, 91)
_PIXELS = 1_000_000
_BINS_PER_UNIT = 40  # of log-odds


def fit(probabilities: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> tuple[float, float]:
    """Slope and offset that make a network's log-odds fit the truth best (Platt scaling).

    Maximizes the likelihood over all pixels. A network trained with Dice is overconfident: its
    slope is below 1.

    Args:
        probabilities: Of each case, any shape, in [0, 1].
        truths: Of each case, the same shape, 0 or 1.

    Returns:
        ``(slope, offset)`` for `calibrated` and the step `lungmask_jax.postprocess.calibration`.
        ``(1, 0)`` if the truth has only one label, or the network is no better than chance.

    Raises:
        ShapeError: There is no case, or shapes differ.
        SpecError: A probability is not finite.

    References:
        Platt, Probabilistic Outputs for Support Vector Machines, 1999; Guo et al., On Calibration
        of Modern Neural Networks, ICML 2017, arXiv:1706.04599.

    Example:
        >>> found = np.repeat([0.01, 0.99], 5)  # sure, and right in four of five
        >>> truth = np.array([1, 0, 0, 0, 0, 0, 1, 1, 1, 1])
        >>> calibrated(found, fit([found], [truth]))[[0, -1]].round(3).tolist()
        [0.2, 0.8]
    """
    found, truth = _flat(probabilities, truths)
    if truth.all() or not truth.any():
        return 1.0, 0.0
    odds, signs = _log_odds(found), np.where(truth, 1.0, -1.0)

    def cost(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (numbers[0] * odds + numbers[1])
        pull = -signs * special.expit(-margins)
        return float(np.logaddexp(0, -margins).mean()), np.array(
            [(pull * odds).mean(), pull.mean()]
        )

    slope, offset = optimize.minimize(cost, [1.0, 0.0], jac=True, method="BFGS").x
    return (float(slope), float(offset)) if slope > 0 else (1.0, 0.0)


def calibrated(probabilities: np.ndarray, numbers: tuple[float, float]) -> np.ndarray:
    """Probabilities after a slope and an offset of their log-odds.

    Args:
        probabilities: Any shape, in [0, 1].
        numbers: ``(slope, offset)``, what `fit` returned.

    Returns:
        Same shape, in [0, 1]; 0 and 1 are first moved inwards by a millionth.

    Example:
        >>> calibrated(np.array([0.5, 0.8]), (0.5, 0.0)).round(3).tolist()
        [0.5, 0.667]
    """
    slope, offset = numbers
    return special.expit(slope * _log_odds(probabilities) + offset)


def best_threshold(probabilities: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> float:
    """The threshold with the largest mean Dice over cases.

    Of several equally good ones, the middle one; with only empty truths, 0.5. In a case with an
    empty truth, Dice would be 0 for a single false voxel and 1 without any. Such a case counts as
    if a lesion of the mean size of all others had been found in it, so that a false voxel costs
    about as much as in a case with disease.

    Args:
        probabilities: Of each case, any shape, in [0, 1]. A case is a whole scan: its slices alone
            would be many cases, most of them without truth.
        truths: Of each case, the same shape, 0 or 1.

    Returns:
        A threshold from 0.05 to 0.95, in steps of 0.01.

    Raises:
        ShapeError: There is no case, or shapes differ.
        SpecError: A probability is not finite.

    Example:
        >>> 0.1 <= best_threshold([np.array([0.1, 0.2, 0.6])], [np.array([0, 1, 1])]) <= 0.2
        True
    """
    _check(probabilities, truths)
    sizes = np.array([np.count_nonzero(truth) for truth in truths])
    if not sizes.any():
        return 0.5
    lesion = float(sizes[sizes > 0].mean())
    cases = zip(probabilities, truths, strict=True)
    scores = np.mean([_dice(found, truth, lesion) for found, truth in cases], axis=0)
    best = np.flatnonzero(scores >= scores.max() - 1e-9)
    return round(float(_THRESHOLDS[best[len(best) // 2]]), 2)


def dice_at_best(probabilities: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> float:
    """The Dice of all cases pooled, at the threshold that makes it largest.

    Measures how well a network separates inside from outside, independent of its calibration: slope
    and offset of `fit` move probabilities and threshold alike, and do not change it. So networks
    are chosen by it before they are calibrated. A mask of everything has Dice
    ``2 p / (1 + p)`` where a share ``p`` of the pixels is true: a network that is no better has
    learned nothing.

    Args:
        probabilities: Of each case, any shape, in [0, 1].
        truths: Of each case, the same shape, 0 or 1.

    Returns:
        The Dice, to a 40th of a unit of log-odds; NaN if all truths are empty.

    Raises:
        ShapeError: There is no case, or shapes differ.
        SpecError: A probability is not finite.

    Example:
        >>> dice_at_best([np.array([0.01, 0.02, 0.03])], [np.array([0, 1, 1])])
        1.0
    """
    _check(probabilities, truths)
    counts = np.sum([_histograms(*case) for case in zip(probabilities, truths, strict=True)], 0)
    marked, right = np.cumsum(counts[:, ::-1], axis=1)
    if not right[-1]:
        return float("nan")
    return float((2 * right / np.maximum(marked + right[-1], 1)).max())


def _histograms(found: np.ndarray, truth: np.ndarray) -> list[np.ndarray]:
    """The number of pixels with each log-odds: of all, and of those of the truth."""
    largest = special.logit(1 - _SMALLEST)
    bins = np.rint((_log_odds(found) + largest) * _BINS_PER_UNIT).astype(np.int32)
    count = int(2 * largest * _BINS_PER_UNIT) + 2
    return [
        np.bincount(np.ravel(some), minlength=count) for some in (bins, bins[np.asarray(truth) > 0])
    ]


def _dice(found: np.ndarray, truth: np.ndarray, lesion: float) -> np.ndarray:
    """Dice at every threshold; for an empty truth, as if a lesion of so many voxels were found."""
    inside = np.asarray(truth) > 0
    marked, right = _above(found), _above(np.asarray(found)[inside])
    if not inside.any():
        return 2 * lesion / (2 * lesion + marked)
    return 2 * right / (marked + np.count_nonzero(inside))


def _above(found: np.ndarray) -> np.ndarray:
    """The number of probabilities above each threshold."""
    below = np.digitize(np.ravel(found), _THRESHOLDS, right=True)  # thresholds below each
    counts = np.bincount(below, minlength=len(_THRESHOLDS) + 1)
    return np.cumsum(counts[::-1])[-2::-1]


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """The entropy of probabilities in bits: 0 for 0 and 1, 1 for one half.

    Args:
        probabilities: Any shape, in [0, 1].

    Returns:
        Same shape, float32 in [0, 1].

    Example:
        >>> entropy(np.array([0.0, 0.11, 0.5])).round(2).tolist()
        [0.0, 0.5, 1.0]
    """
    found = np.asarray(probabilities, np.float32)
    bits: np.ndarray = (special.entr(found) + special.entr(1 - found)) / np.float32(np.log(2))
    return bits.astype(np.float32)


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    return special.logit(np.clip(np.asarray(probabilities, np.float64), _SMALLEST, 1 - _SMALLEST))


def _check(probabilities: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> None:
    shapes = [np.shape(one) for one in probabilities], [np.shape(one) for one in truths]
    if not shapes[0] or shapes[0] != shapes[1]:
        raise ShapeError(
            f"expected probabilities and truths of the same shapes, found {shapes[0][:3]} and "
            f"{shapes[1][:3]}"
        )
    if not all(np.isfinite(one).all() for one in probabilities):
        raise SpecError(
            "expected finite probabilities, found NaN or infinity: check the scans, and the "
            "weights of the network"
        )


def _flat(
    probabilities: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """All pixels as one vector; of very many, an even selection."""
    _check(probabilities, truths)
    found = np.concatenate([np.ravel(one) for one in probabilities])
    truth = np.concatenate([np.ravel(one) for one in truths]) > 0
    every = len(found) // _PIXELS | 1  # odd: no power of two, as sides of images are
    return found[::every], truth[::every]
