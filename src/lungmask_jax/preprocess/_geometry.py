"""The region of interest: one box per scan, found without any ground truth."""

from typing import Any, NamedTuple

import cv2
import numpy as np

from lungmask_jax import tasks
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.spec import PreprocessSpec
from lungmask_jax.volume import Volume

_BODY_HU = -500
_COARSE = 128
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


class Box(NamedTuple):
    """Half-open pixel bounds in a slice, the same for all slices of a scan.

    Attributes:
        top: First row.
        bottom: Row after the last.
        left: First column.
        right: Column after the last.

    Example:
        >>> box = Box(top=10, bottom=40, left=20, right=60)
        >>> np.zeros((64, 64))[box.top : box.bottom, box.left : box.right].shape
        (30, 40)
    """

    top: int
    bottom: int
    left: int
    right: int


def region(ct: Volume, spec: PreprocessSpec, around: Volume | None = None) -> Box:
    """The box of a spec.

    Args:
        ct: A CT in HU.
        spec: Its region and margin.
        around: Predicted mask of the same scan, for a region such as ``"lungs"``.

    Returns:
        The box.

    Raises:
        SpecError: The spec needs a mask and none is given, or one box per slice.

    Example:
        >>> region(Volume(np.zeros((1, 4, 6), np.int16)), PreprocessSpec(region="full"))
        Box(top=0, bottom=4, left=0, right=6)
    """
    if spec.region == "full":
        return _whole_slice(ct)
    if spec.by_slice:
        raise SpecError("expected a region with one box for all slices, found 'bodies'")
    if not spec.around:
        return body_box(ct, margin_mm=spec.margin_mm)
    if around is None:
        raise SpecError(
            f"expected a {tasks.registry[spec.around].noun} mask for the region {spec.around!r}, "
            "found none: predict it first"
        )
    return mask_box(around, margin_mm=spec.margin_mm)


def body_box(volume: Volume, *, margin_mm: float = 0.0) -> Box:
    """The patient's body without the table.

    Tissue is above -500 HU; an opening removes thin parts (table, tubes, clothes). The largest
    component of each slice is kept, with adjacent components and the air enclosed by tissue,
    because the wall in front of large lungs may be as thin as a tube. At most 32 slices are used,
    at low resolution.

    Args:
        volume: A CT in HU.
        margin_mm: Added on all sides, within the slice.

    Returns:
        A box around the body in all slices; the whole slice if no body is found.

    Example:
        >>> ct = np.full((1, 64, 64), -1000, np.int16)
        >>> ct[0, 10:40, 20:60] = 40
        >>> body_box(Volume(ct))
        Box(top=10, bottom=40, left=20, right=60)
    """
    step = max(1, -(-max(volume.shape[1:]) // _COARSE))
    some = np.linspace(0, len(volume) - 1, min(len(volume), 32)).round().astype(int)
    coarse = volume.array[some, ::step, ::step] > _BODY_HU
    found = np.zeros(coarse.shape[1:], bool)
    for tissue in coarse:
        found |= _body(tissue)
    if not found.any():
        return _whole_slice(volume)
    rows, columns = _extent(np.any(found, axis=1)), _extent(np.any(found, axis=0))
    (top, bottom), (left, right) = rows, columns
    reach = step - 1  # tissue may begin just after the pixel looked at before
    box = Box(top * step - reach, bottom * step, left * step - reach, right * step)
    return _grown(box, volume, margin_mm)


def mask_box(mask: Volume, *, margin_mm: float = 0.0) -> Box:
    """The smallest box that holds a mask in all slices.

    Args:
        mask: Any mask; values other than 0 count.
        margin_mm: Added on all sides, within the slice.

    Returns:
        The box; the whole slice if the mask is empty.

    Example:
        >>> mask = np.zeros((2, 8, 8), np.uint8)
        >>> mask[0, 2, 3] = mask[1, 4, 5] = 1
        >>> mask_box(Volume(mask))
        Box(top=2, bottom=5, left=3, right=6)
    """
    flat = np.any(mask.array != 0, axis=0)
    if not flat.any():
        return _whole_slice(mask)
    return _grown(
        Box(*_extent(np.any(flat, axis=1)), *_extent(np.any(flat, axis=0))), mask, margin_mm
    )


def _whole_slice(volume: Volume) -> Box:
    return Box(0, volume.shape[1], 0, volume.shape[2])


def _body(tissue: np.ndarray) -> np.ndarray:
    """The largest component, and others beside it; components fully above or below are a table.

    In a slice cut out around the lungs, mediastinum and chest wall are components of their own.
    """
    opened = cv2.morphologyEx(tissue.astype(np.uint8), cv2.MORPH_OPEN, _DISC)
    _, components, stats, _ = cv2.connectedComponentsWithStats(opened)
    if len(stats) == 1:
        return np.zeros(tissue.shape, bool)
    area, top = stats[:, cv2.CC_STAT_AREA], stats[:, cv2.CC_STAT_TOP]
    bottom = top + stats[:, cv2.CC_STAT_HEIGHT]
    area[0] = 0
    largest = area.argmax()
    beside = (top < bottom[largest]) & (bottom > top[largest])
    keep = beside & (area >= 0.02 * area[largest])
    rows = slice(top[largest], bottom[largest])
    return keep[components] | _enclosed(tissue, rows, 0.02 * area[largest])


def _enclosed(tissue: np.ndarray, rows: slice, smallest: float) -> np.ndarray:
    """Large air with tissue all around, half of it or more in some rows; and its nearest wall."""
    air = np.pad(~tissue, 1, constant_values=True).astype(np.uint8)
    _, components, stats, centers = cv2.connectedComponentsWithStats(air, connectivity=4)
    middle = centers[:, 1] - 1
    keep = (stats[:, cv2.CC_STAT_AREA] >= smallest) & (middle >= rows.start) & (middle < rows.stop)
    keep[[0, components[0, 0]]] = False
    inside = keep[components].astype(np.uint8)
    return cv2.dilate(inside, _DISC)[1:-1, 1:-1] > 0


def _extent(line: Any) -> tuple[int, int]:
    places = np.flatnonzero(line)
    return int(places[0]), int(places[-1]) + 1


def _grown(box: Box, volume: Volume, margin_mm: float) -> Box:
    if margin_mm < 0:
        raise ShapeError(f"expected a margin of at least 0 mm, found {margin_mm}")
    _, rows, columns = volume.shape
    down, across = (round(margin_mm / mm) for mm in volume.spacing[1:])
    return Box(
        max(0, box.top - down),
        min(rows, box.bottom + down),
        max(0, box.left - across),
        min(columns, box.right + across),
    )
