"""Noise filters on ``(N, H, W)`` images: jit-able, and equal to those of OpenCV and SciPy."""

import functools
import math

import jax
import jax.numpy as jnp

from lungmask_jax.errors import ShapeError, SpecError


@jax.jit
def median(images: jax.Array) -> jax.Array:
    """The median over 3x3 pixels, edges repeated.

    Columns of three are sorted once and shared by their neighbours: the median of nine is the
    median of the largest low, the middle middle and the smallest high (Smith, 1996).

    Args:
        images: ``(N, H, W)`` of any real dtype.

    Returns:
        Same shape and dtype.

    Raises:
        ShapeError: `images` is not three-dimensional.

    Example:
        >>> import jax.numpy as jnp
        >>> speck = jnp.zeros((1, 3, 4)).at[0, 1, 1].set(9.0)
        >>> float(median(speck).max())
        0.0
    """
    _check(images)
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    low, middle, high = _sorted(padded[:, :-2], padded[:, 1:-1], padded[:, 2:])
    largest_low = functools.reduce(jnp.maximum, _neighbours(low))
    smallest_high = functools.reduce(jnp.minimum, _neighbours(high))
    middle_middle = _sorted(*_neighbours(middle))[1]
    return _sorted(largest_low, middle_middle, smallest_high)[1]


@functools.partial(jax.jit, static_argnames=("sigma_space", "sigma_range", "radius"))
def denoise_bilateral(
    images: jax.Array, *, sigma_space: float = 1.5, sigma_range: float = 0.1, radius: int = 2
) -> jax.Array:
    r"""Smoothed images that keep their edges: a mean over near pixels of near value.

    .. math::
        \frac{\sum_q w_q I_q}{\sum_q w_q}, \quad
        w_q = \exp\Big(-\frac{|p - q|^2}{2 \sigma_{space}^2}
                       -\frac{(I_p - I_q)^2}{2 \sigma_{range}^2}\Big)

    over the disc of `radius` around :math:`p`, images mirrored at the border (Tomasi and Manduchi,
    ICCV 1998). ``cv2.bilateralFilter`` with ``d = 2 * radius + 1`` gives the same.

    Args:
        images: ``(N, H, W)`` float32.
        sigma_space: Distance, in pixels, at which the weight has fallen to 0.6.
        sigma_range: Difference of values at which the weight has fallen to 0.6.
        radius: Radius of the disc, in pixels.

    Returns:
        ``(N, H, W)`` float32.

    Raises:
        ShapeError: `images` is not three-dimensional, or not floating.
        SpecError: A sigma is not above 0, or the radius is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> edge = jnp.zeros((1, 4, 6)).at[:, :, 3:].set(1.0)
        >>> bool(jnp.allclose(denoise_bilateral(edge), edge, atol=1e-6))
        True
    """
    _check(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ShapeError(f"expected floating images, found {images.dtype}: scale them to [0, 1]")
    if not (sigma_space > 0 and sigma_range > 0 and radius >= 1):
        raise SpecError(
            "expected sigmas above 0 and a radius of at least 1, "
            f"found {sigma_space}, {sigma_range} and {radius}"
        )
    _, height, width = images.shape
    padded = jnp.pad(images, ((0, 0), (radius, radius), (radius, radius)), mode="reflect")
    total, weights = images, jnp.ones_like(images)
    for row, column in _disc(radius):
        top, left = radius + row, radius + column
        near = padded[:, top : top + height, left : left + width]
        distance = (row**2 + column**2) / sigma_space**2
        weight = jnp.exp(-0.5 * (distance + (near - images) ** 2 / sigma_range**2))
        total, weights = total + weight * near, weights + weight
    return total / weights


def _check(images: jax.Array) -> None:
    if images.ndim != 3:
        raise ShapeError(
            f"expected images (N, H, W), found shape {images.shape}: give one image as image[None]"
        )


def _sorted(a: jax.Array, b: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    return jnp.minimum(low, c), jnp.maximum(low, jnp.minimum(high, c)), jnp.maximum(high, c)


def _neighbours(columns: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return columns[..., :-2], columns[..., 1:-1], columns[..., 2:]


def _disc(radius: int) -> list[tuple[int, int]]:
    """Offsets ``(row, column)`` within the radius, without the center."""
    reach = range(-radius, radius + 1)
    return [(r, c) for r in reach for c in reach if 0 < math.hypot(r, c) <= radius]
