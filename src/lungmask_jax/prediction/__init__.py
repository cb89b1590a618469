"""From prepared images, volumes and scans to probabilities: one `Predictor` for all networks.

2-D networks take whole slices, alone or with their neighbors; 3-D networks take slabs of whole
slices, or overlapping patches; those of nnU-Net take a volume of their own spacing. Scans stay in
host memory; the device gets a few slices at a time.
"""

from lungmask_jax.prediction._predictor import Predictor
from lungmask_jax.prediction._scan import Batch, boxes, predict_scan
from lungmask_jax.prediction._slab import Slab
from lungmask_jax.prediction._views import make_predict
from lungmask_jax.prediction._volumes import predict_volume

__all__ = [
    "Batch",
    "Predictor",
    "Slab",
    "boxes",
    "make_predict",
    "predict_scan",
    "predict_volume",
]
