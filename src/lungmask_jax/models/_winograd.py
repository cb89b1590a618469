"""3x3 convolutions by fewer products (Winograd, 1980; Lavin and Gray, CVPR 2016, arXiv:1509.09308).

Of each tile of 6x6 pixels come 4x4 results. Sums of pixels, 36 in number, are multiplied by sums of
the kernel, and the results are sums of the products: a quarter of the usual number of products.
What is summed is a product with a small matrix itself, and tiles are taken some hundred at a time,
so that all of it stays in the cache of a processor.
"""

import functools
import math
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax.models._blocks import by_slices, same_sides

__all__ = ["convolved"]

_POINTS: Final = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Where polynomials are evaluated, and at infinity; of these five the rounding errors are among the
smallest (Barabasz et al., ACM TOMS 2020, arXiv:1803.10986)."""

_RESULT: Final = 4
_TILE: Final = _RESULT + 2
_TILES: Final = 256
"""Tiles at a time: their sums and the kernel's are then read about as often."""

_TILES_OF_SLICES: Final = 128
"""The same in volumes, where sums for the neighboring slices wait in the cache, too."""

_FEWEST_TILES: Final = 128
_FEWEST_CHANNELS: Final = 32
_FEWEST_OF_SLICES: Final = 64
"""Below these, the sums cost more than the products that they save."""


