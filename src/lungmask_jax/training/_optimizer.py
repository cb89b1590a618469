"""The optimizer of a `TrainSpec`: schedule, clipping, AdamW."""

import itertools

import optax

from lungmask_jax.spec import TrainSpec

_POWER = 0.9  # of the polynomial decay, as in nnU-Net (Isensee et al., 2021)


def schedule(spec: TrainSpec) -> optax.Schedule:
    """The learning rate at each step: a linear warm-up, then the decay of the spec.

    Several cycles start at the peak each (Loshchilov and Hutter, SGDR, 2017,
    arXiv:1608.03983).

    Args:
        spec: Settings of the training.

    Returns:
        A function of the step; 0 at the end, unless the schedule is constant.

    Example:
        >>> rate = schedule(TrainSpec(steps=100, learning_rate=1.0, warmup=0, cycles=2))
        >>> [round(float(rate(step)), 3) for step in (0, 25, 50, 75, 100)]
        [1.0, 0.5, 1.0, 0.5, 0.0]
    """
    peak, warmup = spec.learning_rate, min(round(spec.warmup * spec.steps), spec.steps - 1)
    rest = spec.steps - warmup
    ends = [warmup + round(rest * part / spec.cycles) for part in range(spec.cycles + 1)]
    decays = [_decay(spec, stop - start) for start, stop in itertools.pairwise(ends)]
    warm = optax.linear_schedule(0.0, peak, max(warmup, 1))
    return optax.join_schedules([warm, *decays], ends[:-1])


def _decay(spec: TrainSpec, steps: int) -> optax.Schedule:
    """The decay from the peak, in that many steps."""
    if spec.schedule == "poly":
        return optax.polynomial_schedule(spec.learning_rate, 0.0, _POWER, max(steps, 1))
    if spec.schedule == "constant":
        return optax.constant_schedule(spec.learning_rate)
    return optax.cosine_decay_schedule(spec.learning_rate, max(steps, 1))


def optimizer(spec: TrainSpec) -> optax.GradientTransformation:
    """AdamW under the `schedule`, with clipped gradients.

    Args:
        spec: Settings of the training.

    Returns:
        The optax transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer(TrainSpec(steps=10)).init({"w": jnp.zeros(3)}) is not None
        True
    """
    return optax.chain(
        optax.clip_by_global_norm(spec.clip_norm),
        optax.adamw(schedule(spec), weight_decay=spec.weight_decay),
    )
