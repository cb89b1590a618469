"""Solids as rays see them, and their light."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np

from lungmask_jax.tasks import Color

LEVEL: Final = 0.5
"""The surface is where a field has this value."""

DARK: Final = (38, 42, 48)

_LIGHT: Final = np.array((-0.42, -0.57, 0.71), np.float32)  # from the upper left, in front
_HALF: Final = np.array((-0.227, -0.308, 0.924), np.float32)  # between it and the eye
_INSIDE: Final = np.array((-1, -1, 1), np.float32)
_FINER: Final = 2
_COARSER: Final = 4  # pixels, where light is spread
_DEEP: Final = 28.0  # voxels below what is around, at which a hollow is dark


class Layer(NamedTuple):
    """A solid as it is seen from one side: ``(h, w)`` each, the last ``(h, w, 3)``."""

    color: Color
    covers: np.ndarray
    depth: np.ndarray
    normal: np.ndarray


def seen(field: np.ndarray, color: Color, kind: str) -> Iterator[tuple[str, Layer]]:
    """What is seen along the first axis of a field: the front, and the inside of glass behind it.

    The kind is ``"solid"``, ``"glass"``, or ``"inner"`` for what is inside the glass.
    """
    yield kind, _layer(field, color)
    if kind == "glass":
        back = _layer(field[::-1], color)
        yield "back", back._replace(depth=len(field) - back.depth, normal=back.normal * _INSIDE)


def _layer(field: np.ndarray, color: Color) -> Layer:
    """Where rays along the first axis meet the surface, and how it is inclined there."""
    most = field.max(axis=0)
    level = np.minimum(LEVEL, 0.98 * most)
    first = np.clip((field >= level).argmax(axis=0), 1, len(field) - 2)
    y, x = np.indices(most.shape)
    at, before = field[first, y, x], field[first - 1, y, x]
    share = np.clip((level - before) / np.maximum(at - before, 1e-6), 0, 1)
    down, across = (np.clip(one, 1, side - 2) for one, side in zip((y, x), most.shape, strict=True))
    slope = [
        field[first, y, across + 1] - field[first, y, across - 1],
        field[first, down + 1, x] - field[first, down - 1, x],
        field[first + 1, y, x] - field[first - 1, y, x],
    ]
    normal = -np.stack(slope, axis=-1) * (1, 1, -1)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = (normal / np.maximum(length, 1e-6)).astype(np.float32)
    depth = (first - 1 + share).astype(np.float32)
    # single rays that graze an edge would be a row of dark dots along it
    return Layer(color, most, cv2.medianBlur(depth, 3), cv2.medianBlur(normal, 3))


def lit(layers: Mapping[str, Sequence[Layer]], shape: tuple[int, int]) -> np.ndarray:
    """One side on white: the back of the glass, what is inside, the glass; or solids."""
    fine = shape[0] * _FINER, shape[1] * _FINER
    rgb = np.full((*fine, 3), 255, np.float32)
    for kind in ("back", "inner", "glass", "solid"):
        if some := layers.get(kind):
            merged = _nearest([_sized(one, fine) for one in some])
            share = _opacity(kind, merged)[..., None]
            rgb += share * (_shaded(merged) - rgb)
    small = cv2.resize(rgb, shape[::-1], interpolation=cv2.INTER_AREA)
    return np.rint(small).clip(0, 255).astype(np.uint8)


def _sized(layer: Layer, shape: tuple[int, int]) -> Layer:
    """The layer in the middle of a picture of that shape, which it fills in height or width."""
    height, width = layer.covers.shape
    scale = min(shape[0] / height, shape[1] / width)
    matrix = np.array(
        [
            [scale, 0, (shape[1] - scale * width + scale - 1) / 2],
            [0, scale, (shape[0] - scale * height + scale - 1) / 2],
        ]
    )
    how: Any = {"dsize": shape[::-1], "flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    maps = (cv2.warpAffine(one, matrix, **how) for one in layer[1:])
    return Layer(layer.color, *maps)


class _Merged(NamedTuple):
    """What is nearest at each pixel: `color` and `normal` are ``(H, W, 3)``."""

    color: np.ndarray
    covers: np.ndarray
    depth: np.ndarray
    normal: np.ndarray


def _nearest(layers: Sequence[Layer]) -> _Merged:
    """The nearest of several solids at each pixel."""
    covers = np.stack([one.covers for one in layers])
    depth = np.where(covers >= LEVEL, [one.depth for one in layers], np.inf)
    first = depth.argmin(axis=0)
    y, x = np.indices(first.shape)
    color = np.array([one.color for one in layers], np.float32)[first]
    normal = np.stack([one.normal for one in layers])[first, y, x]
    inside = np.isfinite(depth.min(axis=0))
    return _Merged(
        color, inside.astype(np.float32), np.where(inside, depth[first, y, x], 0), normal
    )


def _opacity(kind: str, merged: _Merged) -> np.ndarray:
    """The opacity of each pixel; glass is seen best where it is steep."""
    if kind == "back":
        return 0.55 * merged.covers
    if kind == "glass":
        steep = 1 - np.clip(merged.normal[..., 2], 0, 1)
        return merged.covers * (0.16 + 0.6 * steep**2)
    return merged.covers


def _shaded(merged: _Merged) -> np.ndarray:
    """Lambert's light and some from the front, a gloss, and less light in hollows."""
    length = np.linalg.norm(merged.normal, axis=-1, keepdims=True)
    normal = merged.normal / np.maximum(length, 1e-6)
    side, front, gloss = (np.clip(normal @ one, 0, 1) for one in (_LIGHT, (0, 0, 1), _HALF))
    light = (0.2 + 0.6 * side + 0.25 * front) * _open(merged)
    rgb = np.array(DARK) + light[..., None] * (merged.color - DARK)
    return rgb + 0.22 * gloss[..., None] ** 40 * (255 - rgb)


def _open(merged: _Merged) -> np.ndarray:
    """How much light reaches each pixel: less where the surface around is nearer."""
    height, width = merged.covers.shape
    small = -(-width // _COARSER), -(-height // _COARSER)
    covered = np.stack([merged.covers, merged.depth * merged.covers], axis=-1).astype(np.float32)
    coarse = cv2.resize(covered, small, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(coarse, (0, 0), max(small) / 40)
    weight, near = np.moveaxis(cv2.resize(blurred, (width, height)), -1, 0)
    around = near / np.maximum(weight, 1e-3)
    deeper = merged.depth - around
    return np.clip(1 - deeper / _DEEP, 0.55, 1.08)
