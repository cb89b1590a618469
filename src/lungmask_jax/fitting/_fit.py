"""From labeled scans to a calibrated bundle."""

import functools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from lungmask_jax import training, viz, weights
from lungmask_jax.data import Case
from lungmask_jax.errors import SpecError
from lungmask_jax.fitting._calibration import Judgement, calibrated
from lungmask_jax.fitting._files import Existing, Line, RunFiles
from lungmask_jax.fitting._prepare import prepare
from lungmask_jax.fitting._scans import Progress, TrainingScans
from lungmask_jax.fitting._warnings import loss_warning, score_warning
from lungmask_jax.models import Model
from lungmask_jax.spec import Recipe, to_json
from lungmask_jax.training import Epoch, Samples, TrainState
from lungmask_jax.weights import Bundle

_TIMES = ("seconds", "waited")
_LINE = ("step", "loss", *_TIMES, "dice_at_best", "dice")


class FitEpoch(NamedTuple):
    """An epoch of `fit`, with the best bundle so far.

    Attributes:
        step: Number of finished steps.
        loss: Mean training loss since the last epoch.
        bundle: Weights of the best epoch so far; in the last epoch calibrated and complete.
        dice: Mean Dice over the held-out slices, at threshold 0.5; NaN without any.
        dice_at_best: Dice of all these slices pooled, at its best threshold; epochs are
            chosen by it.
        seconds: Time since the last epoch.
        waited: Seconds of these in which the device had no batch.
        judgement: Scores of the last epoch's bundle; none if it could not be scored.
        notes: Warnings, a sentence each: about the scans in the first epoch, if `fit` has read
            them, a curve that cannot be drawn, and about the network in the last one.

    Example:
        >>> from lungmask_jax.spec import SegmenterSpec
        >>> spec = SegmenterSpec(target="lungs")
        >>> FitEpoch(50, 0.7, Bundle("mine", spec, {}, {}, ""), dice_at_best=0.8).line
        {'step': 50, 'loss': 0.7, 'dice_at_best': 0.8}
    """

    step: int
    loss: float
    bundle: Bundle
    dice: float = math.nan
    dice_at_best: float = math.nan
    seconds: float = math.nan
    waited: float = math.nan
    judgement: Judgement | None = None
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> Line:
        """Its numbers by name, without missing ones, as in the log."""
        return _line(self)


class _Run(NamedTuple):
    """Recipe, scans and files of a run."""

    recipe: Recipe
    scans: TrainingScans
    identity: Mapping[str, str]
    start: Bundle | None
    files: RunFiles | None
    mesh: Mesh | None

    @property
    def model(self) -> Model:
        return weights.create_model(self.recipe.segmenter.model)