def convolved(images: jax.Array, kernel: jax.Array, *_settings: Any, **_options: Any) -> jax.Array:
    """A convolution that keeps the sides, 3x3 in slices; on a CPU up to twice as fast.

    Results differ from the usual ones by rounding, about 0.00001 of their size. Derivatives are
    those of the usual one.

    Args:
        images: ``(N, H, W, C)`` float32, or volumes ``(N, D, H, W, C)``.
        kernel: ``(3, 3, C, K)`` float32, or ``(odd, 3, 3, C, K)``.
        _settings: As `flax.nnx.Conv` gives them to a convolution; those of this one are known.
        _options: Likewise.

    Returns:
        ``(N, H, W, K)``, or ``(N, D, H, W, K)``.
    """
    *n, h, w, c = images.shape
    of_slice = -(-h // _RESULT) * -(-w // _RESULT)
    tiles, narrow = math.prod(n) * of_slice, min(c, kernel.shape[-1]) < _FEWEST_CHANNELS
    if len(n) == 2 and (narrow or len(kernel) == 1 or of_slice < _FEWEST_OF_SLICES):
        by_slice = functools.partial(by_slices, of_slices=convolved)
        return jax.lax.platform_dependent(images, kernel, cpu=by_slice, default=same_sides)
    if narrow or tiles < _FEWEST_TILES:
        return same_sides(images, kernel)
    return _convolved(images, kernel)


@jax.custom_jvp
def _convolved(images: jax.Array, kernel: jax.Array) -> jax.Array:
    tiled = _in_tiles if images.ndim == 4 else _volumes_in_tiles
    return jax.lax.platform_dependent(images, kernel, cpu=tiled, default=same_sides)


@_convolved.defjvp
def _derivative(
    numbers: tuple[jax.Array, jax.Array], changes: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (images, kernel), (image_changes, kernel_changes) = numbers, changes
    change = same_sides(image_changes, kernel) + same_sides(images, kernel_changes)
    return _convolved(images, kernel), change


def _volumes_in_tiles(volumes: jax.Array, kernel: jax.Array) -> jax.Array:
    """Some rows of tiles at a time, upwards through the slices."""
    n, d, h, w, c = volumes.shape
    depth, *_, outputs = kernel.shape
    down, across = -(-h // _RESULT), -(-w // _RESULT)
    rows = _divisor(down, _TILES_OF_SLICES // across)
    below, right = (_RESULT * (tiles + 1) - 1 - side for tiles, side in ((down, h), (across, w)))
    padded = jnp.pad(volumes, [(0, 0), (0, 0), (1, below), (1, right), (0, 0)])
    flat = kernel.transpose(1, 2, 3, 0, 4).reshape(9, -1)
    sums = (jnp.asarray(_sums()[1]) @ flat).reshape(-1, c, depth * outputs)
    strips = down // rows

    def added(number: jax.Array, results: jax.Array) -> jax.Array:
        start = number // strips, number % strips * rows * _RESULT
        return _with_strip(results, padded, sums, start, rows)

    results = jnp.zeros((n, d, down * _RESULT, across * _RESULT, outputs), volumes.dtype)
    return jax.lax.fori_loop(0, n * strips, added, results)[:, :, :h, :w]


def _with_strip(
    results: jax.Array,
    padded: jax.Array,
    kernel: jax.Array,
    start: tuple[jax.Array, jax.Array],
    rows: int,
) -> jax.Array:
    """Results with those of some rows of tiles in all slices of a volume.

    A slice is multiplied for itself and its neighbors at once. The products of a result are added
    up until its last slice has come.
    """
    (one, top), (_, d, _, w, c) = start, padded.shape
    outputs = results.shape[-1]
    depth = kernel.shape[-1] // outputs
    shape = 1, (rows + 1) * _RESULT, w

    def put(results: jax.Array, products: jax.Array, place: Any) -> jax.Array:
        at = one, jnp.maximum(place, 0), top, 0, 0  # what is put before the first is overwritten
        return jax.lax.dynamic_update_slice(results, _results(products, shape)[:, None], at)

    def add(number: jax.Array, so_far: tuple[Any, Any]) -> tuple[Any, Any]:
        results, waiting = so_far
        image = jax.lax.dynamic_slice(padded, (one, number, top, 0, 0), (1, *shape, c))[0]
        new = jnp.split(_products(_pixel_sums(image), kernel), depth, axis=-1)[::-1]
        waiting = [old + more for old, more in zip([*waiting, 0], new, strict=True)]
        return put(results, waiting[0], number - depth // 2), waiting[1:]

    tiles = rows * (w // _RESULT - 1)
    none = [jnp.zeros((_TILE**2, tiles, outputs), results.dtype)] * (depth - 1)
    results, waiting = jax.lax.fori_loop(0, d, add, (results, none))
    for place, products in enumerate(waiting[: depth // 2], d - depth // 2):
        results = put(results, products, place)
    return results


def _in_tiles(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Some images, or some rows of tiles of one, at a time."""
    n, h, w, c = images.shape
    down, across = -(-h // _RESULT), -(-w // _RESULT)
    rows = _divisor(down, _TILES // across)
    count = _divisor(n, _TILES // (down * across)) if rows == down else 1
    below, right = (_RESULT * (tiles + 1) - 1 - side for tiles, side in ((down, h), (across, w)))
    padded = jnp.pad(images, [(0, 0), (1, below), (1, right), (0, 0)])
    sums = (jnp.asarray(_sums()[1]) @ kernel.reshape(9, -1)).reshape(-1, c, kernel.shape[-1])
    strips = down // rows

    def added(number: jax.Array, results: jax.Array) -> jax.Array:
        start = (number // strips * count, number % strips * rows * _RESULT, 0, 0)
        size = (count, (rows + 1) * _RESULT, (across + 1) * _RESULT, c)
        part = _of_tiles(jax.lax.dynamic_slice(padded, start, size), sums)
        return jax.lax.dynamic_update_slice(results, part, start)

    shape = n, down * _RESULT, across * _RESULT, kernel.shape[-1]
    results = jnp.zeros(shape, images.dtype)
    return jax.lax.fori_loop(0, n // count * strips, added, results)[:, :h, :w]


def _of_tiles(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """The results ``(n, h - 4, w - 4, K)`` of images ``(n, h, w, C)``, whose sides have tiles."""
    return _results(_products(_pixel_sums(images), kernel), images.shape[:-1])


def _pixel_sums(images: jax.Array) -> jax.Array:
    """The sums ``(36, tiles, C)`` of pixels of images."""
    n, h, w, c = images.shape
    down, across = h // _RESULT, w // _RESULT
    # pixels of each row and column of a tile, those of the next tile's first two last
    tiles = images.reshape(n, down, _RESULT, across, _RESULT, c).transpose(2, 4, 0, 1, 3, 5)
    tiles = jnp.concatenate([tiles[..., :-1, :, :], tiles[:2, ..., 1:, :, :]], axis=0)
    tiles = jnp.concatenate([tiles[..., :-1, :], tiles[:, :2, ..., 1:, :]], axis=1)
    return (jnp.asarray(_sums()[0]) @ tiles.reshape(_TILE**2, -1)).reshape(_TILE**2, -1, c)


def _products(sums: jax.Array, kernel: jax.Array) -> jax.Array:
    """Products ``(36, tiles, K)`` of the sums of pixels and of the kernel ``(36, C, K)``."""
    return jnp.einsum("spc,sck->spk", sums, kernel)


def _results(products: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The results of products for images of a shape ``(n, h, w)``."""
    n, h, w = shape
    found = jnp.asarray(_sums()[2]) @ products.reshape(_TILE**2, -1)
    down, across = h // _RESULT - 1, w // _RESULT - 1
    found = found.reshape(_RESULT, _RESULT, n, down, across, -1)
    return found.transpose(2, 3, 0, 4, 1, 5).reshape(n, h - _RESULT, w - _RESULT, -1)


@functools.cache
def _sums() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices that make the sums of pixels, those of the kernel, and the results."""
    points = np.array(_POINTS)
    others = [np.delete(points, place) for place in range(len(points))]
    products = [*map(np.poly, others), np.poly(points)]
    pixels = np.stack([np.pad(one[::-1], (0, _TILE - len(one))) for one in products])
    scale = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)])
    kernel = np.vstack([points[:, None] ** np.arange(3) / scale[:, None], [0, 0, 1]])
    results = np.vstack([points[:, None] ** np.arange(_RESULT), np.eye(_RESULT)[-1]]).T
    pixels, kernel, results = (
        np.kron(one, one).astype(np.float32) for one in (pixels, kernel, results)
    )
    return pixels, kernel, results


def _divisor(number: int, most: int) -> int:
    """The largest divisor up to a limit; 1 if there is none."""
    return next(one for one in range(min(number, max(most, 1)), 0, -1) if number % one == 0)
