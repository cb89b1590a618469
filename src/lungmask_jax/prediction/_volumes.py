"""A prepared volume through a network, and its logits back on the grid of the scan."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import preprocess
from lungmask_jax.prediction._predictor import Predictor

__all__ = ["predict_volume"]

Neighbors: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


def predict_volume(
    predictor: Predictor,
    volume: np.ndarray,
    shape: Sequence[int],
    *,
    finish: Callable[[jax.Array], tuple[jax.Array, ...]],
    coarse: int | None = None,
) -> Iterator[tuple[np.ndarray, ...]]:
    """What is made of a network's answers to a volume, resampled to another grid.

    The answers are interpolated linearly, slice by slice, and never held for all of the volume.

    Args:
        predictor: The network; its spec has a patch.
        volume: ``(D, H, W, C)`` float32, as the network sees it.
        shape: Of the other grid, ``(D', H', W')``.
        finish: Makes arrays ``(H', W')`` of the answers ``(H', W', L)`` of a slice, on the device.
        coarse: The axis along which the nearest answer counts, if there is one.

    Yields:
        The arrays of each of the D' slices.

    Example:
        >>> from lungmask_jax.models import plain_conv_unet
        >>> from lungmask_jax.spec import PredictSpec
        >>> model = plain_conv_unet(
        ...     features=(2, 4), kernels=((3, 3, 3),) * 2, strides=((1, 1, 1), (2, 2, 2)),
        ...     blocks=(1, 1), decoder_blocks=(1,),
        ... )
        >>> spec = PredictSpec(patch=(4, 8, 8), average="logits")
        >>> network = Predictor(model, *model.init(jax.random.key(0)), spec)
        >>> slices = predict_volume(
        ...     network, np.zeros((4, 8, 8, 1), np.float32), (6, 16, 16),
        ...     finish=lambda logits: (logits.argmax(axis=-1),),
        ... )
        >>> [labels.shape for labels, in slices]
        [(16, 16), (16, 16), (16, 16), (16, 16), (16, 16), (16, 16)]
    """
    mean = predictor.patches(lambda start, stop: volume[start:stop], len(volume))
    slices, rows, columns = (
        preprocess.neighbors(old, new, nearest=axis == coarse)
        for axis, (old, new) in enumerate(zip(volume.shape[:3], shape, strict=True))
    )
    kept: dict[int, jax.Array] = {}
    for below, above, share in zip(*slices, strict=True):
        needed = {int(below), int(above) if share else int(below)}
        kept = {
            place: kept[place] if place in kept else jax.device_put(mean(place, place + 1)[0])
            for place in sorted(needed)
        }
        logits = _between(kept[min(needed)], kept[max(needed)], share, rows, columns)
        yield tuple(np.asarray(array) for array in finish(logits))


@jax.jit
def _between(
    below: jax.Array, above: jax.Array, share: jax.Array, rows: Neighbors, columns: Neighbors
) -> jax.Array:
    """Logits between two slices ``(H, W, L)``, on other rows and columns."""
    slice_ = below + share * (above - below)
    return _along(_along(slice_, rows, 0), columns, 1)


def _along(values: jax.Array, neighbors: Neighbors, axis: int) -> jax.Array:
    below, above, share = neighbors
    weights = jnp.expand_dims(share, [other for other in range(3) if other != axis])
    first, second = (jnp.take(values, jnp.asarray(one), axis=axis) for one in (below, above))
    return first + weights * (second - first)
