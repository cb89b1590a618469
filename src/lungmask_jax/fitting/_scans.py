"""The scans of a fit, and its progress callback."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from lungmask_jax.training import Samples

Progress = Callable[[str, int, int], bool | None]
"""``progress(stage, done, total)``; returns True to end the stage ``"training"``."""


class PreparedScan(NamedTuple):
    """A scan prepared for training.

    Attributes:
        name: Name of its case.
        samples: Its slices.
        fingerprint: Fingerprint of the scan, see `lungmask_jax.data.fingerprint`; it alone
            identifies equal scans.

    Example:
        >>> import numpy as np
        >>> samples = Samples.of(np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8)))
        >>> PreparedScan("a", samples, "3f0d5e464dfe3b46").name
        'a'
    """

    name: str
    samples: Samples
    fingerprint: str


class TrainingScans(NamedTuple):
    """The two sides of a training.

    Attributes:
        samples: The training samples.
        learned: The names of their scans, and the fingerprint of each, for the card.
        held_out: Scans of other patients, which choose the epoch, the calibration and the
            threshold; without any the last epoch is kept, uncalibrated.
        notes: Warnings about them, a sentence each.

    Example:
        >>> import numpy as np
        >>> samples = Samples.of(np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8)))
        >>> TrainingScans(samples).held_out
        ()
    """

    samples: Samples
    learned: Mapping[str, str] = MappingProxyType({})
    held_out: Sequence[PreparedScan] = ()
    notes: tuple[str, ...] = ()
