"""Contrast-limited adaptive histogram equalization, as in OpenCV to one grey level.

Every tile gets a lookup table: the cumulative histogram, after what exceeds the clip limit has been
spread over all levels (Zuiderveld, Graphics Gems IV, 1994). A pixel is looked up in the four
nearest tiles and interpolated between them.
"""

import functools

import jax
import jax.numpy as jnp

from lungmask_jax.errors import ShapeError, SpecError

_LEVELS = 256


@functools.partial(jax.jit, static_argnames=("clip_limit", "tiles"))
def clahe(
    images: jax.Array, *, clip_limit: float = 2.0, tiles: tuple[int, int] = (8, 8)
) -> jax.Array:
    """Images with more local contrast, up to the clip limit.

    Agrees with ``cv2.createCLAHE(clip_limit, tiles[::-1]).apply`` to one grey level; nearly all
    pixels are equal. Images are independent of each other.

    Args:
        images: ``(N, H, W)`` grey levels 0 to 255, uint8 or float32; floats are rounded and
            clipped.
        clip_limit: Largest height of a histogram bin, as a multiple of the mean height; at most 0
            turns clipping off.
        tiles: Tiles along ``(rows, columns)``; OpenCV counts them the other way round.

    Returns:
        ``(N, H, W)`` whole grey levels, in the dtype of `images`.

    Raises:
        ShapeError: `images` is not three-dimensional, is empty, or has another dtype.
        SpecError: There is less than one tile along an axis.

    Example:
        >>> import jax.numpy as jnp
        >>> ramp = jnp.tile(jnp.arange(100, 108, dtype=jnp.uint8), (1, 8, 1))
        >>> clahe(ramp, clip_limit=0.0, tiles=(1, 1))[0, 0].tolist()
        [32, 64, 96, 128, 159, 191, 223, 255]
    """
    _check(images, tiles)
    levels = jnp.clip(jnp.round(images).astype(jnp.int32), 0, _LEVELS - 1)
    padded = _padded(levels, tiles)
    tables = _tables(padded, clip_limit, tiles)
    tile = padded.shape[1] // tiles[0], padded.shape[2] // tiles[1]
    return _interpolated(levels, tables, tile).astype(images.dtype)


def _check(images: jax.Array, tiles: tuple[int, int]) -> None:
    if images.ndim != 3 or not images.size:
        raise ShapeError(
            f"expected images (N, H, W) with pixels, found shape {images.shape}: "
            "give one image as image[None]"
        )
    if images.dtype not in (jnp.uint8, jnp.float32):
        raise ShapeError(
            f"expected grey levels as uint8 or float32, found {images.dtype}: "
            "window them to 0..255 first"
        )
    if min(tiles) < 1:
        raise SpecError(f"expected at least one tile along rows and columns, found {tiles}")


def _padded(levels: jax.Array, tiles: tuple[int, int]) -> jax.Array:
    """Mirrored at the end to whole tiles.

    If one axis needs padding, OpenCV pads both: an axis that fits grows by one whole row of tiles.
    """
    height, width = levels.shape[1:]
    if height % tiles[0] == 0 and width % tiles[1] == 0:
        return levels
    growth = (tiles[0] - height % tiles[0], tiles[1] - width % tiles[1])
    return jnp.pad(levels, ((0, 0), (0, growth[0]), (0, growth[1])), mode="reflect")


def _tables(levels: jax.Array, clip_limit: float, tiles: tuple[int, int]) -> jax.Array:
    """``(N, *tiles, 256)`` uint8: the new value of each grey level in each tile."""
    _, height, width = levels.shape
    area = (height // tiles[0]) * (width // tiles[1])
    bins = _histograms(levels, tiles)
    if clip_limit > 0:
        bins = _redistributed(bins, max(int(clip_limit * area / _LEVELS), 1))
    scale = jnp.float32(_LEVELS - 1) / area
    cumulated = jnp.cumsum(bins, axis=-1).astype(jnp.float32)
    return jnp.round(cumulated * scale).astype(jnp.uint8)


def _histograms(levels: jax.Array, tiles: tuple[int, int]) -> jax.Array:
    """``(N, *tiles, 256)`` counts; a scatter is far quicker than sorting or comparing."""
    number, height, width = levels.shape
    row, column = jnp.arange(height) * tiles[0] // height, jnp.arange(width) * tiles[1] // width
    counts = jnp.zeros(number * tiles[0] * tiles[1] * _LEVELS, jnp.int32)
    counts = counts.at[_places(levels, row, column, tiles)].add(1, mode="promise_in_bounds")
    return counts.reshape(number, *tiles, _LEVELS)


def _redistributed(bins: jax.Array, limit: int) -> jax.Array:
    """Counts above the limit spread evenly; the remainder goes to evenly strided bins."""
    excess = jnp.maximum(bins - limit, 0).sum(axis=-1, keepdims=True)
    share, residual = excess // _LEVELS, excess % _LEVELS
    stride = jnp.maximum(_LEVELS // jnp.maximum(residual, 1), 1)
    level = jnp.arange(_LEVELS)[None, None, None]
    extra = (level % stride == 0) & (level // stride < residual)
    return jnp.minimum(bins, limit) + share + extra.astype(jnp.int32)


def _interpolated(levels: jax.Array, tables: jax.Array, tile: tuple[int, int]) -> jax.Array:
    """Each level looked up in the four tables around it: ``(N, H, W)`` float32, whole numbers."""
    _, height, width = levels.shape
    row, down = _cells(height, tile[0])
    column, across = _cells(width, tile[1])
    across, down = across[None, None, :], down[None, :, None]
    above = (
        _looked_up(levels, tables, row, column) * (1 - across)
        + _looked_up(levels, tables, row, column + 1) * across
    )
    below = (
        _looked_up(levels, tables, row + 1, column) * (1 - across)
        + _looked_up(levels, tables, row + 1, column + 1) * across
    )
    return jnp.round(above * (1 - down) + below * down)


def _cells(length: int, tile: int) -> tuple[jax.Array, jax.Array]:
    """For each pixel of an axis, the tile whose center lies before it, and how far past it is."""
    place = jnp.arange(length, dtype=jnp.float32) * (1 / jnp.float32(tile)) - 0.5
    cell = jnp.floor(place)
    return cell.astype(jnp.int32), place - cell


def _looked_up(
    levels: jax.Array, tables: jax.Array, row: jax.Array, column: jax.Array
) -> jax.Array:
    """Levels in the tables of tiles `row` and `column`; past the edge, in the tile at the edge."""
    grid = tables.shape[1], tables.shape[2]
    row, column = jnp.clip(row, 0, grid[0] - 1), jnp.clip(column, 0, grid[1] - 1)
    place = _places(levels, row, column, grid)
    return tables.reshape(-1).at[place].get(mode="promise_in_bounds").astype(jnp.float32)


def _places(
    levels: jax.Array, row: jax.Array, column: jax.Array, grid: tuple[int, int]
) -> jax.Array:
    """Where each pixel's level lies in a flat ``(N, *grid, 256)``: flat indices are the quickest.

    `row` and `column` say in which tile of the grid the pixels are.
    """
    image = jnp.arange(len(levels))[:, None, None]
    tile = (image * grid[0] + row[None, :, None]) * grid[1] + column[None, None, :]
    return tile * _LEVELS + levels
