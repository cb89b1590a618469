"""From labelled scans to a calibrated bundle: what ``lungmask-jax train`` does.

A recipe says what is trained and how, `prepare` reads the scans, and `fit` trains epoch by epoch,
chooses the best one, calibrates it and describes it in its card.
"""

from lungmask_jax.fitting._calibration import Judgement
from lungmask_jax.fitting._files import RunFiles
from lungmask_jax.fitting._fit import FitEpoch, fit
from lungmask_jax.fitting._prepare import prepare
from lungmask_jax.fitting._recipe import recipe
from lungmask_jax.fitting._scans import PreparedScan, TrainingScans

__all__ = [
    "FitEpoch",
    "Judgement",
    "PreparedScan",
    "RunFiles",
    "TrainingScans",
    "fit",
    "prepare",
    "recipe",
]
