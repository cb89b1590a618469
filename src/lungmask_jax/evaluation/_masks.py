"""The masks to score: pairs in folders, or labeled scans that are segmented first."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from lungmask_jax import data, inference, io, tasks, weights
from lungmask_jax.data import Case
from lungmask_jax.errors import LungmaskError, ScanError, SpecError
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

Window: TypeAlias = tuple[float, float] | None
Weights: TypeAlias = Sequence[str | os.PathLike[str] | Bundle]
MaskPair: TypeAlias = tuple[str, Path, Path]
"""Name, predicted mask and true mask, from `lungmask_jax.data.pair_masks`."""

SEEN: Final = ("learned from", "held out")
"""The ways in which a model may have seen a case, the more serious first."""


class Masks(NamedTuple):
    """A predicted mask, the true mask, and a reader of their scan, if available.

    `seen` says whether its networks know the case, see `lungmask_jax.weights.seen_in_training`;
    none if they are unknown.
    """

    prediction: Volume
    truth: Volume
    scan: Callable[[], Volume] | None
    seen: str | None = None


class Job(NamedTuple):
    """A case to score: its name, patient and true mask, and a function that returns both masks."""

    name: str
    patient: str
    truth: Path
    masks: Callable[[], Masks]


def jobs(
    cases: Sequence[Case] | Sequence[MaskPair],
    target: str,
    *,
    chosen: Weights,
    window: Window,
    scans: str | os.PathLike[str] | None,
) -> list[Job]:
    """All cases, checked as far as possible without reading a scan."""
    pairs = [case for case in cases if not isinstance(case, Case)]
    images = _images(scans, [name for name, _, _ in pairs])
    found = [
        Job(
            name,
            data.patient(name),
            truth,
            functools.partial(_read, mask, truth, images.get(name), window),
        )
        for name, mask, truth in pairs
    ]
    found += _segmented([case for case in cases if isinstance(case, Case)], target, chosen, window)
    task = tasks.registry[target]
    label, name = max(task.labels.items())
    if task.divides and not any(_has_label(job.truth, label) for job in found):
        raise SpecError(
            f"expected a true mask with {label} ({name}) for --by-type, found none: omit it"
        )
    return found


def seen_by_any(models: Sequence[Bundle], name: str, ct: Volume) -> str:
    """Whether any of the models was trained on a case, or chosen by it."""
    fingerprint = data.fingerprint(ct)
    said = {weights.seen_in_training(model.spec.card, name, fingerprint) for model in models}
    return next((word for word in SEEN if word in said), "")


def _images(folder: str | os.PathLike[str] | None, names: Sequence[str]) -> Mapping[str, Path]:
    images = {} if folder is None else data.by_name(Path(folder))
    alone = [name for name in names if name not in images]
    if folder is not None and alone:
        raise ScanError(
            f"expected a scan of every case in {folder}, found none of {', '.join(alone)}: give it "
            "the name of the mask, or leave out --scans"
        )
    return images


def _read(mask: Path, truth: Path, scan: Path | None, window: Window) -> Masks:
    ct = None if scan is None else functools.partial(io.load, scan, window=window)
    return Masks(io.load_mask(mask), io.load_mask(truth), ct)


def _segmented(
    cases: Sequence[Case], target: str, chosen: Weights, window: Window
) -> Iterator[Job]:
    if not cases:
        return
    task = tasks.registry[target]
    models = inference.ordered(weights.by_target(chosen, task.whole))
    known, needed = list[Bundle](), task.whole
    for model in reversed(models.values()):
        if needed in tasks.mask_names([model.spec.target]):
            known.append(model)
            needed = model.spec.needs
    for case in cases:
        made = functools.partial(_made, case, task, [*models.values()], known, window)
        yield Job(case.name, case.patient or case.name, case.masks[task.whole], made)


def _made(
    case: Case, task: Task, models: Sequence[Bundle], known: Sequence[Bundle], window: Window
) -> Masks:
    """The masks of a segmented scan; `known` are the models on which the mask depends."""
    ct, truths = data.load_case(case, window=window, by_type=task.divides)
    prediction = inference.segment(ct, weights=models).masks[task.name]
    return Masks(prediction, truths[task.whole], lambda: ct, seen_by_any(known, case.name, ct))


def _has_label(truth: Path, label: int) -> bool:
    """Whether a mask has the label; unreadable masks are reported later."""
    with contextlib.suppress(LungmaskError, OSError):
        return label in io.load_mask(truth).array
    return False
