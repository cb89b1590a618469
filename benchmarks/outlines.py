"""Outlines of lungs made from intensity, for slices whose lungs nobody has drawn."""

import cv2
import numpy as np
from scipy import ndimage

from lungmask_jax import postprocess
from lungmask_jax.volume import Volume


def lung_outline(ct: Volume, infection: Volume) -> Volume:
    """Lungs of one slice cut out around them: dark tissue and infection, closed on each side.

    COVID-SemiSeg has no lung labels. With the infection known, dark tissue plus infection is the
    lung, up to the trachea and to the air around the patient.
    """
    dark = ct.array[0] < -425
    parts, _ = ndimage.label(dark)
    for corner in (parts[0, 0], parts[0, -1], parts[-1, 0], parts[-1, -1]):
        dark &= (parts != corner) | (corner == 0)
    sick = infection.array[0] > 0
    lung = _large_parts(ndimage.binary_opening(dark) | sick, sick)
    size = lung.shape[1] // 20 | 1
    return _closed(ct, lung, size=size, max_hole_mm2=0.01 * lung.size)


def body_outline(ct: Volume) -> Volume:
    """Lungs of one slice in HU that shows the whole body: large dark parts in it, closed.

    It fits lungs with tumors; where it finds no lung, it is empty.
    """
    air = ct.array[0] < -500
    parts, _ = ndimage.label(ndimage.binary_opening(~air, iterations=3))
    body = ndimage.binary_fill_holes(parts == 1 + np.bincount(parts.ravel())[1:].argmax())
    parts, count = ndimage.label(ndimage.binary_opening(air & body))
    area = np.bincount(parts.ravel(), minlength=count + 1) / body.sum()
    area[0] = 0
    return _closed(ct, (area > 0.02)[parts], size=15, max_hole_mm2=3000)


def _closed(ct: Volume, lung: np.ndarray, *, size: int, max_hole_mm2: float) -> Volume:
    """The lung closed on each half of the slice, so that nothing joins across the mediastinum."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    middle = lung.shape[1] // 2
    closed = lung.copy()
    for half in (slice(0, middle), slice(middle, None)):
        alone = np.zeros(lung.shape, np.uint8)
        alone[:, half] = lung[:, half]
        padded = cv2.copyMakeBorder(alone, *[size] * 4, cv2.BORDER_CONSTANT, value=0)
        joined = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[size:-size, size:-size]
        closed[:, half] |= joined[:, half] > 0
    mask = postprocess.fill_holes(ct.with_array(closed[None]), max_hole_mm2=max_hole_mm2)
    return mask.with_array(mask.array.astype(np.uint8))


def _large_parts(lung: np.ndarray, sick: np.ndarray) -> np.ndarray:
    """Components that are no specks and no trachea (small, central, without infection)."""
    parts, count = ndimage.label(lung)
    numbers = np.arange(1, count + 1)
    area = ndimage.sum_labels(np.ones(lung.shape), parts, numbers) / lung.size
    columns = np.array([c for _, c in ndimage.center_of_mass(lung, parts, numbers)])
    central = abs(columns / lung.shape[1] - 0.5) < 0.16
    infected = ndimage.mean(sick, parts, numbers) >= 0.05
    keep = (area > 0.002) & ~(central & (area < 0.02) & ~infected)
    kept: np.ndarray = np.concatenate([[False], keep])[parts]
    return kept
