"""Measures for radiology: volumes, shares, severity, signs of pneumonia."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from scipy import ndimage, special

from lungmask_jax import tasks
from lungmask_jax.errors import ShapeError
from lungmask_jax.quantify._parts import of_parts
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

_SEVERITY_PERCENT: Final = (0.5, 25.0, 50.0, 75.0)
"""Percent of the more affected lung above which CT-1, CT-2, CT-3 and CT-4 begin."""

_LEAST_PERCENT: Final = 0.1
"""Added to shares before their logarithm: a speck of 20 mm² in a slice of adult lungs."""
_SLAB_MM: Final = 10.0
"""Of neighboring slices: real findings are in several, false positives often in a single one."""


class Signs(NamedTuple):
    """The probability of signs of pneumonia.

    Attributes:
        scan: Probability for the scan as a whole.
        slices: Probability of each slice, from feet to head.

    Example:
        >>> Signs(0.9, np.array([0.1, 0.9])).scan
        0.9
    """

    scan: float
    slices: np.ndarray


def measures(masks: Mapping[str, Volume], *, ct: Volume | None = None) -> dict[str, float | str]:
    """Volumes in millilitres, shares in percent, and the severity class.

    Args:
        masks: Masks of one scan by the name of their task. Voxels outside the mask that bounds a
            task, such as infection outside the lungs, do not count.
        ct: The scan in HU, for the density of lobes.

    Returns:
        For an organ, the ml of each label and of all: ``right_lung_ml``, ``left_lung_ml``,
        ``lungs_ml``. For a structure inside it, ml and percent of each side and of all:
        ``right_infection_ml``, ..., ``infection_percent``, and ``severity`` if the task has it.
        For types, ml and percent of each: ``ground_glass_ml``, ``consolidation_percent``, ...;
        all are shares of the outermost mask. For each lobe, ``_mean_hu``, the
        ``_below_minus_950_hu_percent`` of emphysema, ``_infection_ml``, ``_infection_percent`` and
        ``_score``, and for all ``ct_severity_score`` from 0 to 25. The share of a missing lung or
        lobe and the score without it are NaN, and so are ml above 0 if the voxel size is unknown.

    Raises:
        ShapeError: The masks have different shapes.

    Example:
        >>> lungs = Volume(np.array([[[1, 1, 0, 2]]], np.uint8), np.diag([10.0, 10.0, 10.0, 1.0]))
        >>> infection = lungs.with_array(np.array([[[1, 0, 0, 0]]], np.uint8))
        >>> result = measures({"lungs": lungs, "infection": infection})
        >>> round(result["lungs_ml"], 6), result["right_infection_percent"], result["severity"]
        (3.0, 50.0, 'CT-2')
    """
    if not masks:
        raise ShapeError("expected masks of one scan, found none: give those of a segmentation")
    first, *others = masks.values()
    _check_shapes(first, *others)
    voxel_ml = first.voxel_ml if first.has_size else 1.0
    result: dict[str, float | str] = {}
    for name in masks:
        task = tasks.registry[name]
        outer = _outermost(task, masks)
        ml = _voxels(masks[name], masks[outer.name], task, outer) * voxel_ml
        result |= dict(_whole(ml, task) if outer is task else _inside(ml, task, outer))
    result |= of_parts(masks, ct)
    if first.has_size:
        return result
    return {
        key: float("nan") if key.endswith("_ml") and value else value
        for key, value in result.items()
    }


def severity(*percents: float) -> str:
    """The MosMedData class, from the more affected lung.

    CT-0 none, CT-1 up to 25 %, CT-2 25 to 50 %, CT-3 50 to 75 %, CT-4 above. Radiologists see no
    findings where a network marks specks, so CT-0 reaches up to 0.5 %. The class describes the
    extent; a mask cannot show whether it is COVID-19.

    Args:
        percents: Infected share of each lung; NaN where there is none.

    Returns:
        ``"CT-0"`` to ``"CT-4"``; ``"unknown"`` without any lung.

    References:
        Morozov et al., MosMedData: Chest CT Scans With COVID-19 Related Findings Dataset, 2020,
        arXiv:2005.06465.

    Example:
        >>> severity(0.0, 30.0), severity(0.1, 0.0)
        ('CT-2', 'CT-0')
    """
    present = [share for share in percents if not np.isnan(share)]
    if not present:
        return "unknown"
    worst = max(present)
    return f"CT-{sum(worst > limit for limit in _SEVERITY_PERCENT)}"


def of_slices(values: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Values of a scan; in a single slice, classes and scores of whole lungs are unknown.

    Args:
        values: From `measures`, or a row with them.
        count: Number of slices of the scan.

    Returns:
        The values, of a single slice with the severity ``"unknown"`` and the score NaN.

    Example:
        >>> of_slices({"severity": "CT-2", "infection_percent": 30.0}, 1)
        {'severity': 'unknown', 'infection_percent': 30.0}
    """
    if count > 1:
        return {**values}
    unknown = {"severity": "unknown", "ct_severity_score": float("nan")}
    return {**values, **{key: value for key, value in unknown.items() if key in values}}


