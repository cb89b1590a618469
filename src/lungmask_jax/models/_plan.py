"""The options that all built-in networks share, checked, and the measures that follow from them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from lungmask_jax.errors import SpecError
from lungmask_jax.models._blocks import Norm, Style
from lungmask_jax.models._grid import Factors
from lungmask_jax.models._model import Model, from_nnx

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A network of several levels, the finest first.

    Attributes:
        in_channels: Channels of the images.
        num_classes: Channels of the logits.
        channels: Features of each level.
        stem: Height and width of the blocks that are folded into channels.
        norm: After each convolution.
        dropout: Rate after the deepest level.
        deep_supervision: Whether coarser levels answer too, in training.
        dtype: What the network computes in.
        flat_levels: Of a network of volumes: how many levels look at each slice alone. ``None``
            is a network of slices.

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
        _check_sizes(self)
        _check_choices(self)

    @property
    def ndim(self) -> int:
        """2 for slices, 3 for volumes."""
        return 2 if self.flat_levels is None else 3

    @property
    def heads(self) -> int:
        """How many levels answer in training."""
        return len(self.channels) - 1 if self.deep_supervision else 1

    @property
    def folds(self) -> Factors:
        """The blocks that are folded into channels; slices of a volume stay apart."""
        return (1, self.stem, self.stem)[-self.ndim :]

    @property
    def poolings(self) -> tuple[Factors, ...]:
        """Between neighbouring levels."""
        flat = self.flat_levels or 0
        levels = range(len(self.channels) - 1)
        return tuple((1 if level < flat else 2, 2, 2)[-self.ndim :] for level in levels)

    @property
    def strides(self) -> Factors:
        """What the sides of the images must be multiples of."""
        return tuple(map(math.prod, zip(self.folds, *self.poolings, strict=True)))

    @property
    def styles(self) -> tuple[Style, ...]:
        """How the blocks of each level are made."""
        flat, dtype = self.flat_levels or 0, jnp.dtype(self.dtype)
        kernels = [(1 if level < flat else 3, 3, 3) for level in range(len(self.channels))]
        return tuple(Style(self.norm, dtype, kernel[-self.ndim :]) for kernel in kernels)

    def model(self, build: Callable[[nnx.Rngs], Any]) -> Model:
        """The `Model` of a module that keeps to the plan."""
        return from_nnx(
            build,
            in_channels=self.in_channels,
            num_classes=self.num_classes,
            stride=self.strides[-1],
            ndim=self.ndim,
            depth_stride=self.strides[0] if self.ndim == 3 else 1,
            heads=self.heads,
        )


def _check_sizes(plan: Plan) -> None:
    if min(plan.in_channels, plan.num_classes) < 1:
        raise SpecError(
            f"expected in_channels and num_classes of at least 1, found {plan.in_channels} and "
            f"{plan.num_classes}"
        )
    levels = len(plan.channels)
    if not levels or min(plan.channels) < 1:
        raise SpecError(f"expected channels of at least one level, found {plan.channels}")
    if plan.deep_supervision and levels < 3:
        raise SpecError(
            f"expected three or more levels for deep_supervision, found channels {plan.channels}"
        )
    if plan.flat_levels is not None and not 0 <= plan.flat_levels <= levels:
        raise SpecError(f"expected 0 to {levels} flat_levels, found {plan.flat_levels}")


def _check_choices(plan: Plan) -> None:
    if plan.stem not in (1, 2, 4):
        raise SpecError(f"expected a stem of 1, 2 or 4, found {plan.stem}")
    if plan.norm not in ("group", "batch", "none"):
        raise SpecError(f"expected norm 'group', 'batch' or 'none', found {plan.norm!r}")
    if not 0 <= plan.dropout < 1:
        raise SpecError(f"expected dropout in [0, 1), found {plan.dropout}")
    if plan.dtype not in ("float32", "bfloat16"):
        raise SpecError(f"expected dtype 'float32' or 'bfloat16', found {plan.dtype!r}")
