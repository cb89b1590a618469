"""Tiles on a page, with a title, a legend and a line below."""

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from lungmask_jax.tasks import Color
from lungmask_jax.viz._canvas import canvas, fitting_height, text, text_width
from lungmask_jax.viz._slices import limited
from lungmask_jax.volume import Volume

WHITE: Color = (255, 255, 255)

_BLACK: Color = (0, 0, 0)
_PALE: Color = (245, 245, 245)
_INKS: Mapping[Color, tuple[Color, Color]] = {
    _BLACK: (_PALE, (175, 175, 175)),
    WHITE: ((38, 42, 48), (95, 100, 108)),
}
"""Of title and legend, and of the line below, on each ground."""

_MARGIN_MM = 25.0
_PAGE = 4 / 3
_READABLE = 8
_BARS_MM = (100, 50, 20, 10, 5, 2, 1)


def page(
    tiles: Sequence[np.ndarray],
    columns: int | None = None,
    *,
    title: str = "",
    names: Sequence[tuple[str, Color]] = (),
    caption: str = "",
    parts: int = 1,
    ground: Color = _BLACK,
) -> np.ndarray:
    """Tiles of one shape on a page; by default as many side by side as comes nearest to one.

    A tile of two parts, such as the plain and the marked slice, has texts as if it was one of them.
    """
    height, width, _ = tiles[0].shape
    grid = _grid(tiles, columns or _columns(len(tiles), (height, width)), ground)
    size = max(8, width // parts // 24)
    header = _header(names, title, grid, size, ground)
    return np.vstack([header, grid, _footer(caption, grid, size, ground)])


def around(mask: np.ndarray | None, ct: Volume) -> tuple[slice, slice]:
    """Rows and columns around a mask in all slices; the whole slice where there is none."""
    flat = None if mask is None else (mask != 0).any(axis=0)
    if flat is None or not flat.any():
        return slice(0, ct.shape[1]), slice(0, ct.shape[2])
    down, across = (round(_MARGIN_MM / mm) for mm in ct.spacing[1:])
    return extent(flat.any(axis=1), down), extent(flat.any(axis=0), across)


def tile_shape(box: tuple[slice, slice], ct: Volume, width: int) -> tuple[int, int]:
    """Rows and columns of a tile in true proportions, as far as pictures allow."""
    _, rows_mm, columns_mm = ct.spacing
    rows, columns = (side.stop - side.start for side in box)
    return round(width * limited(rows * rows_mm / (columns * columns_mm))), width


def extent(line: np.ndarray, margin: int) -> slice:
    """From the first to the last place that is set, and a margin."""
    places = np.flatnonzero(line)
    return slice(max(0, int(places[0]) - margin), min(len(line), int(places[-1]) + 1 + margin))


def slice_label(index: int, count: int) -> str:
    """A slice as people count, and its index as JSON files and arrays count."""
    return f"slice {index + 1} of {count} (index {index})"


def labelled(
    rgb: np.ndarray, label: str, sides: tuple[str, str] = ("R", "L"), *, longest: str = ""
) -> np.ndarray:
    """A copy with what it shows, in one line, and the patient's sides written on it.

    The size of the words is that of the longest label of all pictures.
    """
    rgb = rgb.copy()
    height, width, _ = rgb.shape
    size = max(8, width // 26)
    write = functools.partial(text, rgb, color=_PALE, halo=_BLACK)
    small = fitting_height(longest or label, size, width - size)
    write(label, (size / 2, 1.2 * size), height=small)
    write(sides[0], (size / 2, height / 2), height=size)
    write(sides[1], (width - size / 2, height / 2), height=size, align="right")
    return rgb


def with_scale(rgb: np.ndarray, mm: float) -> np.ndarray:
    """A copy with a bar of a round length, at most a third of its width; a pixel has `mm`."""
    rgb = rgb.copy()
    height, width, _ = rgb.shape
    size = max(8, width // 26)
    long = max((one for one in _BARS_MM if one / mm <= width / 3), default=min(_BARS_MM))
    top, left = height - size, size // 2
    bottom, stop = top + max(2, size // 5), left + round(long / mm)
    edge = max(1, size // 12)
    rgb[top - edge : bottom + edge, max(0, left - edge) : stop + edge] = _BLACK
    rgb[top:bottom, left:stop] = _PALE
    words = f"{long // 10} cm" if long >= 10 else f"{long} mm"
    text(rgb, words, (size / 2, top - size), height=size, color=_PALE, halo=_BLACK)
    return rgb


def _columns(number: int, shape: tuple[int, int]) -> int:
    """How many tiles side by side come nearest to a page without many empty places."""

    def cost(columns: int) -> float:
        rows = math.ceil(number / columns)
        page = columns * shape[1] / (rows * shape[0])
        return abs(math.log(page / _PAGE)) + (columns * rows - number) / number

    return min(range(1, number + 1), key=cost)


def _grid(tiles: Sequence[np.ndarray], columns: int, ground: Color) -> np.ndarray:
    """Tiles side by side, filled up with the ground, a thin line of it around each."""
    columns = min(columns, len(tiles))
    empty = [canvas(len(tiles[0]), tiles[0].shape[1], ground)] * (-len(tiles) % columns)
    edge, shade = ((1, 1), (1, 1), (0, 0)), ground[0]
    framed = [np.pad(one, edge, constant_values=shade) for one in (*tiles, *empty)]
    rows = [np.hstack(framed[i : i + columns]) for i in range(0, len(framed), columns)]
    return np.vstack(rows)


def _header(
    names: Sequence[tuple[str, Color]], title: str, grid: np.ndarray, size: int, ground: Color
) -> np.ndarray:
    """The title on the left and the legend on the right, below it if one line is too short."""
    space = grid.shape[1] - 2 * size
    legend = _legend(names, size, space, ground)
    if not title and not legend.shape[1]:
        return grid[:0]
    large = fitting_height(title, round(1.3 * size), space)
    beside = bool(title) and text_width(title, large) + legend.shape[1] + size <= space
    below = bool(title) and legend.shape[1] > 0 and not beside
    header = canvas(len(legend) + 3 * size * below, grid.shape[1], ground)
    text(header, title, (size, 1.5 * size), height=large, color=_INKS[ground][0])
    left = grid.shape[1] - size - legend.shape[1] if beside else size
    header[-len(legend) :, left : left + legend.shape[1]] = legend
    return header


def _legend(names: Sequence[tuple[str, Color]], size: int, space: int, ground: Color) -> np.ndarray:
    """Colors and names in one line, smaller if need be; in several where it would be too small."""
    wide = sum(_entry(*one, size, ground).shape[1] for one in names)
    small = size if wide <= space else max(_READABLE, size * space // wide)
    lines: list[np.ndarray] = [canvas(3 * size, 0, ground)]
    for entry in (_entry(*one, small, ground) for one in names):
        entry = np.vstack([entry, canvas(3 * size - len(entry), entry.shape[1], ground)])
        if lines[-1].shape[1] and lines[-1].shape[1] + entry.shape[1] > space:
            lines.append(canvas(3 * size, 0, ground))
        lines[-1] = np.hstack([lines[-1], entry])[:, :space]
    wide = max(line.shape[1] for line in lines)
    return np.vstack(
        [np.hstack([one, canvas(len(one), wide - one.shape[1], ground)]) for one in lines]
    )


def _entry(name: str, color: Color, size: int, ground: Color) -> np.ndarray:
    part = canvas(3 * size, 4 * size + text_width(name, size), ground)
    part[size : 2 * size, :size] = color
    text(part, name, (1.6 * size, 1.5 * size), height=size, color=_INKS[ground][0])
    return part


def _footer(caption: str, grid: np.ndarray, size: int, ground: Color) -> np.ndarray:
    if not caption:
        return grid[:0]
    footer = canvas(3 * size, grid.shape[1], ground)
    height = fitting_height(caption, size, grid.shape[1] - 2 * size)
    text(footer, caption, (size, 1.5 * size), height=height, color=_INKS[ground][1])
    return footer
