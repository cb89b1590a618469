"""From a CT to masks: `segment`, and the `Segmentation` it returns."""

from lungmask_jax.inference._network import Progress, labels, probabilities
from lungmask_jax.inference._segment import Segmentation, segment

__all__ = ["Progress", "Segmentation", "labels", "probabilities", "segment"]