def signs(lungs: Volume, infection: Volume, calibration: tuple[float, float]) -> Signs:
    """The probability of signs of pneumonia, from the infected share of slices.

    The log-odds of a slice are ``slope * log(s + 0.1) + offset`` for its infected share ``s``, see
    `slice_shares`. The scan has the log-odds of its most infected 10 mm, so one clear slice is
    enough and a speck in a single thin slice is not. A mask cannot show the kind of pneumonia.

    Args:
        lungs: 0 background, 1 right, 2 left.
        infection: 0 or 1; voxels outside the lungs do not count.
        calibration: ``(slope, offset)`` of an infection bundle, fitted to held-out slices, half of
            them with signs.

    Returns:
        Probabilities in [0, 1]; without lungs, NaN for the scan and all slices.

    Raises:
        ShapeError: The masks have different shapes.

    Example:
        >>> lungs = Volume(np.ones((2, 10, 10), np.uint8))
        >>> infection = lungs.with_array(np.zeros((2, 10, 10), np.uint8))
        >>> infection.array[1, :3] = 1
        >>> signs(lungs, infection, (2.0, 1.0)).slices.round(3).tolist()
        [0.026, 1.0]
    """
    shares = slice_shares(lungs, infection)
    count = max(1, min(len(shares), round(_SLAB_MM / lungs.spacing[0]))) if lungs.has_size else 1
    slabs = ndimage.uniform_filter1d(shares, count, mode="constant")
    likely = [
        special.expit(calibration[0] * np.log(some + _LEAST_PERCENT) + calibration[1])
        for some in (slabs, shares)
    ]
    return Signs(float(likely[0].max(initial=0.0)), likely[1])


def in_percent(probability: float) -> str:
    """A probability in words, from below 1 to over 99 percent, because no model is certain.

    Args:
        probability: From 0 to 1, or NaN.

    Returns:
        Words for a picture or a line.

    Example:
        >>> in_percent(0.423), in_percent(0.0001), in_percent(0.9999), in_percent(float("nan"))
        ('42 %', 'below 1 %', 'over 99 %', 'unknown')
    """
    if np.isnan(probability):
        return "unknown"
    if probability < 0.01:
        return "below 1 %"
    return "over 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def is_at_odds(row: Mapping[str, Any]) -> bool:
    """Whether signs of pneumonia are likely although hardly any lung is marked.

    Specks in a single slice can make them likely; so can a small lesion. A person must look.

    Args:
        row: Measures with ``severity`` and ``signs_of_pneumonia``, if they are known.

    Returns:
        Whether the probability is one half or more, and the severity CT-0.

    Example:
        >>> is_at_odds({"severity": "CT-0", "signs_of_pneumonia": 0.83})
        True
    """
    likely = row.get("signs_of_pneumonia")
    return likely is not None and likely >= 0.5 and row.get("severity") == "CT-0"


