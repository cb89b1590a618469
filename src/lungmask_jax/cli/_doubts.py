"""What ``lungmask-jax train`` says of its data before it learns, and of the network afterwards."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from lungmask_jax import data, weights
from lungmask_jax.cli._prepare import Prepared
from lungmask_jax.data import Case
from lungmask_jax.errors import ScanError
from lungmask_jax.spec import SegmenterSpec
from lungmask_jax.weights import Bundle

__all__ = ["Judged", "doubts", "strangers", "unfallen", "unlearned"]

_LUNG_LIKE: Final = 0.25  # lungs fill a third of the box around them; infection hardly a sixth
_NAMES: Final = 5
_CHANCE: Final = 0.02  # of Dice, which the choice of epoch and threshold may make of nothing


class Judged(NamedTuple):
    """The Dice of masks, all cases taken as one, and that of masks of everything."""

    dice: float
    everything: float

    @classmethod
    def of(cls, found: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> "Judged":
        """That of masks whose truths are not all empty."""
        pairs = list(zip(found, truths, strict=True))
        true = sum(int(truth.sum()) for truth in truths)
        right = sum(int((one & truth).sum()) for one, truth in pairs)
        marked = sum(int(one.sum()) for one in found)
        size = sum(truth.size for truth in truths)
        return cls(2 * right / (marked + true), 2 * true / (size + true))

    @property
    def learned(self) -> bool:
        """Whether the network knows more than nothing."""
        return self.dice > self.everything + _CHANCE


def doubts(
    train: Sequence[Prepared], held_out: Sequence[Prepared], segmenter: SegmenterSpec
) -> Iterator[str]:
    """A line for each thing that is odd in masks and scans.

    Raises:
        ScanError: There is nothing to learn.
    """
    every, target = [*train, *held_out], segmenter.target
    yield from _unmasked(every, target)
    if not any(scan.samples.masks.any() for scan in train):
        raise ScanError(
            f"expected masks to learn from, those of all {len(train)} scans are empty of {target}: "
            "look at the masks, and whether they belong to the scans"
        )
    share = float(np.mean(np.concatenate([np.ravel(scan.samples.masks > 0) for scan in train])))
    if segmenter.preprocess.region == "lungs" and share > _LUNG_LIKE:
        yield f"the masks fill {share:.0%} of the images: are they lungs? Then give --target lungs"
    if not any(scan.samples.masks.any() for scan in held_out):
        yield (
            f"no {target} in what is held out, {_listed(held_out)}: no Dice is possible, so the "
            "weights of the last step are kept, and not calibrated; another --seed holds out others"
        )


def _unmasked(scans: Sequence[Prepared], target: str) -> Iterator[str]:
    blind = [scan for scan in scans if not len(scan.samples.images)]
    if blind:
        yield f"no lungs found in {_listed(blind)}: nothing can be learned there; are they chests?"
    seen = [scan for scan in scans if len(scan.samples.images)]
    empty = [scan for scan in seen if not scan.samples.masks.any()]
    if empty:
        yield (
            f"no {target} in {len(empty)} of {len(scans)} masks, those of {_listed(empty)}: are "
            "they meant to be empty?"
        )


def strangers(
    train: Sequence[Prepared],
    held_out: Sequence[Prepared],
    cases: tuple[Sequence[Case], Sequence[Case]],
    start: Bundle | None,
) -> Iterator[str]:
    """A line for each scan held out that may not be a stranger to the network."""
    known = {scan.fingerprint: scan.name for scan in train}
    for scan in held_out:
        if scan.fingerprint in known:
            yield (
                f"{scan.name}, held out, is the same scan as {known[scan.fingerprint]}, which is "
                "learned from: its Dice is no evidence; leave one of them out"
            )
        if start and weights.exposure(start.spec.card, scan.name, scan.fingerprint):
            yield f"{scan.name}, held out, is known to {start.name}: its Dice is no evidence"
    pairs = data.lookalikes(*cases)
    if pairs:
        shown = ", ".join(f"{one} and {other}" for one, other in pairs[:_NAMES])
        yield (
            f"learned from and held out, but alike by name: {shown}; are they of one patient? Then "
            "say so in a column patient of the metadata.csv, or Dice is too good"
        )


def unfallen(log: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """A line if the loss did not fall."""
    if len(log) > 1 and log[-1]["loss"] >= log[0]["loss"]:
        first, last = log[0], log[-1]
        yield (
            f"the loss did not fall: {first['loss']:.4g} up to step {first['step']}, "
            f"{last['loss']:.4g} at the end; try another --learning-rate, and look at the masks"
        )


def unlearned(out: Path, judged: Judged | None) -> Iterator[str]:
    """A line if the network is none to be used, or nobody knows."""
    if judged is None:
        yield f"{out} is written, but nothing tells how good it is: no Dice was possible"
    elif not judged.learned:
        yield (
            f"{out} has learned nothing: its Dice on the scans held out is {judged.dice:.3f}, that "
            f"of a mask of everything {judged.everything:.3f}; try more --steps or another "
            "--learning-rate, and look at the masks"
        )


def _listed(scans: Sequence[Prepared]) -> str:
    names = [scan.name for scan in scans]
    more = [f"{len(names) - _NAMES} more"] if len(names) > _NAMES else []
    return ", ".join([*names[:_NAMES], *more])
