"""Counts of voxels, and their ratios."""

import math
from typing import NamedTuple

import numpy as np

from lungmask_jax.errors import ShapeError
from lungmask_jax.volume import Volume


class Counts(NamedTuple):
    """Counts of true and false positives and negatives.

    Attributes:
        tp: Predicted and true.
        fp: Predicted, not true.
        fn: True, not predicted.
        tn: Neither.

    Example:
        >>> sum(Counts(tp=1, fp=2, fn=3, tn=4))
        10
    """

    tp: int
    fp: int
    fn: int
    tn: int


def counts(prediction: np.ndarray, target: np.ndarray) -> Counts:
    """The four counts for all overlap ratios.

    Args:
        prediction: Boolean or 0/1, any shape.
        target: Same shape.

    Returns:
        The counts, in voxels.

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> counts(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
        Counts(tp=1, fp=1, fn=1, tn=1)
    """
    prediction, target = binary(prediction, "prediction"), binary(target, "target")
    if prediction.shape != target.shape:
        raise ShapeError(
            f"expected masks of one shape, found {prediction.shape} and {target.shape}"
        )
    tp = int(np.count_nonzero(prediction & target))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(target)) - tp
    return Counts(tp, fp, fn, prediction.size - tp - fp - fn)


def dice(prediction: np.ndarray, target: np.ndarray) -> float:
    """Dice coefficient, ``2 tp / (2 tp + fp + fn)``; 1 for two empty masks.

    Args:
        prediction: Boolean or 0/1, any shape.
        target: Same shape.

    Returns:
        A number in [0, 1].

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> dice(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0])).__round__(3)
        0.667
    """
    return overlap(prediction, target)["dice"]


def iou(prediction: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union (Jaccard), ``tp / (tp + fp + fn)``; 1 for two empty masks.

    Args:
        prediction: Boolean or 0/1, any shape.
        target: Same shape.

    Returns:
        A number in [0, 1].

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> iou(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))
        0.5
    """
    return overlap(prediction, target)["iou"]


def sensitivity(prediction: np.ndarray, target: np.ndarray) -> float:
    """Share of the truth that was found (recall), ``tp / (tp + fn)``.

    Args:
        prediction: Boolean or 0/1, any shape.
        target: Same shape.

    Returns:
        A number in [0, 1]; NaN where the target is empty.

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> sensitivity(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))
        1.0
    """
    return overlap(prediction, target)["sensitivity"]


def specificity(prediction: np.ndarray, target: np.ndarray) -> float:
    """Share of the background that was not marked, ``tn / (tn + fp)``.

    Args:
        prediction: Boolean or 0/1, any shape.
        target: Same shape.

    Returns:
        A number in [0, 1]; NaN where the target fills everything.

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> specificity(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0])).__round__(3)
        0.667
    """
    return overlap(prediction, target)["specificity"]


def precision(prediction: np.ndarray, target: np.ndarray) -> float:
    """Share of the prediction that is true, ``tp / (tp + fp)``.

    Args:
        prediction: Boolean or 0/1, any shape.
        target: Same shape.

    Returns:
        A number in [0, 1]; NaN where the prediction is empty.

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> precision(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))
        0.5
    """
    return overlap(prediction, target)["precision"]


def overlap(prediction: np.ndarray | Counts, target: np.ndarray | None = None) -> dict[str, float]:
    r"""All ratios at once, from two masks or from summed counts.

    In addition to Dice, IoU, sensitivity, specificity and precision: the balanced accuracy (mean of
    sensitivity and specificity), Matthews' correlation coefficient and Cohen's kappa, which
    agreement by chance does not raise,

    .. math:: \mathrm{MCC} = \frac{tp \cdot tn - fp \cdot fn}
        {\sqrt{(tp+fp)(tp+fn)(tn+fp)(tn+fn)}}, \quad
        \kappa = \frac{2 (tp \cdot tn - fp \cdot fn)}{(tp+fp)(fp+tn) + (tp+fn)(fn+tn)},

    the volume similarity :math:`1 - |fn - fp| / (2 tp + fp + fn)` and the relative volume error
    :math:`(fp - fn) / (tp + fn)`, positive where too much was found.

    Args:
        prediction: A mask, or `Counts`.
        target: A mask of the same shape; left out with `Counts`.

    Returns:
        ``dice``, ``iou``, ``sensitivity``, ``specificity``, ``precision``, ``balanced_accuracy``,
        ``mcc``, ``kappa``, ``volume_similarity``, ``volume_error``.

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    References:
        Taha and Hanbury, Metrics for evaluating 3D medical image segmentation, BMC Medical Imaging
        2015, 10.1186/s12880-015-0068-x.

    Example:
        >>> overlap(Counts(tp=1, fp=1, fn=0, tn=2))["iou"]
        0.5
    """
    tp, fp, fn, tn = _counted(prediction, target)
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    agreement = tp * tn - fp * fn
    margins = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    chance = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    same = 1.0 if fp == fn == 0 else 0.0  # where all voxels are of one kind on some side
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn, empty=1.0),
        "iou": _ratio(tp, tp + fp + fn, empty=1.0),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": _ratio(tp, tp + fp),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "mcc": _ratio(agreement, margins, empty=same),
        "kappa": _ratio(2 * agreement, chance, empty=same),
        "volume_similarity": 1 - _ratio(abs(fn - fp), 2 * tp + fp + fn, empty=0.0),
        "volume_error": _ratio(fp - fn, tp + fn),
    }


def f_beta(
    prediction: np.ndarray | Counts, target: np.ndarray | None = None, *, beta: float = 2.0
) -> float:
    r"""Weighted harmonic mean of precision and sensitivity; with ``beta`` = 1 it is Dice.

    .. math:: F_\beta = \frac{(1 + \beta^2) tp}{(1 + \beta^2) tp + \beta^2 fn + fp}

    Args:
        prediction: A mask, or `Counts`.
        target: A mask of the same shape; left out with `Counts`.
        beta: How many times as much sensitivity weighs as precision.

    Returns:
        A number in [0, 1]; 1 for two empty masks.

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> f_beta(Counts(tp=2, fp=2, fn=1, tn=0), beta=1.0) == overlap(Counts(2, 2, 1, 0))["dice"]
        True
    """
    tp, fp, fn, _ = _counted(prediction, target)
    weight = beta**2
    return _ratio((1 + weight) * tp, (1 + weight) * tp + weight * fn + fp, empty=1.0)


def _counted(prediction: np.ndarray | Counts, target: np.ndarray | None) -> Counts:
    if isinstance(prediction, Counts):
        return Counts(*map(int, prediction))  # products of numpy integers overflow
    if target is None:
        raise ShapeError("expected two masks or one Counts, found one mask")
    return counts(prediction, target)


def _ratio(part: float, whole: float, *, empty: float = float("nan")) -> float:
    return part / whole if whole else empty


def binary(mask: np.ndarray, name: str) -> np.ndarray:
    """A mask as booleans, if it holds only 0 and 1; `name` is for the error."""
    if isinstance(mask, Volume):
        raise ShapeError(f"expected an array as {name}, found a Volume: give its .array == 1")
    mask = np.asarray(mask)
    if mask.dtype == bool:
        return mask
    one: np.ndarray = mask == 1
    if not (one | (mask == 0)).all():
        found = np.unique(mask)[:5].tolist()
        raise ShapeError(
            f"expected a {name} of 0 and 1, found values {found}: compare one label at a time, "
            "as in mask == 1"
        )
    return one
