"""The files of a scan, and their types from their first bytes."""

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lungmask_jax.errors import ScanError
from lungmask_jax.files import FORMATS
from lungmask_jax.io._archive import volume_bytes
from lungmask_jax.io._kinds import HEAD, VOLUMES, Kind, kind_of, other_kind
from lungmask_jax.io._stream import LARGEST_FILE, is_folder, opened, unreadable

MOST_FOLDERS: Final = 1_000
DEEPEST: Final = 5
"""Below a folder without files, DICOM is looked for in so many folders, so deep."""


def scan_files(path: str | os.PathLike[str]) -> tuple[Kind, list[Path]]:
    """The files of one scan, in numeric order, and their kind.

    Hidden files are skipped. If a folder holds only folders, these are searched for DICOM, too.

    Returns:
        ``(kind, files)``, where kind is one of `VOLUMES` (one file), ``"dicom"`` (with all other
        files of the folder, which the reader names) or ``"image"``.

    Raises:
        ScanError: The path does not exist, or has nothing readable.
    """
    path = Path(path)
    if is_folder(path):
        return _folder_files(path)
    head = head_of(path)
    kind = kind_of(head)
    if kind == "other":
        what, advice = _other(path, head)
        raise ScanError(
            "expected a NIfTI, NRRD, MetaImage, DICOM, PNG, JPEG or TIFF file, found that "
            f"{path} is {what}: {advice}"
        )
    return kind, [path]


def native_format(path: str | os.PathLike[str]) -> str:
    """The format of the masks of a scan: its own if it is NRRD or MetaImage, else NIfTI.

    Args:
        path: As for `lungmask_jax.io.load`.

    Returns:
        One of `lungmask_jax.files.FORMATS`.

    Raises:
        ScanError: There is nothing to read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "scan.nrrd").write_text("NRRD0005")
        ...     native_format(folder), native_format(f"{folder}/scan.nrrd")
        ('nii.gz', 'nrrd')
    """
    path = Path(path)
    kind = "other" if is_folder(path) else kind_of(head_of(path))
    return {"nrrd": "nrrd", "metaimage": "mha"}.get(kind, FORMATS[0])


def contents(path: Path) -> bytes:
    """All bytes of a file, as stored.

    Raises:
        ScanError: It cannot be read, is not a file, or is larger than any image of a scan.
    """
    with opened(path) as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ScanError(
            f"{path} is larger than the {LARGEST_FILE / 2**30:g} GiB that are read from an image "
            "or a DICOM file: give one slice per file, or convert the scan to NIfTI"
        )
    return data


def number_order(path: Path) -> list[tuple[int, str]]:
    """A sorting key that puts ``slice_2`` before ``slice_10``.

    Example:
        >>> sorted([Path("b10"), Path("b9")], key=number_order)[0].name
        'b9'
    """
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def head_of(path: Path) -> bytes:
    """The first `HEAD` bytes of a file, decompressed, which show its type; all of a shorter one."""
    head = b""
    try:
        with volume_bytes(path, piece=4096) as (stream, _):
            while len(head) < HEAD and (piece := stream.read1(HEAD - len(head))):
                head += piece
    except (EOFError, zlib.error, zipfile.BadZipFile):
        if not head:
            with opened(path) as file:
                return file.peek(HEAD)[:HEAD]
    return head


def _folder_files(folder: Path) -> tuple[Kind, list[Path]]:
    files, folders = _visible(folder)
    kinds = {file: kind_of(head_of(file)) for file in files}
    if "dicom" in kinds.values():
        return "dicom", files
    if "image" in kinds.values():
        return "image", [file for file, kind in kinds.items() if kind == "image"]
    for kind, name in VOLUMES.items():
        if kind in kinds.values():
            raise ScanError(f"expected one scan, found {name} files in {folder}: give one of them")
    below = list(_below(folder, folders)) if not files else []
    if any(kind_of(head_of(file)) == "dicom" for file in below):
        return "dicom", below
    raise ScanError(
        f"expected slices of a scan as DICOM or images, found none in {folder}{_others(files)}: "
        "give the folder that holds the files itself, or search subfolders with --recursive"
    )


def _visible(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files, in the order of their numbers, and folders."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise unreadable(folder, error) from error
    files = [path for path in paths if path.is_file()]
    folders = [path for path in paths if path.is_dir() and not path.is_symlink()]
    return sorted(files, key=number_order), sorted(folders, key=number_order)


def _below(folder: Path, folders: list[Path]) -> Iterator[Path]:
    """All files in some folders and those inside, as an export from an archive nests them."""
    ways = [(1, path) for path in folders]
    for count, (depth, path) in enumerate(ways):
        if count == MOST_FOLDERS or depth > DEEPEST:
            raise ScanError(
                f"expected the folder of one scan, found more than {MOST_FOLDERS} folders, or more "
                f"than {DEEPEST} levels of folders, in {folder}: give one scan's folder"
            )
        files, inside = _visible(path)
        yield from files
        ways += [(depth + 1, each) for each in inside]


def _others(files: list[Path]) -> str:
    """What there is instead, a file for each kind."""
    kinds = {_other(file, head_of(file))[0]: file.name for file in reversed(files)}
    shown = [f"{name} is {what}" for what, name in list(kinds.items())[:3]]
    return f" ({'; '.join(shown)})" if shown else ""


def _other(path: Path, head: bytes) -> tuple[str, str]:
    what, advice = other_kind(head)
    pair = path.with_suffix(".hdr")
    if path.suffix.lower() == ".img" and pair.is_file():
        return f"the voxels of a pair with {pair.name}", other_kind(head_of(pair))[1]
    return what, advice
