"""From HU to the input of a network, and from its output back to the grid of the scan."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax.errors import ShapeError
from lungmask_jax.preprocess._clahe import clahe
from lungmask_jax.preprocess._denoise import denoise_bilateral, median
from lungmask_jax.spec import PreprocessSpec

_MULTIPLE = 128


@functools.partial(jax.jit, static_argnames="spec")
def network_images(slices: jax.Array, box: jax.Array, *, spec: PreprocessSpec) -> jax.Array:
    """The network input for some slices: window, crop, resize, denoise, normalize, CLAHE.

    Training and inference both use it. The box is traced, so other boxes do not recompile.

    Args:
        slices: ``(N, H, W)`` HU, any real dtype.
        box: ``(4,)`` top, bottom, left, right, as in `Box`; for the region ``"bodies"`` one for
            each slice, from `slice_bodies`.
        spec: The settings.

    Returns:
        ``(N, *spec.size, 1)`` float32 in [0, 1], up to rounding.

    Example:
        >>> import jax.numpy as jnp
        >>> slices = jnp.full((2, 64, 64), -425.0)
        >>> images = network_images(slices, jnp.array([0, 64, 0, 64]), spec=PreprocessSpec())
        >>> images.shape, float(images.mean())
        ((2, 256, 256, 1), 0.5)
    """
    if slices.ndim != 3:
        raise ShapeError(f"expected slices (N, H, W), found shape {slices.shape}")
    images: jax.Array
    if spec.by_slice:
        kind = jnp.int32 if jnp.issubdtype(slices.dtype, jnp.integer) else jnp.float32
        clipped = jnp.clip(slices.astype(kind), *(kind(edge) for edge in spec.window))
        images = windowed(corner_resized(clipped, box, size=spec.size), spec.window)
    else:
        images = resample(windowed(slices, spec.window), box, size=spec.size)
    if spec.denoise == "median":
        images = median(images)
    elif spec.denoise == "bilateral":
        images = denoise_bilateral(images)
    if spec.normalize == "minmax":
        images = _stretched(images)
    if spec.clahe_clip_limit > 0:
        levels = clahe(images * 255, clip_limit=spec.clahe_clip_limit, tiles=spec.clahe_tiles)
        images = levels / 255
    return images[..., None]


def windowed(slices: jax.Array, window: tuple[float, float]) -> jax.Array:
    """HU mapped so that the window becomes [0, 1]; the rest is clipped.

    (`lungmask_jax.viz.windowed` makes grey levels for a picture.)

    Args:
        slices: HU of any shape.
        window: ``(low, high)`` in HU.

    Returns:
        Same shape, float32.

    Example:
        >>> import jax.numpy as jnp
        >>> windowed(jnp.array([-2000, -600, 3000]), (-1350, 150)).tolist()
        [0.0, 0.5, 1.0]
    """
    low, high = window
    return jnp.clip((slices.astype(jnp.float32) - low) / (high - low), 0.0, 1.0)


@functools.partial(jax.jit, static_argnames="size")
def resample(images: jax.Array, box: jax.Array, *, size: tuple[int, int]) -> jax.Array:
    """The box of each image at another size, by antialiased linear interpolation.

    Args:
        images: ``(N, H, W)`` float32.
        box: ``(4,)`` top, bottom, left, right; may be traced.
        size: ``(rows, columns)`` of the result.

    Returns:
        ``(N, *size)`` float32.

    Example:
        >>> import jax.numpy as jnp
        >>> image = jnp.arange(16.0).reshape(1, 4, 4)
        >>> resample(image, jnp.array([0, 2, 0, 2]), size=(2, 2)).tolist()
        [[[0.0, 1.0], [4.0, 5.0]]]
    """
    start, stop = _corners(box)
    scale = jnp.asarray(size, jnp.float32) / (stop - start)
    return _mapped(images, size, scale, -start * scale)


@functools.partial(jax.jit, static_argnames="size")
def corner_resized(slices: jax.Array, boxes: jax.Array, *, size: tuple[int, int]) -> jax.Array:
    """The box of each slice at another size, by linear interpolation, corner on corner.

    So does ``scipy.ndimage.zoom``, and lungmask with it: nothing is smoothed before, and whole
    numbers stay whole.

    Args:
        slices: ``(N, H, W)``, any real dtype; whole numbers below 4096 on either side of 0.
        boxes: ``(N, 4)`` int32 top, bottom, left, right.
        size: ``(rows, columns)`` of the result, at most 512.

    Returns:
        ``(N, *size)`` float32.

    Example:
        >>> import jax.numpy as jnp
        >>> slices, boxes = jnp.array([[[0, 8], [4, 12]]]), jnp.array([[0, 2, 0, 2]])
        >>> corner_resized(slices, boxes, size=(3, 3))[0].astype(int).tolist()
        [[0, 4, 8], [2, 6, 10], [4, 8, 12]]
    """
    whole = jnp.issubdtype(slices.dtype, jnp.integer)
    numbers = slices.astype(jnp.int32 if whole else jnp.float32)
    scale = max(size[0] - 1, 1) * max(size[1] - 1, 1)

    def one(plane: jax.Array, box: jax.Array) -> jax.Array:
        top, bottom, left, right = box
        rows = _between_lines(plane, top, bottom, size[0])
        return _between_lines(rows.T, left, right, size[1]).T

    found = jax.vmap(one)(numbers, boxes)
    if whole:  # of even sizes the scale is odd, and no half is there to be rounded
        return ((2 * found + scale) // (2 * scale)).astype(jnp.float32)
    return found / scale


def _between_lines(plane: jax.Array, start: jax.Array, stop: jax.Array, count: int) -> jax.Array:
    """So many rows spread evenly over some, times their number less one, which keeps them whole."""
    scale = max(count - 1, 1)
    places = jnp.arange(count) * (stop - start - 1)
    share = (places % scale)[:, None].astype(plane.dtype)
    first = start + places // scale
    above, below = plane[first], plane[jnp.minimum(first + 1, stop - 1)]
    return above * (scale - share) + below * share


def restore(images: jax.Array, box: jax.Array, *, size: tuple[int, int]) -> jax.Array:
    """Images of a box put back into the slice; zero outside the box.

    Args:
        images: ``(N, h, w)`` float32, from `resample` or a prediction for it.
        box: ``(4,)`` the same box.
        size: ``(rows, columns)`` of the whole slice.

    Returns:
        ``(N, *size)`` float32.

    Example:
        >>> import jax.numpy as jnp
        >>> restore(jnp.ones((1, 8, 8)), jnp.array([1, 3, 0, 2]), size=(4, 4))[0].astype(int)
        Array([[0, 0, 0, 0],
               [1, 1, 0, 0],
               [1, 1, 0, 0],
               [0, 0, 0, 0]], dtype=int32)
    """
    start, stop = _corners(box)
    scale = (stop - start) / jnp.asarray(images.shape[1:], jnp.float32)
    return _mapped(images, size, scale, start)


def _corners(box: jax.Array) -> tuple[jax.Array, jax.Array]:
    top, bottom, left, right = jnp.asarray(box).astype(jnp.float32)
    return jnp.stack([top, left]), jnp.stack([bottom, right])


def _mapped(
    images: jax.Array, size: tuple[int, int], scale: jax.Array, translation: jax.Array
) -> jax.Array:
    return jax.image.scale_and_translate(
        images, (len(images), *size), (1, 2), scale, translation, "linear", antialias=True
    )


def _stretched(images: jax.Array) -> jax.Array:
    """Every image from its own smallest value, 0, to its largest, 1; a constant one becomes 0."""
    low = images.min(axis=(1, 2), keepdims=True)
    span = images.max(axis=(1, 2), keepdims=True) - low
    return (images - low) / jnp.where(span > 0, span, 1.0)


def batches(slices: np.ndarray, count: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Batches of one fixed shape, padded with the last slice and the edges.

    Args:
        slices: ``(N, H, W)``.
        count: Slices per batch.

    Yields:
        ``(where, batch)``: the slices ``slices[where]`` in ``batch``, ``(count, H', W')`` with the
        next multiples of 128 as H' and W'. Cut results back to ``[: where.stop - where.start, :H,
        :W]``.

    Example:
        >>> [(where, batch.shape) for where, batch in batches(np.zeros((3, 512, 500)), 2)]
        [(slice(0, 2, None), (2, 512, 512)), (slice(2, 3, None), (2, 512, 512))]
    """
    rows, columns = (-side % _MULTIPLE for side in slices.shape[1:])
    for first in range(0, len(slices), count):
        where = slice(first, min(first + count, len(slices)))
        missing = first + count - where.stop
        yield where, np.pad(slices[where], [(0, missing), (0, rows), (0, columns)], mode="edge")
