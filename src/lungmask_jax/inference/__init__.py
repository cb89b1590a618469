"""From a CT to masks: `segment`, and the `Segmentation` it returns."""

from lungmask_jax.inference._network import Progress, labels, probabilities
from lungmask_jax.inference._segment import DISCLAIMER, Segmentation, segment

__all__ = ["DISCLAIMER", "Progress", "Segmentation", "labels", "probabilities", "segment"]
