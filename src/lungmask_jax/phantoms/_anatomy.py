"""Differences between patients."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Anatomy:
    """The patient: scales about 1, lengths in mm, phases in mm along the spine.

    Attributes:
        size: Scale of the body along ``(height, depth, width)``.
        shift_mm: Where the patient lies off the middle of the table.
        heart: Scale of the heart.
        left: Width of the left lung against the nominal one.
        fat_mm: Thickness of the fat under the skin.
        dome_mm: Height of the right and the left diaphragm above the nominal one.
        rib_mm: Phase of the ribs.
        disc_mm: Phase of the discs.
    """

    size: tuple[float, float, float]
    shift_mm: float
    heart: float
    left: float
    fat_mm: float
    dome_mm: tuple[float, float]
    rib_mm: float
    disc_mm: float


def anatomy(generator: np.random.Generator) -> Anatomy:
    """A patient drawn at random, within a few percent of the nominal one.

    Example:
        >>> 0.8 < anatomy(np.random.default_rng(0)).heart < 1.2
        True
    """

    def near(middle: float, reach: float) -> float:
        return float(generator.uniform(middle - reach, middle + reach))

    return Anatomy(
        size=(near(1, 0.03), near(1, 0.04), near(1, 0.04)),
        shift_mm=near(0, 4),
        heart=near(1, 0.1),
        left=near(0.95, 0.025),
        fat_mm=near(9, 4),
        dome_mm=(near(0, 7), near(0, 7)),
        rib_mm=near(12, 12),
        disc_mm=near(12, 12),
    )
