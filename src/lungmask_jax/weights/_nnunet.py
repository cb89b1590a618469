"""Models of nnU-Net (Isensee et al., Nature Methods 2021) as bundles."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import jax
import numpy as np

from lungmask_jax import tasks
from lungmask_jax.errors import SpecError, WeightsError, shown
from lungmask_jax.spec import SegmenterSpec, json_value
from lungmask_jax.tasks import Steps
from lungmask_jax.weights._bundle import Bundle
from lungmask_jax.weights._converted import converted
from lungmask_jax.weights._model_files import ModelFiles, model_files
from lungmask_jax.weights._nnunet1 import MODEL, planned_before, read_pickle, renamed
from lungmask_jax.weights._plans import Planned, planned
from lungmask_jax.weights._pth import read_open
from lungmask_jax.weights._totalsegmentator import KNOWN, Known, adapted

__all__ = ["read_nnunet"]

_LIKELIEST: Final[Steps] = (("most_likely", {}),)
_REGIONS: Final[Steps] = (("threshold", {"at": 0.5}),)


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
        The bundle, float32; several folds are its members.

    Raises:
        WeightsError: A file is missing or damaged, or the network is none that is read here.
        SpecError: No task has such labels.

    Example:
        >>> read_nnunet("Dataset001_Lungs.zip")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.WeightsError: expected a model of nnU-Net, found no file ...
    """
    path = Path(path)
    with model_files(path) as files:
        folder = _folder(files, configuration)
        older = files.folds(folder, MODEL)
        if older:
            chosen = _folds(files, folder, folds, MODEL)
            return _bundle(
                path.stem, [_older(files, name, (target, labels)) for name in chosen.values()]
            )
        plans, dataset = (
            json_value(files.text(str(PurePosixPath(folder, name))), name)
            for name in ("plans.json", "dataset.json")
        )
        chosen = _folds(files, folder, folds, f"checkpoint_{checkpoint}.pth")
        read = (_checkpoint(files, name) for name in chosen.values())
        members = [_member(plans, dataset, one, (target, labels)) for one in read]
    return _bundle(path.stem, members)


def _folder(files: ModelFiles, configuration: str) -> str:
    """The folder of the model, chosen by its configuration where there are several."""
    fits = [
        folder
        for folder in files.folders()
        if configuration in ("", folder.rpartition("__")[-1]) or len(files.folders()) == 1
    ]
    if len(fits) != 1:
        raise WeightsError(
            f"expected one model in {files.path} of the configuration {configuration!r}, found "
            f"{', '.join(fits) or 'none'} among {', '.join(files.folders())}: choose another "
            "configuration, or give the folder of the model"
        )
    return fits[0]


def _folds(files: ModelFiles, folder: str, folds: Sequence[str], checkpoint: str) -> dict[str, str]:
    """The checkpoint of each fold."""
    there = files.folds(folder, checkpoint)
    numbered = [fold for fold in there if fold != "all"]
    wanted = [*folds] or numbered or [*there]
    missing = [fold for fold in wanted if fold not in there]
    if missing or not wanted:
        known = ", ".join(sorted(there)) or "none"
        raise WeightsError(
            f"expected {checkpoint} of fold {', '.join(missing) or '0'} in {files.path}, found "
            f"{known}: choose folds or the checkpoint"
        )
    return {fold: there[fold] for fold in wanted}


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
    with files.opened(f"{name}.pkl") as file:
        pickled = read_pickle(file, os.fstat(file.fileno()).st_size)
    with files.opened(name) as file:
        tensors = read_open(file, files.path / name).get("state_dict")
    try:
        spec = _spec(planned_before(pickled), *wanted)
        numbers = renamed(tensors)  # type: ignore[arg-type]  # what is none is named below
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise WeightsError(f"{name}.pkl lacks what it should have: {error!r}") from error
    card = {"source": "nnU-Net v1", "trainer": str(pickled["name"])}
    return replace(spec, card=card), converted(numbers, spec.model)


