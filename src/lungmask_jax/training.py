"""Training: samples in, a stream of `Epoch` records out.

One pure, jitted step; the caller prints, stops and saves. Everything random comes from the seed and
the number of the step, so a resumed run goes on as if it had not stopped.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lungmask_jax import augment, losses, metrics, preprocess
from lungmask_jax.errors import ShapeError
from lungmask_jax.models import Model, make_predict
from lungmask_jax.spec import PreprocessSpec, TrainSpec
from lungmask_jax.volume import Volume

__all__ = [
    "Epoch",
    "Samples",
    "TrainState",
    "TrainStep",
    "create_state",
    "make_train_step",
    "optimizer",
    "train",
]


_BATCH = 4


class Samples(NamedTuple):
    """Slices to learn from, as the network sees them.

    Attributes:
        images: ``(M, H, W, C)`` float32 in [0, 1].
        masks: ``(M, H, W)`` uint8, 0 or 1.
        weights: ``(M,)`` how often each is drawn, relative to the others.

    Example:
        >>> images, masks = np.zeros((4, 16, 16, 1)), np.zeros((4, 16, 16))
        >>> few, many = Samples.of(images[:1], masks[:1], weight=3.0), Samples.of(images, masks)
        >>> Samples.joined([few, many]).weights.tolist()
        [3.0, 1.0, 1.0, 1.0, 1.0]
    """

    images: np.ndarray
    masks: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, masks: np.ndarray, weight: float = 1.0) -> "Samples":
        """Samples that share one weight.

        Args:
            images: ``(M, H, W, C)`` float32 in [0, 1].
            masks: ``(M, H, W)``, 0 or 1.
            weight: How often each is drawn.

        Returns:
            The samples.

        Raises:
            ShapeError: The shapes do not fit, or a mask is not 0 and 1.
        """
        if images.ndim != 4 or masks.shape != images.shape[:3]:
            raise ShapeError(
                "expected images (M, H, W, C) and masks (M, H, W), "
                f"found {images.shape} and {masks.shape}"
            )
        if not np.isin(masks, (0, 1)).all():
            found = np.unique(masks)[:5].tolist()
            raise ShapeError(f"expected masks of 0 and 1, found values {found}: give mask != 0")
        images, masks = np.asarray(images, np.float32), np.asarray(masks, np.uint8)
        return cls(images, masks, np.full(len(images), weight, np.float64))

    @classmethod
    def of_scan(
        cls,
        ct: Volume,
        mask: Volume,
        spec: PreprocessSpec,
        *,
        lungs: Volume | None = None,
        weight: float = 1.0,
    ) -> "Samples":
        """The slices of a scan, prepared as inference would prepare them.

        Args:
            ct: A CT in HU.
            mask: The truth for it; what is not 0 counts.
            spec: What the network will see.
            lungs: Predicted lungs; needed for the region ``"lungs"``. Slices without lung are left
                out, so a scan without any gives no samples.
            weight: How often each slice is drawn.

        Returns:
            The samples.

        Raises:
            SpecError: The spec asks for the lungs and none are given.
            ShapeError: The masks are not of this scan.
        """
        for other in (mask, lungs):
            if other is not None and other.shape != ct.shape:
                raise ShapeError(f"expected masks of shape {ct.shape}, found {other.shape}")
        box = jnp.asarray(preprocess.region(ct, spec, lungs), jnp.float32)
        inside = slice(None) if lungs is None else np.any(lungs.array, axis=(1, 2))
        images = [np.zeros((0, *spec.size, 1), np.float32)]
        masks = [np.zeros((0, *spec.size), np.uint8)]
        for where, batch in preprocess.batches(ct.array[inside], _BATCH):
            seen = preprocess.network_images(batch, box, spec=spec)
            images.append(np.asarray(seen)[: where.stop - where.start])
        for where, batch in preprocess.batches(mask.array[inside] != 0, _BATCH):
            truth = preprocess.resample(jnp.asarray(batch, jnp.float32), box, size=spec.size)
            masks.append((np.asarray(truth)[: where.stop - where.start] >= 0.5).astype(np.uint8))
        return cls.of(np.concatenate(images), np.concatenate(masks), weight)

    @classmethod
    def joined(cls, parts: "Sequence[Samples]") -> "Samples":
        """Several sets of samples as one.

        Args:
            parts: At least one set; all of one image size.

        Returns:
            The samples one after the other.
        """
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


class TrainState(NamedTuple):
    """All that changes while training; nothing is optional.

    Attributes:
        step: Steps done, int32.
        params: The network's parameters.
        state: The network's state, as in `Model`.
        opt_state: The optimizer's state.
        ema: Running mean of the parameters; this is what is kept.
        key: The run's random key.

    Example:
        >>> from lungmask_jax.models import unet
        >>> state = create_state(unet(channels=(4, 8)), TrainSpec())
        >>> jax.tree.structure(state.ema) == jax.tree.structure(state.params)
        True
    """

    step: jax.Array
    params: Any
    state: Any
    opt_state: Any
    ema: Any
    key: jax.Array


class Epoch(NamedTuple):
    """One line of the log.

    Attributes:
        step: Steps done.
        loss: Mean training loss since the last record.
        dice: Mean Dice of the running mean over the validation slices, at threshold 0.5; NaN
            without any.
        seconds: Time since the last record, compilation and validation included.
        train_state: Where training stands, on the device; it is donated to the next step, so copy
            what you keep (`jax.device_get`).

    Example:
        >>> from lungmask_jax.models import unet
        >>> state = create_state(unet(channels=(4, 8)), TrainSpec())
        >>> Epoch(step=50, loss=0.7, dice=0.8, seconds=9.5, train_state=state).dice
        0.8
    """

    step: int
    loss: float
    dice: float
    seconds: float
    train_state: TrainState


TrainStep = Callable[[TrainState, jax.Array, jax.Array], tuple[TrainState, jax.Array]]


def optimizer(spec: TrainSpec) -> optax.GradientTransformation:
    """AdamW under a linear warm-up and a cosine, with clipped gradients.

    Args:
        spec: How to train.

    Returns:
        The optax transformation.

    Example:
        >>> optimizer(TrainSpec(steps=10)).init({"w": jnp.zeros(3)}) is not None
        True
    """
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=spec.learning_rate,
        warmup_steps=min(round(spec.warmup * spec.steps), spec.steps - 1),
        decay_steps=spec.steps,
    )
    return optax.chain(
        optax.clip_by_global_norm(spec.clip_norm),
        optax.adamw(schedule, weight_decay=spec.weight_decay),
    )


def create_state(model: Model, spec: TrainSpec) -> TrainState:
    """Where training starts.

    Args:
        model: The network.
        spec: How to train; its seed decides the weights.

    Returns:
        The state at step 0.

    Example:
        >>> from lungmask_jax.models import unet
        >>> int(create_state(unet(channels=(4, 8)), TrainSpec()).step)
        0
    """
    key, weights = jax.random.split(jax.random.key(spec.seed))
    params, state = model.init(weights)
    ema = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.int32(0), params, state, optimizer(spec).init(params), ema, key)


@functools.cache
def make_train_step(model: Model, spec: TrainSpec) -> TrainStep:
    """The jitted step: augment, loss, gradient, update, running mean.

    Asked for again with an equal model and spec, it is the same function, already compiled.

    Args:
        model: The network.
        spec: How to train.

    Returns:
        ``step(train_state, images, masks) -> train_state, loss`` with images ``(N, H, W, C)``
        float32 and masks ``(N, H, W)`` uint8. The state that goes in is donated.

    Example:
        >>> from lungmask_jax.models import unet
        >>> model, spec = unet(channels=(4, 8)), TrainSpec(steps=2)
        >>> step = make_train_step(model, spec)
        >>> images, masks = jnp.zeros((2, 16, 16, 1)), jnp.zeros((2, 16, 16), jnp.uint8)
        >>> state, loss = step(create_state(model, spec), images, masks)
        >>> int(state.step)
        1
    """
    tx = optimizer(spec)
    loss_of = losses.create(spec.loss)

    def step(now: TrainState, images: jax.Array, masks: jax.Array) -> tuple[TrainState, jax.Array]:
        drawing, dropping = jax.random.split(jax.random.fold_in(now.key, now.step))
        targets = masks.astype(jnp.float32)[..., None]
        images, targets = augment.augment(
            drawing,
            images,
            targets,
            strength=spec.augment,
            opacity_rate=spec.opacities,
            gas_rate=spec.gas,
        )

        def objective(params: Any) -> tuple[jax.Array, Any]:
            logits, state = model.apply(params, now.state, images, train=True, key=dropping)
            return loss_of(logits, targets).mean(), state

        (loss, state), gradients = jax.value_and_grad(objective, has_aux=True)(now.params)
        updates, opt_state = tx.update(gradients, now.opt_state, now.params)
        params = optax.apply_updates(now.params, updates)
        done = now.step + 1
        # early on the mean is over the steps there were, not over the initial weights
        decay = jnp.minimum(spec.ema_decay, done / (done + 10))
        ema = optax.incremental_update(params, now.ema, 1 - decay)
        return TrainState(done, params, state, opt_state, ema, now.key), loss

    return jax.jit(step, donate_argnums=0)


def train(
    model: Model,
    samples: Samples,
    spec: TrainSpec,
    *,
    validation: Samples | None = None,
    start: TrainState | None = None,
) -> Iterator[Epoch]:
    """Trains a model, a record at a time.

    Args:
        model: The network.
        samples: What it learns from.
        spec: How it is trained.
        validation: Slices of other patients, for the Dice in the log; never for training.
        start: Where to go on from; the state of an `Epoch` of the same run.

    Yields:
        A record every ``spec.steps_per_epoch`` steps and at the end.

    Raises:
        ShapeError: There is no sample, or none with a weight above 0.

    Example:
        >>> from lungmask_jax.models import unet
        >>> samples = Samples.of(np.zeros((4, 16, 16, 1), np.float32), np.zeros((4, 16, 16)))
        >>> spec = TrainSpec(steps=4, steps_per_epoch=2, batch_size=2)
        >>> [epoch.step for epoch in train(unet(channels=(4, 8)), samples, spec)]
        [2, 4]
    """
    if not samples.weights.sum() > 0:
        raise ShapeError(f"expected weights above 0, found none in {len(samples.weights)} samples")
    now = create_state(model, spec) if start is None else start
    step, predict = make_train_step(model, spec), make_predict(model)
    seen: list[jax.Array] = []
    began = time.perf_counter()
    for number in range(int(now.step), spec.steps):
        chosen = _chosen(samples, spec, number)
        now, loss = step(
            now, jnp.asarray(samples.images[chosen]), jnp.asarray(samples.masks[chosen])
        )
        seen.append(loss)
        if (number + 1) % spec.steps_per_epoch == 0 or number + 1 == spec.steps:
            mean = float(jnp.stack(seen).mean())
            score = _mean_dice(predict, now, validation, spec.batch_size)
            yield Epoch(number + 1, mean, score, time.perf_counter() - began, now)
            seen, began = [], time.perf_counter()


def _chosen(samples: Samples, spec: TrainSpec, step: int) -> np.ndarray:
    """Indices of a step's batch; they depend on the seed and the step alone."""
    generator = np.random.default_rng((spec.seed, step))
    chances = samples.weights / samples.weights.sum()
    few = bool(np.count_nonzero(chances) < spec.batch_size)
    return np.asarray(generator.choice(len(chances), spec.batch_size, replace=few, p=chances))


def _mean_dice(
    predict: Callable[[Any, Any, jax.Array], jax.Array],
    now: TrainState,
    validation: Samples | None,
    batch_size: int,
) -> float:
    if validation is None or not len(validation.images):
        return float("nan")
    scores: list[float] = []
    for first in range(0, len(validation.images), batch_size):
        images = validation.images[first : first + batch_size]
        count = len(images)
        padded = np.pad(images, [(0, batch_size - count), (0, 0), (0, 0), (0, 0)])
        found = np.asarray(predict(now.ema, now.state, jnp.asarray(padded)))[:count] > 0.5
        truth = validation.masks[first : first + batch_size]
        scores += [metrics.dice(one, other) for one, other in zip(found, truth, strict=True)]
    return float(np.mean(scores))
