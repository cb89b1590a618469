"""The type of a file from its first bytes."""

import re
import struct
from typing import Final, Literal

Kind = Literal["nifti", "nrrd", "metaimage", "dicom", "image", "other"]

VOLUMES: Final[dict[Kind, str]] = {"nifti": "NIfTI", "nrrd": "NRRD", "metaimage": "MetaImage"}
"""Types of which a file holds a whole scan, and their names."""

HEAD: Final = 1024
"""Number of bytes, decompressed, that determine the type."""

IMAGES: Final = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_CONVERT: Final = "convert it to NIfTI, for example with 3D Slicer"
_UNPACK: Final = "unpack it, and give the file or folder inside"
_UNZIP: Final = f"{_UNPACK}; an archive is read only if one NIfTI, NRRD or MetaImage file is in it"
_NO_SCAN: Final = "give a CT scan"

_STARTS: Final = (
    (0, b"PK\x03\x04", "a zip archive", _UNZIP),
    (0, b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "compressed with xz", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 (or MINC 2), which is not read", _CONVERT),
    (0, b"CDF\x01", "NetCDF (or MINC 1), which is not read", _CONVERT),
    (0, b"CDF\x02", "NetCDF (or MINC 1), which is not read", _CONVERT),
    (344, b"ni1\0", "the header of a NIfTI pair (.hdr and .img)", "save it as one .nii file"),
    (0, b"\x93NUMPY", "a NumPy array", "load it, and give it as a lungmask_jax.Volume"),
    (0, b"MATLAB 5.0", "a MATLAB file", _CONVERT),
    (0, b"# vtk", "VTK, which is not read", _CONVERT),
    (0, b"%PDF", "a PDF document", _NO_SCAN),
    (4, b"ftyp", "an MP4 video or HEIF image", _NO_SCAN),
    (0, b"RIFF", "a WebP image or AVI video", _NO_SCAN),
    (0, b"GIF8", "a GIF image", "save it as PNG"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image", "save it as PNG"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", "save it as PNG"),
    (0, b"SQLite format 3", "a SQLite database", _NO_SCAN),
    (0, b"\x7fELF", "a program", _NO_SCAN),
)
_META_IMAGE: Final = (b"ObjectType", b"NDims", b"DimSize", b"ElementType")
_ASSIGNMENT: Final = re.compile(rb"\s*\w+[ \t]*=")
_GROUPS: Final = (2, 8)
_VALUES: Final = frozenset(
    ["AS", "CS", "DA", "DT", "IS", "LO", "OB", "PN", "SH", "SQ", "TM", "UI", "UL", "UN"]
)
_LONG: Final = ("OB", "SQ", "UN")


def kind_of(head: bytes) -> Kind:
    r"""The type of a file, from its first `HEAD` bytes; ``"other"`` for unsupported ones.

    Example:
        >>> kind_of(b"\x89PNG\r\n"), kind_of(bytes(128) + b"DICM"), kind_of(b"%PDF-1.7")
        ('image', 'dicom', 'other')
    """
    if head[344:347] == b"n+1" or head[4:7] == b"n+2":
        return "nifti"
    if head.startswith(b"NRRD00"):
        return "nrrd"
    if _ASSIGNMENT.match(head) and sum(head.count(word) for word in _META_IMAGE) >= 2:
        return "metaimage"
    if head[128:132] == b"DICM" or (head[:4] == b"DICM" and _is_dicom(head[4:])) or _is_dicom(head):
        return "dicom"
    return "image" if head.startswith(IMAGES) else "other"


def other_kind(head: bytes) -> tuple[str, str]:
    r"""The type of an unsupported file, to stand after "the file is", and what to do.

    Example:
        >>> other_kind(b"GIF89a")
        ('a GIF image', 'save it as PNG')
    """
    if not head.strip(b"\0"):
        return ("empty" if not head else "nothing but zeros"), "copy it again"
    for offset, start, what, advice in _STARTS:
        if head[offset : offset + len(start)] == start:
            return what, advice
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "a BMP image", "save it as PNG"
    if head[:4] in (struct.pack("<i", 348), struct.pack(">i", 348)) and len(head) == 348:
        return "the header of an Analyze pair (.hdr and .img)", _CONVERT
    if _is_text(head):
        return _text_kind(head.lstrip(b"\xef\xbb\xbf \t\r\n")), _NO_SCAN
    return "of another kind, cut short or damaged", "check the file, or convert it to NIfTI"


def _is_dicom(head: bytes) -> bool:
    """Without a preamble: at least three elements that rise, in group 2 or 8, written one way."""
    order = ">" if head[:1] == b"\0" else "<"
    explicit = head[4:6].decode("latin-1") in _VALUES
    if order == ">" and not explicit:
        return False
    offset, last, count = 0, -1, 0
    while offset + 12 <= len(head) and count < 3:
        group, number = struct.unpack_from(f"{order}HH", head, offset)
        tag, span = group << 16 | number, _span(head[offset + 4 : offset + 12], order, explicit)
        if tag <= last or (count == 0 and group not in _GROUPS) or span is None:
            return False
        offset, last, count = offset + 4 + span, tag, count + 1
    return count == 3


def _span(head: bytes, order: str, explicit: bool) -> int | None:
    """Bytes from behind the tag to the next element; none if it can be no element."""
    if not explicit:
        (length,) = struct.unpack_from(f"{order}I", head)
        return 4 + int(length) if length < HEAD else None
    vr = head[:2].decode("latin-1")
    if vr not in _VALUES:
        return None
    if vr in _LONG:
        (length,) = struct.unpack_from(f"{order}I", head, 4)
        return 8 + int(length) if length < 2**16 else None
    (length,) = struct.unpack_from(f"{order}H", head, 2)
    return 4 + int(length)


def _is_text(head: bytes) -> bool:
    """UTF-8 without control characters; the last character may be cut."""
    try:
        shown = head[: max(1, len(head) - 3)].decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        if error.end < len(head) - 6:
            return False
        shown = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in shown)


def _text_kind(head: bytes) -> str:
    if head.startswith((b"{", b"[")):
        return "JSON"
    return "XML or HTML" if head.startswith(b"<") else "a text file"
