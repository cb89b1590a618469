"""nnU-Net v1 itself, run by `foreign_nnunet.py` in an environment that has it.

    python benchmarks/peer_nnunet1.py train FOLDER
    python benchmarks/peer_nnunet1.py predict MODEL FOLDS SCAN OUT.npz

The first trains small networks for some steps with nnU-Net's own class, and leaves their folders.
The second segments a scan twice, and keeps the processor seconds of the second time, the
probabilities at the spacing of the network, and the mask. MedPy, which v1 imports for measures that
are not needed here, is replaced by nothing.
"""

import json
import os
import pickle
import resource
import sys
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import SimpleITK
import torch
from peer_nnunet import STEPS, patches

sys.modules["medpy"] = mock.MagicMock()
os.environ["RESULTS_FOLDER"] = tempfile.gettempdir()

from nnunet.inference.segmentation_export import (  # noqa: E402  # after what it needs
    save_segmentation_nifti_from_softmax,
)
from nnunet.training.model_restore import restore_model  # noqa: E402
from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2  # noqa: E402

MODEL = "model_final_checkpoint.model"


def predict(model: str, fold: str, scan: str, out: str) -> None:
    """Probabilities and mask of a scan, with the seconds of each stage and the peak of memory."""
    torch.set_num_threads(1)
    path = Path(model, f"fold_{fold}", MODEL)
    trainer = restore_model(f"{path}.pkl")
    trainer.load_checkpoint_ram(torch.load(path, map_location="cpu", weights_only=False), False)
    for _ in range(2):
        shares, mask, seconds = answered(trainer, scan)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.savez(out, logits=shares[1:], mask=mask)
    Path(out).with_suffix(".json").write_text(json.dumps({**seconds, "peak_mb": peak}))


def answered(trainer: Any, scan: str) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Probabilities, mask, and the processor seconds of each stage."""
    began = time.process_time()
    data, _, properties = trainer.preprocess_patient([scan])
    ready = time.process_time()
    _, shares = trainer.predict_preprocessed_data_return_seg_and_softmax(
        data, mirror_axes=trainer.data_aug_params["mirror_axes"], mixed_precision=False
    )
    passed = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder, "mask.nii.gz"))
        turned = shares.transpose([0, *(axis + 1 for axis in trainer.transpose_backward)])
        save_segmentation_nifti_from_softmax(turned, name, properties)
        done = time.process_time()
        mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(name))
    return (
        shares,
        mask,
        {"prepare": ready - began, "network": passed - ready, "export": done - passed},
    )


def train(folder: str) -> None:
    """Networks of each kind, each in a folder ``NAME/TRAINER__PLANS__CONFIGURATION``."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    fitted(Path(folder), "3d_fullres", plans([3.0, 2.2, 2.2], [16, 48, 64]))
    fitted(Path(folder), "2d", plans([5.0, 2.2, 2.2], [64, 48]))
    turned = {"transpose_forward": [1, 2, 0], "transpose_backward": [2, 0, 1]}
    older = plans([2.5, 3.0, 6.0], [48, 32, 16], sizes=False)
    fitted(Path(folder), "3d_lowres", {**older, **turned})


def fitted(folder: Path, configuration: str, plan: dict[str, Any]) -> None:
    """Some steps of training, and the checkpoint that nnU-Net's own class writes."""
    place = folder / "Task801_first" / f"nnUNetTrainer__nnUNetPlans__{configuration}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "plans.pkl").write_bytes(pickle.dumps(plan))
    trainer = nnUNetTrainerV2(str(place / "plans.pkl"), 0, str(place), str(place), stage=0)
    trainer.initialize(False)
    trainer.network.do_ds = False
    trainer.network.train()
    sides = [int(side) for side in plan["plans_per_stage"][0]["patch_size"]]
    for _, (image, mask) in zip(range(STEPS), patches(sides), strict=False):
        trainer.optimizer.zero_grad()
        answers = trainer.network(torch.from_numpy(image.astype(np.float32))[None, None])
        loss = torch.nn.functional.cross_entropy(answers, torch.from_numpy(mask)[None].long())
        loss.backward()
        trainer.optimizer.step()
    trainer.save_checkpoint(str(place / "fold_0" / MODEL))


def plans(spacing: list[float], patch: list[int], *, sizes: bool = True) -> dict[str, Any]:
    """The plans of nnU-Net v1, for very small networks; the oldest have no sizes of kernels."""
    axes = len(patch)
    flat = [1] * (axes - 2) + [2, 2]
    pools = [flat, [2] * axes] if sizes else [[2] * axes] * 2
    kernels = [[1] * (axes - 2) + [3, 3], [3] * axes, [3] * axes]
    stage: dict[str, Any] = {
        "batch_size": 2,
        "num_pool_per_axis": [sum(two > 1 for two in sides) for sides in zip(*pools, strict=True)],
        "patch_size": np.array(patch),
        "current_spacing": np.array(spacing),
        "do_dummy_2D_data_aug": False,
    }
    if sizes:
        stage |= {"pool_op_kernel_sizes": pools, "conv_kernel_sizes": kernels}
    numbers = {"mean": -400.0, "sd": 450.0, "percentile_00_5": -1000.0, "percentile_99_5": 300.0}
    return {
        "plans_per_stage": {0: stage},
        "dataset_properties": {"intensityproperties": OrderedDict({0: numbers})},
        "normalization_schemes": OrderedDict({0: "CT"}),
        "use_mask_for_norm": OrderedDict({0: False}),
        "data_identifier": "none",
        "preprocessor_name": "GenericPreprocessor" if axes == 3 else "PreprocessorFor2D",
        "base_num_features": 3,
        "num_modalities": 1,
        "num_classes": 2,
        "all_classes": [1, 2],
        "keep_only_largest_region": None,
        "min_region_size_per_class": None,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "conv_per_stage": 2,
    }


if __name__ == "__main__":
    {"train": train, "predict": predict}[sys.argv[1]](*sys.argv[2:])
