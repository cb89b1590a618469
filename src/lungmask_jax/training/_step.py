"""One training step, the same from a CPU core to many hosts."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from lungmask_jax import augment, losses
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.models import Model
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training._mesh import divided, replicated
from lungmask_jax.training._optimizer import optimizer


class TrainState(NamedTuple):
    """All that changes while training; nothing is optional.

    Attributes:
        step: Steps done, int32.
        params: The network's parameters.
        state: The network's state, as in `Model`.
        opt_state: The optimizer's state.
        ema: Running mean of the parameters; this is what is kept.
        key: The run's random key, as numbers (`jax.random.key_data`), so that it can be copied
            and stored like the rest.

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


TrainStep = Callable[[TrainState, jax.Array, jax.Array], tuple[TrainState, jax.Array]]


def create_state(
    model: Model, spec: TrainSpec, *, weights: tuple[Any, Any] | None = None
) -> TrainState:
    """Where training starts.

    Args:
        model: The network.
        spec: How to train; its seed decides the weights.
        weights: Parameters and state of the network to start from instead, as of a bundle.

    Returns:
        The state at step 0.

    Example:
        >>> from lungmask_jax.models import unet
        >>> int(create_state(unet(channels=(4, 8)), TrainSpec()).step)
        0
    """
    key, initial = jax.random.split(jax.random.key(spec.seed))
    params, state = model.init(initial) if weights is None else jax.device_put(weights)
    ema = jax.tree.map(jnp.copy, params)
    opt_state, numbers = optimizer(spec).init(params), jax.random.key_data(key)
    return TrainState(jnp.int32(0), params, state, opt_state, ema, numbers)


