"""The common options of the built-in networks, checked, and the sizes derived from them."""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import jax.numpy as jnp
from flax import nnx

from lungmask_jax.errors import SpecError, shown
from lungmask_jax.models._blocks import Norm, Style
from lungmask_jax.models._grid import Factors
from lungmask_jax.models._model import Model, from_nnx

Dtype = Literal["float32", "bfloat16"]

_CHANNELS: Final = 65_536
"""Most channels of a level or an image: the widest published networks have a quarter."""

_LEVELS: Final = 12
"""Most levels: each halves the image, and after twelve a side of 2,048 pixels is gone."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A network of several levels, the finest first.

    Attributes:
        in_channels: Channels of the images.
        num_classes: Channels of the logits.
        channels: Features of each level.
        stem: Height and width of the blocks that are folded into channels.
        norm: Norm after each convolution.
        dropout: Rate after the deepest level.
        deep_supervision: Whether coarser levels also have an output in training.
        dtype: The dtype of its computation.
        flat_levels: For a 3-D network: number of levels that process each slice separately.
            ``None`` for a 2-D network.

    Raises:
        SpecError: An option is out of range.
    """

    in_channels: int
    num_classes: int
    channels: tuple[int, ...]
    stem: int
    norm: Norm
    dropout: float
    deep_supervision: bool
    dtype: Dtype
    flat_levels: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", levels(self.channels))
        _check_sizes(self)
        _check_choices(self)

    @property
    def ndim(self) -> int:
        """2 for slices, 3 for volumes."""
        return 2 if self.flat_levels is None else 3

    @property
    def heads(self) -> int:
        """The number of outputs in training."""
        return len(self.channels) - 1 if self.deep_supervision else 1

    @property
    def folds(self) -> Factors:
        """The blocks folded into channels; slices of a volume are not folded."""
        return (1, self.stem, self.stem)[-self.ndim :]

    @property
    def poolings(self) -> tuple[Factors, ...]:
        """Between neighbouring levels."""
        flat = self.flat_levels or 0
        levels = range(len(self.channels) - 1)
        return tuple((1 if level < flat else 2, 2, 2)[-self.ndim :] for level in levels)

    @property
    def strides(self) -> Factors:
        """The numbers of which the sides of the images must be multiples."""
        return tuple(map(math.prod, zip(self.folds, *self.poolings, strict=True)))

    @property
    def styles(self) -> tuple[Style, ...]:
        """The options of the blocks of each level."""
        flat, dtype = self.flat_levels or 0, jnp.dtype(self.dtype)
        kernels = [(1 if level < flat else 3, 3, 3) for level in range(len(self.channels))]
        return tuple(Style(self.norm, dtype, kernel[-self.ndim :]) for kernel in kernels)

    def model(self, build: Callable[[nnx.Rngs], Any]) -> Model:
        """The `Model` of a module with this plan."""
        return from_nnx(
            build,
            in_channels=self.in_channels,
            num_classes=self.num_classes,
            stride=self.strides[-1],
            ndim=self.ndim,
            depth_stride=self.strides[0] if self.ndim == 3 else 1,
            heads=self.heads,
        )


def levels(channels: Any) -> tuple[int, ...]:
    """Features of each level, checked: a list or tuple of whole numbers."""
    if not isinstance(channels, list | tuple) or not 1 <= len(channels) <= _LEVELS:
        raise SpecError(
            f"expected channels of at least one level and at most {_LEVELS}, found "
            f"{shown(channels)}: give a list of whole numbers"
        )
    for one in channels:
        whole("channels", one, 1, _CHANNELS)
    return tuple(channels)


def whole(name: str, value: Any, least: int, most: int) -> None:
    """Raises if an option is not an integer, or too small or large."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not least <= value <= most:
        raise SpecError(
            f"expected {name} from {least} to {most:,} in whole numbers, found {shown(value)}"
        )


def number(name: str, value: Any, least: float, below: float) -> None:
    """Raises if an option is not a number, or too small or large."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not least <= value < below:
        raise SpecError(f"expected {name} in [{least:g}, {below:g}), found {shown(value)}")


def _check_sizes(plan: Plan) -> None:
    whole("in_channels", plan.in_channels, 1, _CHANNELS)
    whole("num_classes", plan.num_classes, 1, _CHANNELS)
    count = len(plan.channels)
    if plan.deep_supervision and count < 3:
        raise SpecError(
            f"expected three or more levels for deep_supervision, found channels {plan.channels}"
        )
    if plan.flat_levels is not None:
        whole("flat_levels", plan.flat_levels, 0, count)


def _check_choices(plan: Plan) -> None:
    whole("stem", plan.stem, 1, 4)
    if plan.stem == 3:
        raise SpecError("expected a stem of 1, 2 or 4, found 3")
    if plan.norm not in ("group", "batch", "none"):
        raise SpecError(f"expected norm 'group', 'batch' or 'none', found {shown(plan.norm)}")
    number("dropout", plan.dropout, 0, 1)
    if not isinstance(plan.deep_supervision, bool):
        raise SpecError(
            f"expected deep_supervision true or false, found {shown(plan.deep_supervision)}"
        )
    if plan.dtype not in ("float32", "bfloat16"):
        raise SpecError(f"expected dtype 'float32' or 'bfloat16', found {shown(plan.dtype)}")
