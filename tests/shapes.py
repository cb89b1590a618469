"""Masks by formula, and strategies that draw some."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lungmask_jax.volume import Volume

masks = arrays.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 10), st.integers(1, 12)))
spacings = st.sampled_from([(1, 1, 1), (5, 0.7, 0.7), (0.5, 0.5, 0.5), (10, 2, 2)])


def at(array, spacing=(1.0, 1.0, 1.0)):
    return Volume(np.asarray(array), np.diag([*spacing, 1.0]))


def ball(shape, center, radius):
    """An ellipsoid; `radius` is one number an axis."""
    grid = np.indices(shape)
    parts = zip(grid, center, np.broadcast_to(radius, 3), strict=True)
    return sum(((line - middle) / size) ** 2 for line, middle, size in parts) <= 1


def lungs(slices=10, *, bridge=(), gap=12, rows=48, columns=80):
    """Two ellipsoids, right and left of the middle, joined in the slices of `bridge`."""
    shape, half = (slices, rows, columns), gap / 2 + 13
    middle = (columns - 1) / 2
    right, left = (
        ball(shape, ((slices - 1) / 2, rows / 2, middle + side * half), (0.8 * slices, 18, 13))
        for side in (-1, 1)
    )
    joined = np.zeros(shape, bool)
    low, high = int(middle - half), int(middle + half)
    joined[list(bridge), rows // 2 - 14 : rows // 2 - 11, low:high] = True
    return right, left, right | left | joined


def bases(slices=30, recess=8):
    """Two lungs of 48 x 32 pixels that reach lowest at the back, in a body of 60 x 100."""
    mask = np.zeros((slices, 60, 100), bool)
    for number in range(recess, slices):
        front = max(6, 50 - 4 * (number - recess))  # the dome of the diaphragm
        mask[number, front:54, 8:40] = mask[number, front:54, 60:92] = True
    return mask
