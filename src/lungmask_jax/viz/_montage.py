"""A scan on one page."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lungmask_jax.errors import SpecError
from lungmask_jax.tasks import Color
from lungmask_jax.viz._canvas import canvas
from lungmask_jax.viz._page import (
    around,
    extent,
    labelled,
    page,
    slice_label,
    tile_shape,
    with_scale,
)
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
    outline: bool = False
    plain: bool = False
    scale: bool = False


class _Plane(NamedTuple):
    """An upright view: its name, its place, its axis across, and what is at its sides."""

    label: str
    place: tuple[Any, ...]
    across: int
    sides: tuple[str, str]


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
    plain: bool = False,
    outline: bool = False,
    scale: bool = False,
    levels: bool = False,
) -> np.ndarray:
    """Slices spread evenly over the lungs, from head to feet, and a coronal view at the end.

    The slice with most infection, or of another inner mask, is always included. Slices are cropped
    to the lungs and some of the chest wall, and show their number from 1 and their index from 0.

    Args:
        ct: In HU.
        masks: By the name of their task, as in `overlay`; if empty, the whole scan is shown.
        count: Largest number of tiles, including the upright views; scans of few slices have none.
        columns: Tiles side by side; by default the number nearest to the shape of a page.
        title: Above the tiles, left of the legend.
        caption: Below the tiles.
        window: ``(low, high)`` HU that become black and white.
        tile: Width of a tile in pixels; by default 256, and for a single slice as many as it has
            voxels, from 512 to 1024.
        notes: Text for each slice, from feet to head, written after its number.
        plain: Whether each tile has the slice without masks on its left.
        outline: Whether all masks are outlined and none is filled.
        scale: Whether tiles have a scale bar, if the size of voxels is known.
        levels: Whether there is a sagittal view, too, and lines in both show where the slices are.

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
    shown = drawn(ct, masks or {})
    if count < 1 or (columns is not None and columns < 1) or (tile or 64) < 64:
        raise SpecError(
            "expected at least 1 tile, 1 column and 64 pixels a tile, "
            f"found {count}, {columns} and {tile}"
        )
    scan = _Scan(ct, shown, window, outline, plain, scale and ct.has_size)
    box = around(_organ(scan), ct)
    shape = tile_shape(box, ct, tile or _width(scan, box[1], count))
    tiles = _tiles(scan, box, notes, count=count, shape=shape, levels=levels)
    names, parts = _names(scan), 1 + plain
    return page(tiles, columns, title=title, names=names, caption=caption, parts=parts)


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
    levels: bool,
) -> list[np.ndarray]:
    """Axial tiles from head to feet, then the upright ones if there is room for them."""
    upright = _upright(scan, box)[: min(count - 1, 1 + levels)]
    chosen = _chosen(scan, count - len(upright))
    labels = [", ".join([slice_label(i, len(scan.ct)), *notes[i : i + 1]]) for i in chosen]
    longest = max(labels, key=len)
    mm = scan.ct.spacing[2] * (box[1].stop - box[1].start) / shape[1]
    tiles = []
    for index, label in zip(chosen, labels, strict=True):
        draw = functools.partial(_cut, place=(index, *box), shape=shape)
        tiles.append(_tile(scan, draw, label, mm, longest=longest))
    for plane in upright:
        inner, mm = _inner(scan, plane, shape)
        lines = chosen if levels else []
        draw = functools.partial(_framed, place=plane.place, shape=shape, inner=inner, levels=lines)
        tiles.append(_tile(scan, draw, plane.label, mm, plane.sides, longest=longest))
    return tiles


def _upright(scan: _Scan, box: tuple[slice, slice]) -> list[_Plane]:
    """The coronal and the sagittal view through the most; none of few slices."""
    if len(scan.ct) < _CORONAL_SLICES:
        return []
    down, rows, columns = slice(None, None, -1), *box
    return [
        _Plane("coronal", (down, _busiest_along(scan, 1), columns), 2, ("R", "L")),
        _Plane("sagittal", (down, rows, _busiest_along(scan, 2)), 1, ("A", "P")),
    ]


def _tile(
    scan: _Scan,
    draw: Callable[[_Scan], np.ndarray],
    label: str,
    mm: float,
    sides: tuple[str, str] = ("R", "L"),
    *,
    longest: str,
) -> np.ndarray:
    """A picture with its label and a scale bar, beside the one without masks if that is wanted."""
    marked = draw(scan)
    if scan.scale:
        marked = with_scale(marked, mm)
    if not scan.plain:
        return labelled(marked, label, sides, longest=longest)
    plain = draw(scan._replace(parts=[]))
    plain = labelled(plain, label, sides, longest=longest)
    return np.hstack([plain, labelled(marked, "", sides)])


def _cut(scan: _Scan, place: Any, shape: tuple[int, int]) -> np.ndarray:
    """The scan at an index expression that leaves two axes, as a picture of that shape."""
    cut = [(task, mask.array[place]) for task, mask in scan.parts]
    grey = windowed(scan.ct.array[place], scan.window)
    return picture(grey, cut, shape=shape, outline=scan.outline)


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


def _inner(scan: _Scan, plane: _Plane, shape: tuple[int, int]) -> tuple[tuple[int, int], float]:
    """The size in pixels of an upright view in true proportions, and the mm of a pixel."""
    part = plane.place[plane.across]
    height = len(scan.ct) * scan.ct.spacing[0]
    width = (part.stop - part.start) * scan.ct.spacing[plane.across]
    scale = min(shape[0] / height, shape[1] / width)
    return (max(1, round(height * scale)), max(1, round(width * scale))), 1 / scale


def _framed(
    scan: _Scan, place: Any, shape: tuple[int, int], inner: tuple[int, int], levels: Sequence[int]
) -> np.ndarray:
    """An upright view in the middle of a tile, with lines where the slices are."""
    tile = canvas(*shape, _BLACK)
    top, left = (shape[0] - inner[0]) // 2, (shape[1] - inner[1]) // 2
    tile[top : top + inner[0], left : left + inner[1]] = _cut(scan, place, inner)
    for index in levels:
        line = top + min(
            inner[0] - 1, round((len(scan.ct) - index - 0.5) / len(scan.ct) * inner[0])
        )
        tile[line, left : left + inner[1]] = tile[line, left : left + inner[1]] // 2 + 127
    return tile


def _busiest_along(scan: _Scan, axis: int) -> int:
    """Where much infection and much lung come together; the middle if there is neither."""
    score = np.ones(scan.ct.shape[axis])
    for _, mask in reversed(scan.parts):
        if mask.array.any():
            score = score * (mask.array != 0).sum(axis=(0, 3 - axis))
    return len(score) // 2 if score.min() == score.max() else int(score.argmax())


def _names(scan: _Scan) -> list[tuple[str, Color]]:
    """The names for the legend."""
    return [
        (name.replace("_", " "), task.colors[label])
        for task, _ in scan.parts
        for label, name in task.labels.items()
        if label in task.colors
    ]
