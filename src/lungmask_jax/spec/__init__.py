"""Settings as frozen dataclasses of JSON types, stored with the weights.

A spec is checked when it is created, compares by value, can be a static argument of ``jax.jit``
and survives JSON unchanged.
"""

from lungmask_jax.spec._json import VERSION, json_value, to_json
from lungmask_jax.spec._read import from_json
from lungmask_jax.spec._recipe import Recipe, TrainSpec
from lungmask_jax.spec._specs import (
    PRESETS,
    ModelSpec,
    PredictSpec,
    PreprocessSpec,
    SegmenterSpec,
    changed_steps,
)
from lungmask_jax.spec._volume import VolumeSpec

__all__ = [
    "PRESETS",
    "VERSION",
    "ModelSpec",
    "PredictSpec",
    "PreprocessSpec",
    "Recipe",
    "SegmenterSpec",
    "TrainSpec",
    "VolumeSpec",
    "changed_steps",
    "from_json",
    "json_value",
    "to_json",
]
