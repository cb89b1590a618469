"""A U-Net with the encoder of EfficientNet-Lite (Tan and Le, 2019, arXiv:1905.11946)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from lungmask_jax.errors import SpecError
from lungmask_jax.models._blocks import Norm, Style, double, lecun_normal
from lungmask_jax.models._depthwise import depthwise
from lungmask_jax.models._grid import Factors
from lungmask_jax.models._model import Model
from lungmask_jax.models._network import Network
from lungmask_jax.models._plan import Dtype, Plan, levels, number

_STEM = 32
_STEM_FOLD = 2
_FACTOR = 16
"""Widths and depths are below: EfficientNet-L2, the largest, has 4.3 and 5.3."""


class Stage(NamedTuple):
    """A sequence of equal blocks, the first of which may halve the sides."""

    level: int
    blocks: int
    channels: int
    expand: int
    kernel: int

    def scaled(self, width: float, depth: float) -> "Stage":
        """The stage in a network of other width and depth; those of one block keep one."""
        blocks = self.blocks if self.blocks == 1 else math.ceil(depth * self.blocks)
        return self._replace(channels=_scaled(self.channels, width), blocks=blocks)


STAGES = (
    Stage(level=0, blocks=1, channels=16, expand=1, kernel=3),
    Stage(level=1, blocks=2, channels=24, expand=6, kernel=3),
    Stage(level=2, blocks=2, channels=40, expand=6, kernel=5),
    Stage(level=3, blocks=3, channels=80, expand=6, kernel=3),
    Stage(level=3, blocks=3, channels=112, expand=6, kernel=5),
    Stage(level=4, blocks=4, channels=192, expand=6, kernel=5),
    Stage(level=4, blocks=1, channels=320, expand=6, kernel=3),
)
"""EfficientNet-Lite0; the first stage of a level but the finest halves the sides."""


def efficient_unet(
    *,
    in_channels: int = 1,
    num_classes: int = 1,
    channels: Sequence[int] = (24, 32, 64, 96),
    width: float = 1.0,
    depth: float = 1.0,
    norm: Norm = "group",
    dropout: float = 0.0,
    deep_supervision: bool = False,
    dtype: Dtype = "float32",
) -> Model:
    """A U-Net with the encoder of EfficientNet-Lite, meant for pretrained weights.

    The encoder has five levels of inverted bottlenecks, ReLU6, and neither squeeze-and-excitation
    nor norms: those of pretraining are folded into its weights. Its depthwise kernels are not
    trained: their gradient would make a training step half as long again on a CPU, and filters for
    edges and spots need no further training. The finest skip also holds the pixels. Initial weights
    are random: start from the lung model that ships (Lite0), or from the infection model (Lite2).

    Args:
        in_channels: As in `unet`.
        num_classes: As in `unet`.
        channels: Features of the four levels of the decoder, the finest first.
        width: Factor for the channels of the encoder, rounded to multiples of 8.
        depth: Factor for the number of blocks in its stages except the first and last, rounded
            up. Width and depth of 1 and 1 are Lite0, 1 and 1.1 Lite1, 1.1 and 1.2 Lite2.
        norm: As in `unet`; for the decoder.
        dropout: As in `unet`.
        deep_supervision: As in `unet`.
        dtype: As in `unet`.

    Returns:
        A model whose image sides must be multiples of 32.

    Raises:
        SpecError: An option is out of range.

    References:
        Tan and Le, EfficientNet, ICML 2019, arXiv:1905.11946; Sandler et al., MobileNetV2, CVPR
        2018, arXiv:1801.04381.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = efficient_unet(channels=(8, 8, 8, 8), width=0.25, depth=0.25)
        >>> params, state = model.init(jax.random.key(0))
        >>> logits, _ = jax.jit(model.apply)(params, state, jnp.zeros((1, 32, 32, 1)))
        >>> logits.shape, model.stride
        ((1, 32, 32, 1), 32)
    """
    channels = levels(channels)
    if len(channels) != STAGES[-1].level:
        raise SpecError(f"expected channels of {STAGES[-1].level} levels, found {channels}")
    for name, factor in (("width", width), ("depth", depth)):
        number(name, factor, 0, _FACTOR)
        if factor == 0:
            raise SpecError(f"expected a {name} above 0, found {factor}")
    plan = Plan(
        in_channels=in_channels,
        num_classes=num_classes,
        channels=(*channels, _scaled(STAGES[-1].channels, width)),
        stem=_STEM_FOLD,
        norm=norm,
        dropout=dropout,
        deep_supervision=deep_supervision,
        dtype=dtype,
    )
    stages = [stage.scaled(width, depth) for stage in STAGES]
    return plan.model(lambda rngs: _efficient_unet(plan, stages, rngs))


def _efficient_unet(plan: Plan, stages: Sequence[Stage], rngs: nnx.Rngs) -> Network:
    style, pixels = plan.styles[0], plan.in_channels * plan.stem**2
    levels: list[list[nnx.Module]] = [[] for _ in plan.channels]
    levels[0].append(Stem(pixels, _STEM, style, rngs))
    inputs = _STEM
    skips: list[int] = []
    for stage in stages:
        level = levels[stage.level]
        for _ in range(stage.blocks):
            stride = 1 if level else 2
            level.append(Inverted(inputs, stage, stride, style, rngs))
            inputs = stage.channels
        skips = [*skips[: stage.level], stage.channels]
    skips[0] += pixels
    *decoded, _ = plan.channels
    sizes = zip(plan.channels[1:], skips, decoded, strict=False)
    return Network(
        plan,
        rngs,
        encoder=[nnx.Sequential(*level) for level in levels],
        decoder=[double(low + skip, out, style, rngs) for low, skip, out in reversed([*sizes])],
        encode=strided_path,
    )


def strided_path(
    blocks: Sequence[Any], pixels: jax.Array, _poolings: tuple[Factors, ...]
) -> list[jax.Array]:
    """Features of each level, whose blocks downsample by strides; the finest with pixels."""
    found = [blocks[0](pixels)]
    for block in blocks[1:]:
        found.append(block(found[-1]))
    return [jnp.concatenate([found[0], pixels], axis=-1), *found[1:]]


class Stem(nnx.Module):
    """A 4x4 convolution of stride 2, of pixels folded into channels; ReLU6."""

    def __init__(self, inputs: int, outputs: int, style: Style, rngs: nnx.Rngs) -> None:
        self.convolution = nnx.Conv(
            inputs,
            outputs,
            (_STEM_FOLD, _STEM_FOLD),
            padding=[(0, 1), (0, 1)],
            dtype=style.dtype,
            kernel_init=lecun_normal,
            rngs=rngs,
        )

    def __call__(self, pixels: jax.Array) -> jax.Array:
        return jax.nn.relu6(self.convolution(2 * pixels - 1))  # ImageNet images were in [-1, 1]


class Inverted(nnx.Module):
    """An inverted bottleneck: widened, convolved channel by channel, narrowed, and added."""

    def __init__(
        self,
        inputs: int,
        stage: Stage,
        stride: int,
        style: Style,
        rngs: nnx.Rngs,
    ) -> None:
        wide, outputs = inputs * stage.expand, stage.channels
        self.expand = _linear(inputs, wide, 1.0, style, rngs) if wide > inputs else None
        self.depthwise = Depthwise(wide, stage.kernel, stride, rngs)
        self.project = _linear(wide, outputs, 2.0, style, rngs)
        self.added = inputs == outputs and stride == 1

    def __call__(self, features: jax.Array) -> jax.Array:
        wide = features if self.expand is None else jax.nn.relu6(self.expand(features))
        found: jax.Array = self.project(jax.nn.relu6(self.depthwise(wide)))
        return found + features if self.added else found


class Kept(nnx.Variable[Any]):
    """Weights that are not trained: part of a model's state."""


