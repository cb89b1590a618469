"""Random changes to images and their masks on the device, from an explicit key.

Images are ``(N, H, W, C)`` float32 in [0, 1], masks ``(N, H, W, K)`` float32 in [0, 1]. Every image
of a batch draws its own numbers; its channels, such as neighboring slices, change in the same way.
"""

from lungmask_jax.augment._augment import augment
from lungmask_jax.augment._geometry import flip, warp
from lungmask_jax.augment._intensities import bone_window, intensities, low_resolution
from lungmask_jax.augment._synthetic import emphysema, gas, opacities

__all__ = [
    "augment",
    "bone_window",
    "emphysema",
    "flip",
    "gas",
    "intensities",
    "low_resolution",
    "opacities",
    "warp",
]
