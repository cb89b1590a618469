"""Thin slices averaged for a network, and its probabilities interpolated back to each of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from lungmask_jax import preprocess

_MULTIPLE: Final = 128


@dataclass(frozen=True, eq=False)
class ThickSlices:
    """The slices of a scan, averaged for a network.

    Attributes:
        thin: ``(N, H, W)`` HU, the slices of the scan.
        thickness: Number of thin slices per thick one.
    """

    thin: np.ndarray
    thickness: int

    def __len__(self) -> int:
        return -(-len(self.thin) // self.thickness)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns, each the next multiple of 128, so that few shapes are compiled."""
        rows, columns = (-(-side // _MULTIPLE) * _MULTIPLE for side in self.thin.shape[1:])
        return rows, columns

    def places(self, start: int, stop: int) -> slice:
        """The thin slices in some thick ones."""
        return slice(start * self.thickness, min(stop * self.thickness, len(self.thin)))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Some thick slices; those past an end of the scan repeat the last one.

        Args:
            start: The first; may be below 0.
            stop: The one after the last; may be above their number.

        Returns:
            ``(stop - start, *size)``; the edges are repeated.
        """
        first, last = max(start, 0), min(stop, len(self))
        some = preprocess.averaged(self.thin[self.places(first, last)], self.thickness)
        beyond = (first - start, stop - last)
        rows, columns = (
            (0, padded - side) for padded, side in zip(self.size, some.shape[1:], strict=True)
        )
        return np.pad(some, [beyond, rows, columns], mode="edge")


class Part(NamedTuple):
    """Thin slices at the same position between thick ones.

    Attributes:
        share: Of the thick slice in their mean; the rest is that of the thick slice before it.
        thick: Which of a batch of thick slices.
        thin: The slices of the scan that lie there; or all that follow the middle of the last.
    """

    share: float
    thick: slice
    thin: slice


def parts(places: slice, thickness: int, total: int, *, follows: bool) -> Iterator[Part]:
    """Linear interpolation between thick slices, as parts that together are the thin slices.

    Past the middle of the last thick slice its probabilities hold, until the next batch says
    better.

    Args:
        places: The thin slices of a batch; in whole thick ones, but at the end of the scan.
        thickness: How many are in a thick one.
        total: Slices of the scan.
        follows: Whether the thick slice before is known; if not, the probabilities of the first
            one hold up to its middle.

    Example:
        >>> for part in parts(slice(0, 8), 2, 8, follows=False):
        ...     print(part.share, part.thick, part.thin)
        0.25 slice(1, 4, None) slice(1, 7, 2)
        0.75 slice(0, 4, None) slice(0, 8, 2)
        1.0 slice(3, 4, None) slice(7, 8, None)
    """
    number = -(-(places.stop - places.start) // thickness)
    for place in range(thickness):
        start = places.start - thickness // 2 + place
        missing = 0 if follows or start >= places.start else 1
        start += missing * thickness
        stop = min(number, missing + max(0, -(-(total - start) // thickness)))
        thin = slice(start, start + (stop - missing) * thickness, thickness)
        share = (place + 1 - (thickness % 2 == 0) / 2) / thickness
        yield Part(share, slice(missing, stop), thin)
    rest = slice(places.start + number * thickness - thickness // 2, places.stop)
    if rest.start < rest.stop:
        yield Part(1.0, slice(number - 1, number), rest)
