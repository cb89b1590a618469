"""Pictures: slices with their masks, errors, learning curves, scores of many cases.

All pictures are uint8 RGB ``(rows, columns, 3)``, row 0 on top. Slices are shown in radiological
orientation, the patient's right on the left of the picture. The colors are those of Okabe and Ito,
which color-blind readers can distinguish: the right lung is sky blue, the left lung yellow,
ground glass vermilion, consolidation purple. Learning curves and box plots need matplotlib,
and animations Pillow: ``pip install "lungmask-jax[plots]"``.
"""

from lungmask_jax.viz._animation import frames, save_gif
from lungmask_jax.viz._canvas import png, save_png
from lungmask_jax.viz._charts import box_plot, learning_curve, missing_plots
from lungmask_jax.viz._errors import errors
from lungmask_jax.viz._montage import montage
from lungmask_jax.viz._slices import overlay, windowed
from lungmask_jax.viz._surface import surface

__all__ = [
    "box_plot",
    "errors",
    "frames",
    "learning_curve",
    "missing_plots",
    "montage",
    "overlay",
    "png",
    "save_gif",
    "save_png",
    "surface",
    "windowed",
]
