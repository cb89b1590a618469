"""``lungmask-jax train``: labelled scans in, a weights bundle, a log and its curve out."""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from rich.progress import Progress

from lungmask_jax import calibration, data, training, viz, weights
from lungmask_jax.cli._prepare import cases, samples
from lungmask_jax.cli._progress import bar, counted
from lungmask_jax.cli._settings import settings
from lungmask_jax.data import Case
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.files import atomic, writable
from lungmask_jax.models import Model, slab
from lungmask_jax.spec import SegmenterSpec, TrainSpec, to_json
from lungmask_jax.training import Epoch, Samples
from lungmask_jax.weights import Bundle

__all__ = ["run"]

_LUNG_LIKE: Final = 0.25


def run(options: argparse.Namespace) -> int:
    """Trains as told; the bundle is written anew after every epoch."""
    if options.out.suffix != ".npz":
        raise SpecError(
            f"expected --out to end in .npz, found {options.out}: give {options.out}.npz"
        )
    segmenter, spec = settings(options)
    _check(options, segmenter, spec)
    train, held_out = data.split(cases(options), options.validation, seed=options.seed)
    for folder in filter(None, (options.out.parent, options.cache)):
        writable(folder)
    with bar() as progress:
        learned = Samples.joined(samples(train, segmenter, options, progress, "reading"))
        apart = samples(held_out, segmenter, options, progress, "reading, held out")
        count = sum(len(scan.images) for scan in apart)
        progress.console.print(
            f"{options.target}: {counted(len(train), 'scan')} with "
            f"{counted(len(learned.images), 'slice')} to learn from, held out "
            f"{counted(len(held_out), 'scan')} of other patients with {counted(count, 'slice')}"
        )
        _doubt(learned, segmenter, progress)
        start = weights.load(options.start) if options.start else None
        card = _card(options, train, held_out, segmenter, spec, start)
        if options.overwrite:  # or --resume would go on from the run before
            _checkpoint(options.out).unlink(missing_ok=True)
        _learn(
            Run(options.out, replace(segmenter, card=card), spec, learned, apart, start),
            options,
            progress,
        )
    return 0


def _check(options: argparse.Namespace, segmenter: SegmenterSpec, spec: TrainSpec) -> None:
    """What would fail after all scans were read, fails before."""
    model = weights.create_model(segmenter.model)
    if segmenter.target == "lungs" and model.num_classes != 1:
        raise SpecError(
            "expected one class for the lungs, whose sides are told apart afterwards, found "
            f"num_classes={model.num_classes}"
        )
    checkpoint = _checkpoint(options.out)
    if options.resume and not checkpoint.is_file():
        raise WeightsError(f"expected a training checkpoint, found no file {checkpoint}")
    there = [path for path in (checkpoint, options.out) if path.exists()]
    if there and not (options.resume or options.overwrite):
        further = "--resume" if there[0] == checkpoint else f"--start {options.out}"
        raise SpecError(
            f"expected a new name for --out, found {there[0]}: replace it with --overwrite, or "
            f"give another name; {further} goes on from it"
        )
    _trace(model, spec, segmenter.preprocess.size, _mesh(options))


def _doubt(samples: Samples, segmenter: SegmenterSpec, progress: Progress) -> None:
    """Lungs fill a third of the box around them; infection hardly ever fills a sixth."""
    share = (samples.masks > 0).mean()
    if segmenter.preprocess.region == "lungs" and share > _LUNG_LIKE:
        progress.console.print(
            f"the masks fill {share:.0%} of the images: are they lungs? Then give --target lungs",
            style="red",
        )


def _trace(model: Model, spec: TrainSpec, size: tuple[int, int], mesh: Mesh | None) -> None:
    """A step without numbers: network, loss, sizes and devices fit together, or it is refused."""
    inner, around = slab(model)
    depth = () if model.ndim == 2 else (inner + 2 * around,)
    place = (spec.batch_size, *depth, *size)
    step = training.make_train_step(model, spec, mesh=mesh)

    def first() -> Any:
        images = jnp.zeros((*place, model.in_channels), jnp.float32)
        return step(training.create_state(model, spec), images, jnp.zeros(place, jnp.uint8))

    jax.eval_shape(first)


def _mesh(options: argparse.Namespace) -> Mesh | None:
    return None if options.devices is None else training.make_mesh(count=options.devices)


