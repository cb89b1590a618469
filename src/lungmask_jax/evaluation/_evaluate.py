"""From labeled scans, or predicted and true masks, to a report."""

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from lungmask_jax import records, tasks
from lungmask_jax.data import Case
from lungmask_jax.errors import ScanError
from lungmask_jax.evaluation._masks import Job, MaskPair, Masks, Weights, Window, jobs
from lungmask_jax.evaluation._report import Report
from lungmask_jax.evaluation._scores import Row, case_rows
from lungmask_jax.evaluation._tables import read_rows
from lungmask_jax.evaluation._worst import Beside, Picture, errors, others_worst, worst
from lungmask_jax.tasks import INFECTION, LUNGS

Progress: TypeAlias = Callable[[int, int, Sequence[Row]], object]
"""``progress(done, total, rows)``, before the first case and after each, with its rows."""

Guard: TypeAlias = Callable[[str], contextlib.AbstractContextManager[object]]
"""The context of the scoring of a case, by its name; it may swallow errors to skip the case."""


def no_progress(_done: int, _total: int, _rows: Sequence[Row]) -> None:
    """Reports nothing."""


def evaluate(
    cases: Sequence[Case] | Sequence[MaskPair],
    *,
    target: str = INFECTION.name,
    weights: Weights = (LUNGS.name, INFECTION.name),
    window: Window = None,
    scans: str | os.PathLike[str] | None = None,
    tolerance_mm: float | None = None,
    against: str | os.PathLike[str] | None = None,
    worst_count: int = 3,
    guard: Guard = contextlib.nullcontext,
    progress: Progress = no_progress,
) -> Report:
    """Scores a model, or existing masks, against the truth.

    Args:
        cases: Labeled scans, which are segmented first; or names with predicted and true masks,
            from `lungmask_jax.data.pair_masks`.
        target: The task to score, such as ``"lungs"`` or ``"infection"``; or its types, such as
            ``"lesions"``: the infection and each type, with labels 1 for ground glass and 2 for
            consolidation.
        weights: Models for scans, as for `lungmask_jax.inference.segment`.
        window: HU of black and white, for images and windowed scans.
        scans: Folder of the scans of existing masks, for pictures of the worst.
        tolerance_mm: Tolerance of the surface Dice; by default that of the task.
        against: ``cases.csv`` of another model to compare with; pictures of its worst cases beside
            the table are compared, too.
        worst_count: Number of worst cases to draw.
        guard: Context entered with the name of each case; if it swallows errors, failed cases are
            skipped.
        progress: Called as ``progress(cases_done, cases, rows)`` before the first case and after
            each with its rows.

    Returns:
        Scores of every case, their summary, and pictures of the worst.

    Raises:
        ScanError: A scan, a mask or the table to compare with cannot be used, or no case could be
            scored.
        SpecError: A model is missing, or the truth has no types.

    Example:
        >>> from lungmask_jax import io
        >>> from lungmask_jax.phantoms import phantom
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "mask.nii.gz")
        ...     io.save(phantom((2, 32, 32)).infection, path)
        ...     judged = evaluate([("mine", path, path)])
        >>> judged.rows[0]["dice"]
        1.0
    """
    whole = tasks.registry[target].whole
    others = [] if against is None else read_rows(against, [whole])
    before = {} if against is None else others_worst(Path(against), others, whole, worst_count)
    todo = jobs(cases, target, chosen=weights, window=window, scans=scans)
    rows: list[Row] = []
    pictures: list[Picture] = []
    beside: list[Beside] = []
    progress(0, len(todo), ())
    for done, job in enumerate(todo, 1):
        with guard(job.name):
            masks = job.masks()
            scored = _scored(job, masks, target, tolerance_mm)
            rows += scored
            progress(done, len(todo), scored)
            if masks.scan is not None:
                draw = functools.cache(functools.partial(errors, scored[0], masks, masks.scan))
                pictures = worst(pictures, scored[0], worst_count, draw)
                name = str(scored[0]["case"])
                beside += [Beside(draw(), before[name])] if name in before else []
    if not rows:
        raise ScanError(f"expected cases to score, all {len(todo)} failed: see above")
    return Report(rows, None if against is None else Path(against), others, pictures, beside)


def _scored(job: Job, masks: Masks, target: str, tolerance_mm: float | None) -> list[Row]:
    rows = case_rows(
        records.cell(job.name),
        masks.prediction,
        masks.truth,
        target,
        tolerance_mm=tolerance_mm,
    )
    known = {} if masks.seen is None else {"seen": masks.seen}
    return [{**row, "patient": records.cell(job.patient), **known} for row in rows]
