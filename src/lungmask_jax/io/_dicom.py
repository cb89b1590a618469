"""One DICOM series, with pydicom."""

import importlib
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np

from lungmask_jax.errors import ScanError, ScanWarning
from lungmask_jax.io._intensity import LOWEST
from lungmask_jax.io._orientation import canonical
from lungmask_jax.volume import Volume

REQUIRED: Final = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")

_RESCALE: Final = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}

USED: Final = (
    *REQUIRED,
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "SeriesInstanceUID",
    "PatientID",
    "SeriesDescription",
    "SpacingBetweenSlices",
    "SliceThickness",
)


def read_series(files: list[Path]) -> Volume:
    """The CT series in some DICOM files, rescaled.

    Localizers, and what is no CT beside a CT, are left out. Of several series the one with the
    most slices is taken, with a warning.

    Args:
        files: DICOM files in any order.

    Returns:
        The rescaled values as float32 in canonical order; saved masks get the axes that DICOM
        converters give, columns first.

    Raises:
        ScanError: pydicom is missing, or there is no CT series that forms one regular volume.

    Warns:
        ScanWarning: There are other series too, or the slices are not evenly spaced.
    """
    datasets = [_dataset(file, pixels=False) for file in files]
    series = _one_series(_computed_tomography(datasets, files[0]))
    slices = sorted(series, key=_height)
    _check_rescale(slices)
    step = _step(slices)
    pixels = np.stack([_rescaled(Path(one.filename)) for one in slices])
    return canonical(pixels.transpose(2, 1, 0), _affine(slices[0], step), files[0])


def _dataset(file: Path, *, pixels: bool) -> Any:
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError as error:
        raise ScanError(
            f"expected pydicom to read {file}, found none: "
            'pip install "lungmask-jax[dicom]", or convert the scan to NIfTI'
        ) from error
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=True)
        for tag in USED:  # values are decoded, and found damaged, on first use
            dataset.get(tag)
        return dataset
    except Exception as error:  # pydicom and its decoders raise all kinds
        raise ScanError(
            f"expected a DICOM file, found {file} damaged ({error}): copy it again"
        ) from error


def _computed_tomography(datasets: list[Any], where: Path) -> list[Any]:
    images = [one for one in datasets if "Rows" in one and "Columns" in one]
    if not images:
        raise ScanError(f"expected DICOM images, found none at {where}: give the image files")
    scans = [one for one in images if one.get("Modality") == "CT"]
    if not scans:
        kinds = ", ".join(sorted({str(one.get("Modality", "unknown")) for one in images}))
        raise ScanError(f"expected DICOM of modality CT, found {kinds} at {where}: give a CT scan")
    slices = [one for one in scans if "LOCALIZER" not in (one.get("ImageType") or ())]
    if not slices:
        raise ScanError(f"expected CT slices, found only localizers at {where}: give the series")
    for one in slices:
        _check_slice(one)
    return slices


def _check_slice(one: Any) -> None:
    if int(one.get("NumberOfFrames") or 1) > 1 or int(one.get("SamplesPerPixel") or 1) > 1:
        raise ScanError(
            f"expected one grey slice a file, found several frames or color in {one.filename}: "
            "convert it to NIfTI, for example with dcm2niix"
        )
    missing = [tag for tag in REQUIRED if not one.get(tag)]
    if missing:
        raise ScanError(
            f"expected the position of a slice, found no {', '.join(missing)} in "
            f"{one.filename}: export it with its geometry"
        )
    try:
        _series_of(one), _height(one), _thickness(one)
    except (ValueError, TypeError) as error:
        raise ScanError(
            f"expected numbers for the position of a slice, found {one.filename} damaged "
            f"({error}): copy it again"
        ) from error


def _one_series(slices: list[Any]) -> list[Any]:
    patients = {str(one.get("PatientID") or "") for one in slices} - {""}
    if len(patients) > 1:
        raise ScanError(
            f"expected slices of one patient, found those of {len(patients)}: give each a folder, "
            "or the files by name"
        )
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for one in slices:
        groups.setdefault(_series_of(one), []).append(one)
    largest, *others = sorted(groups.values(), key=len, reverse=True)
    if not others:
        return largest
    shown = [_series_name(group) for group in others[:3]]
    names = ", ".join([*shown, *([f"{len(others) - 3} more"] if len(others) > 3 else [])])
    if len(others[0]) == len(largest):
        raise ScanError(
            f"expected one CT series, found {_series_name(largest)} and {names}: "
            "put one of them in a folder of its own"
        )
    warnings.warn(
        f"took the CT series {_series_name(largest)}, left out {names}", ScanWarning, stacklevel=4
    )
    return largest


