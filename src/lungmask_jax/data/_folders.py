"""Scans and masks in separate folders."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lungmask_jax import tasks
from lungmask_jax.data._case import Case
from lungmask_jax.data._names import SUFFIXES, patient, stem
from lungmask_jax.errors import ScanError

TAIL: Final = re.compile(
    r"([-_. ](ct|scans?|img|images?|0000|lungs?|infections?|lesions?|masks?|seg|labels?|gt))+$",
    re.IGNORECASE,
)
"""Endings for the kind of file, not for the case."""


def pair_folders(
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str],
    *,
    target: str = tasks.INFECTION.name,
) -> list[Case]:
    """Scans and masks of two folders, paired by name.

    File types do not matter, nor do endings such as ``_ct``, ``_0000``, ``_lungs`` or ``_mask``:
    ``case1_ct.nii.gz`` belongs to ``case1_lungs.png``.

    Args:
        images: Folder of scans; one that is itself a folder of slices counts as one.
        masks: Folder of masks, likewise.
        target: The task of the masks.

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
    pairs = _paired(by_name(Path(images)), by_name(Path(masks)))
    return [Case(name, image, {target: mask}, patient=patient(name)) for name, image, mask in pairs]


def pair_masks(
    predictions: str | os.PathLike[str],
    truths: str | os.PathLike[str],
    *,
    target: str = tasks.INFECTION.name,
) -> list[tuple[str, Path, Path]]:
    """Predicted and true masks of two folders, paired by name as in `pair_folders`.

    In a folder with files such as ``case1_ct_infection.nii.gz``, from ``lungmask-jax segment``,
    only those of the target count.

    Args:
        predictions: Folder of masks.
        truths: Folder of masks.
        target: The task of the masks.

    Returns:
        ``(name, prediction, truth)`` in the order of their names.

    Raises:
        ScanError: A folder is missing or empty, a mask has no partner or several.

    Example:
        >>> pair_masks("nowhere", "nowhere")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected a folder, found none at nowhere: check the path
    """
    found, true = (_of_target(Path(folder), target) for folder in (predictions, truths))
    return _paired(found, true)


def _of_target(folder: Path, target: str) -> dict[str, Path]:
    """The masks of a folder, except those named after other tasks."""
    masks = by_name(folder, target=target)
    kinds = {stem(path.name).lower().rpartition("_")[2] for path in masks.values()}
    task = tasks.registry[target]
    if kinds <= {*tasks.registry} - {target, task.types, task.whole}:
        raise ScanError(
            f"expected masks of {target} in {folder}, found only those named "
            f"{', '.join(f'*_{kind}' for kind in sorted(kinds))}: give others, or another --target"
        )
    return masks


def _paired(scans: dict[str, Path], truths: dict[str, Path]) -> list[tuple[str, Path, Path]]:
    alone = [str(scans[name]) for name in sorted(scans.keys() - truths.keys())]
    alone += [str(truths[name]) for name in sorted(truths.keys() - scans.keys())]
    if alone:
        raise ScanError(
            f"expected a mask for every scan and a scan for every mask, found no partner for "
            f"{', '.join(alone)}: give both the same name"
        )
    return [(name, scans[name], truths[name]) for name in sorted(scans)]


def by_name(folder: Path, *, target: str = "") -> dict[str, Path]:
    """The files of a folder by case, without suffixes and endings for the kind of file.

    Args:
        folder: Folder of scans or masks; a folder in it counts as one scan.
        target: If files end in its name, only those count.

    Returns:
        Name to path.

    Raises:
        ScanError: The folder is missing or empty, or two files have one name.

    Example:
        >>> by_name(Path("nowhere"))
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected a folder, found none at nowhere: check the path
    """
    if not folder.is_dir():
        raise ScanError(f"expected a folder, found none at {folder}: check the path")
    paths = list(_scans(folder))
    named = [path for path in paths if target and stem(path.name).lower().endswith(f"_{target}")]
    files: dict[str, Path] = {}
    for path in named or paths:
        name = TAIL.sub("", stem(path.name))
        if name in files:
            raise ScanError(
                f"expected one file per name, found {files[name].name} and {path.name} for "
                f"{name!r} in {folder}: keep scans and masks in separate folders, one file each"
            )
        files[name] = path
    if not files:
        raise ScanError(f"expected scans or masks, found none in {folder}: check the path")
    return files


def _scans(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not (path.name.startswith(".") or path.name.endswith("_overlay.png")) and (
            path.is_dir() or path.name.lower().endswith(SUFFIXES)
        ):
            yield path
