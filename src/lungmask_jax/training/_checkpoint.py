"""A run on disk, so that it can be resumed bit for bit."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from lungmask_jax import trees
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.models import Model
from lungmask_jax.spec import TrainSpec, json_value, to_json
from lungmask_jax.training._step import TrainState, create_state

_WHAT = "a training checkpoint"


def save_checkpoint(
    path: str | os.PathLike[str],
    train_state: TrainState,
    spec: TrainSpec,
    *,
    data: str = "",
    start: str = "",
) -> None:
    """Writes the complete state of a run, under a temporary name first.

    With several processes, each holds the whole state: let the first one write.

    Args:
        path: Ends in ``.npz``.
        train_state: State of an `Epoch`, on the device or the host.
        spec: Settings of the run.
        data: `Samples.checksum` of its training data.
        start: Checksum of its initial weights, if any.

    Raises:
        WeightsError: The path does not end in ``.npz``.
        OSError: The file cannot be written, for example on a full disk; an older one does not
            change.

    Example:
        >>> import tempfile
        >>> from lungmask_jax.models import unet
        >>> model, spec = unet(channels=(4, 8)), TrainSpec()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(f"{folder}/run.npz", create_state(model, spec), spec)
        ...     int(load_checkpoint(f"{folder}/run.npz", model, spec).step)
        0
    """
    arrays = trees.leaves(jax.device_get(train_state))
    trees.write(Path(path), arrays, {"train": to_json(spec), "data": data, "start": start})


def load_checkpoint(
    path: str | os.PathLike[str],
    model: Model,
    spec: TrainSpec,
    *,
    data: str = "",
    start: str = "",
) -> TrainState:
    """The state from `save_checkpoint`, to continue `train` from.

    Args:
        path: The file.
        model: The network of the run.
        spec: Settings of the run; with another spec it would be a different run.
        data: Checksum of its training data, as given to `save_checkpoint`.
        start: Checksum of its initial weights, as given there.

    Returns:
        The state.

    Raises:
        WeightsError: The file is missing, damaged, or of another network.
        SpecError: The settings of the run differ; the message names the differences.

    Example:
        >>> from lungmask_jax.models import unet
        >>> load_checkpoint("nowhere.npz", unet(channels=(4, 8)), TrainSpec())
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.WeightsError: expected a training checkpoint, found no file nowhere.npz
    """
    template = jax.eval_shape(lambda: create_state(model, spec))

    def shapes(texts: Mapping[str, str]) -> Any:
        _check_same_run(texts, spec, {"data": data, "start": start}, path)
        return template

    stored = trees.read(Path(path), _WHAT, shapes=shapes)
    return jax.device_put(trees.fill(template, stored.arrays, Path(path)))


def _check_same_run(
    texts: Mapping[str, str], spec: TrainSpec, identity: Mapping[str, str], path: Any
) -> None:
    theirs = json_value(texts["train"], "settings") if "train" in texts else None
    if not isinstance(theirs, dict):
        raise WeightsError(f"expected {_WHAT}, {path} is something else, a bundle for instance")
    theirs |= {name: texts.get(name, "")[:12] for name in identity}
    ours = json.loads(to_json(spec)) | {name: value[:12] for name, value in identity.items()}
    differences = [
        f"{name} was {_shown(theirs.get(name))}, is {_shown(value)}"
        for name, value in ours.items()
        if theirs.get(name) != value
    ]
    if differences:
        raise SpecError(
            f"expected the settings of the run in {path}, found others: {', '.join(differences)}; "
            "resume with the same, or start a new run, from its weights with train --start"
        )


def _shown(value: object) -> object:
    """The value as a message says it: none where there is none."""
    return "none" if value in (None, "") else value
