"""Published benchmarks: their data, scores and published results.

The data are not part of this library; each protocol says where to get them.
"""

import os
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from lungmask_jax import data
from lungmask_jax.data import Case
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.tasks import INFECTION, LUNGS


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A benchmark.

    Attributes:
        title: Its name.
        paper: Its publication.
        data: Source and licence of its data.
        layout: Content of the data folder.
        scores: Names of the published numbers, in this order.
        published: Method to numbers; ``None`` if there is none, or none that was verified.
        cautions: Notes to read before comparing.

    Example:
        >>> PROTOCOLS["covid-semiseg"].published["Inf-Net"][0]
        0.682
    """

    title: str
    paper: str
    data: str
    layout: str
    scores: tuple[str, ...]
    published: Mapping[str, tuple[float | None, ...]]
    cautions: tuple[str, ...]


_GROUPS: Final = (
    ("coronacases_007", "coronacases_008", "radiopaedia_36_86526_0", "radiopaedia_4_85506_1"),
    ("coronacases_004", "coronacases_009", "radiopaedia_14_85914_0", "radiopaedia_7_85703_0"),
    ("coronacases_001", "coronacases_010", "radiopaedia_10_85902_1", "radiopaedia_29_86491_1"),
    ("coronacases_003", "coronacases_005", "radiopaedia_27_86410_0", "radiopaedia_40_86625_0"),
    ("coronacases_002", "coronacases_006", "radiopaedia_10_85902_3", "radiopaedia_29_86490_1"),
)

_TASKS: Final = (LUNGS.name, INFECTION.name)

_NOT_VERIFIED: Final = (None,) * 5

PROTOCOLS: Final[Mapping[str, Protocol]] = types.MappingProxyType(
    {
        "covid19-ct-seg": Protocol(
            title="COVID-19-CT-Seg",
            paper="Ma et al., Medical Physics 2021, 10.1002/mp.14676",
            data="https://zenodo.org/records/3757476, CC BY-NC-SA",
            layout="COVID-19-CT-Seg_20cases, Lung_Mask and Infection_Mask, or a metadata.csv",
            scores=(
                "left lung Dice",
                "left lung surface Dice",
                "right lung Dice",
                "right lung surface Dice",
                "infection Dice",
                "infection surface Dice",
            ),
            published=types.MappingProxyType(
                {
                    "3-D nnU-Net, 4 to learn from": (0.858, 0.712, 0.879, 0.748, 0.673, 0.700),
                    "2-D nnU-Net, 4 to learn from": (0.951, 0.846, 0.956, 0.855, 0.609, 0.615),
                    "3-D nnU-Net, 16 to learn from": (None, None, None, None, 0.777, 0.808),
                    "3-D nnU-Net, 16, joint": (0.911, 0.794, 0.922, 0.792, 0.772, 0.802),
                    "3-D nnU-Net, other lung CT and 4": (0.973, 0.906, 0.977, 0.914, 0.642, 0.633),
                }
            ),
            cautions=(
                "the radiopaedia volumes are windowed, -1250 to 250 HU, not in HU",
                "radiopaedia_10_85902_1 and _3, and radiopaedia_29_86490_1 and _86491_1, look like "
                "one patient each, in different published folds: see the split by patient, "
                "too",
                "one case of the published folds has a Dice near 0: look at medians and cases",
            ),
        ),
        "covid-semiseg": Protocol(
            title="COVID-SemiSeg, infection, 48 test slices",
            paper="Fan et al., IEEE TMI 2020, 10.1109/TMI.2020.2996645",
            data="https://github.com/DengPingFan/Inf-Net, non-commercial",
            layout="Imgs and GT, as in LungInfection-Test",
            scores=("Dice", "sensitivity", "specificity", "S-measure", "E-measure", "MAE"),
            published=types.MappingProxyType(
                {
                    "U-Net": (0.439, *_NOT_VERIFIED),
                    "U-Net++": (0.581, *_NOT_VERIFIED),
                    "Inf-Net": (0.682, *_NOT_VERIFIED),
                    "Semi-Inf-Net": (0.739, *_NOT_VERIFIED),
                }
            ),
            cautions=(
                "other methods and scores of the paper could not be verified and are left out: "
                "see its Table II",
                "Dice, sensitivity, specificity and E-measure are means over 256 thresholds of a "
                "stretched map: thresholds do not lower the score of a binary map",
                "the test slices and the 50 training slices are from one set without patient names",
            ),
        ),
    }
)
"""Benchmarks by name."""


def covid19_ct_seg_cases(path: str | os.PathLike[str]) -> list[Case]:
    """The cases of COVID-19-CT-Seg, from Zenodo or Kaggle.

    Args:
        path: The folder with the three unpacked archives, or a ``metadata.csv``. Read the cases
            with the window (-1250, 250): those in HU do not change.

    Returns:
        Cases with lungs and infection; series of one patient share it.

    Raises:
        ScanError: A folder is missing, or a scan has no mask.

    Example:
        >>> covid19_ct_seg_cases("nowhere")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected COVID-19-CT-Seg_20cases, Lung_Mask and ...
    """
    path = Path(path)
    if path.suffix == ".csv":
        return data.read_metadata(path, masks=_TASKS)
    scans = path / "COVID-19-CT-Seg_20cases"
    folders = dict(zip(_TASKS, (path / "Lung_Mask", path / "Infection_Mask"), strict=True))
    for folder in (scans, *folders.values()):
        if not folder.is_dir():
            protocol = PROTOCOLS["covid19-ct-seg"]
            raise ScanError(
                f"expected {protocol.layout}, found no folder {folder}: get {protocol.data}"
            )
    paired = [data.pair_folders(scans, folders[task], target=task) for task in _TASKS]
    return [
        replace(lungs, masks={**lungs.masks, **infection.masks})
        for lungs, infection in zip(*paired, strict=True)
    ]


def covid19_ct_seg_splits(
    cases: Sequence[Case], kind: Literal["train4", "train16", "patients"]
) -> list[tuple[list[Case], list[Case]]]:
    """The published five splits, or five that keep patients together.

    Args:
        cases: All twenty.
        kind: ``"train4"`` trains on 4 cases and tests on 16, ``"train16"`` the other way round;
            both are published. ``"patients"`` is `lungmask_jax.data.folds`.

    Returns:
        Five pairs ``(train, test)``.

    Raises:
        SpecError: Cases are missing, or there is no such kind.

    Example:
        >>> cases = [Case(name, Path(name)) for group in _GROUPS for name in group]
        >>> [len(test) for _, test in covid19_ct_seg_splits(cases, "train16")]
        [4, 4, 4, 4, 4]
    """
    if kind == "patients":
        return data.folds(cases, len(_GROUPS))
    if kind not in ("train4", "train16"):
        raise SpecError(f"expected 'train4', 'train16' or 'patients', found {kind!r}")
    named = {_short(case.name): case for case in cases}
    missing = sorted({name for group in _GROUPS for name in group} - named.keys())
    if missing:
        raise SpecError(f"expected all twenty cases, found none named {', '.join(missing)}")
    pairs = []
    for group in _GROUPS:
        few = [named[name] for name in group]
        many = [named[name] for other in _GROUPS if other != group for name in other]
        pairs.append((few, many) if kind == "train4" else (many, few))
    return pairs


def _short(name: str) -> str:
    """The name of a case on Zenodo; Kaggle has longer ones."""
    match = re.match(r"(coronacases|radiopaedia).*?(\d+(?:_\d+_\d+)?)(?:-dcm)?$", name)
    return "_".join(match.groups()) if match else name


def covid_semiseg_pairs(path: str | os.PathLike[str]) -> list[tuple[str, Path, Path]]:
    """Slices of COVID-SemiSeg and their masks.

    Args:
        path: A folder with ``Imgs`` and ``GT``.

    Returns:
        ``(name, image, mask)`` in the order of the names.

    Raises:
        ScanError: A folder is missing, or an image has no mask.

    Example:
        >>> covid_semiseg_pairs("nowhere")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected Imgs and GT, as in LungInfection-Test, found ...
    """
    images, masks = (Path(path) / name for name in ("Imgs", "GT"))
    if not (images.is_dir() and masks.is_dir()):
        protocol = PROTOCOLS["covid-semiseg"]
        raise ScanError(f"expected {protocol.layout}, found none in {path}: get {protocol.data}")
    return data.pair_masks(images, masks, target=INFECTION.name)
