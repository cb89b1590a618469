"""A scan as a small picture: its lungs from the front, and what is inside them."""

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np

from lungmask_jax import tasks
from lungmask_jax.tasks import Color, Task
from lungmask_jax.volume import Volume

_SIDE: Final = 64
_LUNG: Final = (150, 160, 172)
_THICK: Final = 0.12  # share of infected lung along a line that has the full color


def thumbnail(masks: Mapping[str, Volume]) -> bytes:
    """The lungs from the front, brighter where they are deeper, with what is inside them.

    Of a single slice, they are seen from below, as in the slice.

    Args:
        masks: By the name of their task.

    Returns:
        A WebP of 64 x 64 pixels, black without lungs; about 1 kB.

    Example:
        >>> lungs = Volume(np.ones((4, 4, 4), np.uint8))
        >>> thumbnail({"lungs": lungs})[8:12]
        b'WEBP'
    """
    named = {tasks.registry[name]: mask for name, mask in masks.items()}
    organs = [(task, mask) for task, mask in named.items() if not task.inside]
    picture = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    if organs and organs[0][1].array.any():
        organ, lungs = organs[0]
        inner = [(task, mask) for task, mask in named.items() if _is_within(task, organ)]
        picture = _framed(_front(lungs, inner), lungs)
    _, encoded = cv2.imencode(
        ".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 70]
    )
    return encoded.tobytes()


def _is_within(task: Task, organ: Task) -> bool:
    return task.inside == organ.name


def _front(lungs: Volume, inner: list[tuple[Task, Volume]]) -> np.ndarray:
    """``(slices, columns, 3)`` float, head on top; of a single slice its rows."""
    depth = _depth(lungs)
    shade = np.sqrt(depth / depth.max())[..., None]
    rgb = shade * np.array(_LUNG, np.float32)
    for task, mask in inner:
        sick = _depth(mask)
        share = np.minimum(sick / np.maximum(depth, 1) / _THICK, 1)[..., None]
        color: Color = next(iter(task.colors.values()))
        rgb += share * (np.array(color, np.float32) - rgb)
    return rgb


def _depth(mask: Volume) -> np.ndarray:
    """Voxels along each line of sight, float32, the head or the front on top."""
    if len(mask) == 1:
        return (mask.array[0] != 0).astype(np.float32)
    return np.stack([(one != 0).sum(axis=0, dtype=np.float32) for one in mask])[::-1]


def _framed(rgb: np.ndarray, lungs: Volume) -> np.ndarray:
    """The part with lungs in true proportions, in the middle of a square."""
    there = _depth(lungs) > 0
    rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    part = rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    tall, wide = part.shape[0] * lungs.spacing[len(lungs) == 1], part.shape[1] * lungs.spacing[2]
    scale = (_SIDE - 4) / max(tall, wide)
    height, width = (max(1, round(side * scale)) for side in (tall, wide))
    small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    square = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    top, left = (_SIDE - height) // 2, (_SIDE - width) // 2
    square[top : top + height, left : left + width] = np.rint(small).clip(0, 255)
    return square
