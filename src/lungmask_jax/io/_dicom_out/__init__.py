"""Masks as DICOM segmentations, and measures as a structured report, of the series they are from.

``_source`` reads the headers that they refer to, ``_segmentation`` and ``_measurements`` make the
two kinds of objects with highdicom.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lungmask_jax import tasks
from lungmask_jax.errors import ScanError, ShapeError
from lungmask_jax.files import atomic, output_folder
from lungmask_jax.io._dicom_out._measurements import measurements
from lungmask_jax.io._dicom_out._segmentation import segmentation
from lungmask_jax.io._dicom_out._source import highdicom_modules, source_series
from lungmask_jax.io._orientation import stored
from lungmask_jax.volume import Volume

__all__ = ["MEASURES", "save_dicom"]

MEASURES: Final = "measures"
"""The end of the name of the report."""

_REFUSALS: Final = (AttributeError, KeyError, OSError, TypeError, ValueError, NotImplementedError)


def save_dicom(
    masks: Mapping[str, Volume],
    folder: str | os.PathLike[str],
    *,
    name: str = "scan",
    models: Mapping[str, str] | None = None,
    measures: Mapping[str, float | str] | None = None,
    binary: bool = False,
) -> list[Path]:
    """Writes masks of a DICOM series as DICOM segmentations, and measures as a structured report.

    They belong to the study of the series and refer to its images, so that a PACS files them there
    and viewers show them on it. Each mask is a series of its own. Labels have the codes and colors
    of their task. All frames are stored, empty ones too. The same masks get the same UIDs each
    time, so sending them again makes no copies.

    Args:
        masks: Masks by the name of their task, on the grid of a series from `load`.
        folder: Created if it does not exist.
        name: Prefix of the file names.
        models: The model of each task, as in `lungmask_jax.inference.Segmentation`.
        measures: Numbers from `lungmask_jax.quantify.measures` for the report (TID 1500); without
            them, there is none.
        binary: Whether to write a bit for each segment and voxel, which old viewers read, instead
            of a label map, a tenth as large or less.

    Returns:
        The paths: ``<name>_<task>.dcm`` for each mask, and ``<name>_measures.dcm``.

    Raises:
        ScanError: The masks are not those of a DICOM series, its headers lack what they need, or a
            file cannot be written.
        ShapeError: There are no masks.
        MissingPackageError: highdicom is missing, which the extra ``dicom`` brings.

    Example:
        >>> import numpy as np
        >>> ct = Volume.of(np.zeros((2, 3, 4), np.int16), spacing=(5.0, 0.7, 0.7))
        >>> save_dicom({"lungs": ct}, "results")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: the mask 'lungs' is not on the grid of a DICOM series, ...
    """
    if not masks:
        raise ShapeError("expected masks of a DICOM series, found none: give those of a scan")
    series = _series_of(masks)
    target = output_folder(folder)
    highdicom_modules()
    try:
        objects = _objects(masks, series, models or {}, measures, binary)
    except _REFUSALS as error:
        if isinstance(error, ScanError):
            raise
        where = os.path.commonpath([file.parent for file, _ in series])
        raise ScanError(
            f"the series in {where} cannot be referred to from DICOM objects ({error}): check its "
            "headers, or write another format"
        ) from error
    return [_written(one, target / f"{name}_{kind}.dcm") for kind, one in objects.items()]


def _objects(
    masks: Mapping[str, Volume],
    series: Sequence[tuple[Path, int]],
    models: Mapping[str, str],
    measures: Mapping[str, float | str] | None,
    binary: bool,
) -> dict[str, Any]:
    """A segmentation for each task, and the report."""
    source = source_series(series)
    objects = {
        task: segmentation(
            source,
            stored(mask)[0].T,
            tasks.registry[task],
            model=_model(task, models),
            number=number,
            binary=binary,
        )
        for number, (task, mask) in enumerate(masks.items(), 1)
    }
    report = {} if measures is None else {MEASURES: measurements(source, objects, measures)}
    return {**objects, **report}


def _series_of(masks: Mapping[str, Volume]) -> tuple[tuple[Path, int], ...]:
    """The slices of the series that all masks belong to."""
    known = {name: mask.header.slices if mask.header else () for name, mask in masks.items()}
    for name, slices in known.items():
        if not slices:
            raise ScanError(
                f"the mask {name!r} is not on the grid of a DICOM series, which a DICOM "
                "segmentation refers to: segment a series, or write another format, such as nii.gz"
            )
    first, *others = known.values()
    if any(slices != first for slices in others):
        raise ScanError("expected masks of one DICOM series, found several: write each on its own")
    return first


def _model(task: str, models: Mapping[str, str]) -> str:
    """The model that made a mask; that of types is the one around them."""
    return models.get(task) or models.get(tasks.registry[task].inside, "")


def _written(dataset: Any, path: Path) -> Path:
    try:
        with atomic(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    except OSError as error:
        raise ScanError(f"expected to write {path}, found: {error}") from error
    return path
