"""Slices of any number and size in batches of few shapes, to compile little."""

from collections.abc import Iterator

import numpy as np

_MULTIPLE = 128


def batches(slices: np.ndarray, count: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Batches of one fixed shape, padded with the last slice and the edges.

    Args:
        slices: ``(N, H, W)``.
        count: Slices per batch.

    Yields:
        ``(where, batch)``: the slices ``slices[where]`` in ``batch``, ``(count, H', W')`` with the
        next multiples of 128 as H' and W'. Cut results back to ``[: where.stop - where.start, :H,
        :W]``.

    Example:
        >>> [(where, batch.shape) for where, batch in batches(np.zeros((3, 512, 500)), 2)]
        [(slice(0, 2, None), (2, 512, 512)), (slice(2, 3, None), (2, 512, 512))]
    """
    rows, columns = (-side % _MULTIPLE for side in slices.shape[1:])
    for first in range(0, len(slices), count):
        where = slice(first, min(first + count, len(slices)))
        missing = first + count - where.stop
        yield where, np.pad(slices[where], [(0, missing), (0, rows), (0, columns)], mode="edge")
