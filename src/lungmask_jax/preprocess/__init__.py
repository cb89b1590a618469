"""From a CT in HU to the input images of a network, with one `PreprocessSpec`.

Boxes are found on the host, where thin slices are averaged; everything per slice is batched,
jit-able JAX on ``(N, H, W)``.
"""

from lungmask_jax.preprocess._bodies import pasted, slice_bodies
from lungmask_jax.preprocess._clahe import clahe
from lungmask_jax.preprocess._denoise import denoise_bilateral, median
from lungmask_jax.preprocess._geometry import Box, body_box, mask_box, region
from lungmask_jax.preprocess._images import (
    batches,
    corner_resized,
    network_images,
    resample,
    restore,
    windowed,
)
from lungmask_jax.preprocess._noise import noise_hu
from lungmask_jax.preprocess._resampling import coarse_axis, neighbors
from lungmask_jax.preprocess._thickness import averaged, majority, thickness
from lungmask_jax.preprocess._volumes import Frame, network_volume, nonzero_box

__all__ = [
    "Box",
    "Frame",
    "averaged",
    "batches",
    "body_box",
    "clahe",
    "coarse_axis",
    "corner_resized",
    "denoise_bilateral",
    "majority",
    "mask_box",
    "median",
    "neighbors",
    "network_images",
    "network_volume",
    "noise_hu",
    "nonzero_box",
    "pasted",
    "region",
    "resample",
    "restore",
    "slice_bodies",
    "thickness",
    "windowed",
]
