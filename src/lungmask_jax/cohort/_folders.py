"""Which files and folders are scans."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lungmask_jax import records

_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_DICOM = (".dcm", ".dcm.gz", ".ima")
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def scans_at(path: Path) -> Sequence[Path]:
    """A folder of NIfTI, NRRD or MetaImage files stands for these, all else for itself."""
    return _volumes(visible(path)) or [path]


def scans_within(path: Path) -> Iterator[Path]:
    """The scans of a folder and of those in it; what is no folder to be read is a scan to try."""
    unread: list[OSError] = []
    seen: set[str] = set()
    for folder, inside, _ in os.walk(path, onerror=unread.append, followlinks=True):
        place = os.path.realpath(folder)
        inside[:] = sorted(
            name for name in inside if not name.startswith(".") and place not in seen
        )
        files = [] if place in seen else visible(Path(folder))
        seen.add(place)
        if scans := _volumes(files):
            yield from scans
        elif any(map(is_slice, files)):
            yield Path(folder)
    yield from (Path(os.fsdecode(error.filename)) for error in unread)


def visible(folder: Path) -> list[Path]:
    """The files of a folder that are neither hidden nor results of this program."""
    files: list[Path] = []
    with contextlib.suppress(OSError):  # no folder, or one that whoever reads it will complain of
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    ours = {name for path in files if path.suffix == ".json" for name in _results(path)}
    return sorted(path for path in files if path.name not in ours and not _is_folder(path))


def _results(record: Path) -> set[str]:
    """The files that a JSON file of this program names; the scan of the demo is no result."""
    return {*records.read_json(record).get("files_written", ())} - {f"{record.stem}.nii.gz"}


def has_images(folder: Path) -> bool:
    """Whether a folder is one scan of pictures."""
    return any(path.name.lower().endswith(_IMAGES) for path in visible(folder))


def _volumes(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if path.name.lower().endswith(_VOLUMES)]


def is_slice(path: Path) -> bool:
    """Whether it is a picture or DICOM, which needs no suffix."""
    if path.suffix and not path.suffix[1:].isdecimal():
        return path.name.lower().endswith((*_DICOM, *_IMAGES))
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(132)[128:] == b"DICM"
    return False


def _is_folder(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False
