"""Which files make up a scan, and what their first bytes say they are."""

import os
import re
import zlib
from pathlib import Path
from typing import Final, Literal

from lungmask_jax.errors import ScanError

Kind = Literal["nifti", "dicom", "image", "other"]

GZIP: Final = b"\x1f\x8b"
IMAGES: Final = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def scan_files(path: str | os.PathLike[str]) -> tuple[Kind, list[Path]]:
    """The files of one scan, in the order of their numbers, and their kind.

    Args:
        path: A file, or a folder of DICOM files or of images.

    Returns:
        ``(kind, files)``, where kind is ``"nifti"`` (one file), ``"dicom"`` or ``"image"``.

    Raises:
        ScanError: Nothing is there, or nothing that can be read.

    Example:
        >>> scan_files("nowhere.nii.gz")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected a scan, found nothing at nowhere.nii.gz: check ...
    """
    path = Path(path)
    if path.is_dir():
        return _folder_files(path)
    if not path.exists():
        raise ScanError(f"expected a scan, found nothing at {path}: check the path")
    if not path.is_file():  # a pipe may never begin, a device never end
        raise ScanError(f"expected a file or a folder, {path} is a pipe or a device: copy it first")
    kind = _kind(path)
    if kind == "other":
        raise ScanError(
            "expected a NIfTI, DICOM, PNG, JPEG or TIFF file, found "
            f"{_finding(path)}: check the file, or convert it to NIfTI"
        )
    return kind, [path]


def contents(path: Path) -> bytes:
    """All bytes of a file.

    Args:
        path: The file.

    Returns:
        Its bytes, as stored.

    Raises:
        ScanError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def number_order(path: Path) -> list[tuple[int, str]]:
    """A sorting key that puts ``slice_2`` before ``slice_10``.

    Args:
        path: A file.

    Returns:
        Its name, cut into numbers and what is between them.

    Example:
        >>> sorted([Path("b10"), Path("b9")], key=number_order)[0].name
        'b9'
    """
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _folder_files(folder: Path) -> tuple[Kind, list[Path]]:
    try:
        visible = [file for file in folder.iterdir() if file.is_file() and file.name[0] != "."]
    except OSError as error:
        raise _unreadable(folder, error) from error
    kinds = {file: _kind(file) for file in sorted(visible, key=number_order)}
    ranks: tuple[Kind, Kind] = ("dicom", "image")
    for kind in ranks:
        files = [file for file, found in kinds.items() if found == kind]
        if files:
            return kind, files
    if "nifti" in kinds.values():
        raise ScanError(f"expected one scan, found NIfTI files in {folder}: give one of them")
    raise ScanError(
        f"expected slices of a scan as DICOM or images, found none in {folder}: "
        "give the folder that holds the files itself"
    )


def _kind(path: Path) -> Kind:
    head = _head(path)
    if head[344:347] == b"n+1" or head[4:7] == b"n+2":
        return "nifti"
    if head[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".ima"):
        return "dicom"
    return "image" if head.startswith(IMAGES) else "other"


def _head(path: Path) -> bytes:
    """The first 540 bytes, unpacked if they are compressed; fewer if the file is cut short."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not head.startswith(GZIP):
        return head[:540]
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 540)
    except zlib.error:
        return b""


def _finding(path: Path) -> str:
    if path.stat().st_size == 0:
        return f"{path} empty"
    return f"{path} of another kind, cut short or damaged"


def _unreadable(path: Path, error: OSError) -> ScanError:
    return ScanError(f"expected to read {path}, found: {error.strerror}; check its permissions")