def _bundle(name: str, members: Sequence[tuple[SegmenterSpec, Any]]) -> Bundle:
    """All folds as one."""
    spec, numbers = members[0]
    if len(members) > 1:
        spec = replace(spec, model=replace(spec.model, members=len(members)))
        numbers = jax.tree.map(lambda *leaves: np.stack(leaves), *(one for _, one in members))
    return Bundle.of(name, spec, *numbers, half=False)


def _member(
    plans: Any, dataset: Any, checkpoint: Mapping[str, Any], wanted: tuple[str, Any]
) -> tuple[SegmenterSpec, Any]:
    """The network of one fold, and its numbers."""
    try:
        found = planned(plans, dataset, checkpoint["init_args"]["configuration"])
        found = _mirrored(found, checkpoint.get("inference_allowed_mirroring_axes") or ())
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise WeightsError(
            f"plans.json, dataset.json or the checkpoint lack what they should have: {error!r}"
        ) from error
    known = KNOWN.get(str(plans.get("dataset_name")))
    target, labels = wanted
    if known is not None and not (target or labels):
        target, labels = known.target, _known_labels(found.names, known)
    spec = replace(_spec(found, target, labels), card=_card(plans, checkpoint))
    spec = spec if known is None else adapted(spec, known)
    return spec, converted(checkpoint["network_weights"], spec.model)


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


def _spec(found: Planned, target: str, labels: Mapping[str, int] | None) -> SegmenterSpec:
    target = target or _target(found.names)
    values = {0: 0} | _values(found.names, target, labels)
    volume = replace(found.volume, labels=tuple(values.get(n, 0) for n in found.volume.labels))
    steps = _REGIONS if volume.regions else _LIKELIEST
    if tasks.registry[target].inside:
        steps = (*steps, ("within", {}))
    return SegmenterSpec(
        target=target,
        model=found.model,
        predict=found.predict,
        volume=volume,
        postprocess=steps,
    )


def _plain(name: str) -> str:
    """A name without what is written in several ways."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _target(names: Mapping[int, str]) -> str:
    """The task of which a network has all labels; of several, the one that has the most."""
    there = {_plain(name) for name in names.values()}
    fits = {
        name: len(tasks.registry[name].labels)
        for name in tasks.targets()
        if {_plain(label) for label in tasks.registry[name].labels.values()} <= there
    }
    best = [name for name, count in fits.items() if count == max(fits.values())]
    if len(best) != 1:
        raise SpecError(
            f"expected the labels of one task among {', '.join(names.values())}, found those of "
            f"{', '.join(best) or 'none'}: say which with target, and the labels of the task by "
            f"these names with labels; the tasks are {', '.join(tasks.targets())}"
        )
    return best[0]


def _values(
    names: Mapping[int, str], target: str, labels: Mapping[str, int] | None
) -> dict[int, int]:
    """From the labels of the data set to those of the task."""
    task = tasks.registry[target]
    known = labels
    if known is None:
        own = {_plain(name): value for value, name in task.labels.items()}
        known = {name: own[_plain(name)] for name in names.values() if _plain(name) in own}
        if not known and len(names) == len(own) == 1:
            known = {next(iter(names.values())): next(iter(own.values()))}
    unknown = [name for name in known if name not in names.values()]
    wrong = [value for value in known.values() if value not in task.labels]
    if not known or unknown or wrong:
        raise SpecError(
            f"expected labels of the task {target!r}, {shown(dict(task.labels))}, by the names "
            f"{', '.join(names.values())}, found {shown(dict(known))}: give them with labels"
        )
    return {value: known[name] for value, name in names.items() if name in known}


def _card(plans: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    said = {
        "dataset": plans.get("dataset_name"),
        "trainer": checkpoint.get("trainer_name"),
        "configuration": checkpoint["init_args"]["configuration"],
        "epochs": checkpoint.get("current_epoch"),
    }
    return {"source": "nnU-Net v2", **{key: value for key, value in said.items() if value}}
