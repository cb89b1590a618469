"""Pictures for people: a slice with its masks, a montage of a scan, a learning curve.

All pictures are uint8 RGB ``(rows, columns, 3)``, row 0 on top. Slices are shown as a radiologist
sees them, the patient's right on the left of the picture. The colors are those of Okabe and Ito,
which color-blind readers can tell apart: the right lung is sky blue, the left lung yellow,
infection vermilion.
"""

from lungmask_jax.viz._canvas import save_png
from lungmask_jax.viz._chart import learning_curve
from lungmask_jax.viz._montage import montage
from lungmask_jax.viz._slices import overlay, windowed

__all__ = ["learning_curve", "montage", "overlay", "save_png", "windowed"]
