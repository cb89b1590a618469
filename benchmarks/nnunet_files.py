"""Models of nnU-Net made by hand, very small, for the fuzzer and the tests."""

import json
from collections.abc import Mapping
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


def tensors(seed: int = 0, *, biased: bool = True, images: int = 1) -> dict[str, np.ndarray]:
    """Random numbers for a network of two stages, under the names of nnU-Net."""
    generator = np.random.default_rng(seed)
    shapes = {
        "encoder.stages.0.0.convs.0": (2, images, 1, 3, 3),
        "encoder.stages.0.0.convs.1": (2, 2, 1, 3, 3),
        "encoder.stages.1.0.convs.0": (3, 2, 3, 3, 3),
        "encoder.stages.1.0.convs.1": (3, 3, 3, 3, 3),
        "decoder.stages.0.convs.0": (2, 4, 1, 3, 3),
        "decoder.stages.0.convs.1": (2, 2, 1, 3, 3),
    }
    made = {}
    for name, shape in shapes.items():
        made[f"{name}.conv.weight"] = generator.normal(size=shape)
        for one in ("conv.bias", "norm.weight", "norm.bias"):
            made[f"{name}.{one}"] = generator.normal(size=shape[0])
    made["decoder.transpconvs.0.weight"] = generator.normal(size=(3, 2, 1, 2, 2))
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
