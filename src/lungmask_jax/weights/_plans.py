"""The plans of nnU-Net as specs: which network, which volume it sees, how it is led over it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from lungmask_jax.errors import WeightsError, nearest, shown
from lungmask_jax.spec import ModelSpec, PredictSpec, VolumeSpec

__all__ = ["Planned", "checked_stages", "label_names", "planned"]

_NETWORKS: Final = {
    "PlainConvUNet": ("plain_conv_unet", "n_conv_per_stage"),
    "ResidualEncoderUNet": ("residual_encoder_unet", "n_blocks_per_stage"),
}
_NORMALIZE: Final[Mapping[str, Literal["ct", "zscore", "none"]]] = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
}
_RESAMPLE: Final = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet")
_SEPARATE: Final[Mapping[Any, Literal["anisotropic", "always", "never"]]] = {
    None: "anisotropic",
    True: "always",
    False: "never",
}
_FIXED: Final[Mapping[str, tuple[Any, ...]]] = {
    "conv_bias": (True,),
    "norm_op_kwargs": ({"eps": 1e-05, "affine": True}, {"eps": 1e-05, "affine": True}),
    "dropout_op": (None,),
    "nonlin": ("torch.nn.LeakyReLU", "torch.nn.modules.activation.LeakyReLU"),
    "nonlin_kwargs": ({"inplace": True}, {"negative_slope": 0.01, "inplace": True}),
}
"""What a network of nnU-Net has unless somebody changed it, and what it must have here."""

_STAGES: Final = 16
"""Of a network: nine halve a side of 512 voxels to one."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What the plans of a configuration say.

    Attributes:
        model: The network.
        volume: What it sees; the labels are those of the data set.
        predict: How it is led over that; without mirror images.
        names: Of the labels.
        previous: The configuration of the previous stage of a cascade, or nothing.
    """

    model: ModelSpec
    volume: VolumeSpec
    predict: PredictSpec
    names: Mapping[int, str]
    previous: str


def planned(plans: Any, dataset: Any, configuration: str) -> Planned:
    """The specs of a configuration, of the plans of version 2 in their old and their new form."""
    settings = _configuration(plans, configuration)
    labels, regions = _labels(dataset)
    names = label_names(dataset)
    channels = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(channels, Mapping) or len(channels) != 1:
        raise WeightsError(
            f"expected a network that sees one image, found the channels {shown(channels)}"
        )
    previous = settings.get("previous_stage") or ""
    if not re.fullmatch(r"\w*", previous):
        raise WeightsError(
            f"expected the name of a configuration as previous_stage, found {shown(previous)}"
        )
    before = tuple(sorted(names)) if previous else ()
    patch = tuple(settings["patch_size"])
    return Planned(
        model=_model(settings, 1 + len(before), len(labels)),
        volume=_volume(plans, settings, labels, regions, before),
        predict=PredictSpec(patch=(1,) * (3 - len(patch)) + patch, average="logits"),
        names=names,
        previous=previous,
    )


def label_names(dataset: Any) -> dict[int, str]:
    """The names of the labels above the background; for a region that in which it is drawn."""
    labels, regions = _labels(dataset)
    table = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    names = [name for name, value in table.items() if value not in (0, [0])]
    if regions:
        return dict(zip(labels, names, strict=True))
    flat = {
        name: table[name][0] if isinstance(table[name], list) else table[name] for name in names
    }
    return {flat[name]: name for name in names}


def _labels(dataset: Any) -> tuple[tuple[int, ...], bool]:
    """The label of each channel of the network, and whether they are regions."""
    table = dataset.get("labels") if isinstance(dataset, Mapping) else None
    if not isinstance(table, Mapping) or table.get("background") != 0:
        raise WeightsError(
            f"expected dataset.json to have labels, the background 0, found {shown(table)}"
        )
    values = [value for name, value in table.items() if name != "ignore"]
    if any(isinstance(value, list) and len(value) > 1 for value in values):
        order = dataset.get("regions_class_order")
        count = sum(value not in (0, [0]) for value in values)
        if not isinstance(order, list) or len(order) != count:
            raise WeightsError(
                f"expected regions_class_order of {count} regions in dataset.json, found "
                f"{shown(order)}"
            )
        return tuple(order), True
    flat = [value[0] if isinstance(value, list) else value for value in values]
    if sorted(flat) != list(range(len(flat))):
        raise WeightsError(
            f"expected labels 0, 1, 2 and so on in dataset.json, found {shown(flat)}"
        )
    return tuple(sorted(flat)), False


def _configuration(plans: Any, name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The settings of a configuration, with those that it inherits."""
    known = plans.get("configurations") if isinstance(plans, Mapping) else None
    if not isinstance(known, Mapping):
        raise WeightsError("expected configurations in plans.json, found none")
    if name not in known or name in seen:
        raise WeightsError(
            f"no configuration {shown(name)} in plans.json, or one that inherits from itself: "
            f"{nearest(str(name), known)}"
        )
    own = dict(known[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_configuration(plans, parent, (*seen, name)), **own}


def _model(settings: Mapping[str, Any], in_channels: int, num_classes: int) -> ModelSpec:
    own = settings.get("architecture") or _older_architecture(settings)
    kind = str(own["network_class_name"]).rpartition(".")[-1]
    if kind not in _NETWORKS:
        raise WeightsError(f"no network {shown(kind)} of nnU-Net: {nearest(kind, _NETWORKS)}")
    name, blocks = _NETWORKS[kind]
    options = own["arch_kwargs"]
    for key, allowed in _FIXED.items():
        if key in options and options[key] not in allowed:
            raise WeightsError(
                f"expected {key} {shown(allowed[0])} in the network of plans.json, found "
                f"{shown(options[key])}: such networks are not read"
            )
    if "InstanceNorm" not in str(options.get("norm_op", "InstanceNorm")):
        raise WeightsError(
            f"expected instance norms in the network of plans.json, found {options['norm_op']!r}: "
            "such networks are not read"
        )
    count, axes = checked_stages(options["n_stages"]), len(settings["patch_size"])
    return ModelSpec(
        name=name,
        options={
            "in_channels": in_channels,
            "num_classes": num_classes,
            "features": _repeated(options["features_per_stage"], count),
            "kernels": [_repeated(one, axes) for one in _repeated(options["kernel_sizes"], count)],
            "strides": [_repeated(one, axes) for one in _repeated(options["strides"], count)],
            "blocks": _repeated(options[blocks], count),
            "decoder_blocks": _repeated(options["n_conv_per_stage_decoder"], count - 1),
        },
    )


def checked_stages(count: int) -> int:
    """A number of stages, before lists of that length are made.

    Raises:
        WeightsError: It is no whole number, or more than any network has.
    """
    if type(count) is not int or not 1 <= count <= _STAGES:
        raise WeightsError(
            f"expected a network of 1 to {_STAGES} stages in the plans, found {shown(count)}"
        )
    return count


def _repeated(value: Any, count: int) -> list[Any]:
    """One for each, where there is one for all."""
    return list(value) if isinstance(value, Sequence) else [value] * count


def _older_architecture(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As plans had it before 2024, TotalSegmentator's among them."""
    kind = settings["UNet_class_name"]
    count = checked_stages(len(settings["n_conv_per_stage_encoder"]))
    base, most = settings["UNet_base_num_features"], settings["unet_max_num_features"]
    return {
        "network_class_name": kind,
        "arch_kwargs": {
            "n_stages": count,
            "features_per_stage": [min(base * 2**stage, most) for stage in range(count)],
            "kernel_sizes": settings["conv_kernel_sizes"],
            "strides": settings["pool_op_kernel_sizes"],
            _NETWORKS.get(kind, ("", "n_conv_per_stage"))[1]: settings["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
        },
    }


def _volume(
    plans: Mapping[str, Any],
    settings: Mapping[str, Any],
    labels: tuple[int, ...],
    regions: bool,
    previous: tuple[int, ...],
) -> VolumeSpec:
    schemes = settings["normalization_schemes"]
    if schemes[0] not in _NORMALIZE:
        raise WeightsError(
            f"no normalization {shown(schemes[0])} here: {nearest(str(schemes[0]), _NORMALIZE)}"
        )
    normalize: Any = _NORMALIZE[schemes[0]]
    if normalize == "zscore" and settings.get("use_mask_for_norm", [False])[0]:
        normalize = "zscore_nonzero"
    older = plans.get("foreground_intensity_properties_by_modality", {})
    numbers = plans.get("foreground_intensity_properties_per_channel", older).get("0", {})
    if normalize != "ct":
        numbers = {"percentile_00_5": -1024, "percentile_99_5": 3071, "mean": 0, "std": 1}
    reader = str(plans.get("image_reader_writer"))
    order, across, separate = _resampling(settings, "data")
    *_, separate_logits = _resampling(settings, "probabilities")
    return VolumeSpec(
        spacing=tuple(map(float, settings["spacing"])),
        axes=tuple(plans["transpose_forward"]),
        orientation="RAS" if reader.endswith("WithReorient") else "",
        normalize=normalize,
        window=(float(numbers["percentile_00_5"]), float(numbers["percentile_99_5"])),
        mean=float(numbers["mean"]),
        deviation=float(numbers["std"]),
        order=order,
        order_across=across,
        separate=separate,
        separate_logits=separate_logits,
        labels=labels,
        regions=regions,
        previous=previous,
    )


def _resampling(
    settings: Mapping[str, Any], what: str
) -> tuple[int, int, Literal["anisotropic", "always", "never"]]:
    """Orders of the splines, along a coarse axis too, and when that is resampled by itself."""
    name = settings.get(f"resampling_fn_{what}", _RESAMPLE[0])
    options = settings.get(f"resampling_fn_{what}_kwargs", {})
    if name not in _RESAMPLE:
        raise WeightsError(
            f"no resampling {shown(name)} of {what} here: {nearest(str(name), _RESAMPLE)}"
        )
    torch = name == _RESAMPLE[1]
    order, across = (1, 0) if torch else (options.get("order", 3), options.get("order_z", 0))
    separate = options.get("force_separate_z", None if torch else False)
    if (torch and options.get("mode", "linear") != "linear") or separate not in _SEPARATE:
        raise WeightsError(f"the resampling of {what} has settings not read here: {shown(options)}")
    if what == "probabilities" and (order, across) != (1, 0):
        raise WeightsError(
            f"expected logits to be resampled linearly, across coarse slices by the nearest, found "
            f"orders {order} and {across} in plans.json"
        )
    return order, across, _SEPARATE[separate]
