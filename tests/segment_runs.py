"""Runs of ``lungmask-jax segment`` without networks, for several files of tests."""

import shutil
from types import SimpleNamespace

import numpy as np

from lungmask_jax import cli, inference
from lungmask_jax.cohort import _segment_many, _state
from lungmask_jax.inference import Segmentation


def by_density(ct, *, weights, uncertainty=False, progress=None, begin=None):
    """In the place of networks: lungs are air, and a corner of each is infected."""
    for number, stage in enumerate(("lung network", "lung masks", "infection network"), 1):
        begin(stage)
        if progress:
            progress("lungs", number, 3)
    lungs = ct.with_array((ct.array < -500).astype(np.uint8))
    lungs.array[..., lungs.shape[2] // 2 :] *= 2
    models = {model.spec.target: "mine 123" for model in weights}
    if "infection" not in models:
        return Segmentation(ct, {"lungs": lungs}, models)
    infection = ct.with_array((lungs.array > 0).astype(np.uint8))
    infection.array[:, infection.shape[1] // 2 :] = 0
    doubt = infection if uncertainty else None
    masks = {"lungs": lungs, "infection": infection, "lesions": infection}
    return Segmentation(ct, masks, models, doubt)


def named_only(names, *_needed):
    return {
        name: SimpleNamespace(
            name=name, checksum="0" * 64, spec=SimpleNamespace(target=name, needs="")
        )
        for name in names
    }


def without_networks(monkeypatch):
    """Masks by density, and models that have names alone."""
    monkeypatch.setattr(inference, "segment", by_density)
    monkeypatch.setattr(_segment_many, "by_target", named_only)


def copied(scan, *paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan, path)


def segment(*words):
    return cli.main(["segment", *map(str, words)])


def files(folder):
    """Names of all but the log of what became of each scan."""
    return {path.name for path in folder.iterdir() if path.name != _state.HIDDEN}


RESULTS = ("_lungs.nii.gz", "_infection.nii.gz", "_lesions.nii.gz", "_overlay.png", ".json")


def whole(*names):
    return {"measures.csv", *(name + kind for name in names for kind in RESULTS)}