def _series_of(one: Any) -> tuple[Any, ...]:
    orientation = np.round(np.asarray(one.ImageOrientationPatient, float), 2) + 0.0
    spacing = np.round(np.asarray(one.PixelSpacing, float), 4)
    size = int(one.Rows), int(one.Columns)
    return str(one.get("SeriesInstanceUID", "")), *size, *orientation, *spacing


def _series_name(group: list[Any]) -> str:
    first = group[0]
    name = first.get("SeriesDescription") or Path(first.filename).name
    return f"{str(name)!r} ({len(group)} slices of {first.Rows} x {first.Columns})"


def _directions(one: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors along a row, along a column and along the slices, in LPS."""
    cosines = np.asarray(one.ImageOrientationPatient, float)
    return cosines[:3], cosines[3:], np.cross(cosines[:3], cosines[3:])


def _height(one: Any) -> float:
    return float(_directions(one)[2] @ np.asarray(one.ImagePositionPatient, float))


def _thickness(one: Any) -> float:
    return abs(float(one.get("SpacingBetweenSlices") or one.get("SliceThickness") or 1))


def _step(slices: list[Any]) -> np.ndarray:
    """From one slice to the next, in LPS mm; it is not along the normal where the gantry tilts."""
    if len(slices) == 1:
        return _directions(slices[0])[2] * _thickness(slices[0])
    _check_gaps(slices, np.diff([_height(one) for one in slices]))
    first, last = (np.asarray(slices[i].ImagePositionPatient, float) for i in (0, -1))
    return np.asarray((last - first) / (len(slices) - 1))


def _check_gaps(slices: list[Any], gaps: np.ndarray) -> None:
    usual = float(np.median(gaps))
    if gaps.min() < 0.01:
        raise ScanError(
            f"expected one slice a position, found {_pair(slices, int(gaps.argmin()))} "
            "at the same one: keep one phase of the scan"
        )
    if gaps.max() > 1.5 * usual:
        raise ScanError(
            f"expected slices {usual:.4g} mm apart, found {gaps.max():.4g} mm between "
            f"{_pair(slices, int(gaps.argmax()))}: add the missing slices"
        )
    if np.ptp(gaps) > 0.05 * usual:
        warnings.warn(
            f"took slices {gaps.min():.4g} to {gaps.max():.4g} mm apart for evenly spaced, the "
            f"widest gap is between {_pair(slices, int(gaps.argmax()))}",
            ScanWarning,
            stacklevel=5,
        )


def _pair(slices: list[Any], index: int) -> str:
    return f"{slices[index].filename} and {Path(slices[index + 1].filename).name}"


def _rescaled(file: Path) -> np.ndarray:
    dataset = _dataset(file, pixels=True)
    try:
        stored = np.asarray(dataset.pixel_array)
        slope, intercept = (_rescale(dataset, tag) for tag in _RESCALE)
        hu = stored * np.float32(slope) + np.float32(intercept)
        padding = dataset.get("PixelPaddingValue")
        if padding not in (None, ""):  # it may be written with the other sign
            away = stored.astype(np.int64) - int(padding)
            hu[away % 2 ** int(dataset.BitsAllocated) == 0] = LOWEST
        return hu
    except Exception as error:
        raise ScanError(
            f"expected pixels that pydicom can decode, found {file} with "
            f"{_transfer_syntax(dataset)} ({_first_line(error)}): copy it again if it is damaged, "
            "else pip install pylibjpeg pylibjpeg-openjpeg or convert it with dcm2niix"
        ) from error


def _check_rescale(slices: list[Any]) -> None:
    for tag in _RESCALE:
        without = [one for one in slices if one.get(tag) in (None, "")]
        if 0 < len(without) < len(slices):
            raise ScanError(
                f"expected {tag} in every slice of a series, found {len(without)} of {len(slices)} "
                f"without it, {without[0].filename} for one: export the series again"
            )


def _rescale(dataset: Any, tag: str) -> float:
    """Slope or intercept; without one, or with an empty one, values are HU as they are."""
    value = dataset.get(tag)
    return _RESCALE[tag] if value in (None, "") else float(value)


def _transfer_syntax(dataset: Any) -> str:
    meta = getattr(dataset, "file_meta", None)
    identifier = meta.get("TransferSyntaxUID") if meta is not None else None
    return str(identifier.name) if identifier is not None else "no transfer syntax"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")


def _affine(first: Any, step: np.ndarray) -> np.ndarray:
    """From ``(column, row, slice)`` to RAS mm; DICOM counts in LPS."""
    along_row, along_column, _ = _directions(first)
    row_spacing, column_spacing = np.asarray(first.PixelSpacing, float)
    affine = np.eye(4)
    affine[:3, 0] = along_row * column_spacing
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = step
    affine[:3, 3] = np.asarray(first.ImagePositionPatient, float)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
