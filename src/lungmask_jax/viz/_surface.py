"""The surfaces of masks as solids, shaded, from several sides."""

import functools
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from lungmask_jax.errors import SpecError, nearest
from lungmask_jax.viz._canvas import text
from lungmask_jax.viz._page import WHITE, page
from lungmask_jax.viz._shading import DARK, LEVEL, Layer, lit, seen
from lungmask_jax.viz._slices import drawn, limited
from lungmask_jax.volume import Volume

_VIEWS: Final = {
    "front": ((1, 0, 2), (1, -1, 1), ("R", "L")),
    "back": ((1, 0, 2), (-1, -1, -1), ("L", "R")),
    "right": ((2, 0, 1), (1, -1, -1), ("P", "A")),
    "left": ((2, 0, 1), (-1, -1, 1), ("A", "P")),
}
"""Axes along the view, down and across; their directions; the sides on the left and right."""

_GRID: Final = 256  # voxels of the longest side
_MARGIN: Final = 6


class _Grid(NamedTuple):
    """Cubes of `step` mm around the masks: the part of the scan, and its number of cubes."""

    box: tuple[slice, ...]
    step: float
    sides: tuple[int, ...]


def surface(
    masks: Mapping[str, Volume],
    *,
    views: Sequence[str] = ("front", "back", "right"),
    tile: int = 512,
    title: str = "",
    caption: str = "",
) -> np.ndarray:
    """The surfaces of masks in three dimensions, on white.

    Organs are opaque, or like glass if there is anything inside them, such as the infection. The
    surface is where a mask, smoothed by one to two voxels, is one half; voxels of any proportions
    are resampled to cubes first. Its light comes from the upper left, and hollows are darker.

    Args:
        masks: By the name of their task, as in `overlay`; those without voxels leave no trace.
        views: Sides from which the patient is seen: ``"front"``, ``"back"``, ``"right"`` (the
            patient's), ``"left"``.
        tile: Width of a view in pixels.
        title: Above the views, left of the legend.
        caption: Below the views.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ShapeError: Masks have different shapes, or no voxels.
        SpecError: There is no mask or no such view, or views are below 64 pixels.
        UnknownNameError: There is no task of a name.

    Example:
        >>> ball = np.linalg.norm(np.indices((32, 32, 32)) - 16, axis=0) < 10
        >>> picture = surface({"infection": Volume(ball.astype(np.uint8))}, tile=64)
        >>> picture.shape[1], picture[0, 0].tolist()
        (198, [255, 255, 255])
    """
    _check(masks, views, tile)
    shown = drawn(next(iter(masks.values())), masks)
    solids = [
        (task.outlined, name, task.colors[label], mask.with_array(mask.array == label))
        for task, mask in shown
        for label, name in task.labels.items()
        if label in task.colors
    ]
    grid = _grid([mask for *_, mask in solids])
    glass = any(not outer and mask.array.any() for outer, _, _, mask in solids)
    layers: dict[str, dict[str, list[Layer]]] = {view: {} for view in views}
    for outer, _, color, mask in solids:
        field = _field(mask, grid)
        kind = ("glass" if glass else "solid") if outer else "inner"
        for view in views if field.max() >= LEVEL else ():
            for name, layer in seen(_turned(field, view), color, kind):
                layers[view].setdefault(name, []).append(layer)
    shape = _shape(grid, views, tile)
    tiles = [_named(lit(layers[view], shape), view) for view in views]
    names = [(name.replace("_", " "), color) for _, name, color, _ in solids]
    return page(tiles, len(tiles), title=title, names=names, caption=caption, ground=WHITE)


def _check(masks: Mapping[str, Volume], views: Sequence[str], tile: int) -> None:
    if not masks or not views or tile < 64:
        raise SpecError(
            "a picture of surfaces needs a mask, a view, and 64 pixels a view, there are "
            f"{len(masks)}, {len(views)} and {tile}"
        )
    for view in views:
        if view not in _VIEWS:
            raise SpecError(f"no view {view!r}: {nearest(view, _VIEWS)}")


def _grid(masks: Sequence[Volume]) -> _Grid:
    """The cubes around all masks; the whole scan if nothing is marked."""
    there = functools.reduce(np.logical_or, (mask.array for mask in masks))
    found = ndimage.find_objects(there.astype(np.uint8))
    box = found[0] if found else tuple(slice(0, side) for side in there.shape)
    spacing = masks[0].spacing
    lengths = [(part.stop - part.start) * mm for part, mm in zip(box, spacing, strict=True)]
    step = max(max(lengths) / _GRID, min(spacing) / 2)
    return _Grid(box, step, tuple(max(1, round(length / step)) for length in lengths))


def _field(mask: Volume, grid: _Grid) -> np.ndarray:
    """A mask as smooth shares between 0 and 1, on cubes with some room around."""
    cubes = _cubes(mask.array[grid.box].astype(np.float32), grid.sides)
    width = [max(1.0, 0.8 * mm / grid.step) for mm in mask.spacing]
    return ndimage.gaussian_filter(np.pad(cubes, _MARGIN), width, mode="constant", truncate=3.0)


def _cubes(part: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Voxels brought to a grid of other sides, linearly."""
    flat = np.stack([cv2.resize(one, (sides[2], sides[1])) for one in part])
    place = (np.arange(sides[0]) + 0.5) * len(part) / sides[0] - 0.5
    below = np.clip(np.floor(place).astype(int), 0, len(part) - 1)
    above = np.minimum(below + 1, len(part) - 1)
    share = np.clip(place - below, 0, 1).astype(np.float32)[:, None, None]
    return flat[below] + share * (flat[above] - flat[below])


def _turned(field: np.ndarray, view: str) -> np.ndarray:
    """The field with the axis of the view first, then rows and columns of the picture."""
    axes, steps, _ = _VIEWS[view]
    return np.ascontiguousarray(
        field.transpose(axes)[tuple(slice(None, None, one) for one in steps)]
    )


def _shape(grid: _Grid, views: Sequence[str], tile: int) -> tuple[int, int]:
    """Rows and columns of a view, such that all views have one scale."""
    sides = [side + 2 * _MARGIN for side in grid.sides]
    wide = max(sides[_VIEWS[view][0][2]] for view in views)
    return max(1, round(tile * limited(sides[0] / wide))), tile


def _named(rgb: np.ndarray, view: str) -> np.ndarray:
    """A picture with the view and the sides of the patient written on it."""
    height, width, _ = rgb.shape
    size = max(8, width // 26)
    left, right = _VIEWS[view][2]
    text(rgb, view, (size / 2, 1.2 * size), height=size, color=DARK)
    text(rgb, left, (size / 2, height - 1.2 * size), height=size, color=DARK)
    place = width - size / 2, height - 1.2 * size
    text(rgb, right, place, height=size, color=DARK, align="right")
    return rgb
