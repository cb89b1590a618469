"""The networks of nnU-Net (Isensee et al., 2021), in 2-D and 3-D."""

import dataclasses
import math
from collections.abc import Sequence

from lungmask_jax.errors import SpecError, shown
from lungmask_jax.models._grid import Factors
from lungmask_jax.models._model import Model, from_nnx
from lungmask_jax.models._nnunet_parts import (
    Encoder,
    PlainEncoder,
    ResidualEncoder,
    Stages,
    UNet,
)
from lungmask_jax.models._plan import levels, whole

_MOST = 65_536


def plain_conv_unet(
    *,
    in_channels: int = 1,
    num_classes: int = 2,
    features: Sequence[int] = (32, 64, 128, 256),
    kernels: Sequence[Sequence[int]] = ((3, 3, 3),) * 4,
    strides: Sequence[Sequence[int]] = ((1, 1, 1), *((2, 2, 2),) * 3),
    blocks: Sequence[int] = (2, 2, 2, 2),
    decoder_blocks: Sequence[int] = (2, 2, 2),
    decoder_kernels: Sequence[Sequence[int]] | None = None,
) -> Model:
    """nnU-Net's ``PlainConvUNet``: convolutions with instance norms, strided ones between stages.

    Its parts have the names of the original, so `lungmask_jax.weights.converted` finds their
    tensors. The options are those of a ``plans.json``; there is one output, at the finest stage.

    Args:
        in_channels: Channels of the images.
        num_classes: Channels of the logits, including the background.
        features: Features of each stage, ``features_per_stage``; one for each stage.
        kernels: Kernel sizes of each stage, ``kernel_sizes``: odd, two sides in 2-D, three in 3-D.
        strides: Strides of each stage along the axes, in its first convolution.
        blocks: Number of convolutions of each stage, ``n_conv_per_stage``.
        decoder_blocks: The same for the decoder, the coarsest first, one fewer.
        decoder_kernels: Kernel sizes of the decoder, the coarsest first, one fewer; by default
            those of the stages. nnU-Net v1 has at each stage those of the next coarser one.

    Returns:
        A model of slices or volumes, whose sides must be multiples of the products of the strides.

    Raises:
        SpecError: An option is out of range.

    References:
        Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = plain_conv_unet(
        ...     features=(4, 8), kernels=((1, 3, 3), (3, 3, 3)), strides=((1, 1, 1), (1, 2, 2)),
        ...     blocks=(2, 2), decoder_blocks=(2,),
        ... )
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((1, 3, 16, 16, 1)))[0].shape
        (1, 3, 16, 16, 2)
    """
    stages = _stages(in_channels, num_classes, features, kernels, strides, blocks, decoder_blocks)
    if decoder_kernels is not None:
        found = _sides("decoder_kernels", decoder_kernels, len(stages.decoder_blocks), 15)
        _same_rank((*found, *stages.kernels), stages.strides)
        stages = dataclasses.replace(stages, decoder_kernels=found)
    return _model(stages, PlainEncoder)


