"""From a scan to the volume that a network of nnU-Net sees, and back."""

from dataclasses import dataclass
from typing import Final, Literal

from lungmask_jax.errors import SpecError
from lungmask_jax.spec._json import MILLIMETRES, MOST, Checked, within

__all__ = ["VolumeSpec"]

_AXES: Final = ("RL", "AP", "SI")


@dataclass(frozen=True, kw_only=True)
class VolumeSpec(Checked):
    """From a scan in HU to the volume that a network of nnU-Net sees, and from its logits back.

    The scan is turned, cropped to what is not zero, normalized and resampled. The logits are
    resampled to the grid of the scan; there the highest one decides, or each region for itself.
    The defaults are those of nnU-Net (Isensee et al., Nature Methods 2021).

    Attributes:
        spacing: Of the volume in mm, along the axes of the network. A network of slices has two,
            and leaves the distance of the slices as it is.
        axes: The order in which the network has the axes of a scan that SimpleITK reads:
            ``transpose_forward``.
        orientation: Axis codes to which the scan is turned first, such as ``"RAS"``; empty for
            those of its file.
        normalize: ``"ct"`` clips to `window`, subtracts `mean` and divides by `deviation`;
            ``"zscore"`` takes mean and deviation of the scan; ``"zscore_nonzero"`` takes those of
            what is not zero, holes filled, and leaves the rest as it is; ``"none"`` keeps HU.
        window: Lowest and highest HU.
        mean: In HU.
        deviation: In HU.
        normalize_last: Whether that comes after resampling, as in nnU-Net v1.
        order: Of the splines by which the scan is resampled.
        order_across: The same along the coarse axis, where that is resampled by itself.
        separate: Whether the coarse axis is resampled by itself: where one is coarser than
            `anisotropy` times the finest, always, or never.
        separate_logits: The same for the logits, which are interpolated linearly; along a coarse
            axis the nearest is taken.
        anisotropy: Of spacing.
        labels: Of the task, by channel of the network: 0 for what is none of it. The first channel
            is the background, unless there are `regions`.
        regions: Whether the channels are regions that may overlap, painted one over the other.
        previous: Labels of the previous stage of a cascade, which the network sees one by one as
            further channels.
        totalsegmentator: Whether the scan is brought to `spacing` as TotalSegmentator does, by
            linear interpolation that keeps the corners, cut to whole HU, and the labels back by
            nearest neighbor; nothing is then left for nnU-Net to resample.

    Example:
        >>> VolumeSpec(spacing=(2.5, 0.8, 0.8), labels=(0, 1)).axes
        (0, 1, 2)
        >>> VolumeSpec(spacing=(2.5, 0.8), axes=(0, 1, 1), labels=(0, 1))
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.SpecError: expected axes (0, 1, 2) in some order, found (0, 1, 1)
    """

    spacing: tuple[float, ...]
    axes: tuple[int, int, int] = (0, 1, 2)
    orientation: str = ""
    normalize: Literal["ct", "zscore", "zscore_nonzero", "none"] = "ct"
    window: tuple[float, float] = (-1024.0, 3071.0)
    mean: float = 0.0
    deviation: float = 1.0
    normalize_last: bool = False
    order: int = 3
    order_across: int = 0
    separate: Literal["anisotropic", "always", "never"] = "anisotropic"
    separate_logits: Literal["anisotropic", "always", "never"] = "anisotropic"
    anisotropy: float = 3.0
    labels: tuple[int, ...] = ()
    regions: bool = False
    previous: tuple[int, ...] = ()
    totalsegmentator: bool = False

    def _check(self) -> None:
        if len(self.spacing) not in (2, 3) or not all(self.spacing):
            raise SpecError(f"expected a spacing of two or three axes, found {self.spacing}")
        if sorted(self.axes) != [0, 1, 2]:
            raise SpecError(f"expected axes (0, 1, 2) in some order, found {self.axes}")
        known = len(self.orientation) == 3 and all(
            sum(letter in self.orientation for letter in pair) == 1 for pair in _AXES
        )
        if self.orientation and not known:
            raise SpecError(
                f"expected three axis codes such as 'RAS', found {self.orientation!r}: leave them "
                "out for those of each file"
            )
        within("spacing", self.spacing, 0, MILLIMETRES)
        within("mean", self.mean, -MOST, MOST)
        within("deviation", self.deviation, 0, MOST)
        within("window", self.window, -MOST, MOST)
        within("order", self.order, 0, 3)
        within("order_across", self.order_across, 0, 3)
        within("anisotropy", self.anisotropy, 1, MOST)
        within("labels", self.labels, 0, 255)
        within("previous", self.previous, 1, 255)
