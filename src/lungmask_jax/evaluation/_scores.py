"""Evaluation of masks: scores of every case, summaries with intervals, comparison of two models.

Scores are in rows, one per case and label: flat mappings for CSV and JSON.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from lungmask_jax import metrics, tasks
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.labels import refuse_above
from lungmask_jax.volume import Volume

Row = Mapping[str, str | float]
"""``case``, ``label`` and the scores of `lungmask_jax.metrics.scores`.

If known, also ``patient``, whom several cases may share, and ``seen``, the
`lungmask_jax.weights.seen_in_training` to the case.
"""

TEXTS: Final = ("case", "label", "patient", "seen")
"""Keys of a `Row` that are not scores."""

_RESAMPLES = 10_000


class Summary(NamedTuple):
    """One score over many cases.

    Attributes:
        cases: Number with a finite score; all but the next two numbers are over these.
        undefined: Number with an undefined score, such as the sensitivity for an empty truth.
        infinite: Number with an infinite score, such as the distance to an empty mask.
        mean: Their mean; NaN without any.
        sd: Standard deviation (``n - 1``); NaN below two.
        low: Lower end of the 95 % interval of the mean, by bootstrap over patients, each with all
            cases; a case without a patient counts as one of its own. NaN for a single patient.
        high: Its upper end.
        median: Their median.
        q1: Lower quartile.
        q3: Upper quartile.
        min: The smallest.
        max: The largest.
        patients: Number of patients of these cases.

    Example:
        >>> summarize([{"case": "a", "label": "x", "dice": 0.5}], "dice").mean
        0.5
    """

    cases: int
    undefined: int
    infinite: int
    mean: float
    sd: float
    low: float
    high: float
    median: float
    q1: float
    q3: float
    min: float
    max: float
    patients: int


class Comparison(NamedTuple):
    """One score of two models on the same cases, the second minus the first.

    Attributes:
        cases: Number with a finite score in both.
        mean: Mean difference; NaN without a case.
        low: Lower end of its 95 % interval, by bootstrap over patients, as in `Summary`.
        high: Its upper end.
        better: Number of cases in which the second is higher, which is worse for distances.
        worse: Number of cases in which it is lower.
        p: p-value of Wilcoxon's signed-rank test of the mean difference of each patient, two-sided;
            1 if all are zero.
        patients: Number of patients of these cases.

    Example:
        >>> rows = [{"case": name, "label": "x", "dice": 0.5} for name in "ab"]
        >>> compare(rows, rows, "dice").p
        1.0
    """

    cases: int
    mean: float
    low: float
    high: float
    better: int
    worse: int
    p: float
    patients: int


def case_rows(
    name: str,
    prediction: Volume,
    truth: Volume,
    target: str,
    *,
    tolerance_mm: float | None = None,
) -> list[dict[str, str | float]]:
    """The scores of one case.

    A mask of several labels is scored as a whole and, if the truth has several labels, by label:
    lungs and each lung. Types are always scored by label.

    Args:
        name: Name of the case.
        prediction: Labels from `lungmask_jax.inference.segment`.
        truth: Labels from a reader.
        target: Their task: a name in `lungmask_jax.tasks`.
        tolerance_mm: Tolerance of the surface Dice; by default that of the task.

    Returns:
        A row for each label.

    Raises:
        ScanError: The masks differ in shape or position, or have labels unknown to the task.
        UnknownNameError: There is no such task.

    Example:
        >>> mask = Volume(np.ones((2, 4, 4), np.uint8))
        >>> [row["dice"] for row in case_rows("a", mask, mask, "infection")]
        [1.0]
    """
    _same_place(name, prediction, truth)
    task = tasks.registry[target]
    for mask, what in ((prediction, "prediction"), (truth, "truth")):
        refuse_above(mask.array, task.highest, f"the {what} of {name}")
    tolerance = task.tolerance_mm if tolerance_mm is None else tolerance_mm
    parts: dict[str, tuple[int, ...]] = {task.whole: tuple(range(1, task.highest + 1))}
    if len(task.labels) > 1 and (task.divides or max(task.labels) in truth.array):
        parts |= {label: (value,) for value, label in task.labels.items()}
    rows: list[dict[str, str | float]] = []
    for label, values in parts.items():
        ours, theirs = (np.isin(mask.array, values) for mask in (prediction, truth))
        found = metrics.scores(ours, theirs, truth.spacing, tolerance_mm=tolerance)
        rows.append({"case": name, "label": label, **found})
    return rows


def summarize(rows: Sequence[Row], score: str, *, label: str | None = None) -> Summary:
    """One score over all cases.

    Args:
        rows: Rows of many cases.
        score: Name of a score.
        label: Only rows of this label.

    Returns:
        The summary; the same rows always give the same interval.

    Raises:
        SpecError: No row has such a score, or a case occurs twice.

    Example:
        >>> rows = [{"case": str(n), "label": "x", "dice": n / 10} for n in range(11)]
        >>> found = summarize(rows, "dice")
        >>> round(found.mean, 3), found.median, (found.q1, found.q3)
        (0.5, 0.5, (0.25, 0.75))
    """
    chosen = _chosen(rows, score, label)
    values = np.array([float(row[score]) for row in chosen.values()], np.float64)
    there = np.isfinite(values)
    finite, whose = values[there], _patients([*chosen.values()])[there]
    count, undefined = len(finite), int(np.isnan(values).sum())
    infinite = len(values) - count - undefined
    if not count:
        return Summary(0, undefined, infinite, *(math.nan,) * 9, 0)
    sd = float(finite.std(ddof=1)) if count > 1 else math.nan
    least, q1, median, q3, most = np.percentile(finite, [0, 25, 50, 75, 100]).tolist()
    mean, low, high = float(finite.mean()), *_interval(finite, whose)
    spread = (sd, low, high, median, q1, q3, least, most)
    return Summary(count, undefined, infinite, mean, *spread, len(np.unique(whose)))


def compare(
    first: Sequence[Row], second: Sequence[Row], score: str, *, label: str | None = None
) -> Comparison:
    """Two models on the same cases, paired.

    Args:
        first: Rows of one model.
        second: Rows of the other.
        score: Name of a score.
        label: Only rows of this label.

    Returns:
        The comparison.

    Raises:
        SpecError: The cases differ, one occurs twice, or no row has such a score.

    Example:
        >>> old = [{"case": str(n), "label": "x", "dice": 0.5} for n in range(8)]
        >>> new = [{**row, "dice": 0.6 + int(row["case"]) / 100} for row in old]
        >>> found = compare(old, new, "dice")
        >>> found.better, round(found.mean, 3), found.p < 0.05
        (8, 0.135, True)
    """
    ours, theirs = _chosen(first, score, label), _chosen(second, score, label)
    if ours.keys() != theirs.keys():
        alone = sorted({case for case, _ in ours.keys() ^ theirs.keys()})[:5]
        raise SpecError(
            f"expected the same cases in both tables, found only in one: {', '.join(alone)}"
        )
    differences = np.array([float(theirs[key][score]) - float(ours[key][score]) for key in ours])
    there = np.isfinite(differences)
    both = [{**theirs[key], **ours[key]} for key in ours]
    differences, whose = differences[there], _patients(both)[there]
    if not len(differences):
        return Comparison(0, math.nan, math.nan, math.nan, 0, 0, math.nan, 0)
    sums, counts = _by_patient(differences, whose)
    p = float(stats.wilcoxon(sums / counts).pvalue) if sums.any() else 1.0
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    mean, low, high = float(differences.mean()), *_interval(differences, whose)
    return Comparison(len(differences), mean, low, high, better, worse, p, len(sums))


def _same_place(name: str, prediction: Volume, truth: Volume) -> None:
    if prediction.shape != truth.shape:
        raise ScanError(
            f"expected masks of the same shape for {name}, found {prediction.shape} predicted and "
            f"{truth.shape} true: resample one to the other"
        )
    apart_mm = prediction.apart_mm(truth)
    if apart_mm > min(truth.spacing) / 2:
        raise ScanError(
            f"expected masks at the same position for {name}, found them {apart_mm:.3g} mm apart: "
            "resample one to the other, or copy its header if only that is wrong"
        )


def _chosen(rows: Sequence[Row], score: str, label: str | None) -> dict[tuple[str, str], Row]:
    """The rows with a score by case and label, each unique."""
    chosen = [row for row in rows if label in (None, row["label"])]
    if not any(score in row for row in chosen):
        known = sorted({key for row in rows for key in row} - {*TEXTS})
        raise SpecError(
            f"expected rows with {score!r}"
            + (f" of {label!r}" if label else "")
            + f", found none: known are {', '.join(known) or 'none'}"
        )
    scored = [row for row in chosen if score in row]
    found = {(str(row["case"]), str(row["label"])): row for row in scored}
    if len(found) < len(scored):
        raise SpecError(
            f"expected one row per case and label, found {len(scored)} of {len(found)}: give cases "
            "different names"
        )
    return found


def patient_of(row: Row) -> str:
    """The patient of a row; its case if none is known."""
    return str(row.get("patient") or row["case"])


def _patients(rows: Sequence[Row]) -> np.ndarray:
    """A number for the patient of each row, in their order."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(map(patient_of, rows)))}
    return np.array([numbers[patient_of(row)] for row in rows], np.intp)


def _by_patient(values: np.ndarray, whose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum and the number of the values of each patient."""
    _, place = np.unique(whose, return_inverse=True)
    return np.bincount(place, values), np.bincount(place)


def _interval(values: np.ndarray, whose: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean: percentiles over patients resampled with replacement.

    Cases of one patient are alike, so that each patient is drawn with all cases, or with none
    (Field and Welsh, J R Stat Soc B 2007, 10.1111/j.1467-9868.2007.00593.x). A single patient says
    nothing of others: NaN.
    """
    sums, counts = _by_patient(values, whose)
    if len(sums) < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, len(sums), (_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