def slice_shares(lungs: Volume, infection: Volume) -> np.ndarray:
    """The infected area of each slice, in percent of the largest lung area in any slice.

    Args:
        lungs: 0 background, other values lung.
        infection: 0 or 1; voxels outside the lungs do not count.

    Returns:
        The share of each slice, from feet to head; NaN without lungs.

    Raises:
        ShapeError: The masks have different shapes.

    Example:
        >>> lungs = Volume(np.ones((1, 4, 5), np.uint8))
        >>> slice_shares(lungs, lungs.with_array(np.eye(4, 5, dtype=np.uint8)[None])).tolist()
        [20.0]
    """
    _check_shapes(lungs, infection)
    inside = [(lung != 0, sick != 0) for lung, sick in zip(lungs, infection, strict=True)]
    areas = np.array([(lung.sum(), (lung & sick).sum()) for lung, sick in inside], float)
    largest = areas[:, 0].max(initial=0.0)
    return 100 * areas[:, 1] / largest if largest else np.full(len(areas), np.nan)


def _check_shapes(first: Volume, *others: Volume) -> None:
    for other in others:
        if other.shape != first.shape:
            raise ShapeError(
                f"expected masks of one scan, found shapes {first.shape} and {other.shape}"
            )


def _outermost(task: Task, masks: Mapping[str, Volume]) -> Task:
    """The outermost task around this one that has a mask; else the task itself."""
    outer, name = task, task.inside
    while name:
        around = tasks.registry[name]
        outer, name = around if name in masks else outer, around.inside
    return outer


def _voxels(mask: Volume, around: Volume, task: Task, outer: Task) -> np.ndarray:
    """Voxel counts by label of the outermost mask and of this mask.

    The last column is for labels that the task does not have; row 0, outside, stays 0 but for
    labels that the outermost task does not have.
    """
    shape = max(outer.labels) + 1, max(task.labels) + 2
    kind = np.min_scalar_type(shape[0] * shape[1] - 1)
    voxels = np.zeros(shape[0] * shape[1], np.int64)
    for inner, place in zip(mask, around, strict=True):
        covered = np.flatnonzero(place != 0)  # most of a slice is outside
        outers, inners = place.ravel()[covered], inner.ravel()[covered]
        there = shape[1] * np.where(outers < shape[0], outers, 0).astype(kind)
        there += np.minimum(inners, shape[1] - 1).astype(kind)
        voxels += np.bincount(there, minlength=len(voxels))
    return voxels.reshape(shape)


def _whole(ml: np.ndarray, task: Task) -> Iterator[tuple[str, float]]:
    """The ml of an outermost mask: of each label, and of all."""
    parts = {name: float(ml[label, label]) for label, name in task.labels.items()}
    yield from ((f"{name}_ml", part) for name, part in parts.items())
    yield f"{task.name}_ml", float(ml[1:, 1:].sum())


def _inside(ml: np.ndarray, task: Task, outer: Task) -> Iterator[tuple[str, float | str]]:
    """Measures of a mask inside another: by side or, if it has several labels, by label."""
    if len(task.labels) > 1:
        parts = {name: (ml[1:, label], ml[1:]) for label, name in task.labels.items()}
    else:
        parts = {
            f"{word}_{task.name}": (ml[label, 1:], ml[label]) for label, word in outer.sides.items()
        }
    if not task.divides:
        parts[task.name] = ml[1:, 1:], ml[1:]
    shares = {name: _percent(part.sum(), of.sum()) for name, (part, of) in parts.items()}
    yield from ((f"{name}_ml", float(part.sum())) for name, (part, _) in parts.items())
    yield from ((f"{name}_percent", share) for name, share in shares.items())
    if task.severity:
        sides = [shares[f"{word}_{task.name}"] for word in outer.sides.values()]
        yield "severity", severity(*(sides or [shares[task.name]]))


def _percent(part: np.float64, whole: np.float64) -> float:
    return float(100 * part / whole) if whole else float("nan")
