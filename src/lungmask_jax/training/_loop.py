"""The loop: samples in, a stream of `Epoch` records out.

The caller prints, stops and saves. Everything random comes from the seed and the number of the
step, so a resumed run goes on as if it had not stopped.
"""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lungmask_jax import metrics
from lungmask_jax.errors import ShapeError
from lungmask_jax.models import Model
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training._answers import answers
from lungmask_jax.training._mesh import divided, replicated
from lungmask_jax.training._samples import Samples
from lungmask_jax.training._step import TrainState, create_state, make_train_step

_AHEAD = 2  # batches that are made while the device works


class Epoch(NamedTuple):
    """One line of the log.

    Attributes:
        step: Steps done.
        loss: Mean training loss since the last record.
        dice: Mean Dice of the running mean over the validation slices, at threshold 0.5; NaN
            without any.
        seconds: Time since the last record, compilation and validation included.
        waited: Seconds of these in which the device had to wait for a batch.
        train_state: Where training stands, on the device; it is donated to the next step, so copy
            what you keep (`jax.device_get`).

    Example:
        >>> from lungmask_jax.models import unet
        >>> state = create_state(unet(channels=(4, 8)), TrainSpec())
        >>> Epoch(50, loss=0.7, dice=0.8, seconds=9.5, waited=0.1, train_state=state).dice
        0.8
    """

    step: int
    loss: float
    dice: float
    seconds: float
    waited: float
    train_state: TrainState


def train(
    model: Model,
    samples: Samples,
    spec: TrainSpec,
    *,
    validation: Samples | None = None,
    start: TrainState | None = None,
    mesh: Mesh | None = None,
) -> Iterator[Epoch]:
    """Trains a model, a record at a time.

    Args:
        model: The network.
        samples: What it learns from.
        spec: How it is trained.
        validation: Slices of other patients, for the Dice in the log; never for training. Their
            masks are labels.
        start: Where to go on from; the state of an `Epoch` of the same run.
        mesh: Devices that share the work, as in `make_train_step`. With several processes
            (``jax.distributed``), each of them runs this with the same arguments.

    Yields:
        A record every ``spec.steps_per_epoch`` steps and at the end.

    Raises:
        ShapeError: There is no sample, none with a weight above 0, or the masks have more labels
            than the model.
        SpecError: The batch cannot be divided among the devices.

    Example:
        >>> from lungmask_jax.models import unet
        >>> samples = Samples.of(np.zeros((4, 16, 16, 1), np.float32), np.zeros((4, 16, 16)))
        >>> spec = TrainSpec(steps=4, steps_per_epoch=2, batch_size=2)
        >>> [epoch.step for epoch in train(unet(channels=(4, 8)), samples, spec)]
        [2, 4]
    """
    if not samples.weights.sum() > 0:
        raise ShapeError(f"expected weights above 0, found none in {len(samples.weights)} samples")
    samples.refuse_above(max(model.num_classes - 1, 1))
    step = make_train_step(model, spec, mesh=mesh)
    now = create_state(model, spec) if start is None else start
    first, now = int(now.step), _everywhere(now, mesh)
    seen: list[jax.Array] = []
    began, waited = time.perf_counter(), 0.0
    for number, (pause, images, masks) in enumerate(
        _batches(samples, spec, first, mesh), first + 1
    ):
        now, loss = step(now, images, masks)
        seen.append(loss)
        waited += pause
        if number % spec.steps_per_epoch == 0 or number == spec.steps:
            mean = float(np.mean(jax.device_get(seen)))
            score = _mean_dice(model, now, validation, spec.batch_size)
            yield Epoch(number, mean, score, time.perf_counter() - began, waited, now)
            seen, began, waited = [], time.perf_counter(), 0.0


def _everywhere(now: TrainState, mesh: Mesh | None) -> TrainState:
    """A copy of the state on every device of the mesh; a step takes its own, not the caller's."""
    copied: TrainState = jax.tree.map(jnp.copy, now)
    return copied if mesh is None else jax.device_put(copied, replicated(mesh))


def _batches(
    samples: Samples, spec: TrainSpec, first: int, mesh: Mesh | None
) -> Iterator[tuple[float, jax.Array, jax.Array]]:
    """Batches from step `first` on, made ahead of time, each with the seconds it was waited for."""
    ahead: deque[Future[tuple[jax.Array, jax.Array]]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for number in range(first, spec.steps + _AHEAD):
            if number < spec.steps:
                ahead.append(pool.submit(_batch, samples, spec, number, mesh))
            if number >= first + _AHEAD:
                began = time.perf_counter()
                images, masks = ahead.popleft().result()
                yield time.perf_counter() - began, images, masks


def _batch(
    samples: Samples, spec: TrainSpec, step: int, mesh: Mesh | None
) -> tuple[jax.Array, jax.Array]:
    """The batch of a step; with a mesh, each process reads the images of its own devices."""
    chosen = _chosen(samples, spec, step)
    images, masks = samples.images, samples.masks
    if mesh is None:
        return jnp.asarray(images[chosen]), jnp.asarray(masks[chosen])
    return _placed(images, chosen, mesh), _placed(masks, chosen, mesh)


def _placed(array: np.ndarray, chosen: np.ndarray, mesh: Mesh) -> jax.Array:
    """Rows of an array, each read only where its device is."""

    def rows(index: Any) -> np.ndarray:
        part: np.ndarray = array[chosen[index[0]]]
        return part

    shape = (len(chosen), *array.shape[1:])
    return jax.make_array_from_callback(shape, divided(mesh), rows)


def _chosen(samples: Samples, spec: TrainSpec, step: int) -> np.ndarray:
    """Indices of a step's batch; they depend on the seed and the step alone."""
    generator = np.random.default_rng((spec.seed, step))
    chances = samples.weights / samples.weights.sum()
    few = bool(np.count_nonzero(chances) < spec.batch_size)
    return np.asarray(generator.choice(len(chances), spec.batch_size, replace=few, p=chances))


def _mean_dice(model: Model, now: TrainState, validation: Samples | None, batch_size: int) -> float:
    if validation is None or not len(validation.images):
        return float("nan")
    params, state = jax.device_get((now.ema, now.state))  # of this process alone
    found = answers(validation.images, model, params, state, batch_size=batch_size).sum(-1) > 0.5
    truth = validation.masks > 0
    return float(
        np.mean([metrics.dice(one, other) for one, other in zip(found, truth, strict=True)])
    )
