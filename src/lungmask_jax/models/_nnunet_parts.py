"""Parts of the nnU-Net networks, with the names of the original."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

from lungmask_jax.errors import ShapeError
from lungmask_jax.models._blocks import convolved_volumes, lecun_normal, linear
from lungmask_jax.models._grid import Factors, depth_to_space, pooled
from lungmask_jax.models._winograd import convolved


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The plan of a network, stage by stage, the finest first; options as of `plain_conv_unet`."""

    in_channels: int
    num_classes: int
    features: tuple[int, ...]
    kernels: tuple[Factors, ...]
    strides: tuple[Factors, ...]
    blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    decoder_kernels: tuple[Factors, ...]

    @property
    def total(self) -> Factors:
        """The numbers of which the sides of the images must be multiples."""
        return tuple(math.prod(sides) for sides in zip(*self.strides, strict=True))


Encoder: TypeAlias = Callable[[Stages, nnx.Rngs], nnx.Module]
"""``make(plan, rngs)``: a module that gives the features of each stage, the finest first."""


class _InstanceNorm(nnx.Module):
    """A norm of each channel of each image (Ulyanov et al., 2016, arXiv:1607.08022)."""

    def __init__(self, channels: int) -> None:
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, features: jax.Array) -> jax.Array:
        axes = tuple(range(1, features.ndim - 1))
        centered = features - features.mean(axes, keepdims=True)
        spread = jax.lax.rsqrt((centered**2).mean(axes, keepdims=True) + 1e-5)
        scale, bias = (
            jnp.expand_dims(p[...], range(features.ndim - 1)) for p in (self.scale, self.bias)
        )
        return centered * (spread * scale) + bias


class _Conv(nnx.Module):
    """A convolution and an instance norm."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Factors, strides: Factors, rngs: nnx.Rngs
    ) -> None:
        self.conv = nnx.Conv(
            inputs,
            outputs,
            kernel,
            strides=strides,
            padding=[(side // 2, side // 2) for side in kernel],
            kernel_init=lecun_normal,
            conv_general_dilated=_convolution(kernel, strides),
            rngs=rngs,
        )
        self.norm = _InstanceNorm(outputs)

    def __call__(self, features: jax.Array) -> jax.Array:
        return self.norm(self.conv(features))


def _convolution(kernel: Factors, strides: Factors) -> Callable[..., jax.Array]:
    """The fastest convolution of these sides."""
    if max(strides) > 1:
        return jax.lax.conv_general_dilated
    if kernel[-2:] == (3, 3):
        return convolved
    return convolved_volumes if len(kernel) == 3 else jax.lax.conv_general_dilated


class _Stack(nnx.Module):
    """Convolutions in sequence, each with a leaky ReLU; the first one may have strides."""

    def __init__(
        self,
        count: int,
        inputs: int,
        outputs: int,
        kernel: Factors,
        strides: Factors,
        rngs: nnx.Rngs,
    ) -> None:
        first = _Conv(inputs, outputs, kernel, strides, rngs)
        ones = (1,) * len(strides)
        others = [_Conv(outputs, outputs, kernel, ones, rngs) for _ in range(count - 1)]
        self.convs = nnx.List([first, *others])

    def __call__(self, features: jax.Array) -> jax.Array:
        for conv in self.convs:
            features = _leaky(conv(features))
        return features


class _Projection(nnx.Module):
    """A 1x1 convolution and an instance norm."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs) -> None:
        self.conv = linear(inputs, outputs, rngs, use_bias=False)
        self.norm = _InstanceNorm(outputs)

    def __call__(self, features: jax.Array) -> jax.Array:
        return self.norm(self.conv(features))


