"""nnU-Net itself, run by `foreign_nnunet.py` in an environment that has it.

    python benchmarks/peer_nnunet.py train FOLDER
    python benchmarks/peer_nnunet.py predict MODEL FOLDS SCAN OUT.npz [PREVIOUS]

The first trains networks for some steps on blobs like lungs, and leaves their folders as nnU-Net
has them. The second segments a scan twice and keeps the processor seconds of the second time, the
logits at the spacing of the network, and the mask. Sums of logits are float32 instead of float16,
so that they can be compared.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference import predict_from_raw_data as nnunet
from nnunetv2.inference.data_iterators import PreprocessAdapterFromNpy
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape as exported,
)
from scipy import ndimage

STEPS = 40
WIDE_STEPS = 4
LABELS = {"background": 0, "right_lung": 1, "left_lung": 2}
REGIONS = {"background": 0, "lungs": [1, 2], "left_lung": 2}


def predict(model: str, folds: str, scan: str, out: str, previous: str = "") -> None:
    """Logits and mask of a scan, with the seconds of each stage and the peak of memory."""
    torch.set_num_threads(1)
    torch.half = torch.float32  # the sums; the weights of a patch are float16 by name
    predictor = nnunet.nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(model, tuple(folds.split(",")))
    image, properties = SimpleITKIO().read_images((scan,))
    before = SimpleITKIO().read_seg(previous)[0] if previous else None
    for _ in range(2):
        logits, mask, seconds = answered(predictor, image, before, properties)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(out, logits=logits.numpy(), mask=mask)
    Path(out).with_suffix(".json").write_text(json.dumps({**seconds, "peak_mb": peak}))


def answered(predictor: Any, image: Any, before: Any, properties: Any) -> tuple[Any, Any, Any]:
    """Logits, mask, and the processor seconds of each stage."""
    began = time.process_time()
    prepared = next(
        PreprocessAdapterFromNpy(
            [image],
            [before],
            [{**properties}],
            [None],
            predictor.plans_manager,
            predictor.dataset_json,
            predictor.configuration_manager,
            num_threads_in_multithreaded=1,
        )
    )
    ready = time.process_time()
    logits = predictor.predict_logits_from_preprocessed_data(prepared["data"])
    passed = time.process_time()
    mask = exported(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        prepared["data_properties"],
    )
    done = time.process_time()
    return (
        logits,
        mask,
        {"prepare": ready - began, "network": passed - ready, "export": done - passed},
    )


def train(folder: str) -> None:
    """Networks of each kind, each in a folder ``NAME/TRAINER__PLANS__CONFIGURATION``."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name in ("nnUNet_results", "nnUNet_raw", "nnUNet_preprocessed"):
        os.environ[name] = folder  # read when the trainer is imported
    plain = plans("PlainConvUNet", "n_conv_per_stage")
    for configuration in plain["configurations"]:
        folds = 2 if configuration == "3d_fullres" else 1
        for fold in range(folds):
            fitted(Path(folder), "Dataset901_plain", plain, configuration, fold, {"labels": LABELS})
    regions = {"labels": REGIONS, "regions_class_order": [1, 2]}
    residual = plans("ResidualEncoderUNet", "n_blocks_per_stage")
    fitted(Path(folder), "Dataset902_residual", residual, "3d_fullres", 0, regions)
    fitted(Path(folder), "Dataset903_wide", wide(plain), "3d_fullres", 0, {"labels": LABELS})


