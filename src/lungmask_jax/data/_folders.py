"""Scans and masks that have folders of their own."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from lungmask_jax.data._case import Case
from lungmask_jax.data._names import SUFFIXES, patient, stem
from lungmask_jax.errors import ScanError

TAIL: Final = re.compile(
    r"([-_. ](ct|scans?|img|images?|0000|lungs?|infections?|lesions?|masks?|seg|labels?|gt))+$",
    re.IGNORECASE,
)
"""Endings that say what a file is, not whose."""


def pair_folders(
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str],
    *,
    target: Literal["lungs", "infection"] = "infection",
) -> list[Case]:
    """Scans and masks of two folders, paired by name.

    File types do not matter, nor do endings such as ``_ct``, ``_0000``, ``_lungs`` or ``_mask``:
    ``case1_ct.nii.gz`` belongs to ``case1_lungs.png``.

    Args:
        images: Folder of scans; one that is itself a folder of slices counts as one.
        masks: Folder of masks, likewise.
        target: What the masks show.

    Returns:
        The cases in the order of their names.

    Raises:
        ScanError: A folder is missing or empty, a scan or mask has no partner or several.

    Example:
        >>> pair_folders("nowhere", "nowhere")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected a folder, found none at nowhere: check the path
    """
    scans, truths = _by_name(Path(images)), _by_name(Path(masks))
    alone = [str(scans[name]) for name in sorted(scans.keys() - truths.keys())]
    alone += [str(truths[name]) for name in sorted(truths.keys() - scans.keys())]
    if alone:
        raise ScanError(
            f"expected a mask for every scan and a scan for every mask, found no partner for "
            f"{', '.join(alone)}: give both the same name"
        )
    return [
        Case(name, scans[name], patient=patient(name), **{target: truths[name]})
        for name in sorted(scans)
    ]


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ScanError(f"expected a folder, found none at {folder}: check the path")
    files: dict[str, Path] = {}
    for path in _scans(folder):
        name = TAIL.sub("", stem(path.name))
        if name in files:
            raise ScanError(
                f"expected one file a name, found {files[name].name} and {path.name} for {name!r} "
                f"in {folder}: keep scans and masks in separate folders, one file each"
            )
        files[name] = path
    if not files:
        raise ScanError(f"expected scans or masks, found none in {folder}: check the path")
    return files


def _scans(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and (
            path.is_dir() or path.name.lower().endswith(SUFFIXES)
        ):
            yield path