class _Residual(nnx.Module):
    """``leaky(conv2(leaky(conv1(x))) + skip(x))``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Factors, strides: Factors, rngs: nnx.Rngs
    ) -> None:
        self.conv1 = _Conv(inputs, outputs, kernel, strides, rngs)
        self.conv2 = _Conv(outputs, outputs, kernel, (1,) * len(strides), rngs)
        self.strides = strides
        place = "1" if max(strides) > 1 else "0"  # behind the average, which has no numbers
        projected = {} if inputs == outputs else {place: _Projection(inputs, outputs, rngs)}
        self.skip = nnx.Dict(projected)

    def __call__(self, features: jax.Array) -> jax.Array:
        kept = pooled(features, self.strides) if max(self.strides) > 1 else features
        for projection in self.skip.values():
            kept = projection(kept)
        return _leaky(self.conv2(_leaky(self.conv1(features))) + kept)


class PlainEncoder(nnx.Module):
    """Stages of convolutions."""

    def __init__(self, plan: Stages, rngs: nnx.Rngs) -> None:
        inputs = (plan.in_channels, *plan.features)
        rows = zip(plan.blocks, inputs, plan.features, plan.kernels, plan.strides, strict=False)
        self.stages = nnx.List([nnx.List([_Stack(*row, rngs)]) for row in rows])

    def __call__(self, images: jax.Array) -> list[jax.Array]:
        found = [images]
        for (stage,) in self.stages:
            found.append(stage(found[-1]))
        return found[1:]


class _Blocks(nnx.Module):
    """Residual blocks in sequence; the first one may have strides."""

    def __init__(
        self,
        count: int,
        inputs: int,
        outputs: int,
        kernel: Factors,
        strides: Factors,
        rngs: nnx.Rngs,
    ) -> None:
        first = _Residual(inputs, outputs, kernel, strides, rngs)
        ones = (1,) * len(strides)
        others = [_Residual(outputs, outputs, kernel, ones, rngs) for _ in range(count - 1)]
        self.blocks = nnx.List([first, *others])

    def __call__(self, features: jax.Array) -> jax.Array:
        for block in self.blocks:
            features = block(features)
        return features


class ResidualEncoder(nnx.Module):
    """A convolution, and stages of residual blocks."""

    def __init__(self, plan: Stages, rngs: nnx.Rngs) -> None:
        first, ones = plan.features[0], (1,) * len(plan.kernels[0])
        self.stem = _Stack(1, plan.in_channels, first, plan.kernels[0], ones, rngs)
        inputs = (first, *plan.features)
        rows = zip(plan.blocks, inputs, plan.features, plan.kernels, plan.strides, strict=False)
        self.stages = nnx.List([_Blocks(*row, rngs) for row in rows])

    def __call__(self, images: jax.Array) -> list[jax.Array]:
        found = [self.stem(images)]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return found[1:]


class _Transposed(nnx.Module):
    """A transposed convolution with a kernel as large as its strides: every voxel a block."""

    def __init__(self, inputs: int, outputs: int, strides: Factors, rngs: nnx.Rngs) -> None:
        shape = (inputs, *strides, outputs)
        flat = lecun_normal(rngs.params(), (inputs, math.prod(shape[1:])))
        self.kernel = nnx.Param(flat.reshape(shape))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, features: jax.Array) -> jax.Array:
        kernel = self.kernel[...]
        blocks = features @ kernel.reshape(kernel.shape[0], -1)
        bias = jnp.expand_dims(self.bias[...], range(features.ndim - 1))
        return depth_to_space(blocks, kernel.shape[1:-1]) + bias


class _Decoder(nnx.Module):
    """Upwards stage by stage, each joined with the features of the encoder."""

    def __init__(self, plan: Stages, rngs: nnx.Rngs) -> None:
        coarse, fine = plan.features[:0:-1], plan.features[-2::-1]
        ones = (1,) * len(plan.kernels[0])
        ups = zip(coarse, fine, plan.strides[:0:-1], strict=True)
        self.transpconvs = nnx.List([_Transposed(*up, rngs) for up in ups])
        rows = zip(plan.decoder_blocks, fine, plan.decoder_kernels, strict=True)
        self.stages = nnx.List([_Stack(n, 2 * o, o, kernel, ones, rngs) for n, o, kernel in rows])
        last = linear(plan.features[0], plan.num_classes, rngs)
        self.seg_layers = nnx.Dict({str(len(fine) - 1): last})

    def __call__(self, features: list[jax.Array]) -> jax.Array:
        *skips, found = features
        for up, stage in zip(self.transpconvs, self.stages, strict=True):
            found = stage(jnp.concatenate([up(found), skips.pop()], axis=-1))
        (last,) = self.seg_layers.values()
        return last(found)


class UNet(nnx.Module):
    """An encoder, and a decoder with one output."""

    def __init__(self, plan: Stages, encoder: Encoder, rngs: nnx.Rngs) -> None:
        self.encoder = encoder(plan, rngs)
        self.decoder = _Decoder(plan, rngs)
        self.total = plan.total

    def __call__(self, images: jax.Array) -> jax.Array:
        sides = images.shape[1:-1]
        if any(side % least for side, least in zip(sides, self.total, strict=True)):
            raise ShapeError(
                f"expected image sides that are multiples of {self.total}, found {sides}: resize "
                "or pad the images"
            )
        return self.decoder(self.encoder(images))


def _leaky(features: jax.Array) -> jax.Array:
    return jax.nn.leaky_relu(features, 0.01)
