"""The run itself: epochs, what is kept of them, and a stop from which it can go on."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from rich.progress import Progress

from lungmask_jax import calibration, training, viz, weights
from lungmask_jax.cli._border import complain, stopping
from lungmask_jax.cli._doubts import Judged, unfallen, unlearned
from lungmask_jax.cli._stop import Stop, stoppable
from lungmask_jax.errors import WeightsError
from lungmask_jax.files import atomic
from lungmask_jax.prediction import Predictor
from lungmask_jax.spec import SegmenterSpec, TrainSpec
from lungmask_jax.training import Epoch, Samples, TrainState
from lungmask_jax.weights import Bundle

__all__ = ["Files", "Run", "learn"]

_TIMES = ("seconds", "waited")
_DICE = ("dice_at_best", "dice")
_LOST = (
    "expected the log of the run that goes on, found none, another or a damaged one in {}: put it "
    "back, or begin anew with --overwrite"
)
_STOPPED = 128  # and the number of the signal: what a shell says of a process that was ended by it


class Files(NamedTuple):
    """What a run writes; the bundle, `out`, holds the best weights."""

    out: Path

    @property
    def checkpoint(self) -> Path:
        """The last state."""
        return self.out.with_suffix(".checkpoint.npz")

    @property
    def log(self) -> Path:
        """One line an epoch."""
        return self.out.with_suffix(".jsonl")

    @property
    def curve(self) -> Path:
        """The log as a picture."""
        return self.out.with_suffix(".png")


class Run(NamedTuple):
    """What is trained, on what, and where it goes; the scans held out stay apart."""

    files: Files
    segmenter: SegmenterSpec
    spec: TrainSpec
    samples: Samples
    held_out: list[Samples]
    start: Bundle | None
    mesh: Mesh | None

    @property
    def identity(self) -> dict[str, str]:
        """What a run must have in common with the one it goes on with."""
        start = self.start.checksum if self.start else ""
        return {"data": self.samples.checksum, "start": start}


def learn(run: Run, progress: Progress, *, resume: bool) -> int:
    """Trains, calibrates, and says what came of it; the exit code."""
    start, log = _begun(run, resume=resume, progress=progress)
    with stoppable() as stop:
        done = _trained(run, progress, stop, start, log)
    if stop.number is None:
        with stopping(lambda: "all is learned: the same words and --resume calibrate it"):
            _conclude(run, log, progress)
        return 0
    complain(
        f"stopped after step {done} of {run.spec.steps}: the same words and --resume go on from "
        "there"
    )
    return _STOPPED + stop.number


def _trained(
    run: Run,
    progress: Progress,
    stop: Stop,
    start: TrainState,
    log: list[dict[str, float]],
) -> int:
    """Epoch by epoch, each logged and kept; within one after a signal. The steps done."""
    done, identity = int(start.step), run.identity
    task = progress.add_task("training", total=run.spec.steps, completed=done)

    def step_done(number: int) -> bool:
        progress.update(task, completed=number)
        return stop.number is not None

    for epoch in training.train(
        weights.create_model(run.segmenter.model),
        run.samples,
        run.spec,
        validation=Samples.joined(run.held_out),
        start=start,
        mesh=run.mesh,
        progress=step_done,
    ):
        done = epoch.step
        if done % run.spec.steps_per_epoch and done < run.spec.steps:
            training.save_checkpoint(run.files.checkpoint, epoch.train_state, run.spec, **identity)
        else:
            log.append(_line(epoch))
            shown = " ".join(f"{key} {value:.4g}" for key, value in log[-1].items())
            progress.console.print(shown)
            _keep(run, epoch, log, identity)
    return done


def _begun(
    run: Run, *, resume: bool, progress: Progress
) -> tuple[TrainState, list[dict[str, float]]]:
    """The state to begin with and the log so far."""
    model = weights.create_model(run.segmenter.model)
    if resume:
        start = training.load_checkpoint(run.files.checkpoint, model, run.spec, **run.identity)
        progress.console.print(f"going on after step {int(start.step)} of {run.spec.steps}")
        return start, _log_until(int(start.step), run)
    known = (run.start.params, run.start.state) if run.start else None
    return training.create_state(model, run.spec, weights=known), []


def _keep(run: Run, epoch: Epoch, log: list[dict[str, float]], identity: Mapping[str, str]) -> None:
    """Bundle, log and curve, and the checkpoint last: after a crash, nothing is ahead of it."""
    state = jax.device_get(epoch.train_state)
    if _merit(log[-1]) >= max(map(_merit, log)):
        scores = {key: value for key, value in log[-1].items() if key not in _TIMES}
        card = {**run.segmenter.card, **scores}
        weights.save(run.files.out, replace(run.segmenter, card=card), state.ema, state.state)
    with atomic(run.files.log) as temporary:
        temporary.write_text("".join(json.dumps(one) + "\n" for one in log), encoding="utf-8")
    drawn = [name for name in _DICE if any(name in line for line in log)]
    picture = viz.learning_curve(log, series=("loss",), scores=drawn)
    viz.save_png(picture, run.files.curve)
    training.save_checkpoint(run.files.checkpoint, state, run.spec, **identity)


def _merit(line: Mapping[str, float]) -> float:
    """What epochs are chosen by, as in `lungmask_jax.training.best`."""
    return line.get("dice_at_best", -1.0)


def _line(epoch: Epoch) -> dict[str, float]:
    values = {"step": epoch.step, "loss": epoch.loss}
    values |= {name: getattr(epoch, name) for name in (*_TIMES, *_DICE)}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _log_until(step: int, run: Run) -> list[dict[str, float]]:
    """A line for each epoch of a run that goes on; later ones are made again.

    Without them, and the bundle that they speak of, nobody knew which epoch was the best.
    """
    every, last = run.spec.steps_per_epoch, run.spec.steps
    ends = sorted({*range(every, step + 1, every), *([last] if step == last else [])})
    log, lines = run.files.log, []
    if ends:
        try:
            lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            lines = [line for line in lines if line["step"] <= step]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"{_LOST.format(log)} ({type(error).__name__})") from error
        if [line["step"] for line in lines] != ends:
            raise WeightsError(_LOST.format(log))
        weights.load(run.files.out)
    return lines


def _conclude(run: Run, log: list[dict[str, float]], progress: Progress) -> None:
    """Calibrates the best bundle there was, and says of it what is true."""
    judged = _calibrate(run, progress)
    doubts = [*unfallen(log), *unlearned(run.files.out, judged)]
    for doubt in doubts:
        complain(doubt)
    if judged is not None and judged.learned:
        out = run.files.out
        progress.console.print(
            f"{out} is ready: lungmask-jax segment SCAN -o OUT --weights ... {out}"
        )


def _calibrate(run: Run, progress: Progress) -> Judged | None:
    """Calibration and threshold from the scans held out, into the best bundle there was."""
    truths = [scan.masks > 0 for scan in run.held_out]
    if not any(truth.any() for truth in truths):
        return None
    bundle = weights.load(run.files.out)
    predictor = Predictor(bundle.model, bundle.params, bundle.state)
    found = [predictor.images(scan.images).sum(axis=-1) for scan in run.held_out]
    numbers = calibration.fit(found, truths)
    likely = [calibration.calibrated(one, numbers) for one in found]
    threshold = calibration.best_threshold(likely, truths)
    after = replace(bundle.spec.postprocess, calibration=numbers, threshold=threshold)
    weights.save(
        run.files.out, replace(bundle.spec, postprocess=after), bundle.params, bundle.state
    )
    judged = Judged.of([one > threshold for one in likely], truths)
    progress.console.print(
        f"calibrated on the scans held out: log-odds x {numbers[0]:.2f} {numbers[1]:+.2f}, "
        f"threshold {threshold}, Dice {judged.dice:.3f}"
    )
    return judged
