"""The body of each slice by itself, by the rules of lungmask.

Its networks were trained with them: Hofmanninger et al., European Radiology
Experimental 2020, 10.1186/s41747-020-00173-2, and its program, version 0.2.22.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from lungmask_jax.volume import Volume

_TISSUE_HU: Final = -500
_COARSE: Final = 128
_CROSS: Final = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def slice_bodies(ct: Volume) -> np.ndarray:
    """The box around the body in each slice.

    On a copy of 128 x 128 pixels, tissue above -500 HU is closed, its holes are filled, thin things
    are cut off, and the largest part counts.

    Args:
        ct: A CT in HU.

    Returns:
        ``(N, 4)`` int32: top, bottom, left and right, half-open; the whole slice where no body is.

    Example:
        >>> hu = np.full((1, 128, 128), -1000, np.int16)
        >>> hu[0, 10:80, 20:100] = 40
        >>> slice_bodies(Volume(hu)).tolist()
        [[10, 80, 20, 100]]
    """
    return np.array([_box(plane) for plane in ct], np.int32).reshape(-1, 4)


def pasted(images: np.ndarray, boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Images in the boxes of their slices, by nearest neighbor, corner on corner; 0 elsewhere.

    Args:
        images: ``(N, h, w)``.
        boxes: ``(N, 4)``, as `slice_bodies` gives them.
        size: ``(rows, columns)`` of a slice.

    Returns:
        ``(N, *size)`` of the same dtype.

    Example:
        >>> pasted(np.array([[[1, 2], [3, 4]]]), np.array([[0, 2, 1, 4]]), (2, 4))[0].tolist()
        [[0, 1, 2, 2], [0, 3, 4, 4]]
    """
    result = np.zeros((len(images), *size), images.dtype)
    for plane, image, (top, bottom, left, right) in zip(result, images, boxes, strict=True):
        plane[top:bottom, left:right] = _nearest(image, (bottom - top, right - left))
    return result


def _box(hu: np.ndarray) -> tuple[int, int, int, int]:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(_nearest(_body(hu), hu.shape))
    there = np.flatnonzero(parts)
    if not len(there):
        return 0, hu.shape[0], 0, hu.shape[1]
    left, top, width, height = stats[parts.ravel()[there[0]]][:4].tolist()
    return top, top + height, left, left + width


def _body(hu: np.ndarray) -> np.ndarray:
    """The body on a coarse copy, 0 and 1."""
    tissue = (_nearest(hu, (_COARSE, _COARSE)) > _TISSUE_HU).astype(np.uint8)
    closed = _eroded(_dilated(tissue, 1), 1)
    _, air = cv2.connectedComponents(np.pad(1 - closed, 1, constant_values=1))
    filled = (air[1:-1, 1:-1] != air[0, 0]).astype(np.uint8)
    core = _eroded(filled, 2)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(core, connectivity=4)
    if len(stats) == 1:
        return core
    largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    return _dilated((parts == largest).astype(np.uint8), 2)


def _dilated(mask: np.ndarray, times: int) -> np.ndarray:
    return np.asarray(cv2.dilate(mask, _CROSS, iterations=times))


def _eroded(mask: np.ndarray, times: int) -> np.ndarray:
    """Thinned all around, where it ends with the picture, too."""
    return np.asarray(
        cv2.erode(mask, _CROSS, iterations=times, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    )


def _nearest(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The image at another size, as ``scipy.ndimage.zoom`` of order 0 has it, corner on corner.

    Where the last place lies past the image by a rounding error, it is 0, as there.
    """
    rows, columns = (_places(*sides) for sides in zip(image.shape, size, strict=True))
    found: np.ndarray = image[np.ix_(np.abs(rows), np.abs(columns))]
    found[rows < 0] = 0
    found[:, columns < 0] = 0
    return found


def _places(source: int, count: int) -> np.ndarray:
    """The nearest of so many pixels for each of others; below 0 past the last."""
    places = np.arange(count) * ((source - 1) / (count - 1) if count > 1 else 1.0)
    nearest: np.ndarray = np.floor(places + 0.5).astype(np.intp)
    nearest[places > source - 1] = -1
    return nearest
