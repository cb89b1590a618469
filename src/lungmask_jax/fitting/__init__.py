"""From labeled scans to a calibrated bundle, as ``lungmask-jax train`` does.

A recipe has the settings, `prepare` reads the scans, and `fit` trains epoch by epoch, chooses the
best one, calibrates it and writes its card.
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
