"""The settings of ``lungmask-jax train``, as specs."""

import argparse
import json
import math
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from lungmask_jax import weights
from lungmask_jax.errors import SpecError, UnknownNameError, nearest, shown
from lungmask_jax.models import Model
from lungmask_jax.spec import (
    PRESETS,
    ModelSpec,
    PostprocessSpec,
    PreprocessSpec,
    SegmenterSpec,
    TrainSpec,
    from_json,
    json_value,
    to_json,
)

__all__ = ["settings"]

_GIVEN = ("steps", "steps_per_epoch", "batch_size", "accumulate", "learning_rate", "loss", "seed")

_NUMBERS: Final = 2**30
"""Of a batch of images, 4 GB: what a network makes of them has a hundred times as many."""

_Spec = TypeVar("_Spec", PreprocessSpec, TrainSpec)


def settings(options: argparse.Namespace) -> tuple[SegmenterSpec, TrainSpec]:
    """What is trained, and how; network and preprocessing are those of a bundle to start from."""
    if options.start:
        model, preprocess = _begun(options)
    else:
        model = _model_spec(options)
        preset = _preset(options.preset or options.target)
        preprocess = _changed(preset, _values("preprocess", options.preprocess))
    network = weights.create_model(model)
    spec = _train_spec(options, network)
    _check_batch(network, spec, preprocess)
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
        raise UnknownNameError(f"no preset {shown(name)}: {nearest(name, PRESETS)}")
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


def _check_batch(model: Model, spec: TrainSpec, preprocess: PreprocessSpec) -> None:
    count = spec.batch_size * model.slices * math.prod(preprocess.size)
    if count > _NUMBERS:
        raise SpecError(
            f"expected at most {_NUMBERS:,} numbers in a batch, found {count:,} in "
            f"{spec.batch_size} images of {preprocess.size}: lower --batch-size or the size"
        )


def _values(name: str, texts: Sequence[str], elsewhere: Sequence[str] = ()) -> dict[str, Any]:
    """``NAME=VALUE`` as a mapping; values are JSON, or else words, as in norm=batch.

    What has an option of its own, `elsewhere`, is refused: there is one way to say it.
    """
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"expected --{name} NAME=VALUE, found {shown(text)}")
        if key in elsewhere:
            raise SpecError(
                f"expected --{key.replace('_', '-')} VALUE, found --{name} {text[:100]}"
            )
        try:
            values[key] = json_value(value, f"a value of --{name} {key[:100]}")
        except SpecError as error:
            if not isinstance(error.__cause__, json.JSONDecodeError):
                raise
            values[key] = value
    return values


def _changed(spec: _Spec, values: dict[str, Any]) -> _Spec:
    """The spec with other values; an unknown name is refused with the nearest known one."""
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise SpecError(f"expected a finite {name}, found {value}")
    return from_json(json.dumps(json.loads(to_json(spec)) | values), type(spec))


def _postprocess(target: str) -> PostprocessSpec:
    if target == "lungs":
        return PostprocessSpec(min_component_ml=5.0, fill_holes=True)
    return PostprocessSpec(min_component_ml=0.1, rim_mm=5.0)
