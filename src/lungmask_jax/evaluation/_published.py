"""Published tables with rows for our models."""

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import numpy as np

from lungmask_jax import data, inference, io, metrics
from lungmask_jax.data import Case
from lungmask_jax.errors import ScanError
from lungmask_jax.evaluation._evaluate import Guard, Progress, no_progress
from lungmask_jax.evaluation._masks import Weights, Window, seen_by_any
from lungmask_jax.evaluation._protocols import (
    PROTOCOLS,
    Protocol,
    covid19_ct_seg_cases,
    covid_semiseg_pairs,
)
from lungmask_jax.evaluation._report import Report
from lungmask_jax.evaluation._scores import Row, case_rows, summarize
from lungmask_jax.evaluation._tables import read_rows, unseen
from lungmask_jax.spec import PRESETS
from lungmask_jax.tasks import INFECTION, LUNGS
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle, by_target

Scores: TypeAlias = tuple[float | None, ...]

_WINDOW: Final = (-1250.0, 250.0)  # of the windowed half of COVID-19-CT-Seg
_LUNGS: Final = ("left_lung", "right_lung", "infection")

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Published:
    """A published table, with our rows.

    Attributes:
        protocol: The published table.
        ours: Our rows, with the scores of the protocol.
        details: All scores of every case: a report, or for slices mappings by kind of mask.
        failed: Number of cases that could not be scored.

    Example:
        >>> Published(PROTOCOLS["covid-semiseg"], {}, {}, 0).protocol.scores[0]
        'Dice'
    """

    protocol: Protocol
    ours: Mapping[str, Scores]
    details: Report | Mapping[str, Sequence[Mapping[str, str | float]]]
    failed: int


def evaluate_covid19_ct_seg(
    folder: str | os.PathLike[str],
    *,
    weights: Weights = (LUNGS.name, INFECTION.name),
    window: Window = None,
    against: str | os.PathLike[str] | None = None,
    guard: Guard = contextlib.nullcontext,
    progress: Progress = no_progress,
) -> Published:
    """Scores models on COVID-19-CT-Seg as its paper does.

    Args:
        folder: As for `covid19_ct_seg_cases`.
        weights: A lung model and, if wanted, an infection model.
        window: HU of the windowed half; by default its own.
        against: ``cases.csv`` of another model to compare with.
        guard: As for `evaluate`.
        progress: As for `evaluate`.

    Returns:
        The published table with our row, over the cases that no model has seen; details are a
        `Report`.

    Raises:
        ScanError: The data are not there, or no case of them could be scored.
        SpecError: There is no lung model.

    Example:
        >>> evaluate_covid19_ct_seg("nowhere")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected COVID-19-CT-Seg_20cases, Lung_Mask and ...
    """
    models = [*by_target(weights, LUNGS.name).values()]
    others = [] if against is None else read_rows(against, [LUNGS.name, INFECTION.name])
    jobs = {
        case.name: functools.partial(_both, case, models, window or _WINDOW)
        for case in covid19_ct_seg_cases(folder)
    }
    judged = _judged(jobs, "cases", guard, progress)
    rows = [row for some in judged for row in some]
    ours = tuple(_mean(rows, label, key) for label in _LUNGS for key in ("dice", "surface_dice"))
    count = len({row["case"] for row in unseen(rows)})
    name = f"lungmask_jax {' '.join(model.name for model in models)}, {count} cases"
    report = Report(rows, None if against is None else Path(against), others)
    failed = len(jobs) - len(judged)
    return Published(PROTOCOLS["covid19-ct-seg"], {name: ours}, report, failed)


