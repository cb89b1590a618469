"""From a path to a CT in HU, or to a mask."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.io._dicom import read_series
from lungmask_jax.io._files import scan_files
from lungmask_jax.io._images import labels_of, read_images
from lungmask_jax.io._intensity import CODED, from_gray, hounsfield
from lungmask_jax.io._metaimage import read_metaimage
from lungmask_jax.io._nifti import read_nifti
from lungmask_jax.io._nrrd import read_nrrd
from lungmask_jax.io._place import note_shear, note_size, refuse_radiograph
from lungmask_jax.volume import Volume

_READERS = {"nifti": read_nifti, "nrrd": read_nrrd, "metaimage": read_metaimage}

_WHITE = 255  # of masks in black and white
_FEW = 4  # grey levels of a mask
_JPEG_NOISE = 15  # grey levels of 256
_REST = 0.01


def load(
    path: str | os.PathLike[str],
    *,
    window: tuple[float, float] | None = None,
    series_uid: str = "",
) -> Volume:
    """A CT in HU from a file or a folder.

    Images carry no geometry: row 0 is assumed to be anterior, column 0 the patient's right, the
    first file (or page) of a folder the lowest slice, and the spacing 1 mm.

    Args:
        path: A NIfTI, NRRD, MetaImage, DICOM, PNG, JPEG or TIFF file, a zip archive of one of the
            first three, or a folder that holds the slices of one scan as images (in the order of
            their numbers) or as DICOM.
        window: HU ``(low, high)`` of black and white. Images need it: 0 to 255, or 0 to 65535 with
            16 bits, is mapped to it. A volume of grey levels from 0 to 255 or 0 to 1 needs it too;
            a volume in HU does not change. 16-bit images that hold HU + 1024 need
            ``(-1024, 64511)``.
        series_uid: The SeriesInstanceUID of one of several DICOM series in a folder.

    Returns:
        The scan, int16 or float32 within [-1024, 3071].

    Raises:
        ScanError: There is no scan, it is damaged, or its values are not HU.
        SpecError: `window` is not ``low < high``.

    Warns:
        ScanWarning: Values or slices were corrected, or the header is doubtful.

    Example:
        >>> import tempfile
        >>> from lungmask_jax.io import save
        >>> ramp = np.linspace(-1000, 1000, 24).astype(np.int16).reshape(2, 3, 4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Volume.of(ramp, spacing=(5, 0.7, 0.7)), f"{folder}/scan.nii.gz")
        ...     load(f"{folder}/scan.nii.gz")
        Volume(shape=(2, 3, 4), dtype=int16, spacing=5 x 0.7 x 0.7 mm, axcodes='LPS')
    """
    _check_window(window)
    kind, files = scan_files(path)
    with in_memory(path):
        if kind == "image":
            return _from_images(files, path, window).as_checked()
        is_dicom = kind == "dicom"
        volume = read_series(files, series_uid) if is_dicom else _READERS[kind](files[0])
        return checked(volume, path, window)


def load_mask(path: str | os.PathLike[str]) -> Volume:
    """A mask from a file, or from a folder of images.

    Args:
        path: A NIfTI, NRRD or MetaImage file, or PNG, JPEG or TIFF slices. Images in black and
            white give 0 and 1 (above half is 1), and so do volumes of 0 and 255; images with
            small values only give those as labels.

    Returns:
        The labels as uint8.

    Raises:
        ScanError: There is no mask, it is damaged, or its values are not integer labels 0 to 255.

    Example:
        >>> import tempfile
        >>> from lungmask_jax.io import save
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Volume(np.eye(3, dtype=np.uint8)[None]), f"{folder}/mask.nii.gz")
        ...     load_mask(f"{folder}/mask.nii.gz").array.sum()
        np.uint64(3)
    """
    kind, files = scan_files(path)
    if kind == "dicom":
        raise ScanError(
            f"expected a mask as NIfTI, NRRD, MetaImage or images, found DICOM in {path}: "
            "convert it"
        )
    with in_memory(path):
        if kind == "image":
            return Volume(labels_of(read_images(files), path), axcodes="LPS")
        volume = _READERS[kind](files[0])
        return volume.with_array(_labels(volume.array, path))


def checked(volume: Volume, source: object, window: tuple[float, float] | None) -> Volume:
    """A scan in HU, corrected if that is safe, and marked as checked.

    Raises:
        ScanError: It is not a CT, or its values are not HU.
        SpecError: `window` is not ``low < high``.

    Warns:
        ScanWarning: Values were corrected, or voxels have a doubtful size or shape.
    """
    _check_window(window)
    refuse_radiograph(volume.shape, source)
    with in_memory(source):
        hu = volume.with_array(hounsfield(volume.array, source, window=window))
    note_shear(hu, source)
    note_size(hu, source)
    return hu.as_checked()


@contextmanager
def in_memory(source: object) -> Iterator[None]:
    """A context that turns a lack of memory into an error with the name of the scan."""
    try:
        yield
    except MemoryError as error:
        raise ScanError(
            f"{source} does not fit into memory ({error or 'out of memory'}): free some, or crop "
            "the scan"
        ) from error


def _check_window(window: tuple[float, float] | None) -> None:
    try:
        rises = window is None or -math.inf < window[0] < window[1] < math.inf
    except (TypeError, IndexError) as error:
        raise SpecError(f"window is {window!r}, not two HU: give window=(-1350, 150)") from error
    if window is not None and not rises:
        raise SpecError(
            f"expected a window of low < high HU, found {tuple(window)}: give the HU of black first"
        )


def _from_images(
    files: list[Path], path: str | os.PathLike[str], window: tuple[float, float] | None
) -> Volume:
    levels = read_images(files)
    if window is None:
        low, high = CODED if 255 < levels.max() <= 4095 else (-1350, 150)
        raise ScanError(
            f"expected HU, found the grey levels of images in {path}: give the HU of black and "
            f"white, for example --window {low} {high}, or window=({low}, {high}) in Python"
        )
    refuse_radiograph(levels.shape, path)
    _refuse_mask(levels, path)
    return Volume(from_gray(levels, np.iinfo(levels.dtype).max, window, path), axcodes="LPS")


def _refuse_mask(levels: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Refuses a picture of few grey levels, or of two with JPEG noise, which is not a CT."""
    counts = np.zeros(np.iinfo(levels.dtype).max + 1, np.int64)
    for plane in levels:
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    different = np.count_nonzero(counts)
    noise = _JPEG_NOISE if levels.dtype == np.uint8 else 0
    for _ in range(2):
        most = int(counts.argmax())
        counts[max(0, most - noise) : most + noise + 1] = 0
    if different > 1 and (different <= _FEW or counts.sum() < _REST * levels.size):
        raise ScanError(
            f"expected a CT, found hardly any grey levels in {path}, which looks like a mask: "
            "give the CT"
        )


def _labels(values: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    low, high = values.min(), values.max()
    whole = values.dtype.kind in "iub" or np.allclose(values, np.rint(values), rtol=0, atol=1e-3)
    if not (whole and low > -0.5 and high < 255.5):
        raise ScanError(
            f"expected a mask of whole labels 0 to 255, found values from {low:g} to {high:g} in "
            f"{path}: check that this is a mask, and that it was resampled with nearest neighbours"
        )
    labels = (
        np.rint(values).astype(np.uint8) if values.dtype.kind == "f" else values.astype(np.uint8)
    )
    if high > 254.5 and np.isin(labels, (0, _WHITE)).all():
        return (labels == _WHITE).astype(np.uint8)
    return labels
