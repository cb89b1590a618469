"""Several networks of the same kind as one."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lungmask_jax.errors import SpecError
from lungmask_jax.models._model import Model


def ensemble(
    model: Model, count: int, *, average: Literal["probabilities", "logits"] = "probabilities"
) -> Model:
    """A network that predicts the mean of the probabilities of `count` networks.

    They run as one program. Each leaf of its parameters and state has a first axis for the members;
    train them one by one and stack them, as `lungmask_jax.weights.ensemble` does.

    Args:
        model: Each member.
        count: Number of members.
        average: Whether the mean is of the probabilities, or of the logits as in nnU-Net.

    Returns:
        A model that predicts; asked to train it raises `SpecError`.

    Raises:
        SpecError: `count` is below 1.

    References:
        Lakshminarayanan et al., Deep Ensembles, NeurIPS 2017, arXiv:1612.01474.

    Example:
        >>> from lungmask_jax.models import unet
        >>> three = ensemble(unet(channels=(4, 8)), 3)
        >>> params, state = three.init(jax.random.key(0))
        >>> {leaf.shape[0] for leaf in jax.tree.leaves(params)}
        {3}
        >>> three.apply(params, state, jnp.zeros((1, 16, 16, 1)))[0].shape
        (1, 16, 16, 1)
    """
    if count < 1:
        raise SpecError(f"expected an ensemble of 1 or more, found {count}")

    def init(key: jax.Array, /) -> tuple[Any, Any]:
        return jax.vmap(model.init)(jax.random.split(key, count))

    def apply(
        params: Any,
        state: Any,
        images: jax.Array,
        /,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        if train:
            raise SpecError("expected a single network to train, found an ensemble: train each")

        def one(member: tuple[Any, Any]) -> jax.Array:
            return model.apply(*member, images)[0]

        logits = _each(one, (params, state))
        return logits.mean(axis=0) if average == "logits" else _mean(logits), state

    return dataclasses.replace(model, init=init, apply=apply, heads=1)


def _each(one: Callable[[Any], jax.Array], members: Any) -> jax.Array:
    """`one` of each member: in parallel, or in sequence on a CPU, where that is not slower."""
    return jax.lax.platform_dependent(
        members, cpu=lambda all_: jax.lax.map(one, all_), default=jax.vmap(one)
    )


def _mean(logits: jax.Array) -> jax.Array:
    """Logits of the mean of the probabilities over the first axis."""
    if logits.shape[-1] > 1:
        return _log_mean(jax.nn.log_softmax(logits))
    return _log_mean(jax.nn.log_sigmoid(logits)) - _log_mean(jax.nn.log_sigmoid(-logits))


def _log_mean(logs: jax.Array) -> jax.Array:
    return jax.nn.logsumexp(logs, axis=0) - jnp.log(jnp.float32(len(logs)))
