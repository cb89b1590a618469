"""Calibration and threshold of a bundle, from the held-out scans."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from lungmask_jax import calibration
from lungmask_jax.fitting._scans import PreparedScan
from lungmask_jax.prediction import Predictor
from lungmask_jax.spec import changed_steps
from lungmask_jax.weights import Bundle

_CHANCE: Final = 0.02
"""Dice that the choice of epoch and threshold may gain by chance."""


class Judgement(NamedTuple):
    """The scores of a calibrated network on the held-out scans, pooled.

    Attributes:
        dice: Dice of its masks.
        everything: Dice of a mask of everything, which needs no network.
        calibration: Slope and offset of its log-odds.
        threshold: Calibrated probability above which a voxel counts.

    Example:
        >>> Judgement(0.31, 0.3).learned
        False
    """

    dice: float
    everything: float
    calibration: tuple[float, float] = (1.0, 0.0)
    threshold: float = 0.5

    @classmethod
    def of(cls, masks: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> "Judgement":
        """The judgement of masks.

        Args:
            masks: Of each scan, booleans.
            truths: Likewise, not all of them empty.

        Returns:
            Their Dice, and that of everything.
        """
        pairs = list(zip(masks, truths, strict=True))
        true = sum(int(truth.sum()) for truth in truths)
        right = sum(int((one & truth).sum()) for one, truth in pairs)
        marked = sum(int(one.sum()) for one in masks)
        size = sum(truth.size for truth in truths)
        return cls(2 * right / (marked + true), 2 * true / (size + true))

    @property
    def learned(self) -> bool:
        """Whether the network is better than a mask of everything."""
        return self.dice > self.everything + _CHANCE


def calibrated(bundle: Bundle, held_out: Sequence[PreparedScan]) -> tuple[Bundle, Judgement | None]:
    """The bundle with calibration and threshold, and its scores.

    If all true masks are empty, it is not changed, and has no scores.
    """
    truths = [scan.samples.masks > 0 for scan in held_out]
    if not any(truth.any() for truth in truths):
        return bundle, None
    predictor = Predictor(bundle.model, bundle.params, bundle.state)
    plain = [predictor.images(scan.samples.images).sum(axis=-1) for scan in held_out]
    slope, offset = numbers = calibration.fit(plain, truths)
    likely = [calibration.calibrated(one, numbers) for one in plain]
    threshold = calibration.best_threshold(likely, truths)
    steps = changed_steps(bundle.spec.postprocess, "threshold", at=threshold)
    after = changed_steps(steps, "calibration", slope=slope, offset=offset)
    judgement = Judgement.of([one > threshold for one in likely], truths)
    judgement = judgement._replace(calibration=numbers, threshold=threshold)
    return replace(bundle, spec=replace(bundle.spec, postprocess=after)), judgement
