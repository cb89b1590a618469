"""A synthetic chest CT, drawn by code: for demos, tests and benchmarks.

Organs are signed distances in mm, negative inside, painted one over the other into each slice; a
vessel tree and a disease field fill the lungs. Anatomy is laid out in millimetres, so a seed shows
the same patient at every resolution.
"""

from lungmask_jax.phantoms._phantom import Phantom, phantom

__all__ = ["Phantom", "phantom"]
