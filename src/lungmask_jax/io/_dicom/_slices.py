"""CT slices from the headers of DICOM files, or the reason why a file has none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from lungmask_jax.io._dicom._elements import (
    FLOAT_PIXELS,
    UNDEFINED,
    BadValue,
    Damaged,
    Item,
    PixelPlace,
    Unusable,
    integer,
    items,
    numbers,
    text,
)
from lungmask_jax.io._dicom._geometry import (
    EXPORT,
    directions,
    geometry,
    rescale_of,
    spacing_of,
    thickness_of,
)
from lungmask_jax.io._dicom._open import read_header
from lungmask_jax.io._files import head_of
from lungmask_jax.io._kinds import kind_of, other_kind

LARGEST_SIDE: Final = 8192
"""More rows or columns than that has no CT; nothing is allocated for them."""

_CT: Final = "1.2.840.10008.5.1.4.1.1.2"
_CLASSES: Final = {
    "1.2.840.10008.1.3.10": "a DICOMDIR",
    "1.2.840.10008.5.1.4.1.1.481.": "a radiotherapy object",
    "1.2.840.10008.5.1.4.1.1.66.": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.88.": "a structured report",
    "1.2.840.10008.5.1.4.1.1.11.": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.104.": "an encapsulated document",
}
_PHASES: Final = ("AcquisitionNumber", "TemporalPositionIdentifier", "AcquisitionTime")

_GIVE: Final = "give the image files of a CT series"
_COPY: Final = "copy it again"
_CONVERT: Final = "convert it to NIfTI, for example with dcm2niix"


class Stray(NamedTuple):
    """A skipped file."""

    file: Path
    what: str
    advice: str


@dataclass(frozen=True, eq=False)
class Pixels:
    """How the pixels of a file are stored.

    Attributes:
        place: Where they lie.
        syntax: The transfer syntax; empty where the file does not say.
        frames: How many there are in the file.
        rows: Pixels along a column.
        columns: Pixels along a row.
        bits: Allocated, stored, and the place of the highest one.
        signed: Whether they may be negative.
        padding: The lowest and highest value that mark what was not measured, or nothing.
    """

    place: PixelPlace
    syntax: str
    frames: int
    rows: int
    columns: int
    bits: tuple[int, int, int]
    signed: bool
    padding: tuple[int, int] | None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, not compressed."""
        return self.rows * self.columns * self.bits[0] // 8


