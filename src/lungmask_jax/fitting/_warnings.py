"""Warnings about suspicious data and networks, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from lungmask_jax import data, weights
from lungmask_jax.data import Case
from lungmask_jax.errors import ScanError
from lungmask_jax.fitting._calibration import Judgement
from lungmask_jax.fitting._scans import PreparedScan
from lungmask_jax.spec import SegmenterSpec
from lungmask_jax.weights import Bundle

_LUNG_LIKE: Final = 0.25  # lungs fill a third of the box around them; infection hardly a sixth
_NAMES: Final = 5


def data_warnings(
    train: Sequence[PreparedScan], held_out: Sequence[PreparedScan], segmenter: SegmenterSpec
) -> Iterator[str]:
    """A line for each problem in masks and scans.

    Raises:
        ScanError: All masks are empty.
    """
    every, target = [*train, *held_out], segmenter.target
    yield from _unmasked(every, target)
    if not any(scan.samples.masks.any() for scan in train):
        raise ScanError(
            f"expected masks with {target}, but those of all {len(train)} training scans have "
            "none: check the masks, and whether they belong to the scans"
        )
    share = float(np.mean(np.concatenate([np.ravel(scan.samples.masks > 0) for scan in train])))
    around = segmenter.preprocess.around
    if around and share > _LUNG_LIKE:
        yield (
            f"the masks fill {share:.0%} of the images: are they {around}? If so, give --target "
            f"{around}"
        )
    if not any(scan.samples.masks.any() for scan in held_out):
        yield (
            f"no {target} in the held-out scans, {_listed(held_out)}: no Dice is possible, so the "
            "weights of the last step are kept, and not calibrated; another --seed holds out others"
        )


def _unmasked(scans: Sequence[PreparedScan], target: str) -> Iterator[str]:
    blind = [scan for scan in scans if not len(scan.samples.images)]
    if blind:
        yield f"no lungs found in {_listed(blind)}: nothing is learned from them; are they chests?"
    seen = [scan for scan in scans if len(scan.samples.images)]
    empty = [scan for scan in seen if not scan.samples.masks.any()]
    if empty:
        yield (
            f"no {target} in {len(empty)} of {len(scans)} masks, those of {_listed(empty)}: are "
            "they meant to be empty?"
        )


def leakage_warnings(
    train: Sequence[PreparedScan],
    held_out: Sequence[PreparedScan],
    cases: tuple[Sequence[Case], Sequence[Case]],
    start: Bundle | None,
) -> Iterator[str]:
    """A line for each held-out scan that the network may have seen."""
    known = {scan.fingerprint: scan.name for scan in train}
    for scan in held_out:
        if scan.fingerprint in known:
            yield (
                f"{scan.name}, held out, is the same scan as {known[scan.fingerprint]} in the "
                "training data: its Dice is no evidence; remove one of them"
            )
        if start and weights.seen_in_training(start.spec.card, scan.name, scan.fingerprint):
            yield f"{scan.name}, held out, was seen by {start.name}: its Dice is no evidence"
    pairs = data.similar_names(*cases)
    if pairs:
        shown = ", ".join(f"{one} and {other}" for one, other in pairs[:_NAMES])
        yield (
            f"similar names in training and held-out scans: {shown}; are they one patient? If so, "
            "add a column patient to the metadata.csv, or Dice is too good"
        )


def loss_warning(log: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """A line if the loss did not fall."""
    if len(log) > 1 and log[-1]["loss"] >= log[0]["loss"]:
        first, last = log[0], log[-1]
        yield (
            f"the loss did not fall: {first['loss']:.4g} up to step {first['step']}, "
            f"{last['loss']:.4g} at the end; try another --learning-rate, and check the masks"
        )


def score_warning(name: str, judgement: Judgement | None) -> Iterator[str]:
    """A line if the network is useless, or has no scores."""
    if judgement is None:
        yield f"{name} is written, but its quality is unknown: no Dice was possible"
    elif not judgement.learned:
        yield (
            f"{name} has learned nothing: its Dice on the held-out scans is {judgement.dice:.3f}, "
            f"that of a mask of everything {judgement.everything:.3f}; try more --steps or another "
            "--learning-rate, and check the masks"
        )


def _listed(scans: Sequence[PreparedScan]) -> str:
    names = [scan.name for scan in scans]
    more = [f"{len(names) - _NAMES} more"] if len(names) > _NAMES else []
    return ", ".join([*names[:_NAMES], *more])
