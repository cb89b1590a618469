"""Bundles from untrusted files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lungmask_jax import postprocess, trees
from lungmask_jax.errors import LungmaskError, SpecError, UnknownNameError, WeightsError, shown
from lungmask_jax.models import Model
from lungmask_jax.spec import SegmenterSpec, from_json
from lungmask_jax.weights._bundle import Bundle, create_model, shapes


def read_bundle(path: Path) -> Bundle:
    """A bundle from a file of `lungmask_jax.weights.save`, checked against its network."""

    def expected(texts: Mapping[str, str]) -> Any:
        return shapes(_model(_spec(texts, path), texts, path))

    what = "a weights bundle" if path.suffix == ".npz" else "weights"
    stored = trees.read(path, what, shapes=expected)
    spec = _spec(stored.texts, path)
    filled = trees.fill(expected(stored.texts), stored.arrays, path)
    for leaf, array in trees.leaves(filled).items():
        if not np.isfinite(array).all():
            raise WeightsError(f"expected finite numbers in {path}, {leaf} has others: train again")
    return Bundle(path.stem, spec, filled["params"], filled["state"], stored.checksum)


def _spec(texts: Mapping[str, str], path: Path) -> SegmenterSpec:
    if "spec" not in texts:
        raise WeightsError(f"expected a weights bundle, {path} has no __spec__: get it again")
    try:
        spec = from_json(texts["spec"], SegmenterSpec)
        return replace(spec, postprocess=postprocess.complete(spec.postprocess))
    except (SpecError, UnknownNameError) as error:
        package = f"; it was made with {shown(texts['plugin'])}" if "plugin" in texts else ""
        raise WeightsError(f"the spec of {path} cannot be read: {error}{package}") from error


def _model(spec: SegmenterSpec, texts: Mapping[str, str], path: Path) -> Model:
    """The network; if it is missing, the error names its package."""
    name = spec.model.name
    try:
        return create_model(spec.model)
    except UnknownNameError as error:
        package = texts.get("plugin", "its package; ask the author of the file")
        raise WeightsError(
            f"the network {shown(name)} of {path} is not installed ({error}): install "
            f"{package[:200]!r}"
        ) from error
    except LungmaskError as error:
        raise WeightsError(
            f"the network {shown(name)} of {path} cannot be used: {error}"
        ) from error
