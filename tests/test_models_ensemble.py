import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lungmask_jax.errors import SpecError
from lungmask_jax.models import Model, ensemble, unet
from lungmask_jax.prediction import make_predict


def constant(num_classes=1):
    """A network whose logits are its parameters."""

    def apply(params, state, images, *, train=False, key=None):
        return jnp.broadcast_to(params["logits"], (*images.shape[:-1], num_classes)), state

    def init(key):
        return {"logits": jax.random.normal(key, (num_classes,))}, {}

    return Model(init, apply, num_classes=num_classes)


IMAGES = jnp.zeros((2, 8, 8, 1))


def test_an_ensemble_answers_with_the_mean_of_the_probabilities():
    logits = np.array([[-3.0], [0.5], [4.0]], np.float32)
    predict = make_predict(ensemble(constant(), 3))
    found = predict({"logits": jnp.asarray(logits)}, {}, IMAGES)
    np.testing.assert_allclose(
        found, np.full(found.shape, (1 / (1 + np.exp(-logits))).mean()), 1e-6
    )


def test_an_ensemble_of_several_classes_does_so_too():
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    predict = make_predict(ensemble(constant(3), 4))
    found = predict({"logits": jnp.asarray(logits)}, {}, IMAGES)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.shape == (2, 8, 8, 2)
    np.testing.assert_allclose(found[0, 0, 0], shares.mean(axis=0)[1:], rtol=1e-6)


def test_members_sure_of_opposites_leave_one_half():
    logits = jnp.array([[80.0], [-80.0]])
    found = make_predict(ensemble(constant(), 2))({"logits": logits}, {}, IMAGES)
    np.testing.assert_allclose(found, 0.5, rtol=1e-6)


def test_an_ensemble_of_networks_is_the_mean_of_each(key):
    model = unet(channels=(4, 8), norm="batch")
    params, state = ensemble(model, 3).init(key)
    images = jax.random.uniform(key, (2, 16, 16, 1))
    predict = make_predict(model)
    alone = [
        predict(*jax.tree.map(lambda leaf, i=i: leaf[i], (params, state)), images) for i in range(3)
    ]
    found = make_predict(ensemble(model, 3))(params, state, images)
    np.testing.assert_allclose(found, np.mean(alone, axis=0), atol=1e-6)
    assert np.ptp(np.stack(alone), axis=0).max() > 1e-3  # the members differ


def test_an_ensemble_is_not_trained():
    two = ensemble(constant(), 2)
    with pytest.raises(SpecError, match="train each"):
        two.apply({"logits": jnp.zeros((2, 1))}, {}, IMAGES, train=True)
    with pytest.raises(SpecError, match="1 or more, found 0"):
        ensemble(constant(), 0)


def test_several_classes_give_a_share_for_each_label(key):
    model = unet(channels=(4, 8), num_classes=4)
    images = jax.random.uniform(key, (1, 16, 16, 1))
    params, state = model.init(key)
    found = make_predict(model)(params, state, images)
    logits = np.asarray(jax.jit(model.apply)(params, state, images)[0], np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found, shares[..., 1:], atol=1e-6)
