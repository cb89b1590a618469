"""Several bundles as one."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, Literal

import jax
import numpy as np

from lungmask_jax import postprocess, trees
from lungmask_jax.errors import SpecError, shown
from lungmask_jax.spec import SegmenterSpec, changed_steps
from lungmask_jax.tasks import Steps
from lungmask_jax.weights._bundle import Bundle
from lungmask_jax.weights._load import load

_SEEN: Final[Mapping[str, Literal["learned from", "held out"]]] = {
    "trained_on": "learned from",
    "held_out": "held out",
}


def by_target(chosen: Sequence[str | os.PathLike[str] | Bundle], *needed: str) -> dict[str, Bundle]:
    """Bundles by their target; several for one target become an `ensemble`.

    Args:
        chosen: Names, paths or bundles.
        *needed: Targets that must be among them.

    Returns:
        Target to bundle.

    Raises:
        SpecError: There is none for a needed target, or two for one target differ in more than
            their weights and cards.

    Example:
        >>> {target: bundle.name for target, bundle in by_target(["lungs", "lungs"]).items()}
        {'lungs': 'lungs+lungs'}
    """
    groups: dict[str, list[Bundle]] = {}
    for one in chosen:
        bundle = one if isinstance(one, Bundle) else load(one)
        groups.setdefault(bundle.spec.target, []).append(bundle)
    missing = sorted({*needed} - groups.keys())
    if missing:
        names = [one.name if isinstance(one, Bundle) else os.fspath(one) for one in chosen]
        raise SpecError(
            f"expected a model for {' and '.join(missing)} among --weights, found "
            f"{', '.join(names)}: add one"
        )
    return {target: ensemble(group) for target, group in groups.items()}


def ensemble(bundles: Sequence[Bundle]) -> Bundle:
    """Several bundles as one, which predicts the mean of their probabilities.

    An ensemble of the networks of a cross-validation is better than each of them, and less certain
    where they differ. They run as one program.

    Args:
        bundles: Bundles with the same network, preprocessing, views, target and post-processing.
            Calibrations and thresholds may differ: the mean of each is used. A single bundle is
            returned unchanged.

    Returns:
        The bundle; `save` writes it like any other.

    Raises:
        SpecError: There is none, or two differ in more than their weights and cards.

    Example:
        >>> from lungmask_jax.weights import load
        >>> two = ensemble([load("lungs"), load("lungs")])
        >>> two.spec.model.members, two.name
        (2, 'lungs+lungs')
    """
    if not bundles:
        raise SpecError("expected bundles for an ensemble, found none")
    first, *others = bundles
    if not others:
        return first
    for other in others:
        _check_alike(first, other)
    if any(one.previous is not None for one in bundles):
        raise SpecError(
            f"expected models of one stage for an ensemble, {first.name} is the second stage of a "
            "cascade: give its folds as one model"
        )
    params, state = jax.tree.map(lambda *leaves: np.concatenate(leaves), *map(_members, bundles))
    count = sum(bundle.spec.model.members for bundle in bundles)
    card = {"members": [{"name": one.name, **one.spec.card} for one in bundles]}
    spec = replace(
        first.spec,
        model=replace(first.spec.model, members=count),
        postprocess=_mean_postprocess(bundles),
        signs=_mean_signs(bundles),
        card=card,
    )
    checksum = trees.checksum(trees.leaves({"params": params, "state": state}))
    return Bundle("+".join(one.name for one in bundles), spec, params, state, checksum)


def _members(bundle: Bundle) -> tuple[Any, Any]:
    """Parameters and state with a first axis for the members."""
    numbers = bundle.params, bundle.state
    if bundle.spec.model.members > 1:
        return numbers
    return jax.tree.map(lambda leaf: np.asarray(leaf)[None], numbers)


def _mean_postprocess(bundles: Sequence[Bundle]) -> Steps:
    """The common steps, with the mean calibration and threshold, each member counted once."""
    members = [bundle.spec.model.members for bundle in bundles]
    decisions = [postprocess.decision(bundle.spec.postprocess) for bundle in bundles]
    slope, offset, at, _ = np.average(decisions, axis=0, weights=members).tolist()
    return _decided(bundles[0].spec.postprocess, postprocess.Decision(slope, offset, at))


def _mean_signs(bundles: Sequence[Bundle]) -> tuple[float, float] | None:
    """The mean of their signs, each member counted once; none if a member has none."""
    numbers = [bundle.spec.signs for bundle in bundles if bundle.spec.signs is not None]
    if len(numbers) < len(bundles):
        return None
    members = [bundle.spec.model.members for bundle in bundles]
    slope, offset = np.average(numbers, axis=0, weights=members).tolist()
    return slope, offset


def _decided(steps: Steps, decision: postprocess.Decision) -> Steps:
    """The steps with another calibration and threshold."""
    slope, offset, at, _ = decision
    if postprocess.decision(steps).most_likely:
        return changed_steps(steps, "calibration", slope=slope, offset=offset)
    steps = changed_steps(steps, "threshold", at=at)
    return changed_steps(steps, "calibration", slope=slope, offset=offset)


def _check_alike(first: Bundle, other: Bundle) -> None:
    ours, theirs = _comparable(first.spec), _comparable(other.spec)
    for name in ("target", "model", "preprocess", "predict", "volume", "postprocess"):
        one, another = getattr(ours, name), getattr(theirs, name)
        if one != another:
            raise SpecError(
                f"expected bundles of one {name} for an ensemble, found {first.name} and "
                f"{other.name}, both for {first.spec.target}, with {_unlike(one, another)}: use "
                "one of them"
            )


def _unlike(one: Any, another: Any) -> str:
    """Two values, or the first fields in which they differ."""
    for field in fields(one) if is_dataclass(one) else ():
        pair = getattr(one, field.name), getattr(another, field.name)
        if pair[0] != pair[1]:
            return f"{field.name} {shown(pair[0])} and {shown(pair[1])}"
    return f"{shown(one)} and {shown(another)}"


def _comparable(spec: SegmenterSpec) -> SegmenterSpec:
    """The spec without the parts in which members of an ensemble may differ."""
    post = _decided(spec.postprocess, postprocess.Decision())
    return replace(
        spec, model=replace(spec.model, members=1), postprocess=postprocess.complete(post)
    )


def seen_in_training(
    card: Mapping[str, Any], case: str, fingerprint: str
) -> Literal["", "held out", "learned from"]:
    """Whether the networks of a bundle have seen a case.

    Args:
        card: Card of a bundle, also of an ensemble. ``lungmask-jax train`` stores fingerprints of
            all scans in it, ``trained_on_images`` and ``held_out_images``; without these, the
            names are compared, ``trained_on`` and ``held_out``.
        case: Name of the case.
        fingerprint: `lungmask_jax.data.fingerprint` of its scan.

    Returns:
        ``"learned from"``; ``"held out"``, if epoch and threshold were chosen on it; or ``""``, if
        the card does not say that it was seen.

    Example:
        >>> seen_in_training({"trained_on": ["a"], "held_out": ["b"]}, "b", "")
        'held out'
    """
    members = card.get("members")
    if isinstance(members, list):
        known = {
            seen_in_training(one, case, fingerprint) for one in members if isinstance(one, Mapping)
        }
    else:
        known = {word for key, word in _SEEN.items() if _named(card, key, case, fingerprint)}
    return next((word for word in _SEEN.values() if word in known), "")


def _named(card: Mapping[str, Any], key: str, case: str, fingerprint: str) -> bool:
    images, names = card.get(f"{key}_images"), card.get(key)
    if isinstance(images, list):
        return fingerprint in images
    return isinstance(names, list) and case in names
