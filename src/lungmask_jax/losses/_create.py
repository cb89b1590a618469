"""Losses by name, for settings in text form."""

import functools
import inspect
from collections.abc import Callable, Hashable
from typing import Any

import jax

from lungmask_jax.errors import SpecError
from lungmask_jax.losses._inputs import Loss
from lungmask_jax.registry import Registry

registry: Registry[Callable[..., jax.Array]] = Registry(
    "lungmask_jax.losses",
    {
        name: f"lungmask_jax.losses:{name}"
        for name in (
            "bce",
            "bce_dice",
            "boundary",
            "cldice",
            "cross_entropy",
            "dice",
            "dice_cross_entropy",
            "dice_focal",
            "focal",
            "focal_tversky",
            "generalized_dice",
            "hausdorff_dt",
            "jaccard",
            "lovasz_hinge",
            "lovasz_softmax",
            "nested_bce_dice",
            "tversky",
            "weighted_bce",
        )
    },
)
"""Names to functions ``loss(logits, targets, *, options) -> (N,)``."""


def create(name: str, **options: Any) -> Loss:
    """A loss by name, with its options bound.

    For equal options it is the same object, so a jitted function with it as a static argument is
    not compiled again.

    Args:
        name: A name in `registry`.
        options: Options of that loss; numbers, booleans and lists of numbers.

    Returns:
        ``loss(logits, targets) -> (N,)``. Without options, the function itself.

    Raises:
        UnknownNameError: There is no such loss.
        SpecError: The loss has no such option, or its value is not a plain one.

    Example:
        >>> from lungmask_jax.losses import dice
        >>> create("dice") is dice
        True
        >>> create("tversky", alpha=0.1) is create("tversky", alpha=0.1)
        True
    """
    loss = registry[name]
    known = _options(loss)
    for option, value in options.items():
        if option not in known:
            there = ", ".join(map(repr, known)) or "none"
            raise SpecError(f"loss {name!r} has no option {option!r}: known: {there}")
        _refuse_arrays(option, value)
    return _bound(loss, tuple(sorted((option, _frozen(v)) for option, v in options.items())))


@functools.cache
def _bound(loss: Callable[..., jax.Array], options: tuple[tuple[str, Hashable], ...]) -> Loss:
    return functools.partial(loss, **dict(options)) if options else loss


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
