"""3x3 convolutions by fewer products, against the usual ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lungmask_jax.models import _winograd
from lungmask_jax.models._blocks import by_slices
from lungmask_jax.models._grid import doubled, interpolated


def usual(images, kernel):
    return jax.lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def drawn(shape, outputs, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=shape).astype(np.float32)
    kernel = generator.normal(size=(3, 3, shape[-1], outputs)).astype(np.float32)
    return jnp.array(images), jnp.array(kernel / np.sqrt(9 * shape[-1]))


@pytest.mark.parametrize("shape", [(1, 4, 4, 1), (3, 18, 7, 2), (2, 80, 66, 3), (8, 5, 9, 2)])
def test_results_are_those_of_a_convolution(shape):
    images, kernel = drawn(shape, 5)
    found = jax.jit(_winograd._in_tiles)(images, kernel)
    np.testing.assert_allclose(found, usual(images, kernel), atol=2e-5)


def test_a_ramp_and_an_edge_by_hand():
    """The kernel takes the left neighbor; outside of the image is zero."""
    image = jnp.arange(1.0, 31.0, dtype=jnp.float32).reshape(1, 5, 6, 1)
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 0].set(1.0)
    found = _winograd._in_tiles(image, kernel)[0, :, :, 0]
    np.testing.assert_allclose(found[:, 0], 0, atol=1e-4)
    np.testing.assert_allclose(found[:, 1:], image[0, :, :-1, 0], atol=1e-4)


def test_large_convolutions_take_this_way_and_have_the_usual_derivatives():
    images, kernel = drawn((2, 32, 32, 32), 32)
    text = str(jax.make_jaxpr(_winograd.convolved)(images, kernel))
    small = str(jax.make_jaxpr(_winograd.convolved)(images[:1], kernel))
    assert "custom_jvp" in text
    assert "custom_jvp" not in small
    found = jax.grad(lambda *both: _winograd.convolved(*both).sum(), (0, 1))(images, kernel)
    wanted = jax.grad(lambda *both: usual(*both).sum(), (0, 1))(images, kernel)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_volumes_take_it_slice_by_slice():
    generator = np.random.default_rng(0)
    volumes = jnp.array(generator.normal(size=(1, 3, 12, 12, 2)), jnp.float32)
    kernel = jnp.array(generator.normal(size=(3, 3, 3, 2, 2)), jnp.float32)
    found = by_slices(volumes, kernel, of_slices=_winograd._in_tiles)
    np.testing.assert_allclose(found, by_slices(volumes, kernel), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "depth"), [((1, 3, 5, 7, 2), 3), ((2, 2, 66, 70, 3), 5), ((1, 1, 4, 4, 1), 3)]
)
def test_volumes_share_the_sums_of_their_slices(shape, depth):
    generator = np.random.default_rng(0)
    volumes = jnp.array(generator.normal(size=shape), jnp.float32)
    kernel = jnp.array(generator.normal(size=(depth, 3, 3, shape[-1], 4)), jnp.float32)
    found = jax.jit(_winograd._volumes_in_tiles)(volumes, kernel)
    np.testing.assert_allclose(found, by_slices(volumes, kernel), atol=2e-4)


def test_large_volumes_take_this_way_and_have_the_usual_derivatives():
    generator = np.random.default_rng(0)
    volumes = jnp.array(generator.normal(size=(1, 2, 32, 32, 32)), jnp.float32)
    kernel = jnp.array(generator.normal(size=(3, 3, 3, 32, 32)), jnp.float32) / 30
    assert "custom_jvp" in str(jax.make_jaxpr(_winograd.convolved)(volumes, kernel))
    found = jax.grad(lambda *both: _winograd.convolved(*both).sum(), (0, 1))(volumes, kernel)
    wanted = jax.grad(lambda *both: by_slices(*both).sum(), (0, 1))(volumes, kernel)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 1, 3, 2), (1, 4, 1, 1), (1, 6, 5, 3)])
def test_doubled_features_are_interpolated_ones(shape):
    features, _ = drawn(shape, 1)
    _, rows, columns, _ = shape
    np.testing.assert_allclose(
        doubled(features), interpolated(features, (2 * rows, 2 * columns)), atol=1e-6
    )
