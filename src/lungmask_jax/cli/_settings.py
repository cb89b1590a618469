"""The settings of ``lungmask-jax train``, as specs."""

import argparse
import json
from typing import Any

from lungmask_jax import weights
from lungmask_jax.errors import SpecError, UnknownNameError, nearest
from lungmask_jax.models import Model
from lungmask_jax.spec import (
    PRESETS,
    ModelSpec,
    PostprocessSpec,
    PreprocessSpec,
    SegmenterSpec,
    TrainSpec,
)

__all__ = ["settings"]

_GIVEN = ("steps", "steps_per_epoch", "batch_size", "accumulate", "learning_rate", "loss", "seed")


def settings(options: argparse.Namespace) -> tuple[SegmenterSpec, TrainSpec]:
    """What is trained, and how; network and preprocessing are those of a bundle to start from."""
    if options.start:
        model, preprocess = _begun(options)
    else:
        model, preprocess = _model_spec(options), _preset(options.preset or options.target)
    spec = _train_spec(options, weights.create_model(model))
    segmenter = SegmenterSpec(
        target=options.target,
        model=model,
        preprocess=preprocess,
        postprocess=_postprocess(options.target),
    )
    return segmenter, spec


def _begun(options: argparse.Namespace) -> tuple[ModelSpec, PreprocessSpec]:
    own = ("model", "channels", "option", "preset")
    if given := [name for name in own if getattr(options, name)]:
        raise SpecError(
            f"expected --start alone, whose bundle says what the network is and sees, found "
            f"--{given[0]} too"
        )
    begun = weights.load(options.start).spec
    if begun.target != options.target:
        raise SpecError(f"expected a bundle for the {options.target}, found one for {begun.target}")
    return begun.model, begun.preprocess


def _preset(name: str) -> PreprocessSpec:
    if name not in PRESETS:
        raise UnknownNameError(f"no preset {name!r}: {nearest(name, PRESETS)}")
    return PRESETS[name]


def _model_spec(options: argparse.Namespace) -> ModelSpec:
    values: dict[str, Any] = {"channels": options.channels} if options.channels else {}
    for text in options.option:
        name, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"expected --option NAME=VALUE, found {text!r}")
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value  # a word, as in norm=batch
    return ModelSpec(name=options.model or "unet", options=values)


def _train_spec(options: argparse.Namespace, model: Model) -> TrainSpec:
    given = {name: getattr(options, name) for name in _GIVEN if getattr(options, name) is not None}
    if model.num_classes > 1:
        given.setdefault("loss", "nested_bce_dice")
    rate = 0.5 if options.target == "lungs" else 0.0
    return TrainSpec(opacities=rate, gas=rate, **given)


def _postprocess(target: str) -> PostprocessSpec:
    if target == "lungs":
        return PostprocessSpec(min_component_ml=5.0, fill_holes=True)
    return PostprocessSpec(min_component_ml=0.1, rim_mm=5.0)
