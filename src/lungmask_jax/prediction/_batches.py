"""The loop behind every prediction."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import jax

T = TypeVar("T")


def in_batches(
    work: Callable[[int, int], T], total: int, count: int, *, least: int = 1
) -> Iterator[T]:
    """Batch after batch; where the device's memory is too small, with halves.

    Args:
        work: ``work(start, count)`` of one batch, the last of which may reach past the end. It
            waits until the device is done, and changes nothing: a batch may be tried again.
        total: How many there are to work on.
        count: The size of a batch.
        least: The smallest size.

    Yields:
        What `work` returns.

    Raises:
        JaxRuntimeError: The memory is too small for the smallest batch, or something else failed.
    """
    start = 0
    while start < total:
        try:
            result = work(start, count)
        except jax.errors.JaxRuntimeError as error:
            if count <= least or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            count //= 2
        else:
            yield result
            start += count
