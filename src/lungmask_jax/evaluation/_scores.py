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
"""``case``, ``label`` and the scores of `lungmask_jax.metrics.scores`; if known, also ``seen``, the
`lungmask_jax.weights.seen_in_training` to the case."""

TEXTS: Final = ("case", "label", "seen")
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
        low: Lower end of the 95 % interval of the mean, by bootstrap over cases.
        high: Its upper end.
        median: Their median.
        q1: Lower quartile.
        q3: Upper quartile.
        min: The smallest.
        max: The largest.

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


class Comparison(NamedTuple):
    """One score of two models on the same cases, the second minus the first.

    Attributes:
        cases: Number with a finite score in both.
        mean: Mean difference; NaN without a case.
        low: Lower end of its 95 % interval, by bootstrap over cases.
        high: Its upper end.
        better: Number of cases in which the second is higher, which is worse for distances.
        worse: Number of cases in which it is lower.
        p: p-value of Wilcoxon's signed-rank test, two-sided; 1 if all are equal.

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
    values = np.array(list(_values(rows, score, label).values()), np.float64)
    finite = values[np.isfinite(values)]
    count, undefined = len(finite), int(np.isnan(values).sum())
    infinite = len(values) - count - undefined
    if not count:
        return Summary(0, undefined, infinite, *(math.nan,) * 9)
    sd = float(finite.std(ddof=1)) if count > 1 else math.nan
    q1, median, q3 = np.percentile(finite, [25, 50, 75])
    ends = (float(q) for q in (median, q1, q3, finite.min(), finite.max()))
    return Summary(count, undefined, infinite, float(finite.mean()), sd, *_interval(finite), *ends)


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
    ours, theirs = _values(first, score, label), _values(second, score, label)
    if ours.keys() != theirs.keys():
        alone = sorted({case for case, _ in ours.keys() ^ theirs.keys()})[:5]
        raise SpecError(
            f"expected the same cases in both tables, found only in one: {', '.join(alone)}"
        )
    differences = np.array([theirs[key] - ours[key] for key in ours])
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return Comparison(0, math.nan, math.nan, math.nan, 0, 0, math.nan)
    p = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    low, high = _interval(differences)
    return Comparison(len(differences), float(differences.mean()), low, high, better, worse, p)


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


def _values(rows: Sequence[Row], score: str, label: str | None) -> dict[tuple[str, str], float]:
    """The scores by case and label, each unique."""
    chosen = [row for row in rows if label in (None, row["label"])]
    if not any(score in row for row in chosen):
        known = sorted({key for row in rows for key in row} - {*TEXTS})
        raise SpecError(
            f"expected rows with {score!r}"
            + (f" of {label!r}" if label else "")
            + f", found none: known are {', '.join(known) or 'none'}"
        )
    scored = [row for row in chosen if score in row]
    found = {(str(row["case"]), str(row["label"])): float(row[score]) for row in scored}
    if len(found) < len(scored):
        raise SpecError(
            f"expected one row per case and label, found {len(scored)} of {len(found)}: give cases "
            "different names"
        )
    return found


def _interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean: percentiles over cases resampled with replacement."""
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
