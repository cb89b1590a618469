"""The settings of ``lungmask-jax train``, as specs."""

import argparse
import json
from collections.abc import Sequence
from typing import Any, TypeVar

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
    from_json,
    to_json,
)

__all__ = ["settings"]

_GIVEN = ("steps", "steps_per_epoch", "batch_size", "accumulate", "learning_rate", "loss", "seed")
_Spec = TypeVar("_Spec", PreprocessSpec, TrainSpec)


def settings(options: argparse.Namespace) -> tuple[SegmenterSpec, TrainSpec]:
    """What is trained, and how; network and preprocessing are those of a bundle to start from."""
    if options.start:
        model, preprocess = _begun(options)
    else:
        model = _model_spec(options)
        preset = _preset(options.preset or options.target)
        preprocess = _changed(preset, _values("preprocess", options.preprocess))
    spec = _train_spec(options, weights.create_model(model))
    segmenter = SegmenterSpec(
        target=options.target,
        model=model,
        preprocess=preprocess,
        postprocess=_postprocess(options.target),
    )
    return segmenter, spec


def _begun(options: argparse.Namespace) -> tuple[ModelSpec, PreprocessSpec]:
    own = ("model", "channels", "option", "preset", "preprocess")
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
    values = _values("option", options.option, elsewhere=("channels",))
    values |= {"channels": options.channels} if options.channels else {}
    return ModelSpec(name=options.model or "unet", options=values)


def _train_spec(options: argparse.Namespace, model: Model) -> TrainSpec:
    rate = 0.5 if options.target == "lungs" else 0.0
    loss = {"loss": "nested_bce_dice"} if model.num_classes > 1 else {}
    given = {name: getattr(options, name) for name in _GIVEN if getattr(options, name) is not None}
    values = loss | _values("setting", options.setting, elsewhere=_GIVEN) | given
    return _changed(TrainSpec(opacities=rate, gas=rate), values)


def _values(name: str, texts: Sequence[str], elsewhere: Sequence[str] = ()) -> dict[str, Any]:
    """``NAME=VALUE`` as a mapping; values are JSON, or else words, as in norm=batch.

    What has an option of its own, `elsewhere`, is refused: there is one way to say it.
    """
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"expected --{name} NAME=VALUE, found {text!r}")
        if key in elsewhere:
            raise SpecError(f"expected --{key.replace('_', '-')} VALUE, found --{name} {text}")
        try:
            values[key] = json.loads(value)
        except json.JSONDecodeError:
            values[key] = value
    return values


def _changed(spec: _Spec, values: dict[str, Any]) -> _Spec:
    """The spec with other values; an unknown name is refused with the nearest known one."""
    return from_json(json.dumps(json.loads(to_json(spec)) | values), type(spec))


def _postprocess(target: str) -> PostprocessSpec:
    if target == "lungs":
        return PostprocessSpec(min_component_ml=5.0, fill_holes=True)
    return PostprocessSpec(min_component_ml=0.1, rim_mm=5.0)