@functools.cache
def make_train_step(model: Model, spec: TrainSpec, *, mesh: Mesh | None = None) -> TrainStep:
    """The jitted step: augment, loss, gradient, update, running mean.

    Asked for again with an equal model and spec, it is the same function, already compiled.

    Args:
        model: The network.
        spec: How to train.
        mesh: Devices that share each batch, with one axis, ``"batch"``; every device keeps the
            whole state. The result is that of one device, up to the order of sums.

    Returns:
        ``step(train_state, images, masks) -> train_state, loss`` with images ``(N, H, W, C)``
        float32 and masks ``(N, H, W)`` uint8 labels, or ``(N, H, W, L)`` shares of each (``D``
        before ``H`` for volumes). The state that goes in is donated.

    Raises:
        SpecError: The batch cannot be divided among the devices and the parts of the spec.

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

    def step(now: TrainState, images: jax.Array, masks: jax.Array) -> tuple[TrainState, jax.Array]:
        loss, state, gradients = _gradients(model, spec, now, images, masks)
        updates, opt_state = tx.update(gradients, now.opt_state, now.params)
        params = optax.apply_updates(now.params, updates)
        done = now.step + 1
        # early on the mean is over the steps there were, not over the initial weights
        decay = jnp.minimum(spec.ema_decay, done / (done + 10))
        ema = optax.incremental_update(params, now.ema, 1 - decay)
        return TrainState(done, params, state, opt_state, ema, now.key), loss

    if mesh is None:
        return jax.jit(step, donate_argnums=0)
    parts = mesh.size * spec.accumulate
    if spec.batch_size % parts:
        raise SpecError(
            f"expected a batch_size that is a multiple of {parts} (devices x accumulate), found "
            f"{spec.batch_size}"
        )
    whole, shared = replicated(mesh), divided(mesh)
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(whole, shared, shared),
        out_shardings=(whole, whole),
    )


def _gradients(
    model: Model, spec: TrainSpec, now: TrainState, images: jax.Array, masks: jax.Array
) -> tuple[jax.Array, Any, Any]:
    """Loss, new state of the network, and gradient, the means over the parts of the batch."""
    key = jax.random.fold_in(jax.random.wrap_key_data(now.key), now.step)
    if spec.accumulate == 1:
        return _part_gradients(model, spec, now.params, now.state, images, masks, key)

    def add(so_far: Any, part: tuple[jax.Array, ...]) -> tuple[Any, None]:
        loss, state, gradients = so_far
        more, state, others = _part_gradients(model, spec, now.params, state, *part)
        return (loss + more, state, jax.tree.map(jnp.add, gradients, others)), None

    nothing = (jnp.float32(0), now.state, jax.tree.map(jnp.zeros_like, now.params))
    keys = jax.random.split(key, spec.accumulate)
    split = (_parts(images, spec.accumulate), _parts(masks, spec.accumulate), keys)
    (loss, state, gradients), _ = jax.lax.scan(add, nothing, split)
    return loss / spec.accumulate, state, jax.tree.map(lambda g: g / spec.accumulate, gradients)


def _part_gradients(
    model: Model,
    spec: TrainSpec,
    params: Any,
    state: Any,
    images: jax.Array,
    masks: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, Any, Any]:
    drawing, dropping = jax.random.split(key)
    images, targets = augmented(drawing, images, masks, model.num_classes, spec)
    loss_of = losses.create(spec.loss, **spec.loss_options)

    def objective(params: Any) -> tuple[jax.Array, Any]:
        logits, after = model.apply(params, state, images, train=True, key=dropping)
        return _mean_loss(loss_of, logits, targets, model.heads), after

    (loss, state), gradients = jax.value_and_grad(objective, has_aux=True)(params)
    return loss, state, gradients


def _mean_loss(
    loss_of: losses.Loss, logits: jax.Array, targets: jax.Array, heads: int
) -> jax.Array:
    """The mean over the batch; of several heads each counts half as much as the one before.

    As in nnU-Net (Isensee et al., Nature Methods 2021), but that the coarsest counts too.
    """
    if heads == 1:
        return loss_of(logits, targets).mean()
    means = jnp.stack([loss_of(each, targets).mean() for each in logits])
    return jnp.average(means, weights=jnp.array([0.5**head for head in range(heads)]))


def augmented(
    key: jax.Array, images: jax.Array, masks: jax.Array, num_classes: int, spec: TrainSpec
) -> tuple[jax.Array, jax.Array]:
    """Augmented images, and targets with a channel for each class.

    Slices of a volume are changed alike: they pass through `augment` as channels.
    """
    targets = _foreground(masks, images.ndim, num_classes)
    n, *depth, h, w, c = images.shape
    if depth:
        images = jnp.moveaxis(images, 1, 3).reshape(n, h, w, -1)
        targets = jnp.moveaxis(targets, 1, 3).reshape(n, h, w, -1)
    images, targets = augment.augment(
        key,
        images,
        targets,
        strength=spec.augment,
        opacity_rate=spec.opacities,
        gas_rate=spec.gas,
    )
    if depth:
        images = jnp.moveaxis(images.reshape(n, h, w, *depth, c), 3, 1)
        targets = jnp.moveaxis(targets.reshape(n, h, w, *depth, -1), 3, 1)
    if num_classes > 1:
        rest = 1 - targets.sum(-1, keepdims=True)
        targets = jnp.concatenate([rest, targets], axis=-1)
    return images, targets


def _foreground(masks: jax.Array, ndim: int, num_classes: int) -> jax.Array:
    """One channel for each label above 0; one class is all of them. Shares are such already."""
    if masks.ndim == ndim:
        return masks.astype(jnp.float32)
    if num_classes == 1:
        return (masks > 0).astype(jnp.float32)[..., None]
    labels = jnp.arange(1, num_classes, dtype=masks.dtype)
    return (masks[..., None] == labels.reshape((1,) * masks.ndim + (-1,))).astype(jnp.float32)


def _parts(batch: jax.Array, count: int) -> jax.Array:
    """``(count, N / count, ...)``, each part with images from every device."""
    if len(batch) % count:
        raise ShapeError(f"expected a batch for {count} equal parts, found {len(batch)} images")
    return batch.reshape(len(batch) // count, count, *batch.shape[1:]).swapaxes(0, 1)