def residual_encoder_unet(
    *,
    in_channels: int = 1,
    num_classes: int = 2,
    features: Sequence[int] = (32, 64, 128, 256),
    kernels: Sequence[Sequence[int]] = ((3, 3, 3),) * 4,
    strides: Sequence[Sequence[int]] = ((1, 1, 1), *((2, 2, 2),) * 3),
    blocks: Sequence[int] = (1, 3, 4, 6),
    decoder_blocks: Sequence[int] = (1, 1, 1),
) -> Model:
    """nnU-Net's ``ResidualEncoderUNet``: `plain_conv_unet` with residual blocks in the encoder.

    A skip that changes its grid is averaged, one that changes its channels has a 1x1 convolution,
    as in ResNet-D.

    Args:
        in_channels: As in `plain_conv_unet`.
        num_classes: As in `plain_conv_unet`.
        features: As in `plain_conv_unet`; a first convolution has those of the finest stage.
        kernels: As in `plain_conv_unet`.
        strides: As in `plain_conv_unet`.
        blocks: Residual blocks of each stage, ``n_blocks_per_stage``.
        decoder_blocks: As in `plain_conv_unet`: convolutions.

    Returns:
        A model of slices or volumes, whose sides must be multiples of the products of the strides.

    Raises:
        SpecError: An option is out of range.

    References:
        Isensee et al., nnU-Net Revisited, MICCAI 2024, arXiv:2404.09556; He et al., Bag of Tricks,
        CVPR 2019, arXiv:1812.01187.

    Example:
        >>> model = residual_encoder_unet(
        ...     features=(4, 8), kernels=((3, 3), (3, 3)), strides=((1, 1), (2, 2)),
        ...     blocks=(1, 2), decoder_blocks=(1,),
        ... )
        >>> model.ndim, model.stride
        (2, 2)
    """
    stages = _stages(in_channels, num_classes, features, kernels, strides, blocks, decoder_blocks)
    return _model(stages, ResidualEncoder)


def _stages(
    in_channels: int,
    num_classes: int,
    features: Sequence[int],
    kernels: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
    blocks: Sequence[int],
    decoder_blocks: Sequence[int],
) -> Stages:
    whole("in_channels", in_channels, 1, _MOST)
    whole("num_classes", num_classes, 1, _MOST)
    count = len(levels(features))
    sizes = _sides("kernels", kernels, count, 15)
    found = Stages(
        in_channels=in_channels,
        num_classes=num_classes,
        features=levels(features),
        kernels=sizes,
        strides=_sides("strides", strides, count, 8),
        blocks=_counts("blocks", blocks, count),
        decoder_blocks=_counts("decoder_blocks", decoder_blocks, count - 1),
        decoder_kernels=sizes[-2::-1],
    )
    _same_rank(found.kernels, found.strides)
    return found


def _same_rank(kernels: Sequence[Factors], strides: Sequence[Factors]) -> None:
    """Raises an error unless all have two axes or three, and kernels a middle."""
    ranks = {len(sides) for sides in (*kernels, *strides)}
    if ranks not in ({2}, {3}) or any(side % 2 == 0 for row in kernels for side in row):
        raise SpecError(
            "expected kernels of odd sides and strides, of two axes each or of three, found "
            f"{shown(kernels)} and {shown(strides)}"
        )


def _sides(name: str, rows: Sequence[Sequence[int]], count: int, most: int) -> tuple[Factors, ...]:
    """Numbers of each axis of each stage."""
    if not isinstance(rows, list | tuple) or len(rows) != count:
        raise SpecError(
            f"expected {name} of {count} stages, as many as features, found {shown(rows)}"
        )
    for row in rows:
        if not isinstance(row, list | tuple):
            raise SpecError(
                f"expected {name} of each axis, found {shown(row)}: give a list for each"
            )
        for side in row:
            whole(name, side, 1, most)
    return tuple(tuple(row) for row in rows)


def _counts(name: str, counts: Sequence[int], count: int) -> tuple[int, ...]:
    if not isinstance(counts, list | tuple) or len(counts) != count:
        raise SpecError(f"expected {name} of {count} stages, found {shown(counts)}")
    for one in counts:
        whole(name, one, 1, 64)
    return tuple(counts)


def _model(stages: Stages, encoder: Encoder) -> Model:
    """The network itself checks its sides: axes may have strides of their own."""
    *depth, rows, columns = stages.total
    model = from_nnx(
        lambda rngs: UNet(stages, encoder, rngs),
        in_channels=stages.in_channels,
        num_classes=stages.num_classes,
        ndim=len(stages.total),
    )
    return dataclasses.replace(
        model, stride=math.lcm(rows, columns), depth_stride=depth[0] if depth else 1
    )
