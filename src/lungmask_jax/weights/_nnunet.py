"""Models of nnU-Net (Isensee et al., Nature Methods 2021) as bundles."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import jax
import numpy as np

from lungmask_jax.errors import LungmaskError, WeightsError, shown
from lungmask_jax.spec import SegmenterSpec, json_value
from lungmask_jax.weights._bundle import Bundle
from lungmask_jax.weights._converted import converted
from lungmask_jax.weights._labels import spec_of
from lungmask_jax.weights._model_files import ModelFiles, model_files
from lungmask_jax.weights._nnunet1 import MODEL, planned_before, read_pickle, renamed
from lungmask_jax.weights._plans import Planned, planned
from lungmask_jax.weights._pth import read_open
from lungmask_jax.weights._totalsegmentator import KNOWN, Known, adapted

__all__ = ["read_nnunet"]

_LACKS: Final = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What plans with values of other kinds than nnU-Net writes lead to."""

_NAME: Final = 200
"""Characters of a name that a file gives itself."""

_NAMES: Final = 20
_LOWRES: Final = "3d_lowres"
_CASCADE: Final = "3d_cascade_fullres"
"""The stages of a cascade, as nnU-Net calls them."""

_PREVIOUS: Final = "previous_stage"


def read_nnunet(
    path: str | os.PathLike[str],
    *,
    target: str = "",
    labels: Mapping[str, int] | None = None,
    configuration: str = "",
    folds: Sequence[str] = (),
    checkpoint: str = "final",
) -> Bundle:
    """A trained model of nnU-Net, which segments as nnU-Net does.

    Nothing in it is executed, and nothing is unpacked beside it.

    Args:
        path: The folder ``TRAINER__PLANS__CONFIGURATION``, or one that holds it, or a zip of
            either. Checkpoints of nnU-Net v1 are read, too; their labels are called by their
            numbers, as in ``labels={"1": 1}``.
        target: The task whose labels it finds; by default the one that has labels of those names.
        labels: The labels of that task, by the names in ``dataset.json``; by default those of the
            same names.
        configuration: Such as ``"3d_fullres"``, where there are several.
        folds: Whose answers are averaged, such as ``("0", "1")`` or ``("all",)``; by default all
            numbered ones that are there, else ``fold_all``.
        checkpoint: ``"final"``, ``"best"`` or ``"latest"``.

    Returns:
        The bundle, float32; several folds are its members. The second stage of a cascade has the
        first as ``Bundle.previous`` where that lies beside it, in the same folder or zip.

    Raises:
        WeightsError: A file is missing or damaged, or the network is none that is read here.
        SpecError: No task has such labels.

    Example:
        >>> read_nnunet("Dataset001_Lungs.zip")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.WeightsError: expected a model of nnU-Net, found no file ...
    """
    path, wanted = Path(path), (target, labels)
    with model_files(path) as files:
        folder = _folder(files, configuration)
        older = files.folds(folder, MODEL)
        if older:
            chosen = _folds(files, folder, folds, MODEL)
            return _bundle(path.stem, [_older(files, name, wanted) for name in chosen.values()])
        bundle = _model(files, folder, folds, checkpoint, wanted)
        stage = bundle.spec.card.get(_PREVIOUS)
        if not stage:
            return bundle
        before = _beside(folder, stage)
        there = before in files.folders()
        first = _model(files, before, (), checkpoint, wanted, first=True) if there else None
    beside = path.resolve().with_name(_beside(path.resolve().name, stage))
    if first is None and folder == "." and path.is_dir() and beside.is_dir():
        with model_files(beside) as files:
            first = _model(files, ".", (), checkpoint, wanted, first=True)
    return replace(bundle, previous=first)


def _beside(folder: str, configuration: str) -> str:
    """The folder of another configuration of the same trainer and plans."""
    return f"{folder.rpartition('__')[0]}__{configuration}"


def _model(
    files: ModelFiles,
    folder: str,
    folds: Sequence[str],
    checkpoint: str,
    wanted: tuple[str, Any],
    *,
    first: bool = False,
) -> Bundle:
    """A model of v2; the first stage of a cascade keeps the labels of the data set."""
    plans, dataset = (
        json_value(files.text(str(PurePosixPath(folder, name))), f"{name} of {files.path}")
        for name in ("plans.json", "dataset.json")
    )
    chosen = _folds(files, folder, folds, f"checkpoint_{checkpoint}.pth")
    read = (_checkpoint(files, name) for name in chosen.values())
    members = [_member(plans, dataset, one, wanted, first) for one in read]
    return _bundle(files.path.stem, members)


def _folder(files: ModelFiles, configuration: str) -> str:
    """The folder of the model, chosen by its configuration where there are several."""
    folders = files.folders()
    fits = [
        folder
        for folder in folders
        if configuration in ("", folder.rpartition("__")[-1]) or len(folders) == 1
    ]
    if len(fits) == 2 and _CASCADE in {fit.rpartition("__")[-1] for fit in fits}:
        first, second = sorted(fits, key=lambda fit: fit.endswith(_CASCADE))
        fits = [second] if first == _beside(second, _LOWRES) else fits
    if len(fits) != 1:
        of = f" of the configuration {configuration!r}" if configuration else ""
        raise WeightsError(
            "give the folder of one model, or choose its configuration in lungmask-jax import: "
            f"expected one model in {files.path}{of}, found {_listed(fits)} among "
            f"{_listed(folders)}"
        )
    return fits[0]


