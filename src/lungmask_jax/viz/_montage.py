"""A scan on one page."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lungmask_jax.errors import SpecError
from lungmask_jax.tasks import Color
from lungmask_jax.viz._canvas import canvas
from lungmask_jax.viz._page import around, extent, labelled, page, tile_shape
from lungmask_jax.viz._slices import (
    WINDOW,
    Drawn,
    busiest,
    drawn,
    picture,
    windowed,
)
from lungmask_jax.volume import Volume

_BLACK: Color = (0, 0, 0)
_CORONAL_SLICES = 8
_TILE = 256


class _Scan(NamedTuple):
    ct: Volume
    parts: Drawn
    window: tuple[float, float]


def montage(
    ct: Volume,
    masks: Mapping[str, Volume] | None = None,
    *,
    count: int = 12,
    columns: int | None = None,
    title: str = "",
    caption: str = "",
    window: tuple[float, float] = WINDOW,
    tile: int | None = None,
    notes: Sequence[str] = (),
) -> np.ndarray:
    """Slices spread evenly over the lungs, from head to feet, and a coronal view at the end.

    The slice with most infection, or of another inner mask, is always included. Slices are cropped
    to the lungs and some of the chest wall, and show their index.

    Args:
        ct: In HU.
        masks: By the name of their task, as in `overlay`; if empty, the whole scan is shown.
        count: Largest number of tiles, including the coronal view; scans of few slices have none.
        columns: Tiles side by side; by default the number nearest to the shape of a page.
        title: Above the tiles, left of the legend.
        caption: Below the tiles.
        window: ``(low, high)`` HU that become black and white.
        tile: Width of a tile in pixels; by default 256, and for a single slice as many as it has
            voxels, from 512 to 1024.
        notes: Text for each slice, from feet to head, written after its index.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ShapeError: A mask has another shape than the CT.
        SpecError: There is no tile or column, or tiles are below 64 pixels.
        UnknownNameError: There is no task of a name.

    Example:
        >>> ct = Volume(np.full((3, 64, 64), -800, np.int16))
        >>> montage(ct, tile=64, columns=3).shape
        (66, 198, 3)
    """
    parts = drawn(ct, masks or {})
    if count < 1 or (columns is not None and columns < 1) or (tile or 64) < 64:
        raise SpecError(
            "expected at least 1 tile, 1 column and 64 pixels a tile, "
            f"found {count}, {columns} and {tile}"
        )
    scan = _Scan(ct, parts, window)
    box = around(_organ(scan), ct)
    shape = tile_shape(box, ct, tile or _width(scan, box[1], count))
    tiles = _tiles(scan, box, notes, count=count, shape=shape)
    return page(tiles, columns, title=title, names=_names(scan), caption=caption)


def _organ(scan: _Scan) -> np.ndarray | None:
    """Where an outermost mask is that has anything; none without one."""
    organs = (mask.array for task, mask in scan.parts if not task.inside)
    return next((array != 0 for array in organs if array.any()), None)


def _width(scan: _Scan, across: slice, count: int) -> int:
    """Of a tile that shows what there is to see and costs no more than others."""
    alone = count == 1 or len(scan.ct) == 1
    return min(max(across.stop - across.start, 2 * _TILE), 4 * _TILE) if alone else _TILE


def _tiles(
    scan: _Scan,
    box: tuple[slice, slice],
    notes: Sequence[str],
    *,
    count: int,
    shape: tuple[int, int],
) -> list[np.ndarray]:
    """Axial tiles from head to feet, then the coronal one if there is room for it."""
    coronal = count > 1 and len(scan.ct) >= _CORONAL_SLICES
    tiles = [
        labelled(
            _cut(scan, (index, *box), shape),
            ", ".join([f"slice {index}", *notes[index : index + 1]]),
        )
        for index in _chosen(scan, count - coronal)
    ]
    if coronal:
        tiles.append(labelled(_coronal(scan, box[1], shape), "coronal"))
    return tiles


def _cut(scan: _Scan, place: Any, shape: tuple[int, int]) -> np.ndarray:
    """The scan at an index expression that leaves two axes, as a picture of that shape."""
    cut = [(task, mask.array[place]) for task, mask in scan.parts]
    return picture(windowed(scan.ct.array[place], scan.window), cut, shape=shape)


def _chosen(scan: _Scan, count: int) -> list[int]:
    """Indices from head to feet, evenly over the lungs; some are those with most in them."""
    first, stop = 0, len(scan.ct)
    organ = _organ(scan)
    if organ is not None:
        inside = extent(np.any(organ, axis=(1, 2)), 0)
        first, stop = inside.start, inside.stop
    number = min(count, stop - first)
    chosen = np.floor(first + (np.arange(number) + 0.5) * (stop - first) / number).astype(int)
    for task, mask in scan.parts:
        if not task.outlined and mask.array.any():
            most = busiest(scan.ct, [(task, mask)])
            chosen[np.abs(chosen - most).argmin()] = most
    return sorted(chosen.tolist(), reverse=True)


def _coronal(scan: _Scan, columns: slice, shape: tuple[int, int]) -> np.ndarray:
    """The coronal view with most infection, else most lung, in true proportions, centered."""
    slices_mm, _, columns_mm = scan.ct.spacing
    height = len(scan.ct) * slices_mm
    width = (columns.stop - columns.start) * columns_mm
    scale = min(shape[0] / height, shape[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    place = (slice(None, None, -1), _busiest_row(scan), columns)
    tile = canvas(*shape, _BLACK)
    top, left = (shape[0] - inner[0]) // 2, (shape[1] - inner[1]) // 2
    tile[top : top + inner[0], left : left + inner[1]] = _cut(scan, place, inner)
    return tile


def _busiest_row(scan: _Scan) -> int:
    """Where much infection and much lung come together; the middle if there is neither."""
    score = np.ones(scan.ct.shape[1])
    for _, mask in reversed(scan.parts):
        if mask.array.any():
            score = score * (mask.array != 0).sum(axis=(0, 2))
    return len(score) // 2 if score.min() == score.max() else int(score.argmax())


def _names(scan: _Scan) -> list[tuple[str, Color]]:
    """The names for the legend."""
    return [
        (name.replace("_", " "), task.colors[label])
        for task, _ in scan.parts
        for label, name in task.labels.items()
        if label in task.colors
    ]
