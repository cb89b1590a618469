"""A recipe from a few settings, with the defaults of the target for the others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

from lungmask_jax import tasks, weights
from lungmask_jax.errors import SpecError, UnknownNameError, nearest, shown
from lungmask_jax.models import Model
from lungmask_jax.spec import (
    PRESETS,
    ModelSpec,
    PreprocessSpec,
    Recipe,
    SegmenterSpec,
    TrainSpec,
)

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

_NUMBERS: Final = 2**30
"""Numbers in a batch of images, 4 GB: a network's features have a hundred times as many."""

_Spec = TypeVar("_Spec", PreprocessSpec, TrainSpec)


def recipe(
    *,
    target: str = tasks.INFECTION.name,
    start: str = "",
    model: str = "",
    channels: Sequence[int] = (),
    option: Mapping[str, Any] = NOTHING,
    preset: str = "",
    preprocess: Mapping[str, Any] = NOTHING,
    window: tuple[float, float] | None = None,
    lungs: str = Recipe.lungs,
    validation: float = Recipe.validation,
    **setting: Any,
) -> Recipe:
    """A recipe from settings, the same as for ``lungmask-jax train`` and its TOML files.

    Args:
        target: The task, a name in `lungmask_jax.tasks`.
        start: Bundle for fine-tuning: its network, preprocessing and weights. Do not give `model`,
            `channels`, `option`, `preset` or `preprocess` with it.
        model: Network; ``"unet"`` if empty.
        channels: Number of features of each level; the network's own if empty.
        option: Further options of the network.
        preset: Name of the preprocessing in `lungmask_jax.spec.PRESETS`; the target's if empty.
        preprocess: Changes to the preset.
        window: HU of black and white, for images and windowed scans.
        lungs: Lung model that finds the region, for presets that need one.
        validation: Held-out share of the scans.
        **setting: Fields of `lungmask_jax.spec.TrainSpec`.

    Returns:
        The recipe, after a check that its network can be created.

    Raises:
        SpecError: A setting is unknown, out of range, or does not fit the others.
        UnknownNameError: There is no such network, preset or bundle.

    Example:
        >>> made = recipe(target="lungs", channels=(8, 16), steps=100)
        >>> made.segmenter.model.options, made.training.steps, made.training.opacities
        ({'channels': [8, 16]}, 100, 0.5)
    """
    if start:
        own = {"model": model, "channels": channels, "option": option, "preset": preset}
        network, seen = _started_from(start, target, {**own, "preprocess": preprocess})
    else:
        values = {"channels": channels} if channels else {}
        network = ModelSpec(name=model or "unet", options={**option, **values})
        seen = _changed(_preset(preset or target), preprocess)
    segmenter = SegmenterSpec(target=target, model=network, preprocess=seen)
    built = weights.create_model(network)
    training = _training(target, built, setting)
    _check_sizes(built, training, segmenter)
    return Recipe(
        segmenter=segmenter,
        training=training,
        validation=validation,
        window=window,
        lungs=lungs,
        start=start,
    )


def _started_from(
    start: str, target: str, own: Mapping[str, Any]
) -> tuple[ModelSpec, PreprocessSpec]:
    if given := [name for name, value in own.items() if value]:
        raise SpecError(
            f"expected --start alone, whose bundle sets network and preprocessing, found "
            f"--{given[0]} too"
        )
    begun = weights.load(start).spec
    if begun.target != target:
        raise SpecError(f"expected a bundle for the {target}, found one for {begun.target}")
    return begun.model, begun.preprocess


def _preset(name: str) -> PreprocessSpec:
    if name not in PRESETS:
        raise UnknownNameError(f"no preset {shown(name)}: {nearest(name, PRESETS)}")
    return PRESETS[name]


def _training(target: str, model: Model, values: Mapping[str, Any]) -> TrainSpec:
    loss = {"loss": "nested_bce_dice"} if model.num_classes > 1 else {}
    return _changed(TrainSpec(**tasks.registry[target].training), {**loss, **values})


def _check_sizes(model: Model, spec: TrainSpec, segmenter: SegmenterSpec) -> None:
    """Refuses labels that a mirror image would exchange, and batches beyond any memory."""
    task = tasks.registry[segmenter.target]
    if task.fills:
        raise SpecError(
            f"expected a target whose labels mirror images keep, found {task.name}, which are not "
            "trained here: import weights for them"
        )
    if task.sides and model.num_classes != 1:
        raise SpecError(
            f"expected one class for the {segmenter.target}, whose sides are separated "
            f"afterwards, found num_classes={model.num_classes}"
        )
    size = segmenter.preprocess.size
    count = spec.batch_size * model.slices * math.prod(size)
    if count > _NUMBERS:
        raise SpecError(
            f"expected at most {_NUMBERS:,} numbers in a batch, found {count:,} in "
            f"{spec.batch_size} images of {size}: lower --batch-size or the size"
        )


def _changed(spec: _Spec, values: Mapping[str, Any]) -> _Spec:
    """The spec with other values; an unknown name is refused with the nearest known one."""
    known = [field.name for field in fields(spec)]
    for name, value in values.items():
        if name not in known:
            kind = type(spec).__name__
            raise SpecError(f"unknown key {shown(name)} in {kind}: {nearest(name, known)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise SpecError(f"expected a finite {name}, found {value}")
    return replace(spec, **values)
