"""Slices as PNG, JPEG or TIFF images."""

import os
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._files import contents
from lungmask_jax.io._image_size import page_sizes

NOISE: Final = 3
"""Grey levels by which JPEG lets the channels of a grey image differ."""

LARGEST_PAGE: Final = 2**24
"""Pixels of one slice: 4096 x 4096, 64 times the usual."""

LARGEST_STACK: Final = 2**28
"""Pixels of all slices of a scan: 1024 of 512 x 512."""

ENDS: Final = {b"\x89PNG": b"IEND", b"\xff\xd8": b"\xff\xd9"}


def read_images(files: list[Path]) -> np.ndarray:
    """The slices of a scan, stacked: ``(slices, rows, columns)``, uint8 or uint16.

    Raises:
        ScanError: An image is damaged, in color, too large, or differs in size or depth from the
            first.
    """
    pages: list[tuple[Path, np.ndarray]] = []
    room = LARGEST_STACK
    for file in files:
        found = _pages(file, room)
        room -= sum(page.size for page in found)
        pages += [(file, page) for page in found]
    first_file, first = pages[0]
    for file, page in pages[1:]:
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise ScanError(
                f"expected images like {first_file} ({_size(first)}), found {file} "
                f"({_size(page)}): keep one scan per folder"
            )
    return np.stack([page for _, page in pages])


def labels_of(levels: np.ndarray, source: str | os.PathLike[str]) -> np.ndarray:
    """Labels from images of a mask, uint8 or uint16.

    These are the grey levels themselves if none is above 15; 1 for the brighter of two levels; else
    1 above half of the brightest.

    Raises:
        ScanError: The images are neither black and white nor labels.

    Example:
        >>> labels_of(np.array([[[0, 2, 1]]], np.uint8), "mask.png")
        array([[[0, 2, 1]]], dtype=uint8)
        >>> labels_of(np.array([[[0, 255, 251]]], np.uint8), "mask.jpg")
        array([[[0, 1, 1]]], dtype=uint8)
    """
    if levels.max() <= 15:
        return levels.astype(np.uint8)
    different = np.unique(levels)
    if len(different) == 2:
        brighter: np.ndarray = levels > different[0]
        return brighter.astype(np.uint8)
    white = int(different[-1])
    edge = white // 16
    between = (levels > edge) & (levels < white - edge)
    gray = between.mean()
    # more than a few levels are the noise of JPEG, which may lie between
    if gray > 0.01 or (gray > 0 and len(different) <= 15):
        raise ScanError(
            f"expected a mask in black and white, or of labels 0 to 15, found {gray:.2%} grey "
            f"pixels in {source}: check that this is the mask, or save it as NIfTI"
        )
    return (levels > white // 2).astype(np.uint8)


def _pages(file: Path, room: int) -> list[np.ndarray]:
    data = contents(file)
    buffer = np.frombuffer(data, np.uint8)
    for start, end in ENDS.items():
        if data.startswith(start) and end not in data[-1024:]:
            raise ScanError(f"expected a whole image, found {file} cut short: copy it again")
    _check_sizes(data, file, room)
    try:
        _, pages = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ScanError(
            f"expected an image, found {file} damaged ({error}): copy it again"
        ) from error
    if not pages:
        raise ScanError(f"expected an image, found {file} damaged: copy it again")
    return [_gray(np.asarray(page), file) for page in pages]


def _check_sizes(data: bytes, file: Path, room: int) -> None:
    """Checks the declared sizes before a decoder allocates them."""
    try:
        for rows, columns in page_sizes(data):
            if rows * columns > LARGEST_PAGE:
                raise ScanError(
                    f"{file} has {rows} x {columns} pixels, and a CT slice {LARGEST_PAGE} at most: "
                    "give the slices of a CT"
                )
            room -= rows * columns
            if room < 0:
                raise ScanError(
                    f"the images up to {file} have more than {LARGEST_STACK} pixels in total, the "
                    "most that are read: keep one scan per folder, or convert it to NIfTI"
                )
    except ValueError as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(
            f"expected an image, found {file} damaged ({error}): copy it again"
        ) from error


def _gray(page: np.ndarray, file: Path) -> np.ndarray:
    if page.dtype not in (np.uint8, np.uint16):
        raise ScanError(
            f"expected 8 or 16 bits per pixel, found {page.dtype} in {file}: convert it to NIfTI"
        )
    if page.ndim == 2:
        return page
    channels = page[..., :3].astype(np.int32)
    if np.ptp(channels, axis=-1).max() > NOISE:
        raise ScanError(f"expected a grey image, found {file} in color: export it without color")
    return page[..., channels.shape[-1] // 2]


def _size(page: np.ndarray) -> str:
    return f"{page.shape[0]} x {page.shape[1]}, {page.dtype.itemsize * 8} bits"
