"""Neighboring slices: what a network sees at once, and which of them it answers for."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lungmask_jax.errors import SpecError
from lungmask_jax.models._model import Model

__all__ = ["Slab", "arranged", "slab"]

_SLICES = 4
_DEPTH = 16


class Slab(NamedTuple):
    """How many slices of a scan go into a network together.

    Attributes:
        inner: Those it answers for.
        around: Further ones on either side, for it to look at.

    Example:
        >>> Slab(inner=8, around=4).inner
        8
    """

    inner: int
    around: int


def slab(model: Model) -> Slab:
    """What a network needs to see of a scan at once.

    A network of slices sees each with as many neighbors as it has further channels; one of volumes
    sees 16 slices, or the next multiple of its ``depth_stride``, and answers for the inner half.

    Args:
        model: The network.

    Returns:
        The numbers of slices.

    Raises:
        SpecError: It has an even number of channels, or is of volumes and has several.

    Example:
        >>> from lungmask_jax.models import unet, unet_3d
        >>> slab(unet(in_channels=3)), slab(unet_3d())
        (Slab(inner=4, around=1), Slab(inner=8, around=4))
    """
    if model.ndim == 3 and model.in_channels != 1:
        raise SpecError(f"expected a volume of one channel, found in_channels={model.in_channels}")
    if model.in_channels % 2 == 0:
        raise SpecError(
            "expected an odd number of channels, a slice with as many neighbors above as below, "
            f"found in_channels={model.in_channels}"
        )
    if model.ndim == 2:
        return Slab(_SLICES, model.in_channels // 2)
    depth = -(-_DEPTH // model.depth_stride) * model.depth_stride
    return Slab(depth - 2 * (depth // 4), depth // 4)


def arranged(model: Model, images: jax.Array) -> jax.Array:
    """Consecutive slices as the network takes them.

    Args:
        model: The network.
        images: ``(N + 2 * around, H, W, 1)``, from feet to head.

    Returns:
        ``(N, H, W, C)``, each slice with its neighbors as channels, or ``(1, D, H, W, 1)``.

    Example:
        >>> from lungmask_jax.models import unet
        >>> arranged(unet(in_channels=3), jnp.zeros((6, 16, 16, 1))).shape
        (4, 16, 16, 3)
    """
    if model.ndim == 3:
        return images[None]
    count = len(images) - model.in_channels + 1
    return jnp.concatenate([images[i : i + count] for i in range(model.in_channels)], axis=-1)
