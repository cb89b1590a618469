"""The scans at paths of files, folders and lists."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lungmask_jax import data, io
from lungmask_jax.cohort._folders import has_images, scans_at, scans_within
from lungmask_jax.cohort._lists import rows_of
from lungmask_jax.cohort._scan import Scan
from lungmask_jax.cohort._series import BEST, choices
from lungmask_jax.errors import ScanError, SpecError

_LIST: Final = ".csv"


@dataclass(frozen=True)
class Candidate:
    """A scan that was found, and whether it is segmented.

    Attributes:
        scan: The scan.
        use: Whether it is segmented.
        reason: Why, or why not.
        name: Name of its results, as a table gives it; empty for one that follows from the path.
        series: What is known of a DICOM series.

    Example:
        >>> Candidate(Scan(Path("a.nii.gz"))).use
        True
    """

    scan: Scan
    use: bool = True
    reason: str = "a file or a folder of images"
    name: str = ""
    series: io.Series | None = None


def find_scans(
    paths: Sequence[str | os.PathLike[str]], *, recursive: bool = False, series: str = ""
) -> dict[str, Scan]:
    """Scans by the name of their results; unreadable paths are included, to fail when read.

    A folder of NIfTI, NRRD or MetaImage files stands for the files, and a table ``.csv`` for the
    scans that its column ``path`` names, relative to the table. Hidden files and results of this
    program are skipped.

    Args:
        paths: Files, folders and tables. A table may also have the columns ``scan``, the name of
            the results, ``series``, a SeriesInstanceUID, ``patient`` and ``study_date``, by which
            scans of several dates are compared, and ``use``, yes or no.
        recursive: Whether to search all subfolders; each with scans or slices counts as if it
            was given, and of each DICOM study one series is used.
        series: Which DICOM series are used: by ``"best"``, the default of `recursive`, one of each
            study: an axial one rather than another, one of at least 8 slices, an original rather
            than a derived one, that with the most slices. ``"all"`` uses each; any other text is a
            SeriesInstanceUID, or a pattern of the description such as ``"*lung*"``.

    Returns:
        Name of the results to scan.

    Raises:
        ScanError: There is none, or a table cannot be read.

    Example:
        >>> list(find_scans(["a/one.nii.gz", "b/one.nii.gz"]))
        ['a_one', 'b_one']
    """
    return used(candidates(paths, recursive=recursive, series=series), paths)


def used(
    found: Mapping[str, Candidate], paths: Sequence[str | os.PathLike[str]]
) -> dict[str, Scan]:
    """The scans among candidates that are segmented.

    Args:
        found: From `candidates`.
        paths: Where they were found.

    Returns:
        Name of the results to scan.

    Raises:
        ScanError: There is none.

    Example:
        >>> list(used(candidates(["a.nii.gz"]), ["a.nii.gz"]))
        ['a']
    """
    scans = {name: one.scan for name, one in found.items() if one.use}
    if not scans:
        raise ScanError(
            f"expected scans, found none in {', '.join(map(str, paths))} or subfolders: "
            "give the folder that holds NIfTI files, DICOM or images"
            + (f"; {len(found)} were left out, see lungmask-jax inspect" if found else "")
        )
    return scans


def candidates(
    paths: Sequence[str | os.PathLike[str]], *, recursive: bool = False, series: str = ""
) -> dict[str, Candidate]:
    """The scans of `find_scans`, and those that it leaves out, each with a reason.

    Args:
        paths: As for `find_scans`.
        recursive: As for `find_scans`.
        series: As for `find_scans`.

    Returns:
        Name of the results to candidate.

    Raises:
        ScanError: A table cannot be read, or two scans have one name.

    Example:
        >>> candidates(["a.nii.gz"])["a"].reason
        'a file or a folder of images'
    """
    once: dict[str, Candidate] = {}
    listed: list[io.Series] = []
    for path in map(Path, paths):
        if path.suffix.lower() == _LIST:
            for scan, use, name in rows_of(path):
                once.setdefault(scan.source, Candidate(scan, use, "in a table", name))
            continue
        for place in scans_within(path) if recursive else scans_at(path):
            of_folder, alone = (
                _of_folder(place) if recursive or series else ([], Candidate(Scan(place)))
            )
            listed += of_folder
            if not of_folder:
                once.setdefault(alone.scan.source, alone)
    for one in _chosen(listed, series or BEST):
        once.setdefault(one.scan.source, one)
    return _named(list(once.values()))


def _of_folder(path: Path) -> tuple[list[io.Series], Candidate]:
    """The DICOM series in a folder; if there is none, what else it is."""
    if not path.is_dir() or has_images(path):
        return [], Candidate(Scan(path))
    try:
        found, others = io.list_series(path)
    except ScanError:
        return [], Candidate(Scan(path), True, "cannot be read")
    if "(damaged" in others or not others:
        return found, Candidate(Scan(path), True, f"to be tried: {others}")
    return found, Candidate(Scan(path), False, f"no CT slices: {others}")


def _chosen(listed: Sequence[io.Series], rule: str) -> Iterator[Candidate]:
    """One for each series; its UID is needed only where a folder holds others, too."""
    alone = Counter(one.folder for one in listed)
    for choice in choices(listed, rule):
        one = choice.series
        scan = Scan(one.folder, one.uid if alone[one.folder] > 1 else "")
        yield Candidate(scan, choice.use, choice.reason, series=one)


def _named(found: Sequence[Candidate]) -> dict[str, Candidate]:
    """Names from tables, or from paths: that of its folder for the only series used of it."""
    used = Counter(one.scan.path for one in found if one.use)
    places: dict[Path, Candidate] = {}
    for one in found:
        place = one.scan.path
        if not one.name and one.scan.series and not (one.use and used[place] == 1):
            number = one.series.number if one.series else ""
            place = place / f"series{number or one.scan.series}"
            place = place.with_name(one.scan.series) if place in places else place
        places[place / f"row{len(places)}" if one.name else place] = one
    free = [place for place, one in places.items() if not one.name]
    names = dict(zip(free, data.names(free), strict=True))
    named: dict[str, Candidate] = {}
    for place, one in places.items():
        name = one.name or names[place]
        if name in named:
            raise ScanError(f"expected each name once, found {name} twice: rename one in the table")
        named[name] = one
    return named


def part(scans: Mapping[str, Scan], number: int, count: int) -> dict[str, Scan]:
    """One of several equal shares of scans, the same in every process with the same list.

    Args:
        scans: Name of the results to scan.
        number: Which share, from 1.
        count: How many shares there are.

    Returns:
        Every `count`-th scan in the order of the names.

    Raises:
        SpecError: There is no such share.

    Example:
        >>> scans = {name: Scan(Path(name)) for name in "dacbe"}
        >>> [[*part(scans, number, 2)] for number in (1, 2)]
        [['a', 'c', 'e'], ['b', 'd']]
    """
    if not 1 <= number <= count:
        raise SpecError(
            f"part {number}/{count} does not exist: give a number from 1 to {max(count, 1)}"
        )
    return {name: scans[name] for name in sorted(scans)[number - 1 :: count]}
