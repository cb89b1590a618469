"""What file names say: which files belong together, and which scans are one patient's."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lungmask_jax.errors import ScanError

SUFFIXES: Final = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
SAME_PATIENT: Final = re.compile(
    r".*(coronacases\D*\d+|radiopaedia.*?\d+(?=_\d+_\d+))", re.IGNORECASE
)
"""COVID-19-CT-Seg: a Radiopaedia patient is followed by study and series, as in ``10_85902_1``."""


def stem(name: str) -> str:
    """A file name without what tells its type.

    Args:
        name: A file name.

    Returns:
        The name up to the suffix; dots inside it stay.

    Example:
        >>> stem("a.1.nii.gz"), stem("b.v2")
        ('a.1', 'b.v2')
    """
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def patient(name: str) -> str:
    """Whose scan it is, where the name tells.

    Args:
        name: A case's name.

    Returns:
        The same text for scans of one patient of COVID-19-CT-Seg, else the name.

    Example:
        >>> patient("radiopaedia_10_85902_1"), patient("radiopaedia_10_85902_3"), patient("case_1")
        ('radiopaedia_10', 'radiopaedia_10', 'case_1')
    """
    match = SAME_PATIENT.match(name)
    return match[1] if match else name


def names(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """What the results of scans are filed under: file names without what tells their type.

    Where several are equal, as in a folder for each patient, that of the folder stands before.

    Args:
        paths: Files, or folders of slices; a link counts by its own name.

    Returns:
        A name for each, all different.

    Raises:
        ScanError: Two are equal even so.

    Example:
        >>> names(["ann/ct.nii.gz", "ben/ct.nii.gz", "ben/old.nii"])
        ['ann_ct', 'ben_ct', 'old']
    """
    whole = [Path(os.path.abspath(path)) for path in paths]
    stems = Counter(stem(path.name) for path in whole)
    found = [
        f"{path.parent.name}_{stem(path.name)}" if stems[stem(path.name)] > 1 else stem(path.name)
        for path in whole
    ]
    twice = sorted(name for name, count in Counter(found).items() if count > 1)
    if twice:
        raise ScanError(f"expected scans of different names, found {twice} twice: rename them")
    return found
