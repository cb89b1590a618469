"""Losses by name, for settings that come as text."""

import functools
import inspect
from collections.abc import Callable, Hashable
from types import MappingProxyType
from typing import Any

import jax

from lungmask_jax.errors import SpecError, UnknownNameError, nearest
from lungmask_jax.losses._boundary import boundary, hausdorff_dt
from lungmask_jax.losses._centerline import cldice
from lungmask_jax.losses._entropy import bce, cross_entropy, focal, weighted_bce
from lungmask_jax.losses._inputs import Loss
from lungmask_jax.losses._lovasz import lovasz_hinge, lovasz_softmax
from lungmask_jax.losses._overlap import dice, generalized_dice, jaccard
from lungmask_jax.losses._sums import (
    bce_dice,
    dice_cross_entropy,
    dice_focal,
    nested_bce_dice,
)
from lungmask_jax.losses._tversky import focal_tversky, tversky

__all__ = ["create", "names"]

_LOSSES: MappingProxyType[str, Callable[..., jax.Array]] = MappingProxyType(
    {
        "bce": bce,
        "bce_dice": bce_dice,
        "boundary": boundary,
        "cldice": cldice,
        "cross_entropy": cross_entropy,
        "dice": dice,
        "dice_cross_entropy": dice_cross_entropy,
        "dice_focal": dice_focal,
        "focal": focal,
        "focal_tversky": focal_tversky,
        "generalized_dice": generalized_dice,
        "hausdorff_dt": hausdorff_dt,
        "jaccard": jaccard,
        "lovasz_hinge": lovasz_hinge,
        "lovasz_softmax": lovasz_softmax,
        "nested_bce_dice": nested_bce_dice,
        "tversky": tversky,
        "weighted_bce": weighted_bce,
    }
)


def names() -> list[str]:
    """The names that `create` knows.

    Returns:
        Sorted names.

    Example:
        >>> names()[:3]
        ['bce', 'bce_dice', 'boundary']
    """
    return sorted(_LOSSES)


def create(name: str, **options: Any) -> Loss:
    """A loss by name, with its options bound.

    Asked for again with equal options it is the same object, so a jitted function that takes it as
    a static argument is not compiled again.

    Args:
        name: One of `names`.
        options: Of that loss; numbers, booleans and lists of numbers.

    Returns:
        ``loss(logits, targets) -> (N,)``. Without options, the very function of that name.

    Raises:
        UnknownNameError: There is no such loss.
        SpecError: The loss has no such option, or its value is no plain one.

    Example:
        >>> create("dice") is dice
        True
        >>> create("tversky", alpha=0.1) is create("tversky", alpha=0.1)
        True
    """
    if name not in _LOSSES:
        raise UnknownNameError(f"no loss {name!r}: {nearest(name, _LOSSES)}")
    known = _options(_LOSSES[name])
    for option, value in options.items():
        if option not in known:
            there = ", ".join(map(repr, known)) or "none"
            raise SpecError(f"loss {name!r} has no option {option!r}: known: {there}")
        _refuse_arrays(option, value)
    return _bound(name, tuple(sorted((option, _frozen(v)) for option, v in options.items())))


@functools.cache
def _bound(name: str, options: tuple[tuple[str, Hashable], ...]) -> Loss:
    return functools.partial(_LOSSES[name], **dict(options)) if options else _LOSSES[name]


def _options(loss: Callable[..., jax.Array]) -> list[str]:
    parameters = inspect.signature(loss).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


def _refuse_arrays(option: str, value: object) -> None:
    each = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, int | float | None) for one in each):
        raise SpecError(
            f"expected {option} to be a number, a boolean or a list of numbers, found "
            f"{type(value).__name__}: give plain Python values"
        )


def _frozen(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
