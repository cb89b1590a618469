"""From probabilities to a mask: the first steps of a bundle, on the device."""

from typing import NamedTuple

from lungmask_jax.errors import SpecError


class Decision(NamedTuple):
    """How probabilities become a mask, on the device, before any other step.

    Attributes:
        slope: Factor of the log-odds, as in `lungmask_jax.calibration`.
        offset: Added to them.
        at: Calibrated probability above which a voxel counts.
        most_likely: Whether a voxel counts where one label is likelier than the background instead.

    Example:
        >>> Decision().at
        0.5
    """

    slope: float = 1.0
    offset: float = 0.0
    at: float = 0.5
    most_likely: bool = False


def calibration(before: Decision, *, slope: float = 1.0, offset: float = 0.0) -> Decision:
    """Calibration of probabilities: slope and offset of their log-odds.

    Args:
        before: The decision so far.
        slope: Above 0; from `lungmask_jax.calibration.fit`.
        offset: Likewise.

    Returns:
        The decision.

    Raises:
        SpecError: The slope is not above 0.

    Example:
        >>> calibration(Decision(), slope=0.8).slope
        0.8
    """
    if not slope > 0:
        raise SpecError(f"expected a calibration with a slope above 0, found {slope}")
    return before._replace(slope=slope, offset=offset)


def threshold(before: Decision, *, at: float = 0.5) -> Decision:
    """The probability above which a voxel counts.

    Args:
        before: The decision so far.
        at: Between 0 and 1.

    Returns:
        The decision.

    Raises:
        SpecError: It is not between 0 and 1.

    Example:
        >>> threshold(Decision(), at=0.4).at
        0.4
    """
    if not 0 < at < 1:
        raise SpecError(f"expected a threshold between 0 and 1, found {at}")
    return before._replace(at=at)


def most_likely(before: Decision) -> Decision:
    """Each voxel is what is likeliest there, the background or one of the labels.

    That differs from a threshold of one half where the background is less likely than all labels
    together, and likelier than each. Calibrated are the probabilities alone, not this choice.

    Args:
        before: The decision so far.

    Returns:
        The decision.

    Example:
        >>> most_likely(Decision()).most_likely
        True
    """
    return before._replace(most_likely=True)