@dataclass(frozen=True, eq=False)
class Slice:
    """One plane of a CT.

    Attributes:
        file: The file that it is in.
        frame: Which of the frames of that file.
        pixels: How they are stored.
        series: The SeriesInstanceUID.
        name: What the series is called.
        patient: The PatientID.
        phase: Tags that may tell phases of one place apart, and their values.
        position: Center of the first pixel, mm in LPS.
        along_row: Unit vector from one column to the next.
        along_column: Unit vector from one row to the next.
        spacing: Between rows, and between columns, in mm.
        thickness: Between slices in mm, where the header says so.
        rescale: Slope and intercept, where the header has them.
        notes: Corrections of the header.
        study: The StudyInstanceUID.
        number: The SeriesNumber, as it is written.
        derived: Whether it was computed from other images, as reformats and projections are.
        study_date: The StudyDate, as it is written.
    """

    file: Path
    frame: int
    pixels: Pixels
    series: str
    name: str
    patient: str
    phase: dict[str, str]
    position: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    spacing: tuple[float, float]
    thickness: float | None
    rescale: tuple[float | None, float | None]
    notes: tuple[str, ...]
    study: str = ""
    number: str = ""
    derived: bool = False
    study_date: str = ""

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the plane, mm in LPS."""
        return np.cross(self.along_row, self.along_column)

    @property
    def size(self) -> str:
        """Rows and columns, for messages."""
        return f"{self.pixels.rows} x {self.pixels.columns}"


def read_slices(files: list[Path]) -> tuple[list[Slice], list[Stray]]:
    """The CT slices in some files, and the types of the other files."""
    slices: list[Slice] = []
    strays = []
    for file in files:
        try:
            slices += _slices_of(file)
        except Unusable as error:
            strays.append(Stray(file, *error.args))
        except BadValue as error:
            strays.append(Stray(file, f"a page whose {error}", "export it again"))
        except Damaged as error:
            strays.append(Stray(file, f"damaged ({error})", _COPY))
    return slices, strays


def _slices_of(file: Path) -> list[Slice]:
    head = head_of(file)
    if kind_of(head) == "other":
        raise Unusable(*other_kind(head))
    if kind_of(head) != "dicom":
        raise Unusable("an image or NIfTI file, not DICOM", _GIVE)
    header = read_header(file)
    _refuse_other_objects(header)
    pixels = _pixels(header)
    groups = _frame_groups(header)
    if pixels.frames != max(len(groups), 1):
        raise Unusable(
            f"of {pixels.frames} frames, {len(groups)} of them with a position",
            _CONVERT,
        )
    return [
        _slice(file, number, header, pixels, group) for number, group in enumerate(groups or [{}])
    ]


def _refuse_other_objects(header: Item) -> None:
    kind = text(header, "SOPClassUID") or text(header, "MediaStorageSOPClassUID")
    for start, name in _CLASSES.items():
        if kind.startswith(start):
            raise Unusable(name, _GIVE)
    modality = text(header, "Modality")[:16]
    if header.pixels is None:
        raise Unusable(f"without an image (modality {modality or 'unknown'})", _GIVE)
    if modality != "CT" and not (not modality and kind.startswith(_CT)):
        raise Unusable(f"of modality {modality or 'unknown'}, not CT", "give a CT scan")
    if "LOCALIZER" in text(header, "ImageType").upper().split("\\"):
        raise Unusable("a localizer", "give the series")
    photometric = text(header, "PhotometricInterpretation").upper() or "MONOCHROME2"
    if integer(header, "SamplesPerPixel", 1) > 1 or not photometric.startswith("MONOCHROME"):
        raise Unusable("in color, as screen shots are", _GIVE)
    if header.pixels.tag in FLOAT_PIXELS:
        raise Unusable("a map of floating-point values", _GIVE)


def _pixels(header: Item) -> Pixels:
    place = header.pixels
    rows, columns = (integer(header, side, 0) for side in ("Rows", "Columns"))
    frames = max(integer(header, "NumberOfFrames", 1), 1)
    if place is None or not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        raise Unusable(f"of {rows} rows and {columns} columns", EXPORT)
    bits = _bits(header)
    found = Pixels(
        place,
        text(header, "TransferSyntaxUID"),
        frames,
        rows,
        columns,
        bits,
        bool(integer(header, "PixelRepresentation", 0)),
        _padding(header, bits[0]),
    )
    expected = found.frame_bytes * frames
    if place.length != UNDEFINED and place.length < expected:
        raise Damaged(
            f"{rows} x {columns} pixels in {frames} frames are {expected} bytes, it has "
            f"{place.length}"
        )
    return found


def _bits(header: Item) -> tuple[int, int, int]:
    allocated = integer(header, "BitsAllocated", 16)
    stored = integer(header, "BitsStored", allocated)
    high = integer(header, "HighBit", stored - 1)
    if allocated not in (8, 16, 32):
        raise Unusable(f"of {allocated} bits a pixel", _CONVERT)
    if not 0 < stored <= high + 1 <= allocated:
        raise BadValue(f"BitsStored is {stored}, with BitsAllocated {allocated}, HighBit {high}")
    return allocated, stored, high


def _padding(header: Item, allocated: int) -> tuple[int, int] | None:
    """Values as they are written, without their sign."""
    values = numbers(header, "PixelPaddingValue")
    if not values:
        return None
    limit = numbers(header, "PixelPaddingRangeLimit") or values
    return int(values[0]) % 2**allocated, int(limit[0]) % 2**allocated


def _frame_groups(header: Item) -> list[dict[str, Item]]:
    """For each frame of an enhanced CT, its macros by their names; none for a classic one."""
    names = (
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
    )
    shared = (items(header, "SharedFunctionalGroupsSequence") or [Item({}, {})])[0]
    groups = []
    for frame in items(header, "PerFrameFunctionalGroupsSequence"):
        both = {name: items(frame, name) or items(shared, name) for name in names}
        groups.append({name: found[0] for name, found in both.items() if found})
    return groups


def _slice(file: Path, frame: int, header: Item, pixels: Pixels, group: dict[str, Item]) -> Slice:
    notes: list[str] = []
    measures = group.get("PixelMeasuresSequence", header)
    position, orientation, spacing = geometry(header, group, measures)
    along_row, along_column = directions(orientation, notes)
    return Slice(
        file,
        frame,
        pixels,
        text(header, "SeriesInstanceUID"),
        text(header, "SeriesDescription")[:64],
        text(header, "PatientID"),
        {tag: text(header, tag) for tag in _PHASES},
        position,
        along_row,
        along_column,
        spacing_of(spacing, notes),
        thickness_of(measures),
        rescale_of(group.get("PixelValueTransformationSequence", header), notes),
        tuple(notes),
        text(header, "StudyInstanceUID"),
        text(header, "SeriesNumber")[:16].strip(),
        "DERIVED" in text(header, "ImageType").upper().split("\\"),
        text(header, "StudyDate"),
    )
