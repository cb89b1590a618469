"""Slabs: neighboring slices as input of a network, and the inner ones that it predicts."""

from typing import NamedTuple

from lungmask_jax.errors import SpecError
from lungmask_jax.models import Model

_SLICES = 4


class Slab(NamedTuple):
    """Neighboring slices of a scan, the input of a network.

    Attributes:
        inner: Number of slices in the middle, which the network predicts.
        around: Number of further slices on either side, as context.

    Example:
        >>> Slab(inner=8, around=4).inner
        8
    """

    inner: int
    around: int

    @classmethod
    def of(cls, model: Model) -> "Slab":
        """The slab that fits a network.

        A 2-D network takes each slice with as many neighbors as it has further channels, and
        predicts four at a time. A 3-D network predicts the inner half of its slices.

        Args:
            model: The network.

        Returns:
            The slab.

        Raises:
            SpecError: The network has an even number of channels, or is 3-D and has several.

        Example:
            >>> from lungmask_jax.models import unet, unet_3d
            >>> Slab.of(unet(in_channels=3)), Slab.of(unet_3d())
            (Slab(inner=4, around=1), Slab(inner=8, around=4))
        """
        if model.ndim == 3 and model.in_channels != 1:
            raise SpecError(
                f"expected a volume of one channel, found in_channels={model.in_channels}"
            )
        if model.in_channels % 2 == 0:
            raise SpecError(
                "expected an odd number of channels, a slice with as many neighbors above as "
                f"below, found in_channels={model.in_channels}"
            )
        if model.ndim == 2:
            return cls(_SLICES, model.in_channels // 2)
        around = model.slices // 4
        return cls(model.slices - 2 * around, around)
