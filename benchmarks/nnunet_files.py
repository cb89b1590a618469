"""Models of nnU-Net made by hand, very small, for the fuzzer and the tests."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pth_files

ARCHITECTURE: dict[str, Any] = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [2, 3],
        "kernel_sizes": [[1, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2]],
        "n_conv_per_stage": [2, 2],
        "n_conv_per_stage_decoder": [2],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "nonlin": "torch.nn.LeakyReLU",
    },
}
OLDER = {
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 2,
    "unet_max_num_features": 3,
    "n_conv_per_stage_encoder": [2, 2],
    "n_conv_per_stage_decoder": [2],
    "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3]],
    "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2]],
}
FULL: dict[str, Any] = {
    "patch_size": [4, 8, 8],
    "spacing": [5.0, 2.0, 2.0],
    "normalization_schemes": ["CTNormalization"],
    "architecture": ARCHITECTURE,
    "resampling_fn_data_kwargs": {"order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities_kwargs": {"order": 1, "order_z": 0, "force_separate_z": None},
}
PLANS: dict[str, Any] = {
    "dataset_name": "Dataset001_mine",
    "transpose_forward": [0, 1, 2],
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": -500.0, "std": 300.0, "percentile_00_5": -1000.0, "percentile_99_5": 200.0}
    },
    "configurations": {"3d_fullres": FULL},
}
DATASET: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "right lung": 1, "left_lung": 2},
}


PLANS_BEFORE: dict[str, Any] = {
    "num_modalities": 1,
    "num_classes": 2,
    "base_num_features": 2,
    "normalization_schemes": {0: "CT"},
    "use_mask_for_norm": {0: False},
    "transpose_forward": [0, 1, 2],
    "dataset_properties": {
        "intensityproperties": {
            0: {"mean": -500.0, "sd": 300.0, "percentile_00_5": -1000.0, "percentile_99_5": 200.0}
        }
    },
    "plans_per_stage": {
        0: {
            "patch_size": np.array([4, 8, 8]),
            "current_spacing": np.array([5.0, 2.0, 2.0]),
            "pool_op_kernel_sizes": [[1, 2, 2]],
            "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3]],
        }
    },
}
BEFORE = {
    "encoder.stages.0.0.convs": "conv_blocks_context.0.blocks",
    "encoder.stages.1.0.convs.0": "conv_blocks_context.1.0.blocks.0",
    "encoder.stages.1.0.convs.1": "conv_blocks_context.1.1.blocks.0",
    "decoder.stages.0.convs.0": "conv_blocks_localization.0.0.blocks.0",
    "decoder.stages.0.convs.1": "conv_blocks_localization.0.1.blocks.0",
    "decoder.transpconvs": "tu",
    "decoder.seg_layers": "seg_outputs",
    ".norm.": ".instnorm.",
}
"""Names of nnU-Net v1, by those of v2."""

ZEROS = 3_000_000
"""The most that a file made here ends with: more than a zip may shrink."""

MODEL_BEFORE = "fold_0/model_final_checkpoint.model"


def tensors(
    seed: int = 0, *, biased: bool = True, images: int = 1, coarse: int = 3
) -> dict[str, np.ndarray]:
    """Random numbers for a network of two stages, under the names of nnU-Net."""
    generator = np.random.default_rng(seed)
    shapes = {
        "encoder.stages.0.0.convs.0": (2, images, 1, 3, 3),
        "encoder.stages.0.0.convs.1": (2, 2, 1, 3, 3),
        "encoder.stages.1.0.convs.0": (coarse, 2, 3, 3, 3),
        "encoder.stages.1.0.convs.1": (coarse, coarse, 3, 3, 3),
        "decoder.stages.0.convs.0": (2, 4, 1, 3, 3),
        "decoder.stages.0.convs.1": (2, 2, 1, 3, 3),
    }
    made = {}
    for name, shape in shapes.items():
        made[f"{name}.conv.weight"] = generator.normal(size=shape)
        for one in ("conv.bias", "norm.weight", "norm.bias"):
            made[f"{name}.{one}"] = generator.normal(size=shape[0])
    made["decoder.transpconvs.0.weight"] = generator.normal(size=(coarse, 2, 1, 2, 2))
    made["decoder.seg_layers.0.weight"] = generator.normal(size=(3, 2, 1, 1, 1))
    if biased:
        made["decoder.transpconvs.0.bias"] = np.zeros(2)
        made["decoder.seg_layers.0.bias"] = np.zeros(3)
    return {name: array.astype(np.float32) for name, array in made.items()}


def stored(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """As PyTorch writes them."""
    return {
        name: pth_files.tensor(
            pth_files.Storage(str(number), array.ravel()),
            array.shape,
            tuple(step // array.itemsize for step in array.strides),
        )
        for number, (name, array) in enumerate(values.items())
    }


def checkpoint(seed: int = 0, configuration: str = "3d_fullres", *, images: int = 1) -> bytes:
    """A checkpoint of one fold, random."""
    return pth_files.zipped(
        {
            "network_weights": stored(tensors(seed, images=images)),
            "init_args": {"configuration": configuration},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 2),
        }
    )


def model() -> dict[str, bytes]:
    """The files of a model, by name."""
    return {
        "plans.json": json.dumps(PLANS).encode(),
        "dataset.json": json.dumps(DATASET).encode(),
        "fold_0/checkpoint_final.pth": checkpoint(),
    }


def state_before() -> dict[str, np.ndarray]:
    """Random numbers under the names of nnU-Net v1, with its kernels on the way up."""
    state = {}
    for name, array in tensors(biased=False, coarse=4).items():
        if name.startswith("decoder.stages") and array.ndim == 5:
            array = array.repeat(3, axis=2) / 3
        for ours, theirs in BEFORE.items():
            name = name.replace(ours, theirs)
        state[name] = array
    return state


def model_before(plans: Mapping[str, Any] = PLANS_BEFORE) -> dict[str, bytes]:
    """The files of a model of nnU-Net v1, by name."""
    beside = {"plans": plans, "name": "nnUNetTrainerV2", "init": ("", 0, "", "", True, 0)}
    return {
        "plans.pkl": pickle.dumps({}),
        MODEL_BEFORE: pth_files.legacy({"epoch": 1, "state_dict": stored(state_before())}),
        f"{MODEL_BEFORE}.pkl": pickle.dumps(beside, protocol=2),
    }


def layout() -> list[list[Any]]:
    """A model as rows: path, kind, whose content it has, and how many zeros behind that."""
    return [[name, "file", name, 0] for name in model()]


def put(rows: Sequence[Sequence[Any]], folder: Path) -> None:
    """Makes files, links and pipes of rows as in `layout`, under paths that stay in the folder."""
    for name, kind, content, zeros in rows:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(content)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes(filled(content, zeros))


def packed(rows: Sequence[Sequence[Any]]) -> bytes:
    """A zip of rows as in `layout`, under whatever paths they have; links as Unix packs them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, kind, content, zeros in rows:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED
            info.external_attr = (0o120777 if kind == "link" else 0o100644) << 16
            data = (
                content.encode()
                if kind == "link"
                else model().get(content, b"") + bytes(min(zeros, ZEROS))
            )
            archive.writestr(info, data)
    return file.getvalue()


def filled(content: str, zeros: int) -> bytes:
    """A file of a sound model, with zeros behind it."""
    return model().get(content, b"") + bytes(min(zeros, ZEROS))