def _folds(files: ModelFiles, folder: str, folds: Sequence[str], checkpoint: str) -> dict[str, str]:
    """The checkpoint of each fold."""
    there = files.folds(folder, checkpoint)
    numbered = [fold for fold in there if fold != "all"]
    wanted = [*folds] or numbered or [*there]
    missing = [fold for fold in wanted if fold not in there]
    if missing or not wanted:
        others = [name for name in files.names if name.endswith((".pth", ".model"))]
        raise WeightsError(
            f"expected {checkpoint} of fold {', '.join(missing) or '0'} in {files.path}, found "
            f"{_listed(others)}: get the missing file, or choose others in lungmask-jax import, "
            "with --folds or --checkpoint"
        )
    return {fold: there[fold] for fold in wanted}


def _listed(names: Sequence[str]) -> str:
    """The first of some names in a file, for an error."""
    some = [name if name.isprintable() else shown(name) for name in names[:_NAMES]]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"{', '.join(some) or 'none'}{more}"


@contextmanager
def _complete(what: str) -> Iterator[None]:
    """A context that turns whatever values of an unknown kind lead to into one error."""
    try:
        yield
    except LungmaskError:
        raise
    except _LACKS as error:
        raise WeightsError(f"{what} what they should have: {error!r:.200}") from error


def _checkpoint(files: ModelFiles, name: str) -> dict[str, Any]:
    with files.opened(name) as file:
        found = read_open(file, files.path / name)
    missing = {"network_weights", "init_args"} - found.keys()
    if missing:
        raise WeightsError(
            f"expected a checkpoint of nnU-Net in {name} of {files.path}, {missing.pop()!r} is "
            "missing from it"
        )
    return found


def _older(files: ModelFiles, name: str, wanted: tuple[str, Any]) -> tuple[SegmenterSpec, Any]:
    """The network of one fold of nnU-Net v1, and its numbers."""
    if f"{name}.pkl" not in files.names:
        raise WeightsError(
            f"expected {name}.pkl in {files.path}, found none: copy it from where {name} was"
        )
    with files.opened(f"{name}.pkl") as file:
        pickled = read_pickle(file, os.fstat(file.fileno()).st_size)
    with files.opened(name) as file:
        tensors = read_open(file, files.path / name).get("state_dict")
    with _complete(f"{name} and its pickle lack"):
        spec = spec_of(planned_before(pickled), *wanted)
        numbers = renamed(tensors)  # type: ignore[arg-type]  # what is none is named by the context
        card = {"source": "nnU-Net v1", "trainer": str(pickled["name"])[:_NAME]}
    return replace(spec, card=card), converted(numbers, spec.model)


def _bundle(name: str, members: Sequence[tuple[SegmenterSpec, Any]]) -> Bundle:
    """All folds as one."""
    spec, numbers = members[0]
    if len(members) > 1:
        spec = replace(spec, model=replace(spec.model, members=len(members)))
        numbers = jax.tree.map(lambda *leaves: np.stack(leaves), *(one for _, one in members))
    return Bundle.of(name, spec, *numbers, half=False)


def _member(
    plans: Any,
    dataset: Any,
    checkpoint: Mapping[str, Any],
    wanted: tuple[str, Any],
    first: bool,
) -> tuple[SegmenterSpec, Any]:
    """The network of one fold, and its numbers."""
    with _complete("plans.json, dataset.json or the checkpoint lack"):
        found = planned(plans, dataset, checkpoint["init_args"]["configuration"])
        found = _mirrored(found, checkpoint.get("inference_allowed_mirroring_axes") or ())
        known = KNOWN.get(str(plans.get("dataset_name")))
        target, labels = wanted
        if known is not None and not (target or labels):
            target, labels = known.target, _known_labels(found.names, known)
        spec = spec_of(found, target, labels)
        if first:
            spec = replace(spec, volume=found.volume)
        spec = replace(spec, card=_card(plans, checkpoint, found.previous))
        spec = spec if known is None else adapted(spec, known)
        tensors = {**checkpoint["network_weights"]}
    return spec, converted(tensors, spec.model)


def _mirrored(found: Planned, axes: Iterable[int]) -> Planned:
    """With mirror images along these axes of the network."""
    first = 3 - len(found.volume.spacing)
    turned = {first + axis for axis in axes}
    mirror = (0 in turned, 1 in turned, 2 in turned)
    return replace(found, predict=replace(found.predict, mirror=mirror))


def _known_labels(names: Mapping[int, str], known: Known) -> dict[str, int]:
    """Those of the task, by the names in the data set."""
    missing = sorted(known.labels.keys() - names.keys())
    if missing:
        raise WeightsError(
            f"expected the label {missing[0]} of TotalSegmentator in dataset.json, found "
            f"{shown(dict(names))}: get the weights again"
        )
    return {names[value]: own for value, own in known.labels.items()}


def _card(plans: Mapping[str, Any], checkpoint: Mapping[str, Any], previous: str) -> dict[str, Any]:
    said = {
        "dataset": plans.get("dataset_name"),
        "trainer": checkpoint.get("trainer_name"),
        "configuration": checkpoint["init_args"]["configuration"],
        "epochs": checkpoint.get("current_epoch"),
        _PREVIOUS: previous,
    }
    return {"source": "nnU-Net v2", **{key: value for key, value in said.items() if value}}
