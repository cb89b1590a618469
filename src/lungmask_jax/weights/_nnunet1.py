"""Models of nnU-Net v1, whose plans are pickles, as those of v2."""

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from lungmask_jax.errors import WeightsError, nearest, shown
from lungmask_jax.spec import ModelSpec, PredictSpec, VolumeSpec
from lungmask_jax.weights._inert import Budget
from lungmask_jax.weights._plans import Planned, checked_stages
from lungmask_jax.weights._torch import NAMES, PICKLED_ARRAYS
from lungmask_jax.weights._unpickle import unpickled

__all__ = ["MODEL", "planned_before", "read_pickle", "renamed"]

MODEL: Final = "model_final_checkpoint.model"

_VALUES: Final = 2**28
_CLASSES: Final = 255
_CONVOLUTIONS: Final = 2
_MOST_FEATURES: Final = {2: 480, 3: 320}
_NORMALIZE: Final[Mapping[str, str]] = {"CT": "ct", "nonCT": "zscore"}
_PLACES: Final = re.compile(
    r"conv_blocks_(context|localization)\.(\d+)\.(?:(\d)\.)?blocks\.(\d+)\.(conv|instnorm)\.(\w+)"
)


def read_pickle(file: io.BufferedReader, size: int) -> Any:
    """Plain values and arrays of numpy out of a pickle, of which nothing is executed."""

    def none(_: Any) -> Any:
        raise ValueError("its pickle holds what lies in no file")

    budget = Budget(_VALUES + size, "its values take")
    names = {**NAMES, **PICKLED_ARRAYS}
    return unpickled(file, size, names=names, persistent=none, budget=budget)


def planned_before(pickled: Any) -> Planned:
    """The specs of what lies beside a checkpoint, ``model_final_checkpoint.model.pkl``."""
    plans, trainer = pickled["plans"], str(pickled["name"])
    if "cascade" in trainer.casefold():
        raise WeightsError(
            f"the trainer {trainer} is of a cascade of nnU-Net v1, which is not read"
        )
    if plans["num_modalities"] != 1:
        raise WeightsError(
            f"expected a network that sees one image, found {shown(plans['num_modalities'])} images"
        )
    classes = int(plans["num_classes"])
    if not 1 <= classes <= _CLASSES:
        raise WeightsError(f"expected 1 to {_CLASSES} classes in the plans, found {shown(classes)}")
    stage = _stage(plans["plans_per_stage"][pickled["init"][5] or 0])
    patch = _wholes(stage["patch_size"])
    rank, labels = len(patch), tuple(range(classes + 1))
    turned = "nomirroring" not in trainer.casefold()
    return Planned(
        model=_model(plans, stage, rank),
        volume=_volume(plans, stage, rank, labels),
        predict=PredictSpec(
            patch=_three([1] * (3 - rank) + patch), mirror=(turned and rank == 3, turned, turned)
        ),
        names={label: str(label) for label in labels[1:]},
        previous="",
    )


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    """A stage of the plans; the oldest have no sizes, but say how often each axis is halved."""
    found = {**stage}
    if "pool_op_kernel_sizes" not in stage:
        halvings = _wholes(stage["num_pool_per_axis"])
        count = checked_stages(max(halvings) + 1) - 1
        found["pool_op_kernel_sizes"] = [
            [2 if count - one <= level else 1 for one in halvings] for level in range(count)
        ]
    if "conv_kernel_sizes" not in stage:
        rank, count = len(_wholes(stage["patch_size"])), len(found["pool_op_kernel_sizes"])
        found["conv_kernel_sizes"] = [[3] * rank] * (count + 1)
    return found


def _model(plans: Mapping[str, Any], stage: Mapping[str, Any], rank: int) -> ModelSpec:
    strides = [[1] * rank, *(_wholes(sides) for sides in stage["pool_op_kernel_sizes"])]
    count, base = checked_stages(len(strides)), int(plans["base_num_features"])
    kernels = [_wholes(sides) for sides in stage["conv_kernel_sizes"]]
    convolutions = int(plans.get("conv_per_stage", _CONVOLUTIONS))
    return ModelSpec(
        name="plain_conv_unet",
        options={
            "in_channels": 1,
            "num_classes": plans["num_classes"] + 1,
            "features": [min(base * 2**level, _MOST_FEATURES[rank]) for level in range(count)],
            "kernels": kernels,
            "strides": strides,
            "blocks": [convolutions] * count,
            "decoder_blocks": [convolutions] * (count - 1),
            "decoder_kernels": kernels[:0:-1],
        },
    )


def _volume(
    plans: Mapping[str, Any], stage: Mapping[str, Any], rank: int, labels: tuple[int, ...]
) -> VolumeSpec:
    scheme = str(plans["normalization_schemes"][0])
    if scheme not in _NORMALIZE or (scheme == "CT" and plans["use_mask_for_norm"][0]):
        raise WeightsError(
            f"no normalization {shown(scheme)} within a mask here: {nearest(scheme, _NORMALIZE)}"
        )
    volume = VolumeSpec(
        spacing=tuple(float(mm) for mm in stage["current_spacing"])[-rank:],
        axes=_three(_wholes(plans.get("transpose_forward") or (0, 1, 2))),
        normalize_last=True,
        labels=labels,
    )
    if scheme == "nonCT":
        return replace(
            volume, normalize="zscore_nonzero" if plans["use_mask_for_norm"][0] else "zscore"
        )
    found = plans["dataset_properties"]["intensityproperties"][0]
    low, high, mean, deviation = (
        float(found[key]) for key in ("percentile_00_5", "percentile_99_5", "mean", "sd")
    )
    return replace(volume, window=(low, high), mean=mean, deviation=deviation)


def _wholes(sides: Any) -> list[int]:
    return [int(side) for side in sides]


def _three(sides: list[int]) -> tuple[int, int, int]:
    first, second, third = sides
    return first, second, third


def renamed(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors under the names of v2; what v1 has without a bias gets one of zeros.

    Two rows of convolutions, as in the bottleneck and on the way up, become one.
    """
    hits = [(name, hit) for name in tensors if (hit := _PLACES.fullmatch(name))]
    rows: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for _, hit in hits:
        row = rows.setdefault((hit[1], hit[2]), [])
        if (hit[3] or "", hit[4]) not in row:
            row.append((hit[3] or "", hit[4]))
    found = {}
    for name, hit in hits:
        place = sorted(rows[hit[1], hit[2]]).index((hit[3] or "", hit[4]))
        stage = {
            "context": f"encoder.stages.{hit[2]}.0",
            "localization": f"decoder.stages.{hit[2]}",
        }
        part = {"conv": "conv", "instnorm": "norm"}[hit[5]]
        found[f"{stage[hit[1]]}.convs.{place}.{part}.{hit[6]}"] = tensors[name]
    for ours, theirs in (("transpconvs", "tu"), ("seg_layers", "seg_outputs")):
        for name in tensors:
            if hit := re.fullmatch(rf"{theirs}\.(\d+)\.weight", name):
                weight = tensors[name]
                outputs = weight.shape[1 if theirs == "tu" else 0]
                found[f"decoder.{ours}.{hit[1]}.weight"] = weight
                found[f"decoder.{ours}.{hit[1]}.bias"] = np.broadcast_to(np.float32(0), outputs)
    left = [
        name for name in tensors if not name.startswith(("conv_blocks_", "tu.", "seg_outputs."))
    ]
    return {**found, **{name: tensors[name] for name in left}}
