"""What folders hold beside the scans that are used."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from lungmask_jax.cohort._folders import is_slice, scans_within, visible
from lungmask_jax.cohort._scan import Scan

_OTHERS: Final = (".dcm", ".dcm.gz", ".ima", ".img", ".zip")
_MOST: Final = 100
"""So many scans in subfolders are counted: a large archive takes minutes to walk."""


def left_out(
    given: Sequence[Path], scans: Iterable[Scan], *, recursive: bool = False
) -> Iterator[str]:
    """A line for each folder that holds more scans than those that are used.

    These are scans of another kind beside NIfTI, NRRD and MetaImage files, and those in subfolders
    of a folder that holds scans itself.

    Args:
        given: Files and folders, as for `find_scans`.
        scans: Those that were found.
        recursive: Whether subfolders were searched.

    Yields:
        What was left out, and what to do.

    Example:
        >>> list(left_out([Path("a.nii.gz")], [Scan(Path("a.nii.gz"))]))
        []
    """
    paths = [scan.path for scan in scans]
    yield from _other_kinds(given, paths)
    used = {os.path.abspath(path) for path in paths}
    for folder in given:
        if not recursive and folder.is_dir() and visible(folder):
            yield from _below(folder, used)


def _other_kinds(given: Sequence[Path], paths: Iterable[Path]) -> Iterator[str]:
    files = {*paths} - {*given}
    folders = {file.parent for file in files if file.is_file()}
    for folder in sorted(one for one in folders if any(map(one.is_relative_to, given))):
        others = [path.name for path in visible(folder) if _is_other(path)]
        if others:
            more = f" and {len(others) - 1} more" if others[1:] else ""
            yield (
                f"{folder}: used its NIfTI, NRRD and MetaImage files, and skipped "
                f"{others[0]}{more}: give scans of another kind separately"
            )


def _is_other(path: Path) -> bool:
    """Whether it is a scan or a slice; DICOM needs no suffix."""
    return path.name.lower().endswith(_OTHERS) or (not path.suffix and is_slice(path))


def _below(folder: Path, used: set[str]) -> Iterator[str]:
    """How many scans are in the subfolders of one that holds files, too."""
    places = (
        place
        for place in scans_within(folder)
        if place != folder and (place.parent != folder or place.is_dir())
    )
    unused = (place for place in places if os.path.abspath(place) not in used)
    if names := [str(place.relative_to(folder)) for place in itertools.islice(unused, _MOST)]:
        count = f"{len(names)} scan{'s' * (len(names) > 1)}"
        count = f"at least {count}" if len(names) == _MOST else count
        yield (
            f"{folder}: left out {count} in its subfolders, such as {names[0]}: add --recursive to "
            "segment them, too"
        )
