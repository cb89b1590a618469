"""Lungs and COVID-19 infection in chest CT, segmented and measured with JAX.

::

    import lungmask_jax as lj

    result = lj.segment("scan.nii.gz")
    result.measure()
    result.save("out")

Research software, not a medical device.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

DISCLAIMER = "Research use only. Not a medical device."
"""Shown by the command, in reports and under pictures."""

if TYPE_CHECKING:
    from lungmask_jax import (
        augment,
        calibration,
        cli,
        cohort,
        data,
        errors,
        evaluation,
        files,
        fitting,
        inference,
        io,
        labels,
        losses,
        metrics,
        models,
        phantoms,
        postprocess,
        prediction,
        preprocess,
        quality,
        quantify,
        records,
        registry,
        report,
        spec,
        tasks,
        testing,
        training,
        trees,
        viz,
        volume,
        weights,
    )
    from lungmask_jax.cohort import segment_many
    from lungmask_jax.errors import LungmaskError, ScanError, ScanWarning
    from lungmask_jax.evaluation import evaluate
    from lungmask_jax.fitting import fit, recipe
    from lungmask_jax.inference import Segmentation, segment
    from lungmask_jax.io import load, save
    from lungmask_jax.phantoms import phantom
    from lungmask_jax.training import train
    from lungmask_jax.volume import Volume

__all__ = [
    "DISCLAIMER",
    "LungmaskError",
    "ScanError",
    "ScanWarning",
    "Segmentation",
    "Volume",
    "__version__",
    "augment",
    "calibration",
    "cli",
    "cohort",
    "data",
    "errors",
    "evaluate",
    "evaluation",
    "files",
    "fit",
    "fitting",
    "inference",
    "io",
    "labels",
    "load",
    "losses",
    "metrics",
    "models",
    "phantom",
    "phantoms",
    "postprocess",
    "prediction",
    "preprocess",
    "quality",
    "quantify",
    "recipe",
    "records",
    "registry",
    "report",
    "save",
    "segment",
    "segment_many",
    "spec",
    "tasks",
    "testing",
    "train",
    "training",
    "trees",
    "viz",
    "volume",
    "weights",
]

_HOMES = {
    "LungmaskError": "errors",
    "ScanError": "errors",
    "ScanWarning": "errors",
    "Segmentation": "inference",
    "Volume": "volume",
    "evaluate": "evaluation",
    "fit": "fitting",
    "load": "io",
    "phantom": "phantoms",
    "recipe": "fitting",
    "save": "io",
    "segment": "inference",
    "segment_many": "cohort",
    "train": "training",
}


def __getattr__(name: str) -> object:
    """Loads a module or a name on first use, so that importing the package costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module


def __dir__() -> list[str]:
    return __all__
