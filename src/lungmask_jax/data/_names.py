"""File names: which files belong together, and which scans are of one patient."""

import hashlib
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Final

from lungmask_jax.errors import ScanError
from lungmask_jax.files import LONGEST_NAME, printable

SUFFIXES: Final = (
    *(".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm"),
)
SAME_PATIENT: Final = re.compile(
    r".*(coronacases\D*\d+|radiopaedia.*?\d+(?=_\d+_\d+))", re.IGNORECASE
)
"""COVID-19-CT-Seg: a Radiopaedia patient is followed by study and series, as in ``10_85902_1``."""


def stem(name: str) -> str:
    """A file name without its suffix; other dots are kept.

    Example:
        >>> stem("a.1.nii.gz"), stem("b.v2")
        ('a.1', 'b.v2')
    """
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def patient(name: str) -> str:
    """The patient of a scan: one text for all of a patient of COVID-19-CT-Seg, else the name.

    Example:
        >>> patient("radiopaedia_10_85902_1"), patient("radiopaedia_10_85902_3"), patient("case_1")
        ('radiopaedia_10', 'radiopaedia_10', 'case_1')
    """
    match = SAME_PATIENT.match(name)
    return match[1] if match else name


def names(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Names for the results of scans: file names without suffixes.

    Equal names, as in a folder for each patient, get as many of their folders as a prefix as make
    them differ; files of one folder that differ only in their suffix keep it. Paths that some file
    systems consider equal (``A`` and ``a``) get a number. Invisible characters in a name are
    escaped as in URLs (`lungmask_jax.files.printable`), spaces around a name go, and a name too
    long for the files of a scan ends with a checksum.

    Args:
        paths: Files, or folders of slices; a link has its own name.

    Returns:
        A name for each, all different.

    Raises:
        ScanError: A path occurs twice.

    Example:
        >>> names(["ann/1/ct.nii.gz", "ben/1/ct.nii.gz", "ben/old.nii"])
        ['ann_1_ct', 'ben_1_ct', 'old']
        >>> names(["a.nii", "a.nii.gz"]), names(["A.nii", "a.nii"])
        (['a.nii', 'a.nii.gz'], ['A', 'a_2'])
    """
    whole = [Path(os.path.abspath(path)) for path in paths]
    twice = [path for path, count in Counter(whole).items() if count > 1]
    if twice:
        raise ScanError(f"expected each scan once, found {printable(str(twice[0]))} twice")
    parts = _parts(whole)
    same = [tuple(map(_plain, one)) for one in parts]  # which no folder tells apart
    depths = [1] * len(parts)
    while True:
        found = [_fitting("_".join(one[-n:])) for one, n in zip(parts, depths, strict=True)]
        unclear = _shared(map(_plain, found), same)
        deeper = [
            depth + (more and depth < len(one))
            for one, depth, more in zip(parts, depths, unclear, strict=True)
        ]
        if deeper == depths:
            return _numbered(found)
        depths = deeper


def _parts(paths: Sequence[Path]) -> list[list[str]]:
    """The folders of each path, and its own name."""
    stems = [stem(path.name) for path in paths]
    places = [(path.parent, _plain(one)) for path, one in zip(paths, stems, strict=True)]
    unclear = _shared(places, [_plain(path.name) for path in paths])
    leaves = [
        path.name if more or not one else one
        for path, one, more in zip(paths, stems, unclear, strict=True)
    ]
    return [
        [printable(part) for part in (*path.parent.parts[1:], leaf)]
        for path, leaf in zip(paths, leaves, strict=True)
    ]


def _fitting(name: str) -> str:
    """The name without spaces around it, and cut if it is longer than `LONGEST_NAME`."""
    data = name.encode()
    if len(data) > LONGEST_NAME:
        cut = data[: LONGEST_NAME - 9].decode(errors="ignore")
        return f"{cut}_{hashlib.sha256(data).hexdigest()[:8]}"
    return name.strip() or name


def _shared(values: Iterable[Hashable], owners: Iterable[Hashable]) -> list[bool]:
    """For each value, whether it also belongs to another owner."""
    pairs = list(zip(values, owners, strict=True))
    counts = Counter(value for value, _ in set(pairs))
    return [counts[value] > 1 for value, _ in pairs]


def _plain(name: str) -> str:
    """The name as compared by case-insensitive file systems."""
    return unicodedata.normalize("NFC", name).casefold()


def _numbered(found: Sequence[str]) -> list[str]:
    """The same names; those that are still equal get a number."""
    taken, seen, result = set(map(_plain, found)), set[str](), []
    for name in found:
        unique = name
        if _plain(name) in seen:
            numbered = (f"{name}_{number}" for number in itertools.count(2))
            unique = next(one for one in numbered if _plain(one) not in taken)
            taken.add(_plain(unique))
        seen.add(_plain(unique))
        result.append(unique)
    return result
