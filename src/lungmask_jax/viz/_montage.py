"""A scan on one page."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lungmask_jax.errors import SpecError
from lungmask_jax.labels import CONSOLIDATION, GROUND_GLASS, LEFT, RIGHT
from lungmask_jax.viz._canvas import SMALLEST, Color, canvas, fitting_height, text, text_width
from lungmask_jax.viz._slices import (
    LESION_COLORS,
    LUNG_COLORS,
    WINDOW,
    busiest,
    check,
    picture,
    windowed,
)
from lungmask_jax.volume import Volume

__all__ = ["montage"]

_BLACK: Color = (0, 0, 0)
_WHITE: Color = (245, 245, 245)
_GREY: Color = (175, 175, 175)
_MARGIN_MM = 25.0
_CORONAL_SLICES = 8
_PAGE = 4 / 3


class _Scan(NamedTuple):
    ct: Volume
    lungs: Volume | None
    infection: Volume | None
    window: tuple[float, float]


def montage(
    ct: Volume,
    lungs: Volume | None = None,
    infection: Volume | None = None,
    *,
    count: int = 12,
    columns: int | None = None,
    title: str = "",
    caption: str = "",
    window: tuple[float, float] = WINDOW,
    tile: int = 256,
) -> np.ndarray:
    """Slices spread evenly over the lungs, from head to feet, and a coronal view at the end.

    The slice with most infection is always among them. Slices are cut to the lungs and some of the
    chest wall, and carry their index.

    Args:
        ct: In HU.
        lungs: Labels 1 (right) and 2 (left); without them the whole scan is shown.
        infection: 1, or 1 for ground glass and 2 for consolidation.
        count: Tiles at most, the coronal view included; it is left out of scans of few slices.
        columns: Tiles side by side; by default what comes nearest to a page.
        title: Above the tiles, left of the legend.
        caption: Below the tiles.
        window: ``(low, high)`` HU that become black and white.
        tile: Width of a tile in pixels.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ShapeError: A mask has another shape than the CT.
        SpecError: No tile, no column or tiles below 64 pixels were asked for.

    Example:
        >>> ct = Volume(np.full((3, 64, 64), -800, np.int16))
        >>> montage(ct, tile=64, columns=3).shape
        (66, 198, 3)
    """
    check(ct, lungs, infection)
    if count < 1 or (columns is not None and columns < 1) or tile < 64:
        raise SpecError(
            "expected at least 1 tile, 1 column and 64 pixels a tile, "
            f"found {count}, {columns} and {tile}"
        )
    scan = _Scan(ct, lungs, infection, window)
    box = _box(ct, lungs)
    _, rows_mm, columns_mm = ct.spacing
    rows, across = (bounds.stop - bounds.start for bounds in box)
    shape = max(1, round(tile * rows * rows_mm / (across * columns_mm))), tile
    tiles = _tiles(scan, box, count=count, shape=shape)
    grid = _grid(tiles, columns or _columns(len(tiles), shape))
    size = max(8, tile // 24)
    return np.vstack([_header(scan, title, grid, size), grid, _footer(caption, grid, size)])


def _box(ct: Volume, lungs: Volume | None) -> tuple[slice, slice]:
    """Rows and columns around the lungs in all slices; the whole slice where there are none."""
    flat = None if lungs is None else (lungs.array != 0).any(axis=0)
    if flat is None or not flat.any():
        return slice(0, ct.shape[1]), slice(0, ct.shape[2])
    down, across = (round(_MARGIN_MM / mm) for mm in ct.spacing[1:])
    return _extent(flat.any(axis=1), down), _extent(flat.any(axis=0), across)


def _extent(line: np.ndarray, margin: int) -> slice:
    places = np.flatnonzero(line)
    return slice(max(0, int(places[0]) - margin), min(len(line), int(places[-1]) + 1 + margin))


def _tiles(
    scan: _Scan, box: tuple[slice, slice], *, count: int, shape: tuple[int, int]
) -> list[np.ndarray]:
    """Axial tiles from head to feet, then the coronal one if there is room for it."""
    coronal = count > 1 and len(scan.ct) >= _CORONAL_SLICES
    tiles = [
        _labelled(_cut(scan, (index, *box), shape), f"slice {index}")
        for index in _chosen(scan, count - coronal)
    ]
    if coronal:
        tiles.append(_labelled(_coronal(scan, box[1], shape), "coronal"))
    return tiles


def _cut(scan: _Scan, place: Any, shape: tuple[int, int]) -> np.ndarray:
    """The scan at an index expression that leaves two axes, as a picture of that shape."""
    lungs, infection = (
        None if mask is None else mask.array[place] for mask in (scan.lungs, scan.infection)
    )
    return picture(windowed(scan.ct.array[place], scan.window), lungs, infection, shape=shape)


def _chosen(scan: _Scan, count: int) -> list[int]:
    """Indices from head to feet, evenly over the lungs, the one with most infection included."""
    first, stop = 0, len(scan.ct)
    if scan.lungs is not None and scan.lungs.array.any():
        extent = _extent((scan.lungs.array != 0).any(axis=(1, 2)), 0)
        first, stop = extent.start, extent.stop
    number = min(count, stop - first)
    chosen = np.floor(first + (np.arange(number) + 0.5) * (stop - first) / number).astype(int)
    if scan.infection is not None and scan.infection.array.any():
        most = busiest(scan.ct, scan.lungs, scan.infection)
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
    for mask in (scan.infection, scan.lungs):
        if mask is not None and mask.array.any():
            score = score * (mask.array != 0).sum(axis=(0, 2))
    return len(score) // 2 if score.min() == score.max() else int(score.argmax())


def _labelled(rgb: np.ndarray, label: str) -> np.ndarray:
    """A copy with what it shows and the patient's sides written on it."""
    rgb = rgb.copy()
    height, width, _ = rgb.shape
    size = max(8, width // 26)
    write = functools.partial(text, rgb, height=size, color=_WHITE, halo=_BLACK)
    write(label, (size / 2, 1.2 * size))
    write("R", (size / 2, height / 2))
    write("L", (width - size / 2, height / 2), align="right")
    return rgb


def _columns(number: int, shape: tuple[int, int]) -> int:
    """How many tiles side by side come nearest to a page without many empty places."""

    def cost(columns: int) -> float:
        rows = math.ceil(number / columns)
        page = columns * shape[1] / (rows * shape[0])
        return abs(math.log(page / _PAGE)) + (columns * rows - number) / number

    return min(range(1, number + 1), key=cost)


def _grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles side by side, filled up with black, a thin line of black around each."""
    columns = min(columns, len(tiles))
    empty = [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    framed = [np.pad(one, ((1, 1), (1, 1), (0, 0))) for one in (*tiles, *empty)]
    rows = [np.hstack(framed[i : i + columns]) for i in range(0, len(framed), columns)]
    return np.vstack(rows)


def _header(scan: _Scan, title: str, grid: np.ndarray, size: int) -> np.ndarray:
    """The title on the left and the legend on the right; on two lines if one is too short."""
    space = grid.shape[1] - 2 * size
    legend = _legend(scan, size)
    if legend.shape[1] > space:
        legend = _legend(scan, max(SMALLEST, size * space // legend.shape[1]))[:, :space]
    if not title and not legend.shape[1]:
        return grid[:0]
    large = fitting_height(title, round(1.3 * size), space)
    beside = bool(title) and text_width(title, large) + legend.shape[1] + size <= space
    lines = 2 if title and legend.shape[1] and not beside else 1
    header = canvas(3 * size * lines, grid.shape[1], _BLACK)
    text(header, title, (size, 1.5 * size), height=large, color=_WHITE)
    left = grid.shape[1] - size - legend.shape[1] if beside else size
    top = len(header) - (3 * size + len(legend)) // 2
    header[top : top + len(legend), left : left + legend.shape[1]] = legend
    return header


def _legend(scan: _Scan, size: int) -> np.ndarray:
    names: list[tuple[str, Color]] = []
    if scan.lungs is not None:
        names += [("right lung", LUNG_COLORS[RIGHT]), ("left lung", LUNG_COLORS[LEFT])]
    if scan.infection is not None and scan.infection.array.max(initial=0) < CONSOLIDATION:
        names += [("infection", LESION_COLORS[GROUND_GLASS])]
    elif scan.infection is not None:
        names += [("ground glass", LESION_COLORS[GROUND_GLASS])]
        names += [("consolidation", LESION_COLORS[CONSOLIDATION])]
    parts = [canvas(3 * size, 0, _BLACK)]
    for name, color in names:
        part = canvas(3 * size, 4 * size + text_width(name, size), _BLACK)
        part[size : 2 * size, 2 * size : 3 * size] = color
        text(part, name, (3.6 * size, 1.5 * size), height=size, color=_WHITE)
        parts.append(part)
    return np.hstack(parts)[:, 2 * size :]


def _footer(caption: str, grid: np.ndarray, size: int) -> np.ndarray:
    if not caption:
        return grid[:0]
    footer = canvas(3 * size, grid.shape[1], _BLACK)
    height = fitting_height(caption, size, grid.shape[1] - 2 * size)
    text(footer, caption, (size, 1.5 * size), height=height, color=_GREY)
    return footer
