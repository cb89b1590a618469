"""One training step, the same from a CPU core to many hosts."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lungmask_jax import losses
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.models import Model
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training._augmented import Augment, augmented, built_in, checked
from lungmask_jax.training._optimizer import optimizer


class TrainState(NamedTuple):
    """The complete state of a training; nothing is optional.

    Attributes:
        step: Number of finished steps, int32.
        params: The network's parameters.
        state: The network's state, as in `Model`.
        opt_state: The optimizer's state.
        ema: Running mean of the parameters, which is saved.
        loss: Mean loss of the steps since the last record, so that the next record of a resumed
            run is that of an uninterrupted one.
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
    loss: jax.Array
    key: jax.Array


TrainStep = Callable[[TrainState, jax.Array, jax.Array], tuple[TrainState, jax.Array]]


def create_state(
    model: Model, spec: TrainSpec, *, weights: tuple[Any, Any] | None = None
) -> TrainState:
    """The initial state of a training.

    Args:
        model: The network.
        spec: Settings of the training; its seed determines the weights.
        weights: Parameters and state of the network to start from instead, as in a bundle.

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
    return TrainState(jnp.int32(0), params, state, opt_state, ema, jnp.float32(0), numbers)


def make_train_step(
    model: Model, spec: TrainSpec, *, mesh: Mesh | None = None, augment: Augment | None = None
) -> TrainStep:
    """The jitted step: augment, loss, gradient, update, running mean.

    For an equal model and spec, it is the same function, already compiled.

    Args:
        model: The network.
        spec: Settings of the training.
        mesh: Devices that share each batch, with one axis, ``"batch"``; every device keeps the
            whole state. The result is that of one device, up to the order of sums.
        augment: Changes images and masks in place of `lungmask_jax.augment.augment`, as in `train`.

    Returns:
        ``step(train_state, images, masks) -> train_state, loss`` with images ``(N, H, W, C)``
        float32 and masks ``(N, H, W)`` uint8 labels, or ``(N, H, W, L)`` shares of each (``D``
        before ``H`` for volumes). The state that goes in is donated.

    Raises:
        SpecError: The batch cannot be divided among the devices and the parts of the spec.
        ShapeError: At the first step, if `augment` returns other shapes or types than it takes.

    Example:
        >>> from lungmask_jax.models import unet
        >>> model, spec = unet(channels=(4, 8)), TrainSpec(steps=2)
        >>> step = make_train_step(model, spec)
        >>> images, masks = jnp.zeros((2, 16, 16, 1)), jnp.zeros((2, 16, 16), jnp.uint8)
        >>> state, loss = step(create_state(model, spec), images, masks)
        >>> int(state.step)
        1
    """
    return _compiled(model, spec, mesh, augment)


@functools.cache
def _compiled(
    model: Model, spec: TrainSpec, mesh: Mesh | None, augment: Augment | None
) -> TrainStep:
    tx = optimizer(spec)
    change = built_in(spec) if augment is None else checked(augment)

    def step(now: TrainState, images: jax.Array, masks: jax.Array) -> tuple[TrainState, jax.Array]:
        loss, state, gradients = _gradients(model, spec, change, now, images, masks)
        updates, opt_state = tx.update(gradients, now.opt_state, now.params)
        params = optax.apply_updates(now.params, updates)
        done = now.step + 1
        # early on, the mean is over the steps so far, not over the initial weights
        decay = jnp.minimum(spec.ema_decay, done / (done + 10))
        ema = optax.incremental_update(params, now.ema, 1 - decay)
        mean = _mean_so_far(now, loss, spec)
        return TrainState(done, params, state, opt_state, ema, mean, now.key), loss

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


def _mean_so_far(now: TrainState, loss: jax.Array, spec: TrainSpec) -> jax.Array:
    """The mean loss of an epoch with that of one more step; an epoch starts anew."""
    before = now.step % spec.steps_per_epoch
    longer = now.loss + (loss - now.loss) / (before + 1).astype(jnp.float32)
    return jnp.where(before == 0, loss, longer)


def _gradients(
    model: Model,
    spec: TrainSpec,
    change: Augment,
    now: TrainState,
    images: jax.Array,
    masks: jax.Array,
) -> tuple[jax.Array, Any, Any]:
    """Loss, new state of the network, and gradient, the means over the parts of the batch."""
    key = jax.random.fold_in(jax.random.wrap_key_data(now.key), now.step)
    if spec.accumulate == 1:
        return _part_gradients(model, spec, change, now.params, now.state, images, masks, key)

    def add(so_far: Any, part: tuple[jax.Array, ...]) -> tuple[Any, None]:
        loss, state, gradients = so_far
        more, state, others = _part_gradients(model, spec, change, now.params, state, *part)
        return (loss + more, state, jax.tree.map(jnp.add, gradients, others)), None

    nothing = (jnp.float32(0), now.state, jax.tree.map(jnp.zeros_like, now.params))
    keys = jax.random.split(key, spec.accumulate)
    split = (_parts(images, spec.accumulate), _parts(masks, spec.accumulate), keys)
    (loss, state, gradients), _ = jax.lax.scan(add, nothing, split)
    return loss / spec.accumulate, state, jax.tree.map(lambda g: g / spec.accumulate, gradients)


def _part_gradients(
    model: Model,
    spec: TrainSpec,
    change: Augment,
    params: Any,
    state: Any,
    images: jax.Array,
    masks: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, Any, Any]:
    drawing, dropping = jax.random.split(key)
    images, targets = augmented(drawing, images, masks, model.num_classes, change)
    loss_of = losses.create(spec.loss, **spec.loss_options)

    def objective(params: Any) -> tuple[jax.Array, Any]:
        logits, after = model.apply(params, state, images, train=True, key=dropping)
        return _mean_loss(loss_of, logits, targets, model.heads), after

    (loss, state), gradients = jax.value_and_grad(objective, has_aux=True)(params)
    return loss, state, gradients


def _mean_loss(
    loss_of: losses.Loss, logits: jax.Array, targets: jax.Array, heads: int
) -> jax.Array:
    """The mean over the batch; each of several heads counts half as much as the one before.

    As in nnU-Net (Isensee et al., Nature Methods 2021), except that the coarsest counts, too.
    """
    if heads == 1:
        return loss_of(logits, targets).mean()
    means = jnp.stack([loss_of(each, targets).mean() for each in logits])
    return jnp.average(means, weights=jnp.array([0.5**head for head in range(heads)]))


def _parts(batch: jax.Array, count: int) -> jax.Array:
    """``(count, N / count, ...)``, each part with images from every device."""
    if len(batch) % count:
        raise ShapeError(f"expected a batch for {count} equal parts, found {len(batch)} images")
    return batch.reshape(len(batch) // count, count, *batch.shape[1:]).swapaxes(0, 1)


def make_mesh(*, count: int | None = None) -> Mesh:
    """A one-dimensional mesh of devices that share each batch, for `make_train_step` and `train`.

    Args:
        count: Number of devices; by default all of this process and its peers.

    Returns:
        A mesh with the one axis ``"batch"``.

    Raises:
        SpecError: There are fewer devices.

    Example:
        >>> make_mesh(count=1).axis_names
        ('batch',)
    """
    devices = jax.devices()
    count = len(devices) if count is None else count
    if not 1 <= count <= len(devices):
        raise SpecError(f"expected 1 to {len(devices)} devices (all there are), found {count}")
    return Mesh(np.array(devices[:count]), ("batch",))


def replicated(mesh: Mesh) -> NamedSharding:
    """A sharding with the same data on every device."""
    return NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]


def divided(mesh: Mesh) -> NamedSharding:
    """A sharding with the first axis divided among the devices."""
    return NamedSharding(mesh, PartitionSpec("batch"))  # type: ignore[no-untyped-call]
