"""The headers of a series, as pydicom has them, for objects that refer to it."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from lungmask_jax.errors import MissingPackageError, ScanError
from lungmask_jax.io._dicom._elements import FLOAT_PIXELS, encoding_at
from lungmask_jax.io._dicom._open import opened
from lungmask_jax.labels import Code

_NEEDED: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
)
_MAY_BE_EMPTY: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_PERSONAL: Final = (
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyTime",
)
"""Taken over as they are; highdicom warns of some, or refuses them, as in anonymous scans."""

_LARGEST_VALUE: Final = 65_536
"""Bytes of a value in a header; larger ones, of manufacturers, are left in the file."""


class Modules(NamedTuple):
    """Packages of the extra ``dicom``.

    Attributes:
        pydicom: pydicom.
        highdicom: highdicom, with its modules `seg` and `sr`.
    """

    pydicom: Any
    highdicom: Any


@dataclass(frozen=True, eq=False)
class Source:
    """A series that masks belong to.

    Attributes:
        images: Its headers in the order of the slices; of a file with many frames, only one.
        frames: The number of frames in that file; 0 for a file a slice.
        places: Of each slice, which of the frames it is.
        personal: Elements of the patient and the study, for the objects that refer to the series.
    """

    images: list[Any]
    frames: int
    places: list[int]
    personal: dict[str, Any]

    @property
    def series(self) -> str:
        """The SeriesInstanceUID."""
        return str(self.images[0].SeriesInstanceUID)

    def by_frame(self, mask: np.ndarray) -> np.ndarray:
        """A mask ``(slices, rows, columns)`` in the order of the images or frames."""
        if not self.frames:
            return np.ascontiguousarray(mask)
        ordered = np.zeros((self.frames, *mask.shape[1:]), mask.dtype)
        ordered[self.places] = mask
        return ordered

    def personalized(self, dataset: Any) -> Any:
        """A new object, with the patient and the study as the series writes them."""
        for keyword, element in self.personal.items():
            dataset[keyword] = element
        return dataset


def highdicom_modules() -> Modules:
    """The packages that write DICOM.

    Raises:
        MissingPackageError: One is missing.
    """
    try:
        for name in ("highdicom.seg", "highdicom.sr"):
            importlib.import_module(name)
        return Modules(importlib.import_module("pydicom"), importlib.import_module("highdicom"))
    except ImportError as error:
        raise MissingPackageError(
            f"DICOM files are written by pydicom and highdicom, which are missing ({error}): "
            'pip install "lungmask-jax[dicom]"'
        ) from error


def concept(code: Code) -> Any:
    """A code, as highdicom has it."""
    return highdicom_modules().highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def source_series(slices: Sequence[tuple[Path, int]]) -> Source:
    """The headers of the files and frames of a series.

    Raises:
        ScanError: A header lacks an identifier, or the frames are in several files.
    """
    files = list(dict.fromkeys(file for file, _ in slices))
    images = [_header(file) for file in files]
    frames = int(images[0].get("NumberOfFrames") or 1) if _has_groups(images[0]) else 0
    if frames and len(files) > 1:
        raise ScanError(
            f"expected an enhanced CT in one file, found {len(files)} such as {files[0]}: a DICOM "
            "segmentation refers to one; write another format"
        )
    personal = {keyword: images[0][keyword] for keyword in _PERSONAL}
    for keyword in _PERSONAL:
        del images[0][keyword]
        setattr(images[0], keyword, "")
    return Source(images, frames, [frame for _, frame in slices], personal)


def _header(file: Path) -> Any:
    """A data set without its pixels, and with what may be empty."""
    reader = importlib.import_module("pydicom.filereader")
    with opened(file) as (stream, _, _size):
        encoding = encoding_at(stream)
        header = reader.read_dataset(
            stream,
            encoding.implicit,
            encoding.order == "<",
            stop_when=lambda tag, _vr, _length: tag >= min(FLOAT_PIXELS),
            defer_size=_LARGEST_VALUE,
        )
    missing = [keyword for keyword in _NEEDED if not header.get(keyword)]
    if missing:
        raise ScanError(
            f"{file} has no {' and no '.join(missing)}, by which a DICOM segmentation refers to "
            "it: export the series again with its identifiers, or write another format"
        )
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    return header


def _has_groups(image: Any) -> bool:
    return "PerFrameFunctionalGroupsSequence" in image
