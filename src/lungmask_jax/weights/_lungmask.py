"""The networks of lungmask as bundles: weights, preprocessing and post-processing.

Hofmanninger et al., European Radiology Experimental 2020, 10.1186/s41747-020-00173-2; steps and
numbers are those of its program, version 0.2.22.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from lungmask_jax.errors import WeightsError
from lungmask_jax.files import checksum
from lungmask_jax.spec import ModelSpec, PreprocessSpec, SegmenterSpec
from lungmask_jax.tasks import LOBES, LUNGS, Steps
from lungmask_jax.weights._bundle import Bundle
from lungmask_jax.weights._converted import converted

_KNOWN: Final[Mapping[str, str]] = {
    "0de78a7e": "R231CovidWeb",
    "3a07043d": "LTRCLobes",
    "d5d2fc3d": "R231",
}
"""The files of its release v0.0, by the first digits of their SHA-256, which are in their names."""

_LICENCE: Final = (
    "not stated beside the files; the program of lungmask is under Apache-2.0, its paper says "
    "GPL-3: ask its authors before you pass them on"
)
_LAST: Final = "last.weight"
_IMAGES: Final = PreprocessSpec(window=(-1024.0, 600.0), region="bodies", size=(256, 256))
_STEPS: Final[Steps] = (
    ("most_likely", {}),
    ("join_regions", {"skip_below": 3}),
    ("solid_regions", {}),
    ("onto_scan", {}),
)


class _Kind(NamedTuple):
    """The target of networks with one number of classes, and its steps."""

    target: str
    steps: Steps


_KINDS: Final[Mapping[int, _Kind]] = {
    1 + len(LUNGS.labels): _Kind(LUNGS.name, _STEPS),
    1 + len(LOBES.labels): _Kind(LOBES.name, (*_STEPS, ("fill_outer", {"skip_below": 3}))),
}


def is_lungmask(tensors: Mapping[Any, Any]) -> bool:
    """Whether these are the tensors of its network, by two names that others do not have."""
    names = _LAST, "down_path.0.block.0.weight"
    return all(isinstance(tensors.get(name), np.ndarray) for name in names)


def lungmask_bundle(tensors: Mapping[Any, Any], path: Path) -> Bundle:
    """The bundle that segments as lungmask does with these tensors.

    Args:
        tensors: Its state_dict, as `lungmask_jax.weights.read_pth` gives it.
        path: Their file, whose stem is the name of the bundle.

    Returns:
        A bundle of lungs or lobes. Next to a lung model, lobes are fused with the lungs, as
        lungmask fuses LTRCLobes with R231.

    Raises:
        WeightsError: The tensors are not those of its network, or it has another number of classes.
    """
    classes = len(np.atleast_1d(tensors[_LAST]))
    if classes not in _KINDS:
        known = " and ".join(f"{count} ({kind.target})" for count, kind in _KINDS.items())
        raise WeightsError(
            f"expected lungmask's network of {known} classes, found one of {classes} in {path}"
        )
    kind, digits = _KINDS[classes], checksum(path)
    model = ModelSpec(
        name="lungmask_unet", options={"num_classes": classes, "channels": _channels(tensors)}
    )
    name = _KNOWN.get(digits[:8])
    card = {
        "source": f"lungmask {name}" if name else "a network of lungmask's kind, of unknown origin",
        "file": path.name,
        "sha256": digits,
        "license": _LICENCE if name else "unknown: ask who trained it",
    }
    spec = SegmenterSpec(
        target=kind.target, model=model, preprocess=_IMAGES, postprocess=kind.steps, card=card
    )
    return Bundle.of(path.stem, spec, *converted(tensors, model), half=False)


def _channels(tensors: Mapping[Any, Any]) -> list[int]:
    """Features of each level, by the biases of their first convolutions."""
    names = (f"down_path.{level}.block.0.bias" for level in range(len(tensors)))
    found = []
    for name in names:
        if not isinstance(tensors.get(name), np.ndarray):
            break
        found.append(len(np.atleast_1d(tensors[name])))
    return found