def fitted(
    folder: Path, name: str, plan: dict[str, Any], configuration: str, fold: int, labels: Any
) -> None:
    """Some steps of nnU-Net's own trainer, and its checkpoint."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plan = {**plan, "dataset_name": name, "continue_training": False}
    channels = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz", "numTraining": 1}
    dataset = {**channels, **labels}
    trainer = nnUNetTrainer(plan, configuration, fold, dataset, device=torch.device("cpu"))
    prepared = Path(trainer.preprocessed_dataset_folder)
    prepared.mkdir(parents=True, exist_ok=True)
    (prepared / "none.b2nd").touch()  # from which it tells how cases are stored
    trainer.initialize()
    settings, large = trainer.configuration_manager, "wide" in name
    mirrored = None if large else tuple(range(len(settings.patch_size)))
    trainer.inference_allowed_mirroring_axes = mirrored
    trainer.network.train()
    steps = WIDE_STEPS if large else STEPS
    cascade = settings.previous_stage_name is not None
    for _, (image, mask) in zip(range(steps), patches(settings.patch_size), strict=False):
        if cascade:
            image = np.stack([image, mask == 1, mask == 2])
        target = mask if "regions_class_order" not in labels else np.stack([mask > 0, mask == 2])
        batch = torch.from_numpy(np.reshape(image, (1, -1, *mask.shape)).astype(np.float32))
        truth = torch.from_numpy(np.reshape(target, (1, -1, *mask.shape)).astype(np.float32))
        scales = trainer._get_deep_supervision_scales()
        size = [np.multiply(mask.shape, one).round().astype(int).tolist() for one in scales]
        trainer.train_step(
            {"data": batch, "target": [torch.nn.functional.interpolate(truth, s) for s in size]}
        )
    place = Path(trainer.output_folder_base)
    (place / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
    (place / "plans.json").write_text(json.dumps(plan))
    (place / "dataset.json").write_text(json.dumps(dataset))
    trainer.save_checkpoint(str(place / f"fold_{fold}" / "checkpoint_final.pth"))


def patches(sides: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Normalized patches of dark blobs, right and left, and their labels."""
    generator = np.random.default_rng(0)
    while True:
        smooth = ndimage.gaussian_filter(generator.normal(size=sides), 4)
        blobs = smooth > 0.5 * smooth.std()
        right = np.arange(sides[-1]) < sides[-1] // 2
        noise = generator.normal(scale=0.1, size=sides)
        yield np.where(blobs, -1.0, 1.0) + noise, blobs * np.where(right, 1, 2)


def plans(kind: str, blocks: str) -> dict[str, Any]:
    """The plans of nnU-Net's planner, for very small networks."""
    fine = configuration(kind, blocks, [3.0, 2.2, 2.2], [16, 48, 64])
    slices = configuration(kind, blocks, [2.2, 2.2], [64, 48])
    coarse = configuration(kind, blocks, [6.0, 4.0, 4.0], [16, 32, 32])
    fraction = {"mean": -400.0, "std": 450.0, "percentile_00_5": -1000.0, "percentile_99_5": 300.0}
    coarse["next_stage"] = "3d_cascade_fullres"
    return {
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner",
        "foreground_intensity_properties_per_channel": {"0": fraction},
        "configurations": {
            "2d": slices,
            "3d_lowres": coarse,
            "3d_fullres": fine,
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }


def wide(plan: dict[str, Any]) -> dict[str, Any]:
    """With a network as wide as nnU-Net plans them, of five stages, at full resolution alone."""
    fine = plan["configurations"]["3d_fullres"]
    network = {
        **fine["architecture"]["arch_kwargs"],
        "n_stages": 5,
        "features_per_stage": [32, 64, 128, 256, 320],
        "kernel_sizes": [[3, 3, 3]] * 5,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * 4,
        "n_conv_per_stage": [2] * 5,
        "n_conv_per_stage_decoder": [2] * 4,
    }
    architecture = {**fine["architecture"], "arch_kwargs": network}
    larger = {"patch_size": [48, 64, 64], "spacing": [3.0, 2.0, 2.0], "architecture": architecture}
    return {**plan, "configurations": {"3d_fullres": {**fine, **larger}}}


def configuration(kind: str, blocks: str, spacing: list[float], patch: list[int]) -> dict[str, Any]:
    """One of them."""
    axes = len(patch)
    module = {"PlainConvUNet": "unet", "ResidualEncoderUNet": "residual_unet"}[kind]
    flat = [1] * (axes - 2) + [2, 2]
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    made: dict[str, Any] = {
        "data_identifier": "none",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 1,
        "batch_dice": False,
        "patch_size": patch,
        "spacing": spacing,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.{module}.{kind}",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [3, 4, 6],
                "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
                "kernel_sizes": [[1] * (axes - 2) + [3, 3], [3] * axes, [3] * axes],
                "strides": [[1] * axes, flat, [2] * axes],
                blocks: [1, 2, 2],
                "n_conv_per_stage_decoder": [1, 1],
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        made[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        kwargs = {**resampling, "order": order, "is_seg": what == "seg"}
        made[f"resampling_fn_{what}_kwargs"] = kwargs
    return made


if __name__ == "__main__":
    {"train": train, "predict": predict}[sys.argv[1]](*sys.argv[2:])
