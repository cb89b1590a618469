"""The loop: samples in, a stream of `Epoch` records out.

The caller prints, stops and saves. All random numbers derive from the seed and the number of the
step, so a resumed run equals an uninterrupted one.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lungmask_jax import calibration, metrics
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.models import Model
from lungmask_jax.prediction import Predictor
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training._augmented import Augment
from lungmask_jax.training._samples import Samples
from lungmask_jax.training._step import (
    TrainState,
    create_state,
    divided,
    make_train_step,
    replicated,
)

_AHEAD = 2  # batches that are made while the device works
_LAG = 1  # steps the device is given beyond the one it works on


class Epoch(NamedTuple):
    """A record of a run, one line of the log.

    Attributes:
        step: Number of finished steps.
        loss: Mean training loss since the last record.
        dice: Mean Dice of the running mean over the validation slices, at threshold 0.5; NaN
            without any.
        dice_at_best: Dice of all these slices pooled, at its best threshold, as
            `lungmask_jax.calibration.dice_at_best`; NaN if all truths are empty. Choose epochs
            by it: calibration and threshold follow later.
        seconds: Time since the last record, including compilation and validation.
        waited: Seconds of these in which the device waited for a batch.
        train_state: The state of the training, on the device; it is donated to the next step, so
            copy what you keep (`jax.device_get`).

    Example:
        >>> from lungmask_jax.models import unet
        >>> state = create_state(unet(channels=(4, 8)), TrainSpec())
        >>> Epoch(50, 0.7, 0.6, 0.8, seconds=9.5, waited=0.1, train_state=state).dice_at_best
        0.8
    """

    step: int
    loss: float
    dice: float
    dice_at_best: float
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
    augment: Augment | None = None,
    progress: Callable[[int], bool | None] | None = None,
) -> Iterator[Epoch]:
    """Trains a model, and yields a record for each epoch.

    Args:
        model: The network.
        samples: Training samples.
        spec: Settings of the training.
        validation: Slices of other patients, for the Dice in the log; never for training. Their
            masks are labels.
        start: State to continue from, of an `Epoch` of the same run.
        mesh: Devices that share the work, as in `make_train_step`. With several processes
            (``jax.distributed``), each of them runs this with the same arguments.
        augment: Your own function instead of `lungmask_jax.augment.augment`, called
            as ``augment(key, images, masks)`` and returns images and masks of the same shapes:
            ``(N, H, W, C)`` float32 in [0, 1] and ``(N, H, W, K)`` float32, a channel for each
            label above 0; slices of volumes are passed as channels. It is compiled with the step:
            pure, written with jax.numpy, with all randomness from the key.
        progress: Called after every step with the number of finished steps, while the device
            works on the next. If it returns True, the run ends with a record of the steps so far,
            without scores if it is between two epochs.

    Yields:
        A record every ``spec.steps_per_epoch`` steps and at the end.

    Raises:
        ShapeError: There is no sample, none with a weight above 0, or the masks have more labels
            than the model; or `augment` returns other shapes or types than it takes.
        SpecError: The batch cannot be divided among the devices, or the loss is no longer
            finite.

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
    step = make_train_step(model, spec, mesh=mesh, augment=augment)
    now = create_state(model, spec) if start is None else start
    first, now = int(now.step), _everywhere(now, mesh)
    running: deque[jax.Array] = deque()
    began, waited = time.perf_counter(), 0.0
    for number, (pause, images, masks) in enumerate(
        _batches(samples, spec, first, mesh), first + 1
    ):
        now, loss = step(now, images, masks)
        running.append(loss)
        waited += pause
        due = number % spec.steps_per_epoch == 0 or number == spec.steps
        _wait(running, 0 if due else _LAG)
        stopped = progress is not None and progress(number - len(running))
        if due or stopped:
            mean = _finite(float(now.loss), number, spec)
            scores = _scores(model, now, validation if due else None, spec.batch_size)
            yield Epoch(number, mean, *scores, time.perf_counter() - began, waited, now)
            began, waited = time.perf_counter(), 0.0
        if stopped:
            return


def best(epochs: Iterable[Epoch]) -> Epoch:
    """The best epoch of a whole run.

    The one with the largest ``dice_at_best``, the later of equal ones; the last one without such a
    Dice. ``lungmask-jax train`` chooses in the same way.

    Args:
        epochs: Epochs of `train`, at least one; a generator that prints them works, too.

    Returns:
        The epoch, with its state on the host.

    Raises:
        ShapeError: There is no epoch.

    Example:
        >>> from lungmask_jax.models import unet
        >>> samples = Samples.of(np.zeros((4, 16, 16, 1), np.float32), np.zeros((4, 16, 16)))
        >>> spec = TrainSpec(steps=4, steps_per_epoch=2, batch_size=2)
        >>> best(train(unet(channels=(4, 8)), samples, spec)).step  # no Dice: the last
        4
    """
    kept = None
    for epoch in epochs:
        if kept is None or _selection_score(epoch) >= _selection_score(kept):
            kept = epoch._replace(train_state=jax.device_get(epoch.train_state))
    if kept is None:
        raise ShapeError("expected epochs to choose from, found none: the run was complete")
    return kept


def _selection_score(epoch: Epoch) -> float:
    return -1.0 if math.isnan(epoch.dice_at_best) else epoch.dice_at_best


def _wait(running: deque[jax.Array], count: int) -> None:
    """Waits until at most so many steps are pending, so that progress counts finished steps."""
    while len(running) > count:
        running.popleft().block_until_ready()


def _finite(loss: float, number: int, spec: TrainSpec) -> float:
    if not math.isfinite(loss):
        raise SpecError(
            f"expected a finite loss, found {loss} at step {number}: lower the learning_rate, "
            f"{spec.learning_rate}, or look for non-finite values in the images; weights "
            "saved before are unchanged"
        )
    return loss


def _everywhere(now: TrainState, mesh: Mesh | None) -> TrainState:
    """A copy of the state on every device of the mesh, so that no step takes the caller's."""
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
    """Rows of an array, each read only by the process of its device."""

    def rows(index: Any) -> np.ndarray:
        return array[chosen[index[0]]]

    shape = (len(chosen), *array.shape[1:])
    return jax.make_array_from_callback(shape, divided(mesh), rows)


def _chosen(samples: Samples, spec: TrainSpec, step: int) -> np.ndarray:
    """Indices of a step's batch; they depend on the seed and the step alone."""
    generator = np.random.default_rng((spec.seed, step))
    chances = samples.weights / samples.weights.sum()
    few = bool(np.count_nonzero(chances) < spec.batch_size)
    return np.asarray(generator.choice(len(chances), spec.batch_size, replace=few, p=chances))


def _scores(
    model: Model, now: TrainState, validation: Samples | None, batch_size: int
) -> tuple[float, float]:
    """Mean Dice of the slices at threshold 0.5, and their pooled Dice at its best threshold."""
    if validation is None or not len(validation.images):
        return math.nan, math.nan
    params, state = jax.device_get((now.ema, now.state))  # of this process alone
    predictor = Predictor(model, params, state)
    found = predictor.images(validation.images, batch_size=batch_size).sum(-1)
    truth = validation.masks > 0
    each = [metrics.dice(one > 0.5, other) for one, other in zip(found, truth, strict=True)]
    return float(np.mean(each)), calibration.dice_at_best([*found], [*truth])