def evaluate_covid_semiseg(
    folder: str | os.PathLike[str],
    *,
    weights: Weights = (LUNGS.name, INFECTION.name),
    window: Window = None,
    guard: Guard = contextlib.nullcontext,
    progress: Progress = no_progress,
) -> Published:
    """Scores an infection model on COVID-SemiSeg as the toolbox of its paper does.

    Args:
        folder: As for `covid_semiseg_pairs`.
        weights: An infection model; others are ignored.
        window: HU of black and white of the slices; by default that of our preprocessing.
        guard: As for `evaluate`.
        progress: As for `evaluate`, without rows.

    Returns:
        The published table with two rows for our model, for the probability map and for the mask;
        details are the scores of every slice for both.

    Raises:
        ScanError: The data are not there, or no slice of them could be scored.
        SpecError: There is no infection model.

    Example:
        >>> evaluate_covid_semiseg("nowhere")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected Imgs and GT, as in LungInfection-Test, found ...
    """
    bundle = by_target(weights, INFECTION.name)[INFECTION.name]
    window, protocol = window or PRESETS[INFECTION.name].window, PROTOCOLS["covid-semiseg"]
    jobs = {
        name: functools.partial(_slice, name, image, mask, bundle, window)
        for name, image, mask in covid_semiseg_pairs(folder)
    }
    judged = _judged(jobs, "slices", guard, progress)
    slices = {kind: [one[kind] for one in judged] for kind in ("map", "mask")}
    ours = {
        f"lungmask_jax {bundle.name}, {kind}, {len(judged)} of {len(jobs)} slices": tuple(
            float(np.mean([float(one[key]) for one in some])) for key in protocol.scores
        )
        for kind, some in slices.items()
    }
    return Published(protocol, ours, slices, len(jobs) - len(judged))


def _judged(
    jobs: Mapping[str, Callable[[], T]], what: str, guard: Guard, progress: Progress
) -> list[T]:
    """The result of each case; those whose errors are swallowed are skipped."""
    judged: list[T] = []
    progress(0, len(jobs), ())
    for done, (name, judge) in enumerate(jobs.items(), 1):
        with guard(name):
            judged.append(judge())
            progress(done, len(jobs), ())
    if not judged:
        raise ScanError(f"expected {what} to score, all {len(jobs)} failed: see above")
    return judged


def _both(case: Case, models: Sequence[Bundle], window: Window) -> list[dict[str, str | float]]:
    ct, truths = data.load_case(case, window=window)
    result = inference.segment(ct, weights=models)
    seen = seen_by_any(models, case.name, ct)
    return [
        {**row, "patient": case.patient or case.name, "seen": seen}
        for task, truth in truths.items()
        if task in result.masks
        for row in case_rows(case.name, result.masks[task], truth, task)
    ]


def _mean(rows: Sequence[Row], label: str, key: str) -> float | None:
    """The mean over the cases that no model has seen; none without any."""
    rows = unseen(rows)
    if not any(row["label"] == label for row in rows):
        return None
    return summarize(rows, key, label=label).mean


def _slice(
    name: str, image: Path, mask: Path, bundle: Bundle, window: Window
) -> dict[str, dict[str, str | float]]:
    """Scores of the probability map and of the mask."""
    whole = replace(bundle.spec.preprocess, region="full")  # the slices are cut to the lungs
    bundle = replace(bundle, spec=replace(bundle.spec, preprocess=whole))
    ct, truth = _upright(io.load(image, window=window)), _upright(io.load_mask(mask))
    likely = inference.probabilities(ct, bundle)[0]
    kinds = {"map": likely, "mask": inference.labels(ct, bundle).array[0] > 0}
    return {
        kind: {"case": name, **_toolbox(one, truth.array[0] > 0)} for kind, one in kinds.items()
    }


def _upright(volume: Volume) -> Volume:
    """The slice with rows and columns exchanged, because the public files are transposed."""
    return Volume(np.ascontiguousarray(volume.array.transpose(0, 2, 1))).as_checked()


def _toolbox(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Scores of a slice as in the Inf-Net toolbox."""
    stretched = metrics.stretched(prediction.astype(np.float64))
    curves = metrics.threshold_curves(stretched, truth)
    return {
        "Dice": float(curves.dice.mean()),
        "sensitivity": float(curves.sensitivity.mean()),
        "specificity": float(curves.specificity.mean()),
        "S-measure": metrics.s_measure(stretched, truth),
        "E-measure": float(curves.e_measure.mean()),
        "MAE": metrics.mean_absolute_error(stretched, truth),
    }
