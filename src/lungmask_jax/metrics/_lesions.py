"""Detected and missed lesions."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lungmask_jax.errors import ShapeError
from lungmask_jax.metrics._overlap import binary


class Lesions(NamedTuple):
    """Counts of connected components.

    Attributes:
        found: Lesions of the target that the prediction covers enough.
        missed: The other lesions of the target.
        true: Components of the prediction that cover a lesion enough.
        false: The other components of the prediction.

    Example:
        >>> Lesions(found=3, missed=1, true=2, false=0).sensitivity
        0.75
    """

    found: int
    missed: int
    true: int
    false: int

    @property
    def sensitivity(self) -> float:
        """Share of detected lesions; NaN without lesions."""
        count = self.found + self.missed
        return self.found / count if count else float("nan")

    @property
    def precision(self) -> float:
        """Share of the predicted components that are lesions; NaN without components."""
        count = self.true + self.false
        return self.true / count if count else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 1 if both masks are empty."""
        if not self.found + self.missed + self.true + self.false:
            return 1.0
        if not self.found or not self.true:
            return 0.0
        return 2 * self.sensitivity * self.precision / (self.sensitivity + self.precision)


def lesions(
    prediction: np.ndarray, target: np.ndarray, *, min_overlap: float = 0.1, min_voxels: int = 1
) -> Lesions:
    """Connected components of both masks (neighbors by faces, edges and corners), matched.

    A component is matched if the other mask covers at least `min_overlap` of it, with any number of
    components: one predicted component may detect several lesions.

    Args:
        prediction: Boolean or 0/1, 2-D or 3-D.
        target: Same shape.
        min_overlap: Share of a component that must be covered, above 0.
        min_voxels: Smaller components of either mask are ignored; they still cover others.

    Returns:
        The counts; sum them over cases for ratios over all lesions.

    Raises:
        ShapeError: The shapes differ, or a mask has values other than 0 and 1.

    Example:
        >>> target = np.array([[1, 1, 0, 0, 0, 1]])
        >>> lesions(np.array([[0, 1, 0, 1, 0, 0]]), target)
        Lesions(found=1, missed=1, true=1, false=1)
    """
    prediction, target = binary(prediction, "prediction"), binary(target, "target")
    if prediction.shape != target.shape:
        raise ShapeError(
            f"expected masks of one shape, found {prediction.shape} and {target.shape}"
        )
    found, missed = _matched(target, prediction, min_overlap, min_voxels)
    true, false = _matched(prediction, target, min_overlap, min_voxels)
    return Lesions(found, missed, true, false)


def _matched(
    mask: np.ndarray, other: np.ndarray, min_overlap: float, min_voxels: int
) -> tuple[int, int]:
    """The number of components of a mask that the other covers enough, and of the others."""
    components, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sizes = np.bincount(components.ravel())[1:]
    covered = np.bincount(components[other], minlength=len(sizes) + 1)[1:]
    large = sizes >= min_voxels
    enough = large & (covered > 0) & (covered >= min_overlap * sizes)
    return int(enough.sum()), int((large & ~enough).sum())