class Depthwise(nnx.Module):
    """A depthwise convolution with fixed kernels, and a bias."""

    def __init__(self, channels: int, size: int, stride: int, rngs: nnx.Rngs) -> None:
        values = _normal(2.0)(rngs.params(), (size, size, channels))
        self.kernel = Kept(values)
        self.bias = nnx.Param(jnp.zeros(channels))
        self.stride = stride

    def __call__(self, features: jax.Array) -> jax.Array:
        kernel, bias = (p[...].astype(features.dtype) for p in (self.kernel, self.bias))
        return depthwise(features, kernel, self.stride) + jnp.expand_dims(bias, (0, 1, 2))


def _linear(inputs: int, outputs: int, gain: float, style: Style, rngs: nnx.Rngs) -> nnx.Linear:
    init = _normal(gain)
    return nnx.Linear(inputs, outputs, dtype=style.dtype, kernel_init=init, rngs=rngs)


def _normal(gain: float) -> Any:
    """`lecun_normal` of that gain in variance: 2 after a ReLU6, which takes half (He, 2015)."""

    def init(key: jax.Array, shape: Sequence[int], *settings: Any, **options: Any) -> jax.Array:
        return math.sqrt(gain) * lecun_normal(key, shape, *settings, **options)

    return init


def _scaled(channels: int, width: float) -> int:
    """Channels of another width, a multiple of 8, at most a tenth too few."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8
