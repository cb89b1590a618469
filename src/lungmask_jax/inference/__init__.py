"""From a CT to masks: `segment`, and the `Segmentation` it returns."""

from lungmask_jax.inference._files import file_names, mask_format
from lungmask_jax.inference._network import Progress, labels, probabilities
from lungmask_jax.inference._segment import ordered, segment
from lungmask_jax.inference._segmentation import Segmentation

__all__ = [
    "Progress",
    "Segmentation",
    "file_names",
    "labels",
    "mask_format",
    "ordered",
    "probabilities",
    "segment",
]
