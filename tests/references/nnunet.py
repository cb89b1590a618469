"""What nnU-Net makes of a small scan, kept for the tests: nnunet.zip and nnunet.npz beside this.

    python tests/references/nnunet.py

Needs nnunetv2 and PyTorch; made with nnunetv2 2.8.1.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

HERE = Path(__file__).parent
PEER = HERE.parents[1] / "benchmarks" / "peer_nnunet.py"
SPACING = (2.4, 2.1, 5.0)
MODELS = {
    "2d": ("Dataset901_plain", "2d", "0"),
    "lowres": ("Dataset901_plain", "3d_lowres", "0"),
    "cascade": ("Dataset901_plain", "3d_cascade_fullres", "0"),
    "residual": ("Dataset902_residual", "3d_fullres", "0"),
}

KEPT = ("2d", "cascade", "residual")


def scan() -> np.ndarray:
    """Dark blobs in something bright, in air: HU."""
    z, y, x = np.indices((12, 34, 45))
    lungs = ((x - 14) ** 2 < 60) | ((x - 31) ** 2 < 70)
    lungs &= ((y - 17) ** 2 < 90) & ((z - 6) ** 2 < 18)
    noise = np.random.default_rng(0).normal(scale=60, size=z.shape)
    return np.round(np.where(lungs, -800, 40) + noise).astype(np.int16)


def written(path: Path, array: np.ndarray) -> str:
    """An image with the spacing of the scan."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))
    return str(path)


def main() -> None:
    """Trains, predicts, packs."""
    kept = {"scan": scan(), "spacing": np.array(SPACING[::-1])}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        image = written(root / "scan.nii.gz", kept["scan"])
        subprocess.run([sys.executable, str(PEER), "train", folder], check=True)
        for name, (dataset, configuration, folds) in MODELS.items():
            model = root / dataset / f"nnUNetTrainer__nnUNetPlans__{configuration}"
            words = [str(model), folds, image, str(root / f"{name}.npz")]
            if name == "cascade":
                words.append(written(root / "before.nii.gz", kept["lowres"]))
            subprocess.run([sys.executable, str(PEER), "predict", *words], check=True)
            with np.load(root / f"{name}.npz") as found:
                kept[name] = found["mask"].astype(np.uint8)
                kept[f"{name}_logits"] = found["logits"].mean(axis=(-2, -1))
            if name not in KEPT:
                shutil.rmtree(model)
        np.savez_compressed(HERE / "nnunet.npz", **kept)
        with zipfile.ZipFile(HERE / "nnunet.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            shutil.rmtree(root / "Dataset901_plain/nnUNetTrainer__nnUNetPlans__3d_fullres")
            for path in sorted(root.glob("Dataset*/nnUNetTrainer*/**/*")):
                if path.suffix == ".pth":
                    shrink(path)
                if path.suffix in (".json", ".pth"):
                    archive.write(path, path.relative_to(root))


def shrink(path: Path) -> None:
    """A checkpoint without what going on to train needs."""
    checkpoint = torch.load(path, weights_only=False)
    del checkpoint["optimizer_state"], checkpoint["logging"]
    torch.save(checkpoint, path)


if __name__ == "__main__":
    main()
