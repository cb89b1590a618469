"""What the built-in networks are made of.

1x1 convolutions are matrix products, which a CPU does several times faster. Parameters are float32;
a block computes in the dtype of its style, its norms in float32.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

Norm = Literal["group", "batch", "none"]


class Style(NamedTuple):
    """How the layers of a block are made."""

    norm: Norm
    dtype: Any
    kernel: tuple[int, ...]


MakeBlock: TypeAlias = Callable[[int, int, Style, nnx.Rngs], nnx.Module]
"""``make(inputs, outputs, style, rngs)``: a block between two numbers of channels."""


class ConvBlock(nnx.Module):
    """One or more times: a convolution, a norm, a ReLU."""

    def __init__(
        self, channels: Sequence[int], style: Style, rngs: nnx.Rngs, *, last_relu: bool = True
    ) -> None:
        sizes = list(itertools.pairwise(channels))
        self.convolutions = nnx.List([_convolution(i, o, style, rngs) for i, o in sizes])
        self.norms = nnx.List([_norm(outputs, style, rngs) for _, outputs in sizes])
        self.last_relu = last_relu

    def __call__(self, features: jax.Array) -> jax.Array:
        return self.steps(features)[-1]

    def steps(self, features: jax.Array) -> list[jax.Array]:
        """What comes out of each convolution."""
        found: list[jax.Array] = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            features = _normed(convolution(features), norm)
            if self.last_relu or len(found) < len(self.norms) - 1:
                features = jax.nn.relu(features)
            found.append(features)
        return found


class Pointwise(nnx.Module):
    """A 1x1 convolution and a norm."""

    def __init__(self, inputs: int, outputs: int, style: Style, rngs: nnx.Rngs) -> None:
        bias = style.norm == "none"
        self.linear = nnx.Linear(inputs, outputs, use_bias=bias, dtype=style.dtype, rngs=rngs)
        self.norm = _norm(outputs, style, rngs)

    def __call__(self, features: jax.Array) -> jax.Array:
        return _normed(self.linear(features), self.norm)


class Residual(nnx.Module):
    """``relu(body(x) + shortcut(x))``; without a shortcut, x itself."""

    def __init__(self, body: nnx.Module, shortcut: nnx.Module | None) -> None:
        self.body = body
        self.shortcut = shortcut

    def __call__(self, features: jax.Array) -> jax.Array:
        kept = features if self.shortcut is None else self.shortcut(features)
        return jax.nn.relu(self.body(features) + kept)


def double(inputs: int, outputs: int, style: Style, rngs: nnx.Rngs) -> nnx.Module:
    """Two convolutions: the block of the U-Net."""
    return ConvBlock((inputs, outputs, outputs), style, rngs)


def residual(inputs: int, outputs: int, style: Style, rngs: nnx.Rngs) -> nnx.Module:
    """Two convolutions and a shortcut (He et al., 2016, arXiv:1512.03385)."""
    body = ConvBlock((inputs, outputs, outputs), style, rngs, last_relu=False)
    same = inputs == outputs
    return Residual(body, None if same else Pointwise(inputs, outputs, style, rngs))


def _convolution(inputs: int, outputs: int, style: Style, rngs: nnx.Rngs) -> nnx.Module:
    return nnx.Conv(
        inputs,
        outputs,
        style.kernel,
        use_bias=style.norm == "none",
        dtype=style.dtype,
        conv_general_dilated=jax.lax.conv_general_dilated
        if len(style.kernel) == 2
        else convolved_volumes,
        rngs=rngs,
    )


def convolved_volumes(
    volumes: jax.Array, kernel: jax.Array, *settings: Any, **options: Any
) -> jax.Array:
    """`jax.lax.conv_general_dilated`; on a CPU by slices, up to five times as fast."""

    def usual(volumes: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(volumes, kernel, *settings, **options)

    found: jax.Array = jax.lax.platform_dependent(volumes, kernel, cpu=by_slices, default=usual)
    return found


def by_slices(volumes: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution of stride 1 that keeps all sides: neighboring slices become channels."""
    n, d, h, w, _ = volumes.shape
    depth, rows, columns, _, outputs = kernel.shape
    padded = jnp.pad(volumes, [(0, 0), (depth // 2, depth // 2), (0, 0), (0, 0), (0, 0)])
    joined = jnp.concatenate([padded[:, first : first + d] for first in range(depth)], axis=-1)
    found = jax.lax.conv_general_dilated(
        joined.reshape(n * d, h, w, -1),
        kernel.transpose(1, 2, 0, 3, 4).reshape(rows, columns, -1, outputs),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return found.reshape(n, d, h, w, outputs)


def _norm(channels: int, style: Style, rngs: nnx.Rngs) -> nnx.Module | None:
    if style.norm == "batch":
        return nnx.BatchNorm(channels, dtype=jnp.float32, rngs=rngs)
    if style.norm == "group":
        groups = next(count for count in (8, 4, 2, 1) if channels % count == 0)
        return nnx.GroupNorm(channels, num_groups=groups, dtype=jnp.float32, rngs=rngs)
    return None


def _normed(features: jax.Array, norm: Any) -> jax.Array:
    if norm is None:
        return features
    found: jax.Array = norm(features).astype(features.dtype)
    return found
