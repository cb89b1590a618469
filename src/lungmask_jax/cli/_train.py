"""``lungmask-jax train``: labelled scans in, a weights bundle, a log and its curve out."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.progress import Progress

from lungmask_jax import data, inference, training, viz, weights
from lungmask_jax.cli._progress import bar
from lungmask_jax.data import Case
from lungmask_jax.errors import SpecError, UnknownNameError, nearest
from lungmask_jax.files import atomic
from lungmask_jax.spec import (
    PRESETS,
    ModelSpec,
    PostprocessSpec,
    PreprocessSpec,
    SegmenterSpec,
    TrainSpec,
)
from lungmask_jax.training import Samples

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Trains as told; the bundle is written anew after every epoch."""
    if options.out.suffix != ".npz":
        raise SpecError(f"expected --out to end in .npz, found {options.out}")
    spec, model = _train_spec(options), _model_spec(options)
    preprocess = _preset(options.preset or options.target)
    train, held_out = data.split(_cases(options), options.validation, seed=options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with bar() as progress:
        samples = _samples(train, preprocess, options, progress, "reading")
        validation = _samples(held_out, preprocess, options, progress, "reading, held out")
        progress.console.print(
            f"{len(train)} scans with {len(samples.images)} slices to learn from, "
            f"{len(held_out)} scans of other patients with {len(validation.images)} slices held out"
        )
        card = _card(options, train, held_out, spec)
        segmenter = SegmenterSpec(
            target=options.target,
            model=model,
            preprocess=preprocess,
            postprocess=_postprocess(options.target),
            card=card,
        )
        _learn(options.out, segmenter, spec, samples, validation, progress)
    return 0


def _learn(
    out: Path,
    segmenter: SegmenterSpec,
    spec: TrainSpec,
    samples: Samples,
    validation: Samples,
    progress: Progress,
) -> None:
    task = progress.add_task("training", total=spec.steps)
    log: list[dict[str, float]] = []
    model = weights.create_model(segmenter.model)
    for epoch in training.train(model, samples, spec, validation=validation):
        line = {"step": epoch.step, "loss": epoch.loss, "seconds": epoch.seconds}
        if not math.isnan(epoch.dice):
            line["dice"] = epoch.dice
        log.append(line)
        progress.update(task, completed=epoch.step)
        progress.console.print(" ".join(f"{key} {value:.4g}" for key, value in line.items()))
        state = jax.device_get(epoch.train_state)
        weights.save(out, segmenter, state.ema, state.state)
        with atomic(out.with_suffix(".jsonl")) as temporary:
            temporary.write_text("".join(json.dumps(one) + "\n" for one in log), encoding="utf-8")
        scores = ("dice",) if "dice" in line else ()
        picture = viz.learning_curve(log, series=("loss",), scores=scores)
        viz.save_png(picture, out.with_suffix(".png"))
    progress.console.print(f"{out} is ready: lungmask-jax segment SCAN -o OUT --weights ... {out}")


def _samples(
    cases: Sequence[Case],
    preprocess: PreprocessSpec,
    options: argparse.Namespace,
    progress: Progress,
    title: str,
) -> Samples:
    window = tuple(options.window) if options.window else None
    lung_model = weights.load(options.lungs) if preprocess.region == "lungs" else None
    parts = []
    for case in progress.track(cases, description=title):
        ct, masks = data.load_case(case, window=window)
        if options.target not in masks:
            raise SpecError(f"expected a mask of {options.target} for {case.name}, found none")
        lungs = None
        if lung_model is not None:
            lungs = inference.segment(ct, weights=[lung_model]).lungs
        parts.append(Samples.of_scan(ct, masks[options.target], preprocess, lungs=lungs))
    return Samples.joined(parts)


def _cases(options: argparse.Namespace) -> list[Case]:
    if options.data:
        return data.read_metadata(options.data)
    if not options.masks:
        raise SpecError("expected --masks with --images, found none: name the folder of masks")
    return data.pair_folders(options.images, options.masks, target=options.target)


def _preset(name: str) -> PreprocessSpec:
    if name not in PRESETS:
        raise UnknownNameError(f"no preset {name!r}: {nearest(name, PRESETS)}")
    return PRESETS[name]


def _model_spec(options: argparse.Namespace) -> ModelSpec:
    values: dict[str, Any] = {"channels": options.channels} if options.model == "unet" else {}
    return ModelSpec(name=options.model, options=values)


def _train_spec(options: argparse.Namespace) -> TrainSpec:
    given = {
        name: getattr(options, name)
        for name in ("steps", "batch_size", "learning_rate", "seed")
        if getattr(options, name) is not None
    }
    rate = 0.5 if options.target == "lungs" else 0.0
    return TrainSpec(opacities=rate, gas=rate, **given)


def _postprocess(target: str) -> PostprocessSpec:
    if target == "lungs":
        return PostprocessSpec(min_component_ml=5.0, fill_holes=True)
    return PostprocessSpec(min_component_ml=0.1, rim_mm=5.0)


def _card(
    options: argparse.Namespace, train: Sequence[Case], held_out: Sequence[Case], spec: TrainSpec
) -> dict[str, Any]:
    return {
        "data": str(options.data or options.images),
        "trained_on": [case.name for case in train],
        "held_out": [case.name for case in held_out],
        "steps": spec.steps,
        "seed": spec.seed,
    }
