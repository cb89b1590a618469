"""How well a mask agrees with the truth: counts first, then ratios.

Masks are boolean or 0/1 arrays of any one shape. Counts of parts add up to the counts of the whole.

Empty masks: two empty masks agree perfectly, so Dice and IoU are 1. A ratio that has nothing to
count is undefined and comes out as NaN: sensitivity without a positive voxel in the truth,
precision without one in the prediction, specificity without a negative one in the truth.
"""

from typing import NamedTuple

import numpy as np

from lungmask_jax.errors import ShapeError

__all__ = [
    "Counts",
    "counts",
    "dice",
    "iou",
    "overlap",
    "precision",
    "sensitivity",
    "specificity",
    "volume_ml",
]


class Counts(NamedTuple):
    """Voxels by what was predicted and what is true.

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
    """The four counts from which every overlap ratio follows.

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
    prediction, target = _binary(prediction, "prediction"), _binary(target, "target")
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
    """Share of the background that was left alone, ``tn / (tn + fp)``.

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
    """All ratios at once, from two masks or from counts that were added up.

    Args:
        prediction: A mask, or `Counts`.
        target: A mask of the same shape; left out with `Counts`.

    Returns:
        ``dice``, ``iou``, ``sensitivity``, ``specificity``, ``precision``.

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> overlap(Counts(tp=1, fp=1, fn=0, tn=2))["iou"]
        0.5
    """
    if isinstance(prediction, Counts):
        tp, fp, fn, tn = prediction
    elif target is None:
        raise ShapeError("expected two masks or one Counts, found one mask")
    else:
        tp, fp, fn, tn = counts(prediction, target)
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn, empty=1.0),
        "iou": _ratio(tp, tp + fp + fn, empty=1.0),
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "precision": _ratio(tp, tp + fp),
    }


def volume_ml(mask: np.ndarray, voxel_ml: float) -> float:
    """Volume of a mask.

    Args:
        mask: Boolean or 0/1, any shape.
        voxel_ml: Volume of one voxel, as in `Volume.voxel_ml`.

    Returns:
        Millilitres.

    Example:
        >>> volume_ml(np.ones((10, 10, 10)), 0.001)
        1.0
    """
    return float(np.count_nonzero(mask) * voxel_ml)


def _ratio(part: int, whole: int, *, empty: float = float("nan")) -> float:
    return part / whole if whole else empty


def _binary(mask: np.ndarray, name: str) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.dtype == bool:
        return mask
    if mask.size and not np.isin(mask, (0, 1)).all():
        found = np.unique(mask)[:5].tolist()
        raise ShapeError(
            f"expected a {name} of 0 and 1, found values {found}: compare one label at a time, "
            "as in mask == 1"
        )
    return mask.astype(bool)
