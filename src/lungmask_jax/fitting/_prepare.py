"""Labeled scans, prepared for training and validation."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from lungmask_jax import __version__, data, inference, training, weights
from lungmask_jax.data import Case
from lungmask_jax.files import atomic, output_folder
from lungmask_jax.fitting._scans import PreparedScan, Progress, TrainingScans
from lungmask_jax.fitting._warnings import data_warnings, leakage_warnings
from lungmask_jax.models import Model
from lungmask_jax.prediction import Slab
from lungmask_jax.spec import Recipe, to_json
from lungmask_jax.training import Samples
from lungmask_jax.weights import Bundle


def prepare(
    cases: Sequence[Case],
    recipe: Recipe,
    *,
    cache: str | os.PathLike[str] | None = None,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> TrainingScans:
    """Reads labeled scans and prepares them as for inference, the first part of `fit`.

    Args:
        cases: Cases with masks of the recipe's target.
        recipe: The settings of preprocessing, network and split.
        cache: Folder for prepared scans, so that the next run starts at once.
        mesh: Devices that will share the work, as for `fit`.
        progress: Called as ``progress(stage, scans_done, scans)`` with ``"reading"`` and
            ``"reading, held out"``.

    Returns:
        The training scans, the held-out scans, and warnings about them.

    Raises:
        ScanError: A scan cannot be used, or all masks are empty.
        SpecError: Network, loss, sizes and devices do not fit together (checked before a scan is
            read), or there is only one patient.

    Example:
        >>> from lungmask_jax.fitting import recipe
        >>> prepare([], recipe(target="lungs", channels=(4, 8)))
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.SpecError: expected cases of two patients or more, found 0: add cases
    """
    _trace(recipe, mesh)
    folder = None if cache is None else output_folder(cache)
    sides = data.split(cases, recipe.validation, seed=recipe.training.seed)
    start = weights.load(recipe.start) if recipe.start else None
    learned = _prepared(sides[0], recipe, folder, "reading", progress)
    held_out = _prepared(sides[1], recipe, folder, "reading, held out", progress)
    notes = (
        *data_warnings(learned, held_out, recipe.segmenter),
        *leakage_warnings(learned, held_out, sides, start),
    )
    samples = Samples.joined([scan.samples for scan in learned])
    return TrainingScans(samples, {one.name: one.fingerprint for one in learned}, held_out, notes)


def _trace(recipe: Recipe, mesh: Mesh | None) -> None:
    """Traces a step without data, to check that network, loss, sizes and devices fit together."""
    model, spec = weights.create_model(recipe.segmenter.model), recipe.training
    depth = () if model.ndim == 2 else (model.slices,)
    place = (spec.batch_size, *depth, *recipe.segmenter.preprocess.size)
    step = training.make_train_step(model, spec, mesh=mesh)

    def first() -> Any:
        images = jnp.zeros((*place, model.in_channels), jnp.float32)
        return step(training.create_state(model, spec), images, jnp.zeros(place, jnp.uint8))

    jax.eval_shape(first)


def _prepared(
    cases: Sequence[Case],
    recipe: Recipe,
    folder: Path | None,
    stage: str,
    progress: Progress | None,
) -> list[PreparedScan]:
    lung_model = weights.load(recipe.lungs) if recipe.segmenter.preprocess.around else None
    scans = []
    for done, case in enumerate(cases, 1):
        if folder is None:
            scans.append(_made(case, recipe, lung_model))
        else:
            scans.append(_cached(case, recipe, lung_model, folder))
        if progress is not None:
            progress(stage, done, len(cases))
    return scans


def _made(case: Case, recipe: Recipe, lung_model: Bundle | None) -> PreparedScan:
    model, segmenter = weights.create_model(recipe.segmenter.model), recipe.segmenter
    ct, masks = data.load_case(case, window=recipe.window, by_type=model.num_classes > 1)
    lungs = None
    if lung_model is not None:
        lungs = inference.segment(ct, weights=[lung_model]).masks[segmenter.preprocess.around]
    mask = masks[segmenter.target]
    samples = Samples.of_scan(ct, mask, segmenter.preprocess, lungs=lungs, model=model)
    return PreparedScan(case.name, samples, data.fingerprint(ct))


def _cached(case: Case, recipe: Recipe, lung_model: Bundle | None, folder: Path) -> PreparedScan:
    """Samples and fingerprint, from the cache of an earlier run or computed and written to it."""
    model = weights.create_model(recipe.segmenter.model)
    path = folder / _cache_name(case, recipe, model, lung_model)
    note = path.with_suffix(".txt")
    known = note.read_text(encoding="utf-8", errors="replace") if note.is_file() else ""
    if path.is_file() and known:
        samples = Samples.cached(path, lambda: _made(case, recipe, lung_model).samples)
        return PreparedScan(case.name, samples, known)
    made = _made(case, recipe, lung_model)
    with atomic(note) as temporary:
        temporary.write_text(made.fingerprint, encoding="utf-8")
    return made._replace(samples=Samples.cached(path, lambda: made.samples))


def _cache_name(case: Case, recipe: Recipe, model: Model, lung_model: Bundle | None) -> str:
    """A file name that changes with anything the prepared slices depend on."""
    segmenter = recipe.segmenter
    paths = case.image, case.masks[segmenter.target]
    files = [file for path in paths for file in _files(path)]
    facts = [
        __version__,
        to_json(segmenter.preprocess),
        [*Slab.of(model), model.ndim, model.num_classes],
        segmenter.target,
        recipe.window,
        lung_model and [lung_model.checksum, to_json(lung_model.spec)],
        [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
    ]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return f"{case.name}-{digest[:16]}.npz"


def _files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path]
