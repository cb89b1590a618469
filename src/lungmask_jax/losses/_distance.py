"""The exact Euclidean distance transform, inside jit.

Squared distances are separable: along the first axis two running extremes find the nearest source
in each line, and along every other axis the distances so far are the heights of parabolas, whose
lower envelope is the result (Felzenszwalb and Huttenlocher, Distance Transforms of Sampled
Functions, Theory of Computing 2012). The envelope is taken by brute force, one source after the
other: as many passes over the array as the axis is long, and memory for two arrays.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lungmask_jax.errors import SpecError


def signed_distances(
    masks: jax.Array, *, spacing: float | Sequence[float] | None = None
) -> jax.Array:
    """The distance of each pixel to the nearest of the other kind; negative inside the mask.

    Distances are between the centers of pixels, so none is 0. An empty or a full mask has no
    boundary, and is 0 everywhere. No gradient flows.

    Args:
        masks: ``(N, ..., C)`` bool.
        spacing: As in `distances`.

    Returns:
        ``(N, ..., C)`` float32.

    Raises:
        SpecError: As in `distances`.

    Example:
        >>> import jax.numpy as jnp
        >>> signed_distances(jnp.array([[[False], [False], [True]]]))[0, :, 0].tolist()
        [2.0, 1.0, -1.0]
    """
    outside = distances(~masks, spacing=spacing)
    inside = distances(masks, spacing=spacing)
    there = jnp.isfinite(outside) & jnp.isfinite(inside)
    return jnp.where(there, outside - inside, 0.0)


def distances(masks: jax.Array, *, spacing: float | Sequence[float] | None = None) -> jax.Array:
    """Distance of each pixel of a mask to the nearest pixel outside.

    As ``scipy.ndimage.distance_transform_edt`` for each image and channel, except for a mask that
    is full: it is infinitely far from anything.

    Args:
        masks: ``(N, ..., C)`` bool.
        spacing: Distance of neighbors along each spatial axis, or along all; 1 if None.

    Returns:
        ``(N, ..., C)`` float32, 0 outside the mask.

    Raises:
        SpecError: The spacing is not positive, or not one for each axis.

    Example:
        >>> import jax.numpy as jnp
        >>> distances(jnp.array([[[True], [True], [False]]]))[0, :, 0].tolist()
        [2.0, 1.0, 0.0]
    """
    first, *others = _spacings(spacing, masks.ndim - 2)
    squares = _nearest_in_line(jax.lax.stop_gradient(masks), first)
    for axis, step in enumerate(others, start=2):
        squares = _lower_envelope(squares, axis, step)
    return jnp.sqrt(squares)


def _spacings(spacing: float | Sequence[float] | None, number: int) -> tuple[float, ...]:
    """One for each spatial axis."""
    given = 1.0 if spacing is None else spacing
    each = (given,) * number if isinstance(given, int | float) else tuple(given)
    if len(each) != number or min(each) <= 0:
        raise SpecError(f"expected {number} positive spacings or a single one, found {spacing}")
    return each


def _nearest_in_line(masks: jax.Array, step: float) -> jax.Array:
    """Squared distance along axis 1 to the nearest pixel outside; infinite where there is none."""
    place = jax.lax.broadcasted_iota(jnp.float32, masks.shape, 1)
    before = jax.lax.cummax(jnp.where(masks, -jnp.inf, place), axis=1)
    after = jax.lax.cummin(jnp.where(masks, jnp.inf, place), axis=1, reverse=True)
    return (step * jnp.minimum(place - before, after - place)) ** 2


def _lower_envelope(squares: jax.Array, axis: int, step: float) -> jax.Array:
    """The least, over all sources along an axis, of the source's height plus distance squared."""
    place = jax.lax.broadcasted_iota(jnp.float32, squares.shape, axis)

    def lowered(source: jax.Array, least: jax.Array) -> jax.Array:
        heights = jax.lax.dynamic_slice_in_dim(squares, source, 1, axis=axis)
        apart = step * (place - source.astype(jnp.float32))
        return jnp.minimum(least, jnp.broadcast_to(heights, squares.shape) + apart**2)

    return jax.lax.fori_loop(0, squares.shape[axis], lowered, squares)