class Run(NamedTuple):
    """What is trained, on what, and where it goes; the scans held out stay apart."""

    out: Path
    segmenter: SegmenterSpec
    spec: TrainSpec
    samples: Samples
    held_out: list[Samples]
    start: Bundle | None

    @property
    def checkpoint(self) -> Path:
        """The last state; the bundle holds the best weights."""
        return _checkpoint(self.out)

    @property
    def log(self) -> Path:
        """One line an epoch."""
        return self.out.with_suffix(".jsonl")


def _checkpoint(out: Path) -> Path:
    return out.with_suffix(".checkpoint.npz")


def _learn(run: Run, options: argparse.Namespace, progress: Progress) -> None:
    task = progress.add_task("training", total=run.spec.steps)
    model = weights.create_model(run.segmenter.model)
    identity = {"data": run.samples.checksum, "start": run.start.checksum if run.start else ""}
    start, log = None, []
    if options.resume:
        start = training.load_checkpoint(run.checkpoint, model, run.spec, **identity)
        log = [line for line in _lines(run.log) if line["step"] <= int(start.step)]
        progress.console.print(f"going on after step {int(start.step)} of {run.spec.steps}")
    elif run.start:
        begun = run.start.params, run.start.state
        start = training.create_state(model, run.spec, weights=begun)
    for epoch in training.train(
        model,
        run.samples,
        run.spec,
        validation=Samples.joined(run.held_out),
        start=start,
        mesh=_mesh(options),
    ):
        log.append(_line(epoch))
        progress.update(task, completed=epoch.step)
        progress.console.print(" ".join(f"{key} {value:.4g}" for key, value in log[-1].items()))
        _keep(run, epoch, log, identity)
    _calibrate(run, progress)
    progress.console.print(
        f"{run.out} is ready: lungmask-jax segment SCAN -o OUT --weights ... {run.out}"
    )


def _calibrate(run: Run, progress: Progress) -> None:
    """Calibration and threshold from the scans held out, into the best bundle there was."""
    truths = [scan.masks > 0 for scan in run.held_out]
    if not any(truth.any() for truth in truths):
        return
    bundle = weights.load(run.out)
    network = bundle.model, bundle.params, bundle.state
    found = [training.answers(scan.images, *network).sum(axis=-1) for scan in run.held_out]
    numbers = calibration.fit(found, truths)
    likely = [calibration.calibrated(one, numbers) for one in found]
    threshold = calibration.best_threshold(likely, truths)
    after = replace(bundle.spec.postprocess, calibration=numbers, threshold=threshold)
    weights.save(run.out, replace(bundle.spec, postprocess=after), bundle.params, bundle.state)
    progress.console.print(
        f"calibrated on the scans held out: log-odds x {numbers[0]:.2f} {numbers[1]:+.2f}, "
        f"threshold {threshold}"
    )


def _keep(run: Run, epoch: Epoch, log: list[dict[str, float]], identity: Mapping[str, str]) -> None:
    """Bundle, log and curve, and the checkpoint last: after a crash, nothing is ahead of it."""
    state = jax.device_get(epoch.train_state)
    if log[-1].get("dice", 0.0) >= max(line.get("dice", 0.0) for line in log):
        card = {**run.segmenter.card, **log[-1]}
        weights.save(run.out, replace(run.segmenter, card=card), state.ema, state.state)
    with atomic(run.log) as temporary:
        temporary.write_text("".join(json.dumps(one) + "\n" for one in log), encoding="utf-8")
    scores = ("dice",) if "dice" in log[-1] else ()
    picture = viz.learning_curve(log, series=("loss",), scores=scores)
    viz.save_png(picture, run.out.with_suffix(".png"))
    training.save_checkpoint(run.checkpoint, state, run.spec, **identity)


def _line(epoch: Epoch) -> dict[str, float]:
    line = {
        "step": epoch.step,
        "loss": epoch.loss,
        "seconds": epoch.seconds,
        "waited": epoch.waited,
    }
    return line if math.isnan(epoch.dice) else {**line, "dice": epoch.dice}


def _lines(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _card(
    options: argparse.Namespace,
    train: Sequence[Case],
    held_out: Sequence[Case],
    segmenter: SegmenterSpec,
    spec: TrainSpec,
    start: Bundle | None,
) -> dict[str, Any]:
    card = {
        "data": str(options.data or options.images),
        "trained_on": [case.name for case in train],
        "held_out": [case.name for case in held_out],
        "training": json.loads(to_json(spec)),
        "validation": options.validation,
    }
    if options.window:
        card["window"] = list(options.window)
    if segmenter.preprocess.region == "lungs":
        card["lungs"] = str(options.lungs)
    if start:
        card |= {"started_from": str(options.start), "started_from_checksum": start.checksum}
    return card
