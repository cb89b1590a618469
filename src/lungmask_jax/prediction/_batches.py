"""The loop behind every prediction."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import jax

T = TypeVar("T")


def in_batches(
    work: Callable[[int, int], T], total: int, count: int, *, least: int = 1
) -> Iterator[T]:
    """Yields batch after batch; if the device's memory is too small, halved ones.

    Args:
        work: ``work(start, count)`` of one batch, the last of which may reach past the end. It
            waits until the device is done, and has no side effects: a batch may be repeated.
        total: Number of items.
        count: The size of a batch.
        least: The smallest size.

    Yields:
        The results of `work`.

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
