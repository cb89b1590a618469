"""One slice with its masks."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import cv2
import numpy as np

from lungmask_jax import tasks
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.tasks import Color, Task
from lungmask_jax.volume import Volume

Drawn: TypeAlias = list[tuple[Task, Volume]]
"""Masks of a picture with their tasks, the outermost first."""

WINDOW = (-1350.0, 150.0)

_FINER = 4
_FINEST = 2048
_ASPECT = 2.5
_STEP = 8.0  # pixels of a voxel while its border is smoothed


def windowed(slice_hu: np.ndarray, window: tuple[float, float] = WINDOW) -> np.ndarray:
    """HU as grey levels.

    Args:
        slice_hu: HU of any shape.
        window: ``(low, high)`` HU that become black and white.

    Returns:
        Same shape, uint8; black where there is no number.

    Raises:
        SpecError: The window is empty.

    Example:
        >>> windowed(np.array([-3024, -1350, -600, 150, 3000]))
        array([  0,   0, 128, 255, 255], dtype=uint8)
    """
    low, high = window
    if not low < high:
        raise SpecError(f"expected a window of low < high HU, found {window}")
    share = (np.asarray(slice_hu, np.float32) - low) / (high - low)
    return np.rint(np.nan_to_num(np.clip(share, 0, 1)) * 255).astype(np.uint8)


def overlay(
    ct: Volume,
    masks: Mapping[str, Volume] | None = None,
    *,
    index: int | None = None,
    window: tuple[float, float] = WINDOW,
    alpha: float = 0.45,
) -> np.ndarray:
    """One slice with its masks: organs outlined, inner structures filled in.

    Args:
        ct: In HU.
        masks: Masks by the name of their task, such as ``"lungs"`` and ``"infection"``. Types, such
            as ``"lesions"``, are drawn instead of the mask that they divide.
        index: Slice number, from 0 at the feet; by default the slice with most of the last mask,
            else of those before it, else the middle one.
        window: ``(low, high)`` HU that become black and white.
        alpha: Opacity of fillings, from 0 to 1.

    Returns:
        ``(H, W, 3)`` uint8 RGB, one pixel per voxel; if voxels are not square in the slice, the
        longer side is stretched to true proportions, up to two and a half times.

    Raises:
        ShapeError: A mask has another shape than the CT, or there is no such slice.
        SpecError: The window is empty.
        UnknownNameError: There is no task of a name.

    Example:
        >>> ct = Volume(np.full((3, 32, 32), -800, np.int16))
        >>> lungs = ct.with_array(np.pad(np.ones((3, 8, 8), np.uint8), ((0, 0), (8, 16), (8, 16))))
        >>> rgb = overlay(ct, {"lungs": lungs}, index=1)
        >>> rgb.shape, rgb[8, 10].tolist(), rgb[0, 0].tolist()
        ((32, 32, 3), [86, 180, 233], [94, 94, 94])
    """
    parts = drawn(ct, masks or {})
    chosen = busiest(ct, parts) if index is None else index
    if not 0 <= chosen < len(ct):
        raise ShapeError(f"expected a slice from 0 to {len(ct) - 1}, found {chosen}")
    rows, columns = ct.shape[1:]
    tall = limited(ct.spacing[1] / ct.spacing[2])
    shape = round(rows * max(1, tall)), round(columns * max(1, 1 / tall))
    cut = [(task, mask.array[chosen]) for task, mask in parts]
    return picture(windowed(ct.array[chosen], window), cut, shape=shape, alpha=alpha)


def drawn(ct: Volume, masks: Mapping[str, Volume]) -> Drawn:
    """The masks that a picture shows: types and parts in place of the whole, if they tell more."""
    check(ct, *masks.values())
    parts = {name: tasks.registry[name] for name in masks}
    for name, task in [*parts.items()]:
        if task.divides and task.inside in parts:
            plain = masks[name].array.max(initial=0) <= 1
            parts.pop(name if plain else task.inside)
        if task.fills in parts and masks[name].array.any():
            parts.pop(task.fills)
    return [(task, masks[name]) for name, task in parts.items()]


def check(ct: Volume, *masks: Volume | None) -> None:
    """A `ShapeError` unless every mask there is has the shape of the CT, and it has voxels."""
    if not ct.array.size:
        raise ShapeError(f"expected a CT with voxels, found shape {ct.shape}")
    for mask in masks:
        if mask is not None and mask.shape != ct.shape:
            raise ShapeError(
                f"expected masks of the CT's shape {ct.shape}, found {mask.shape}: "
                "bring them to the grid of the CT"
            )


def busiest(ct: Volume, parts: Drawn) -> int:
    """The slice with most of the last mask, else of those before it, else the middle one."""
    for _, mask in reversed(parts):
        if mask.array.any():
            return int((mask.array != 0).sum(axis=(1, 2)).argmax())
    return len(ct) // 2


def limited(aspect: float) -> float:
    """Height by width, no more than pictures allow: the cost of one does not hang on a header."""
    return min(max(aspect, 1 / _ASPECT), _ASPECT)


def picture(
    grey: np.ndarray,
    cut: Iterable[tuple[Task, np.ndarray]],
    *,
    shape: tuple[int, int],
    alpha: float = 0.45,
    outline: bool = False,
) -> np.ndarray:
    """A grey slice ``(h, w)`` with its masks, ``(*shape, 3)`` uint8 RGB."""
    return _covered(grey, _layers(cut, shape, alpha, outline), shape)


def blended(
    grey: np.ndarray,
    parts: Iterable[tuple[np.ndarray, Color]],
    *,
    shape: tuple[int, int],
    alpha: float = 0.45,
) -> np.ndarray:
    """A grey slice with masks filled in, each in its color, ``(*shape, 3)`` uint8 RGB."""
    there = [(mask, color) for mask, color in parts if mask.any()]
    layers = [layer for mask, color in there for layer in _filling(mask, color, shape, alpha)]
    return _covered(grey, layers, shape)


def _covered(
    grey: np.ndarray, layers: Iterable[tuple[np.ndarray, Color]], shape: tuple[int, int]
) -> np.ndarray:
    smaller = shape[0] < grey.shape[0] or shape[1] < grey.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    grey = cv2.resize(grey, shape[::-1], interpolation=how)
    rgb = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    for share, color in layers:
        rgb += share[..., None] * (np.array(color, np.float32) - rgb)
    return np.rint(rgb).astype(np.uint8)


def _layers(
    cut: Iterable[tuple[Task, np.ndarray]], shape: tuple[int, int], alpha: float, outline: bool
) -> Iterable[tuple[np.ndarray, Color]]:
    """What covers which share of each pixel in which color, from the bottom up."""
    for task, mask in sorted(cut, key=lambda one: one[0].outlined):
        for label, color in task.colors.items():
            part = mask == label
            if part.any() and (outline or task.outlined):
                yield _coarse(_outline(_fine(part, shape), shape), shape), color
            elif part.any():
                yield from _filling(part, color, shape, alpha)


def _filling(
    mask: np.ndarray, color: Color, shape: tuple[int, int], alpha: float
) -> Iterable[tuple[np.ndarray, Color]]:
    fine = _fine(mask, shape)
    yield alpha * _coarse(fine, shape), color
    yield _coarse(_outline(fine, shape), shape), color


def _fine(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask on a finer grid than the picture's, its steps rounded off; uint8 0 and 1.

    Voxels are smoothed where they have some pixels, not hundreds, and that is then enlarged: the
    same border, in a fraction of the time.
    """
    finer = max(1, min(_FINER, _FINEST // max(shape)))
    size = shape[1] * finer, shape[0] * finer
    step = max(size[0] / mask.shape[1], size[1] / mask.shape[0])
    scale = min(1.0, _STEP / step)
    small = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
    share = cv2.resize(mask.astype(np.float32), small, interpolation=cv2.INTER_LINEAR)
    share = cv2.GaussianBlur(share, (0, 0), max(0.25 * scale * step, 0.5))
    if scale < 1:
        share = cv2.resize(share, size, interpolation=cv2.INTER_LINEAR)
    return (share > 0.5).astype(np.uint8)


def _outline(fine: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The innermost picture pixel of a fine mask; its border is where the picture ends, too."""
    width = 2 * round(1.25 * len(fine) / shape[0]) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    eroded = cv2.erode(fine, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return fine - eroded


def _coarse(fine: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The share of each pixel of the picture that a fine mask covers."""
    return cv2.resize(fine.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
