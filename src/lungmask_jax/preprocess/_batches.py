"""Slices of any number and size as batches of few shapes, so that little is compiled."""

from collections.abc import Iterator

import numpy as np

__all__ = ["batches"]

_MULTIPLE = 128


def batches(
    slices: np.ndarray, count: int, *, around: int = 0, start: int = 0
) -> Iterator[tuple[slice, np.ndarray]]:
    """Batches of one fixed shape; what is missing at the ends repeats the last slice and the edges.

    Args:
        slices: ``(N, H, W)``.
        count: Slices a batch.
        around: Neighbors that each batch has before and after these.
        start: The first slice of the first batch.

    Yields:
        ``(where, batch)``: the slices ``slices[where]`` in ``batch``, ``(count + 2 * around, H',
        W')`` with the next multiples of 128 as H' and W'. Cut answers back to ``[: where.stop -
        where.start, :H, :W]``.

    Example:
        >>> [(where, batch.shape) for where, batch in batches(np.zeros((3, 512, 500)), 2)]
        [(slice(0, 2, None), (2, 512, 512)), (slice(2, 3, None), (2, 512, 512))]
    """
    rows, columns = (-side % _MULTIPLE for side in slices.shape[1:])
    for first in range(start, len(slices), count):
        where = slice(first, min(first + count, len(slices)))
        before, after = min(first, around), first + count + around
        some = slices[first - before : after]
        missing = around - before, count + around + before - len(some)
        yield where, np.pad(some, [missing, (0, rows), (0, columns)], mode="edge")
