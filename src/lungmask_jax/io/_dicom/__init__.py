"""One CT series from DICOM files.

``_open`` unpacks a file, ``_elements`` reads its header, ``_slices`` makes slices of it,
``_series`` chooses those of one series, ``_stack`` puts them one upon the other, and ``_pixels``
decodes them, with ``_decoders``.
"""

import os
from dataclasses import replace
from pathlib import Path

from lungmask_jax.errors import ScanError
from lungmask_jax.io._dicom._listing import Series, list_series
from lungmask_jax.io._dicom._pixels import read_pixels
from lungmask_jax.io._dicom._series import one_series, summary
from lungmask_jax.io._dicom._slices import Slice, read_slices
from lungmask_jax.io._dicom._stack import affine_of
from lungmask_jax.io._orientation import canonical
from lungmask_jax.io._warn import warn
from lungmask_jax.volume import Volume

__all__ = ["Series", "list_series", "read_series"]


def read_series(files: list[Path], series_uid: str = "") -> Volume:
    """The CT series in some files, rescaled.

    Files without a CT slice are skipped: localizers, reports, pages without a position, other
    modalities, files of other kinds, damaged ones. Of several series, the one with the most slices
    is used.

    Args:
        files: A DICOM file, or all files of a folder in any order.
        series_uid: The SeriesInstanceUID of the only one that counts.

    Returns:
        The rescaled values in canonical order, int16 where all are whole, else float32; saved
        masks get the axes that DICOM converters give, columns first.

    Raises:
        ScanError: There is no CT series that forms one regular volume, or no decoder for it.

    Warns:
        ScanWarning: Files were skipped, or a header was corrected.
    """
    where = files[0] if len(files) == 1 else Path(os.path.commonpath([f.parent for f in files]))
    slices, strays = read_slices(files)
    if series_uid:
        slices = [one for one in slices if one.series == series_uid]
        if not slices:
            raise ScanError(f"expected the series {series_uid}, found no slice of it in {where}")
    if not slices:
        found = f"that {where} is {strays[0].what}" if len(files) == 1 else summary(strays)
        place = "" if len(files) == 1 else f" in {where}"
        raise ScanError(f"expected CT slices, found {found}{place}: {strays[0].advice}")
    series, copies, other = one_series(slices, where)
    strays += copies
    left_out = f"skipped in {where}: {summary(strays)}" if strays else ""
    affine, notes = affine_of(series, f" ({left_out})" if strays else "")
    notes = [note for note in (left_out, other, *_header_notes(series), *notes) if note]
    for note in notes:
        warn(note)
    places = tuple((one.file, one.frame) for one in series)
    volume = canonical(read_pixels(series).transpose(2, 1, 0), affine, where, slices=places)
    return _identified(volume, series[0])


def _identified(volume: Volume, first: Slice) -> Volume:
    """A volume that knows its patient and the date of its study."""
    header = volume.header and replace(
        volume.header, patient=first.patient, study_date=first.study_date
    )
    return replace(volume, header=header)


def _header_notes(series: list[Slice]) -> list[str]:
    """Corrections of headers, once for all slices."""
    files: dict[str, list[Path]] = {}
    for one in series:
        for note in one.notes:
            files.setdefault(note, []).append(one.file)
    return [
        f"{note} in {names[0]}" + (f" and {len(names) - 1} more files" if names[1:] else "")
        for note, names in files.items()
    ]
