"""Differences between a mask and its truth."""

from collections.abc import Iterable

import numpy as np

from lungmask_jax.errors import SpecError
from lungmask_jax.tasks import Color
from lungmask_jax.viz._canvas import BLUE, GREEN, VERMILION
from lungmask_jax.viz._page import around, labelled, page, slice_label, tile_shape
from lungmask_jax.viz._slices import WINDOW, blended, check, windowed
from lungmask_jax.volume import Volume

_COLORS: dict[str, Color] = {"agreed": GREEN, "missed": BLUE, "false": VERMILION}
_APART = 20  # no two tiles nearer than this part of the scan


def errors(
    ct: Volume,
    found: Volume,
    truth: Volume,
    *,
    count: int = 6,
    title: str = "",
    caption: str = "",
    window: tuple[float, float] = WINDOW,
    tile: int = 256,
) -> np.ndarray:
    """The slices with the largest errors, from head to feet: hits, misses and false positives.

    Args:
        ct: In HU.
        found: The predicted mask; values other than 0 count.
        truth: The true mask, likewise.
        count: Largest number of tiles; slices close to a worse one are skipped.
        title: Above the tiles, left of the legend.
        caption: Below the tiles.
        window: ``(low, high)`` HU that become black and white.
        tile: Width of a tile in pixels.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ShapeError: A mask has another shape than the CT.
        SpecError: There is no tile, or tiles are below 64 pixels.

    Example:
        >>> ct = Volume(np.full((3, 64, 64), -800, np.int16))
        >>> truth = ct.with_array(np.ones(ct.shape, np.uint8))
        >>> errors(ct, ct.with_array(0 * truth.array), truth, count=1, tile=64).shape
        (138, 66, 3)
    """
    check(ct, found, truth)
    if count < 1 or tile < 64:
        raise SpecError(f"expected 1 tile of 64 pixels or more, found {count} of {tile}")
    ours, theirs = found.array != 0, truth.array != 0
    down, across = around(ours | theirs, ct)
    shape = tile_shape((down, across), ct, tile)
    tiles = []
    for index in _worst((ours ^ theirs).sum(axis=(1, 2)), count):
        place = (index, down, across)
        grey = windowed(ct.array[place], window)
        shown = blended(grey, _parts(ours[place], theirs[place]), shape=shape)
        tiles.append(
            labelled(shown, slice_label(index, len(ct)), longest=slice_label(len(ct), len(ct)))
        )
    return page(tiles, title=title, names=list(_COLORS.items()), caption=caption)


def _parts(ours: np.ndarray, theirs: np.ndarray) -> Iterable[tuple[np.ndarray, Color]]:
    parts = {"agreed": ours & theirs, "missed": theirs & ~ours, "false": ours & ~theirs}
    return [(part, _COLORS[name]) for name, part in parts.items()]


def _worst(wrong: np.ndarray, count: int) -> list[int]:
    """Slices with most errors, some way apart, from head to feet; without errors the middle one."""
    if not wrong.any():
        return [len(wrong) // 2]
    apart = len(wrong) // _APART
    chosen: list[int] = []
    for index in np.argsort(-wrong, kind="stable").tolist():
        far = all(abs(index - other) > apart for other in chosen)
        if wrong[index] and far and len(chosen) < count:
            chosen.append(index)
    return sorted(chosen, reverse=True)