def fit(
    cases: Sequence[Case] | TrainingScans,
    recipe: Recipe,
    *,
    out: str | os.PathLike[str] | None = None,
    existing: Existing = "refuse",
    cache: str | os.PathLike[str] | None = None,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Iterator[FitEpoch]:
    """Trains a network on labeled scans, calibrates it, and yields its bundle.

    Scans are read and prepared as for inference, some patients are held out, and the network is
    trained. The epoch with the best Dice on the held-out scans is kept, the later of equal ones.
    At the end, calibration and threshold are chosen on these scans, too.

    Args:
        cases: Labeled scans, or the result of `prepare`.
        recipe: The settings.
        out: Path of the bundle. It is written after every epoch that is better than those before;
            log, curve and checkpoint after every epoch, with the names of `RunFiles`; the curve
            needs matplotlib. By default nothing is written.
        existing: Files of an earlier run: ``"refuse"`` them, ``"resume"`` from its checkpoint,
            with the same scans and recipe, or ``"replace"`` them.
        cache: Folder for prepared scans, so that the next run starts at once.
        mesh: Devices that share the work, from `lungmask_jax.training.make_mesh`.
        progress: Called as ``progress(stage, done, total)`` for each scan of ``"reading"`` and of
            ``"reading, held out"``, each step of ``"training"``, and before ``"calibrating"``.
            If it returns True in one of the latter two, the run ends there, with its checkpoint
            and an epoch of the steps so far.

    Yields:
        Every ``recipe.training.steps_per_epoch`` steps and at the end: losses, scores and the
        best bundle so far. That of the last epoch is calibrated.

    Raises:
        ScanError: A scan cannot be used, or all masks are empty.
        SpecError: Settings do not fit together or to the resumed run, existing files must not be
            replaced, or the loss is no longer finite.
        WeightsError: There is nothing to resume from, or a bundle of the recipe is damaged.

    Example:
        >>> import numpy as np
        >>> from lungmask_jax.fitting import recipe
        >>> samples = Samples.of(np.zeros((2, 16, 16, 1)), np.ones((2, 16, 16)))
        >>> quick = recipe(target="lungs", channels=(4, 8), steps=4, steps_per_epoch=2)
        >>> [epoch.step for epoch in fit(TrainingScans(samples), quick)]
        [2, 4]
    """
    files = None if out is None else RunFiles(Path(out))
    notes: tuple[str, ...] = ()
    if files is not None:
        files.refuse(existing)
        if missing := viz.missing_plots():
            notes = (f"no learning curve: {missing}",)
    elif existing == "resume":
        raise SpecError("expected out with existing='resume', found none: name the bundle")
    if not isinstance(cases, TrainingScans):
        cases = prepare(cases, recipe, cache=cache, mesh=mesh, progress=progress)
        notes += cases.notes
    run, log = _run(cases, recipe, files, mesh), list[Line]()
    for epoch in _epochs(run, log, existing == "resume", progress):
        last = epoch.step == recipe.training.steps and not _is_stopped(progress, "calibrating")
        done = _concluded(run, epoch, log) if last else epoch
        yield done._replace(notes=notes + done.notes)
        notes = ()


def _run(scans: TrainingScans, recipe: Recipe, files: RunFiles | None, mesh: Mesh | None) -> _Run:
    start = weights.load(recipe.start) if recipe.start else None
    identity = {"data": scans.samples.checksum, "start": start.checksum if start else ""}
    return _Run(recipe, scans, identity, start, files, mesh)


def _is_stopped(progress: Progress | None, stage: str, done: int = 0, total: int = 1) -> bool:
    return progress is not None and bool(progress(stage, done, total))


def _epochs(
    run: _Run, log: list[Line], resume: bool, progress: Progress | None
) -> Iterator[FitEpoch]:
    """Epoch by epoch, each logged and saved; for a complete run, the last one again."""
    spec, validation = run.recipe.training, [scan.samples for scan in run.scans.held_out]
    state, best = _resumed_or_new(run, log, resume)
    _is_stopped(progress, "training", int(state.step), spec.steps)
    if best is not None and int(state.step) == spec.steps:
        yield FitEpoch(**log[-1], bundle=best)  # type: ignore[arg-type]
    for epoch in training.train(
        run.model,
        run.scans.samples,
        spec,
        validation=Samples.joined(validation) if validation else None,
        start=state,
        mesh=run.mesh,
        progress=functools.partial(_is_stopped, progress, "training", total=spec.steps),
    ):
        state, line = jax.device_get(epoch.train_state), _line(epoch)
        whole = epoch.step % spec.steps_per_epoch == 0 or epoch.step == spec.steps
        better = whole and all(_selection_score(line) >= _selection_score(before) for before in log)
        made = _bundle(run, state, line) if better or best is None else best
        best = made if better else best
        if whole:
            log.append(line)
        _write_run(run, state, log if whole else [], made if better else None)
        yield FitEpoch(**line, bundle=made)  # type: ignore[arg-type]


def _resumed_or_new(run: _Run, log: list[Line], resume: bool) -> tuple[TrainState, Bundle | None]:
    """The initial state and the best bundle so far; fills the log with the lines of the run."""
    spec, files = run.recipe.training, run.files
    if files is not None and resume:
        state = training.load_checkpoint(files.checkpoint, run.model, spec, **run.identity)
        log += files.read_log(int(state.step), spec)
        return state, weights.load(files.bundle) if log else None
    if files is not None:  # of a run that is replaced, or resume would go on from it
        files.checkpoint.unlink(missing_ok=True)
        files.log.unlink(missing_ok=True)
    known = (run.start.params, run.start.state) if run.start else None
    return training.create_state(run.model, spec, weights=known), None


def _bundle(run: _Run, state: TrainState, line: Line) -> Bundle:
    """The running mean of the weights, with a card of the run so far."""
    scores = {name: value for name, value in line.items() if name not in _TIMES}
    segmenter = run.recipe.segmenter
    described = replace(segmenter, card={**card(run.recipe, run.scans, run.start), **scores})
    name = run.files.bundle.stem if run.files else segmenter.target
    return Bundle.of(name, described, state.ema, state.state)


def _write_run(run: _Run, state: TrainState, log: Sequence[Line], better: Bundle | None) -> None:
    """Bundle, log and curve, and the checkpoint last: after a crash, nothing is ahead of it."""
    if run.files is None:
        return
    if better is not None:
        weights.save(run.files.bundle, better.spec, better.params, better.state)
    if log:
        run.files.write_log(log)
    training.save_checkpoint(run.files.checkpoint, state, run.recipe.training, **run.identity)


def _concluded(run: _Run, epoch: FitEpoch, log: Sequence[Line]) -> FitEpoch:
    """The last epoch, with its bundle calibrated, and warnings about it."""
    bundle, judgement = calibrated(epoch.bundle, run.scans.held_out)
    if run.files is not None and judgement is not None:
        weights.save(run.files.bundle, bundle.spec, bundle.params, bundle.state)
    name = str(run.files.bundle) if run.files else bundle.name
    notes = *loss_warning(log), *score_warning(name, judgement)
    return epoch._replace(bundle=bundle, judgement=judgement, notes=notes)


def _selection_score(line: Mapping[str, float]) -> float:
    """The score by which epochs are chosen, as in `lungmask_jax.training.best`."""
    return line.get("dice_at_best", -1.0)


def _line(epoch: Epoch | FitEpoch) -> Line:
    values: dict[str, Any] = {name: getattr(epoch, name) for name in _LINE}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def card(recipe: Recipe, scans: TrainingScans, start: Bundle | None) -> dict[str, Any]:
    """The card of a run, before its scores are known."""
    before = start.spec.card if start else {}
    held_out = {scan.name: scan.fingerprint for scan in scans.held_out}
    written = {
        **recipe.segmenter.card,
        "trained_on": [*scans.learned],
        "held_out": [*held_out],
        "trained_on_images": _images(scans.learned, before, "trained_on_images"),
        "held_out_images": _images(held_out, before, "held_out_images"),
        "training": json.loads(to_json(recipe.training)),
        "validation": recipe.validation,
    }
    if recipe.window:
        written["window"] = list(recipe.window)
    if recipe.segmenter.preprocess.around:
        written["lungs"] = Path(recipe.lungs).name
    if start:
        name = Path(recipe.start).name
        written |= {"started_from": name, "started_from_checksum": start.checksum}
    return written


def _images(scans: Mapping[str, str], before: Mapping[str, Any], key: str) -> list[str]:
    """Fingerprints, including those of the initial bundle, whose weights have seen its scans."""
    known = before.get(key)
    more = known if isinstance(known, list) else []
    return list(dict.fromkeys([*scans.values(), *more]))
