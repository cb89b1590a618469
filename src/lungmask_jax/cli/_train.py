"""``lungmask-jax train``: labelled scans in, a weights bundle, a log and its curve out."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from rich.progress import Progress

from lungmask_jax import data, training, weights
from lungmask_jax.cli._border import complain, stopping
from lungmask_jax.cli._card import card
from lungmask_jax.cli._doubts import doubts, strangers
from lungmask_jax.cli._learn import Files, Run, learn
from lungmask_jax.cli._prepare import Prepared, cases, prepared
from lungmask_jax.cli._progress import bar, counted
from lungmask_jax.cli._settings import settings
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.files import writable
from lungmask_jax.models import Model
from lungmask_jax.spec import SegmenterSpec, TrainSpec
from lungmask_jax.training import Samples

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Trains as told; the bundle is written anew after every epoch."""
    if options.out.suffix != ".npz":
        raise SpecError(
            f"expected --out to end in .npz, found {options.out}: give {options.out}.npz"
        )
    segmenter, spec = settings(options)
    _check(options, segmenter, spec)
    for folder in filter(None, (options.out.parent, options.cache)):
        writable(folder)
    with bar() as progress:
        with stopping(lambda: "nothing is learned yet, begin again"):
            ready = _prepared(options, segmenter, spec, progress)
        if options.overwrite:  # or --resume would go on from the run before
            ready.files.checkpoint.unlink(missing_ok=True)
            ready.files.log.unlink(missing_ok=True)
        return learn(ready, progress, resume=options.resume)


def _prepared(
    options: argparse.Namespace, segmenter: SegmenterSpec, spec: TrainSpec, progress: Progress
) -> Run:
    """Scans read and prepared, with a word for each thing that is odd about them."""
    sides = data.split(cases(options), options.validation, seed=options.seed)
    start = weights.load(options.start) if options.start else None
    train = prepared(sides[0], segmenter, options, progress, "reading")
    held_out = prepared(sides[1], segmenter, options, progress, "reading, held out")
    progress.console.print(
        f"{options.target}: {counted(len(train), 'scan')} with {_slices(train)} to learn from, "
        f"held out {counted(len(held_out), 'scan')} of other patients with {_slices(held_out)}"
    )
    for doubt in doubts(train, held_out, segmenter):
        complain(doubt)
    for doubt in strangers(train, held_out, sides, start):
        complain(doubt)
    segmenter = replace(segmenter, card=card(options, train, held_out, segmenter, spec, start))
    samples = Samples.joined([scan.samples for scan in train])
    apart = [scan.samples for scan in held_out]
    return Run(Files(options.out), segmenter, spec, samples, apart, start, _mesh(options))


def _slices(scans: Sequence[Prepared]) -> str:
    return counted(sum(len(scan.samples.images) for scan in scans), "slice")


def _check(options: argparse.Namespace, segmenter: SegmenterSpec, spec: TrainSpec) -> None:
    """What would fail after all scans were read, fails before."""
    model = weights.create_model(segmenter.model)
    if segmenter.target == "lungs" and model.num_classes != 1:
        raise SpecError(
            "expected one class for the lungs, whose sides are told apart afterwards, found "
            f"num_classes={model.num_classes}"
        )
    _check_files(Files(options.out), options)
    _trace(model, spec, segmenter.preprocess.size, _mesh(options))


def _check_files(files: Files, options: argparse.Namespace) -> None:
    """A run is not replaced unless told to, nor is anything else of its names."""
    if options.resume and not files.checkpoint.is_file():
        raise WeightsError(f"expected a training checkpoint, found no file {files.checkpoint}")
    further = {
        files.checkpoint: "; --resume goes on from it",
        files.out: f"; --start {files.out} goes on from it",
        files.log: "",
        files.curve: "",
    }
    there = [path for path in further if _is_there(path)]
    folders = [path for path in there if path.is_dir()]
    if folders:
        raise SpecError(
            f"expected the name of a file, {folders[0]} is a folder: give another --out"
        )
    if there and not (options.resume or options.overwrite):
        raise SpecError(
            f"expected a new name for --out, found {there[0]}: replace it with --overwrite, or "
            f"give another name{further[there[0]]}"
        )


def _is_there(path: Path) -> bool:
    """Whether there is anything of this name, a link to nothing included."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _trace(model: Model, spec: TrainSpec, size: tuple[int, int], mesh: Mesh | None) -> None:
    """A step without numbers: network, loss, sizes and devices fit together, or it is refused."""
    depth = () if model.ndim == 2 else (model.slices,)
    place = (spec.batch_size, *depth, *size)
    step = training.make_train_step(model, spec, mesh=mesh)

    def first() -> Any:
        images = jnp.zeros((*place, model.in_channels), jnp.float32)
        return step(training.create_state(model, spec), images, jnp.zeros(place, jnp.uint8))

    jax.eval_shape(first)


def _mesh(options: argparse.Namespace) -> Mesh | None:
    return None if options.devices is None else training.make_mesh(count=options.devices)
