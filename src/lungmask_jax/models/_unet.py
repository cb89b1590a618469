"""U-Nets of slices (Ronneberger et al., 2015) and of volumes (Cicek et al., 2016)."""

from collections.abc import Sequence

from flax import nnx

from lungmask_jax.models._blocks import Norm, double
from lungmask_jax.models._model import Model
from lungmask_jax.models._network import Network, decoder_of, encoder_of
from lungmask_jax.models._plan import Dtype, Plan, levels


def unet(
    *,
    in_channels: int = 1,
    num_classes: int = 1,
    channels: Sequence[int] = (32, 64, 128, 256),
    stem: int = 2,
    norm: Norm = "group",
    dropout: float = 0.0,
    deep_supervision: bool = False,
    dtype: Dtype = "float32",
) -> Model:
    """A U-Net: an encoder, a decoder, and skips between levels of equal resolution.

    Args:
        in_channels: Channels of the images: 1, or an odd number of neighbouring slices.
        num_classes: Channels of the logits; 1 means one sigmoid.
        channels: Feature channels of each level; the length is the number of levels.
        stem: Side of the pixel blocks folded into channels before the first level: 1, 2 or 4.
        norm: After each convolution: ``"group"`` (batch independent), ``"batch"`` or ``"none"``.
        dropout: Rate after the deepest level.
        deep_supervision: Whether each level of the decoder has an output in training, see `Model`;
            needs three levels or more.
        dtype: Of the computation: ``"float32"`` or ``"bfloat16"``. Parameters, norms and logits
            are float32 in both.

    Returns:
        A model whose image sides must be multiples of ``stem * 2 ** (len(channels) - 1)``.

    Raises:
        SpecError: An option is out of range.

    References:
        Ronneberger et al., U-Net, MICCAI 2015, arXiv:1505.04597; deep supervision: Lee et al.,
        AISTATS 2015, arXiv:1409.5185.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = unet(channels=(8, 16))
        >>> params, state = model.init(jax.random.key(0))
        >>> logits, _ = jax.jit(model.apply)(params, state, jnp.zeros((1, 32, 32, 1)))
        >>> logits.shape, model.stride
        ((1, 32, 32, 1), 4)
    """
    plan = Plan(
        in_channels=in_channels,
        num_classes=num_classes,
        channels=levels(channels),
        stem=stem,
        norm=norm,
        dropout=dropout,
        deep_supervision=deep_supervision,
        dtype=dtype,
    )
    return plan.model(lambda rngs: _unet(plan, rngs))


def unet_3d(
    *,
    in_channels: int = 1,
    num_classes: int = 1,
    channels: Sequence[int] = (24, 48, 96, 192),
    flat_levels: int = 1,
    stem: int = 2,
    norm: Norm = "group",
    dropout: float = 0.0,
    deep_supervision: bool = False,
    dtype: Dtype = "float32",
) -> Model:
    """A 3-D U-Net, ``(N, D, H, W, C)``, for slices that may be thicker than pixels are wide.

    The stem folds pixels of a slice, never slices. The first `flat_levels` levels have 1x3x3
    kernels and are followed by a pooling of 1x2x2; the others have 3x3x3 and 2x2x2. Choose as
    many as make voxels about cubes: none for 1 mm slices, 1 or 2 for 5 mm.

    Args:
        in_channels: As in `unet`.
        num_classes: As in `unet`.
        channels: As in `unet`.
        flat_levels: Number of finest levels that process each slice separately.
        stem: As in `unet`; for height and width.
        norm: As in `unet`; a group norm is over a whole volume.
        dropout: As in `unet`.
        deep_supervision: As in `unet`.
        dtype: As in `unet`.

    Returns:
        A model with ``ndim`` 3. Height and width must be multiples of
        ``stem * 2 ** (len(channels) - 1)``, the number of slices of
        ``2 ** (len(channels) - 1 - flat_levels)``, or of 1.

    Raises:
        SpecError: An option is out of range.

    References:
        Cicek et al., 3D U-Net, MICCAI 2016, arXiv:1606.06650; poolings that follow the spacing:
        Isensee et al., nnU-Net, Nature Methods 2021.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = unet_3d(channels=(4, 8, 16), flat_levels=1)
        >>> params, state = model.init(jax.random.key(0))
        >>> logits, _ = jax.jit(model.apply)(params, state, jnp.zeros((1, 6, 32, 32, 1)))
        >>> logits.shape, model.stride, model.depth_stride
        ((1, 6, 32, 32, 1), 8, 2)
    """
    plan = Plan(
        in_channels=in_channels,
        num_classes=num_classes,
        channels=levels(channels),
        stem=stem,
        norm=norm,
        dropout=dropout,
        deep_supervision=deep_supervision,
        dtype=dtype,
        flat_levels=flat_levels,
    )
    return plan.model(lambda rngs: _unet(plan, rngs))


def _unet(plan: Plan, rngs: nnx.Rngs) -> Network:
    encoder = encoder_of(plan, double, rngs)
    return Network(plan, rngs, encoder=encoder, decoder=decoder_of(plan, double, rngs))
