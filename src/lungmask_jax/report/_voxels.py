"""Voxels small enough for a page: slices as JPEG of 8 bits, masks as runs of labels."""

import gzip
from typing import Final, NamedTuple

import cv2
import numpy as np

from lungmask_jax.volume import Volume

_HU: Final = (-1024, -300, -160, 240, 1500)
_CODES: Final = (0, 88, 108, 224, 255)
"""Between them codes are linear: 8 HU a step in lung, 3.4 in soft tissue, 41 in bone."""

_MATRIX: Final = 512
_QUALITIES: Final = (95, 90, 80, 70, 60, 45)
_BYTES: Final = 14_000_000  # 19 million characters of the page
_TRIED: Final = 8  # slices from which the size of all is estimated


class Slices(NamedTuple):
    """The slices of a scan.

    `step` is the number of voxels of the scan along a side of a pixel.
    """

    jpegs: list[bytes]
    shape: tuple[int, int, int]
    step: int
    quality: int


def slices(ct: Volume) -> Slices:
    """The slices of a scan in the best quality that fits into a page."""
    step = max(1, -(-max(ct.shape[1:]) // _MATRIX))
    while True:
        quality, size = _quality(ct, step)
        if size <= _BYTES or min(ct.shape[1:]) // step < _MATRIX // 4:
            break
        step *= 2
    shape = coded(ct.array[0], step).shape
    jpegs = [_jpeg(coded(one, step), quality) for one in ct]
    return Slices(jpegs, (len(ct), shape[0], shape[1]), step, quality)


def coded(slice_hu: np.ndarray, step: int = 1) -> np.ndarray:
    """HU ``(rows, columns)`` as codes, uint8, the mean of `step` x `step` voxels each."""
    hu = np.nan_to_num(slice_hu.astype(np.float32), nan=_HU[0])
    if step > 1:
        rows, columns = (-(-side // step) for side in hu.shape)
        missing = [(0, rows * step - hu.shape[0]), (0, columns * step - hu.shape[1])]
        padded = np.pad(hu, missing, mode="edge")
        small = cv2.resize(padded, (columns, rows), interpolation=cv2.INTER_AREA)
        hu = small.astype(np.float32)
    return np.rint(np.interp(hu, _HU, _CODES)).astype(np.uint8)


def code_hu() -> list[float]:
    """The HU of each code from 0 to 255."""
    return [float(hu) for hu in np.interp(np.arange(256), _CODES, _HU).round(1)]


def thinned(mask: np.ndarray, step: int) -> np.ndarray:
    """A mask on the grid of the slices."""
    rows, columns = (
        np.minimum(np.arange(0, side, step) + step // 2, side - 1) for side in mask.shape[1:]
    )
    return mask if step == 1 else mask[:, rows[:, None], columns]


def runs(labels: np.ndarray) -> bytes:
    """Labels of any shape as runs: the length of each as uint32, then its label, compressed."""
    flat = labels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=len(flat)).astype("<u4")
    return gzip.compress(
        lengths.tobytes() + flat[starts].astype(np.uint8).tobytes(), compresslevel=6, mtime=0
    )


def _quality(ct: Volume, step: int) -> tuple[int, float]:
    """The best quality with which all slices fit, else the lowest, and their estimated bytes."""
    places = np.unique(np.linspace(0, len(ct) - 1, _TRIED).round().astype(int))
    tried = [coded(ct.array[place], step) for place in places]
    for quality in _QUALITIES:
        size = np.mean([len(_jpeg(one, quality)) for one in tried]) * len(ct)
        if size <= _BYTES:
            break
    return quality, float(size)


def _jpeg(codes: np.ndarray, quality: int) -> bytes:
    _, encoded = cv2.imencode(".jpg", codes, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()
