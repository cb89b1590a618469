"""Checks of functions of a batch: an independent result for each image."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import Partial

from lungmask_jax.testing._expect import (
    TRACEABLE,
    expect,
    expect_close,
    expect_finite,
    jitted,
    tried,
)

_ALONE = (
    "let no sum or mean go over the first axis (of norms, take group norm or running means), count "
    "axes from the shape of the input, and draw no random numbers without a key"
)


def outputs(
    function: Callable[..., Any], *batch: np.ndarray, what: str, tolerance: float = 1e-3
) -> np.ndarray:
    """What a function makes of a batch, under jit; the same under vmap of each image alone.

    Args:
        function: Takes the arrays of the batch and gives an array with the same first axis; if it
            is a `jax.tree_util.Partial`, its arrays are no constants of the program.
        batch: Arrays with one first axis.
        what: A word for the outputs.
        tolerance: As in `expect_close`.

    Returns:
        The outputs, checked.
    """
    __tracebackhide__ = True
    bound, count = Partial(function), len(batch[0])  # type: ignore[no-untyped-call]
    compiled = jitted(lambda bound, *batch: bound(*batch))
    batched = np.asarray(tried(f"{what} under jax.jit", TRACEABLE, compiled, bound, *batch))
    expect(
        batched.shape[:1] == (count,),
        f"{what} for each of {count} images",
        f"the shape {batched.shape}",
        "keep the first axis",
    )
    expect_finite(batched, what, "guard divisions, logarithms and norms of constant images")
    expect_close(
        _alone(bound, batch, what),
        batched,
        f"the same {what} of an image whatever is beside it in the batch",
        _ALONE,
        tolerance=tolerance,
    )
    _check_devices(lambda *batch: compiled(bound, *batch), batch, batched, what, tolerance)
    return batched


def _alone(bound: Callable[..., Any], batch: tuple[np.ndarray, ...], what: str) -> Any:
    """Of each image by itself, mapped over all."""
    __tracebackhide__ = True
    mapped = jax.vmap(lambda bound, *one: bound(*one), in_axes=(None, *(0 for _ in batch)))
    singles = (each[:, None] for each in batch)
    return tried(f"{what} under jax.vmap", TRACEABLE, jitted(mapped), bound, *singles)[:, 0]


def _check_devices(
    function: Callable[..., Any],
    batch: tuple[np.ndarray, ...],
    batched: np.ndarray,
    what: str,
    tolerance: float,
) -> None:
    """On several devices, with images divided among them."""
    __tracebackhide__ = True
    devices = jax.local_devices()
    if len(devices) == 1:
        return
    mesh = Mesh(np.array(devices), ("batch",))
    divided = NamedSharding(mesh, PartitionSpec("batch"))  # type: ignore[no-untyped-call]
    pick = np.arange(len(devices)) % len(batched)
    expected = f"the same {what} of images divided among {len(devices)} devices"
    advice = "use plain jax.numpy, which jit divides, and no device by number"
    found = tried(
        expected, advice, function, *(jax.device_put(each[pick], divided) for each in batch)
    )
    expect_close(found, batched[pick], expected, advice, tolerance=tolerance)
