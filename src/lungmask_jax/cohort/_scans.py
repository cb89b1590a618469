"""The scans at paths of files and folders."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lungmask_jax import data, records
from lungmask_jax.errors import ScanError

_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_OTHERS = (".dcm", ".dcm.gz", ".ima", ".img", ".zip")
_SLICES = (".dcm", ".dcm.gz", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff")


def find_scans(paths: Sequence[Path], *, recursive: bool = False) -> dict[str, Path]:
    """Scans by the name of their results; unreadable paths are included, to fail when read.

    A folder of NIfTI, NRRD or MetaImage files stands for the files. Hidden files and results of
    this program are skipped.

    Args:
        paths: Files and folders.
        recursive: Whether to search all subfolders; each with scans or slices counts as if it
            was given.

    Returns:
        Name of the results to path.

    Raises:
        ScanError: There is none.

    Example:
        >>> list(find_scans([Path("a/one.nii.gz"), Path("b/one.nii.gz")]))
        ['a_one', 'b_one']
    """
    scans = [scan for path in paths for scan in (_within(path) if recursive else _of(path))]
    once = list({os.path.abspath(scan): scan for scan in scans}.values())
    if not once:
        raise ScanError(
            f"expected scans, found none in {', '.join(map(str, paths))} or subfolders: "
            "give the folder that holds NIfTI files, DICOM or images"
        )
    return dict(zip(data.names(once), once, strict=True))


def left_out(given: Sequence[Path], scans: Iterable[Path]) -> Iterator[str]:
    """A line for each folder of volumes that holds scans of another kind, too.

    Args:
        given: Files and folders, as for `find_scans`.
        scans: Those that were found.

    Yields:
        What was left out, and what to do.

    Example:
        >>> list(left_out([Path("a.nii.gz")], [Path("a.nii.gz")]))
        []
    """
    for folder in sorted({scan.parent for scan in {*scans} - {*given} if scan.is_file()}):
        others = [path.name for path in _visible(folder) if path.name.lower().endswith(_OTHERS)]
        if others:
            more = f" and {len(others) - 1} more" if others[1:] else ""
            yield (
                f"{folder}: used its NIfTI, NRRD and MetaImage files, and skipped "
                f"{others[0]}{more}: give scans of another kind separately"
            )


def _of(path: Path) -> Sequence[Path]:
    return _volumes(_visible(path)) or [path]


def _within(path: Path) -> Iterator[Path]:
    """The scans of a folder and of those in it; what is no folder to be read is a scan to try."""
    unread: list[OSError] = []
    seen: set[str] = set()
    for folder, inside, _ in os.walk(path, onerror=unread.append, followlinks=True):
        place = os.path.realpath(folder)
        inside[:] = sorted(
            name for name in inside if not name.startswith(".") and place not in seen
        )
        files = [] if place in seen else _visible(Path(folder))
        seen.add(place)
        if scans := _volumes(files):
            yield from scans
        elif any(map(_is_slice, files)):
            yield Path(folder)
    yield from (Path(os.fsdecode(error.filename)) for error in unread)


def _visible(folder: Path) -> list[Path]:
    """The files of a folder that are neither hidden nor results of this program."""
    files: list[Path] = []
    with contextlib.suppress(OSError):  # no folder, or one that whoever reads it will complain of
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    ours = {name for path in files if path.suffix == ".json" for name in _results(path)}
    return sorted(path for path in files if path.name not in ours and not _is_folder(path))


def _results(record: Path) -> set[str]:
    """The files that a JSON file of this program names; the scan of the demo is no result."""
    return {*records.read_json(record).get("files_written", ())} - {f"{record.stem}.nii.gz"}


def _volumes(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if path.name.lower().endswith(_VOLUMES)]


def _is_slice(path: Path) -> bool:
    """Whether it is a picture or DICOM, which needs no suffix."""
    if path.suffix and not path.suffix[1:].isdecimal():
        return path.name.lower().endswith(_SLICES)
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(132)[128:] == b"DICM"
    return False


def _is_folder(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False
