"""Small pictures of a scan at levels that are the same in all scans of a patient."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from lungmask_jax import viz
from lungmask_jax.report._parts import organ
from lungmask_jax.volume import Volume

LEVELS: Final = ("Coronal view", "Upper level", "Middle level", "Lower level")
"""Names of the pictures of `level_pictures`."""

_DOWN: Final = (0.25, 0.5, 0.75)  # of the lungs' height, from the top
_SHAPE: Final = (300, 380)
_LUNGS: Final = 300  # pixels of the width of lungs whose voxels have no size
_SWAPPED: Final = [1, 0, 2, 3]


def level_pictures(ct: Volume, masks: Mapping[str, Volume]) -> tuple[bytes, ...]:
    """The lungs from the front and at a quarter, the middle and three quarters of their height.

    A pixel is 1 mm, so that pictures of several dates can be compared; without a known voxel size,
    lungs have the width of others. The window is that of the lung.

    Args:
        ct: In HU.
        masks: By the name of their task.

    Returns:
        A WebP of 380 x 300 pixels for each of `LEVELS`; only the middle level of a single slice is
        a picture, the others are empty. About 10 kB each.

    Raises:
        ShapeError: A mask has another shape than the CT.
        UnknownNameError: There is no task of a name.

    Example:
        >>> ct = Volume(np.full((3, 32, 32), -800, np.int16))
        >>> [picture[8:12] for picture in level_pictures(ct, {})]
        [b'WEBP', b'WEBP', b'WEBP', b'WEBP']
    """
    around = organ(masks)
    inside = np.ones(ct.shape, bool) if around is None else masks[around.name].array != 0
    inside = inside if inside.any() else np.ones(ct.shape, bool)
    box = [np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    middle = [(places[0] + places[-1]) / 2 for places in box]
    zoom = 1.0 if ct.has_size else _LUNGS / (box[2][-1] - box[2][0] + 1)
    top, height = box[0][-1], box[0][-1] - box[0][0]
    levels = [round(float(top - share * height)) for share in _DOWN]
    if len(ct) == 1:
        return b"", b"", _axial(ct, masks, 0, middle, zoom), b""
    axial = [_axial(ct, masks, level, middle, zoom) for level in levels]
    return _coronal(ct, masks, middle, zoom), *axial


def _axial(
    ct: Volume, masks: Mapping[str, Volume], index: int, middle: list[float], zoom: float
) -> bytes:
    rgb = viz.overlay(ct, masks, index=index)
    _, down, across = ct.spacing
    return _webp(_framed(rgb, ct.shape[1:], (down * zoom, across * zoom), (middle[1], middle[2])))


def _coronal(ct: Volume, masks: Mapping[str, Volume], middle: list[float], zoom: float) -> bytes:
    turned = {name: _from_front(mask) for name, mask in masks.items()}
    rgb = viz.overlay(_from_front(ct), turned, index=round(middle[1]))
    down, _, across = ct.spacing
    shape = len(ct), ct.shape[2]
    center = len(ct) - 1 - middle[0], middle[2]
    return _webp(_framed(rgb, shape, (down * zoom, across * zoom), center))


def _from_front(volume: Volume) -> Volume:
    """Rows and slices exchanged, the head on top."""
    return replace(
        volume,
        array=volume.array.transpose(1, 0, 2)[:, ::-1],
        affine=volume.affine[:, _SWAPPED],
        header=None,
    )


def _framed(
    rgb: np.ndarray,
    shape: tuple[int, ...],
    mm: tuple[float, float],
    center: tuple[float, float],
) -> np.ndarray:
    """The part around a voxel, 1 mm a pixel; what lies beyond is black."""
    tall, wide = (
        side * one / pixels for side, one, pixels in zip(shape, mm, rgb.shape, strict=False)
    )
    y, x = (one * side for one, side in zip(center, mm, strict=True))
    rows, columns = _SHAPE
    onto = np.array([[wide, 0, columns / 2 - x], [0, tall, rows / 2 - y]])
    blur = max(1 / max(wide, 1e-3), 1 / max(tall, 1e-3))
    soft = cv2.GaussianBlur(rgb, (0, 0), 0.35 * blur) if blur > 1.5 else rgb
    return cv2.warpAffine(soft, onto, (columns, rows), flags=cv2.INTER_LINEAR)


def _webp(rgb: np.ndarray) -> bytes:
    options = [cv2.IMWRITE_WEBP_QUALITY, 80]
    _, encoded = cv2.imencode(".webp", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    return encoded.tobytes()
