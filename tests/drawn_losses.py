"""Losses by name, compiled, and what they are given."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lungmask_jax import losses

NAMES = [*losses.registry]
CLASSES = ["cross_entropy", "dice_cross_entropy", "lovasz_softmax", "nested_bce_dice"]
SHAPE = (3, 4, 5, 2)
every = pytest.mark.parametrize("name", NAMES)
of_classes = pytest.mark.parametrize("name", CLASSES)


def drawn(seed, shape=SHAPE):
    """Logits and soft targets."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, shape).astype(np.float32)
    return jnp.asarray(logits), jnp.asarray(generator.random(shape, np.float32))


def drawn_masks(seed, shape=SHAPE):
    """Logits and one-hot targets: right for losses of channels and of classes."""
    logits, targets = drawn(seed, shape)
    return logits, jax.nn.one_hot(targets.argmax(-1), shape[-1])


@functools.cache
def compiled(name, **options):
    return jax.jit(losses.create(name, **options))


def one_of_four(p=0.5):
    """Four pixels of probability p, the first of them true."""
    targets = jnp.zeros((1, 2, 2, 1)).at[0, 0, 0, 0].set(1.0)
    return jnp.full((1, 2, 2, 1), np.log(p / (1 - p)), jnp.float32), targets
