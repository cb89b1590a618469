"""The loop over a scan: from HU to the requested arrays, a few slices at a time."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import preprocess
from lungmask_jax.prediction._plans import in_patches, in_slices
from lungmask_jax.prediction._predictor import Predictor, in_batches
from lungmask_jax.prediction._thick import ThickSlices, parts
from lungmask_jax.spec import PreprocessSpec
from lungmask_jax.volume import Volume

Finish: TypeAlias = Callable[[jax.Array], tuple[jax.Array, ...]]


class Batch(NamedTuple):
    """The results for some slices of a scan.

    Attributes:
        stop: Number of finished slices of the scan.
        parts: Slices, and the arrays ``(n, rows, columns)`` for them. A later batch may contain
            some of them again, which then count; slices far from the lungs are in none.

    Example:
        >>> Batch(4, [(slice(0, 4), (np.zeros((4, 32, 32)),))]).stop
        4
    """

    stop: int
    parts: list[tuple[slice, tuple[np.ndarray, ...]]]


def boxes(ct: Volume, spec: PreprocessSpec, *, around: Volume | None = None) -> np.ndarray:
    """Where a network looks: one box for all slices, or one for each.

    Args:
        ct: A checked CT in HU.
        spec: What the network sees of it.
        around: Predicted mask of the same scan, for the region of a task.

    Returns:
        ``(4,)`` float32 or ``(N, 4)`` int32: top, bottom, left, right.

    Raises:
        SpecError: The spec asks for a mask and none is given.

    Example:
        >>> boxes(Volume(np.zeros((1, 4, 6), np.int16)), PreprocessSpec(region="full"))
        array([0., 4., 0., 6.], dtype=float32)
    """
    if not spec.by_slice:
        return np.array(preprocess.region(ct, spec, around), np.float32)
    found: np.ndarray = preprocess.slice_bodies(ct)
    return found


def predict_scan(
    predictor: Predictor,
    ct: Volume,
    spec: PreprocessSpec,
    *,
    box: np.ndarray,
    finish: Finish,
    lungs: Volume | None = None,
) -> Iterator[Batch]:
    """A network's probabilities for a scan, passed through `finish`, from the feet up.

    Thin slices are averaged for the network, and its probabilities interpolated between them.

    Args:
        predictor: The network.
        ct: A checked CT in HU.
        spec: Its preprocessing.
        box: The region of the network's images, from `boxes`.
        finish: Makes arrays ``(n, H', W')`` from probabilities ``(L, n, H', W')``, on the device.
        lungs: Lungs of the same scan; batches without any are skipped.

    Yields:
        Batches that cover the scan. If each slice has its own box, they are on the grid of the
        network's images, ``(n, *spec.size)``.

    Raises:
        SpecError: The network is not for scans, or predicts patches and each slice has its own box.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> from lungmask_jax.weights import load
        >>> bundle, ct = load("lungs"), phantom((5, 96, 96)).ct
        >>> network = Predictor(bundle.model, bundle.params, bundle.state)
        >>> def finish(probabilities):
        ...     return (probabilities.sum(axis=0),)
        >>> spec = bundle.spec.preprocess
        >>> batches = predict_scan(network, ct, spec, box=boxes(ct, spec), finish=finish)
        >>> [batch.stop for batch in batches]
        [4, 5]
    """
    slices = ThickSlices(ct.array, preprocess.thickness(ct, spec))
    plan = (in_patches if any(predictor.spec.patch) else in_slices)(predictor, slices, box, spec)
    before: jax.Array | None = None

    def work(start: int, count: int) -> tuple[Batch, jax.Array | None]:
        places = slices.places(start, start + count)
        if lungs is not None and not lungs.array[places].any():
            return Batch(places.stop, []), None
        probabilities = plan.probabilities(start, count)
        return (
            Batch(places.stop, _finished(probabilities, before, places, slices, finish, plan.size)),
            probabilities[:, -1:],
        )

    for batch, last in in_batches(work, len(slices), plan.batch_size, least=plan.least):
        before = last
        yield batch


def _finished(
    probabilities: jax.Array,
    before: jax.Array | None,
    places: slice,
    slices: ThickSlices,
    finish: Finish,
    size: tuple[int, int],
) -> list[tuple[slice, tuple[np.ndarray, ...]]]:
    """The arrays of the thin slices of a batch, on the host."""
    rows, columns = size
    follows = before is not None
    previous = probabilities[:, :1] if before is None else before
    finished = []
    for share, thick, thin in parts(places, slices.thickness, len(slices.thin), follows=follows):
        mean = probabilities if share == 1 else _mean(previous, probabilities, share)
        arrays = (np.asarray(array)[thick, :rows, :columns] for array in finish(mean))
        finished.append((thin, tuple(arrays)))
    return finished


@jax.jit
def _mean(before: jax.Array, probabilities: jax.Array, share: float) -> jax.Array:
    """The share of each thick slice and the rest of the one before it."""
    previous = jnp.concatenate([before, probabilities[:, :-1]], axis=1)
    return share * probabilities + (1 - share) * previous
