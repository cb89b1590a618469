"""The lines that ``lungmask-jax train`` prints while it works."""

from collections.abc import Callable
from pathlib import Path

from rich.progress import Progress

from lungmask_jax.cli._border import print_error
from lungmask_jax.cli._progress import counted
from lungmask_jax.cli._stop import Stop
from lungmask_jax.fitting import FitEpoch, TrainingScans
from lungmask_jax.spec import Recipe


def watcher(progress: Progress, stop: Stop) -> Callable[[str, int, int], bool]:
    """What a fit calls to move a bar on; its answer is whether to stop."""
    stop.stage = "reading"
    task = progress.add_task(stop.stage)

    def watch(stage: str, done: int, total: int) -> bool:
        if stage == "training" and stop.stage != stage and done:
            progress.console.print(f"continuing after step {done} of {total}")
        stop.stage = stage
        progress.update(task, description=stage, completed=done, total=total)
        return stop.number is not None

    return watch


def print_data(scans: TrainingScans, recipe: Recipe, progress: Progress) -> None:
    """Says what is learned from, and what is odd about it."""
    slices = sum(len(scan.samples.images) for scan in scans.held_out)
    learned = (
        f"{counted(len(scans.learned), 'scan')} with {counted(len(scans.samples.images), 'slice')}"
    )
    held_out = f"{counted(len(scans.held_out), 'scan')} of other patients with"
    progress.console.print(
        f"{recipe.segmenter.target}: {learned} for training, held out {held_out} "
        f"{counted(slices, 'slice')}"
    )
    for note in scans.notes:
        print_error(note)


def say(epoch: FitEpoch, out: Path, needs: str, progress: Progress) -> None:
    """Says how an epoch went; of the last one, what came of it."""
    write = progress.console.print
    write(" ".join(f"{key} {value:.4g}" for key, value in epoch.line.items()))
    if epoch.judgement is not None:
        dice, _, (slope, offset), threshold = epoch.judgement
        write(
            f"calibrated on the held-out scans: log-odds x {slope:.2f} {offset:+.2f}, "
            f"threshold {threshold}, Dice {dice:.3f}"
        )
    for note in epoch.notes:
        print_error(note)
    if epoch.judgement is not None and epoch.judgement.learned:
        models = f"{needs} {out}".strip()
        write(f"{out} is ready: lungmask-jax segment SCAN -o OUT --weights {models}")
