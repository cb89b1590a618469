import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lungmask_jax.errors import SpecError
from lungmask_jax.losses import _distance

distances = jax.jit(_distance.distances, static_argnames="spacing")
signed_distances = jax.jit(_distance.signed_distances)

seeds = st.integers(0, 2**31)
shares = st.sampled_from([0.02, 0.5, 0.95])


def drawn(seed, shape, share=0.5):
    return np.random.default_rng(seed).random(shape) < share


def test_an_empty_mask_has_no_distances_and_a_full_one_no_end():
    empty = jnp.zeros((1, 3, 4, 1), bool)
    np.testing.assert_array_equal(distances(empty), np.zeros(empty.shape))
    np.testing.assert_array_equal(distances(~empty), np.full(empty.shape, np.inf))


def test_a_mask_without_boundary_has_no_signed_distances():
    empty = jnp.zeros((1, 3, 4, 1), bool)
    for mask in (empty, ~empty):
        np.testing.assert_array_equal(signed_distances(mask), np.zeros(mask.shape))


def test_distances_to_one_pixel_by_hand():
    mask = jnp.ones((1, 4, 5, 1), bool).at[0, 0, 0].set(False)
    assert distances(mask)[0, 3, 4, 0] == 5
    assert distances(mask, spacing=2.0)[0, 3, 4, 0] == 10
    assert distances(mask, spacing=(4.0, 4.0))[0, 3, 0, 0] == 12
    assert distances(mask, spacing=(0.0001, 3.0))[0, 0, 4, 0] == 12


@settings(max_examples=20)
@given(seeds, shares, st.sampled_from([1, (0.7, 5.0)]))
def test_distances_in_slices_are_those_of_scipy(seed, share, spacing):
    masks = drawn(seed, (2, 17, 23, 2), share)
    masks[:, 3, 4] = False
    expected = np.empty(masks.shape)
    for image, channel in np.ndindex(2, 2):
        expected[image, ..., channel] = ndimage.distance_transform_edt(
            masks[image, ..., channel], sampling=spacing
        )
    found = distances(jnp.asarray(masks), spacing=spacing)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=10)
@given(seeds, shares)
def test_distances_in_volumes_are_those_of_scipy(seed, share):
    masks = drawn(seed, (1, 7, 9, 12, 1), share)
    masks[0, 0, 0, 0] = False
    expected = ndimage.distance_transform_edt(masks[0, ..., 0], sampling=(5.0, 0.8, 0.7))
    found = distances(jnp.asarray(masks), spacing=(5.0, 0.8, 0.7))
    np.testing.assert_allclose(found[0, ..., 0], expected, rtol=1e-6)


def test_squares_of_distances_are_exact_in_large_slices():
    masks = np.ones((1, 512, 512, 1), bool)
    masks[0, [3, 500, 77], [5, 300, 508]] = False
    expected = ndimage.distance_transform_edt(masks[0, ..., 0])
    found = distances(jnp.asarray(masks))[0, ..., 0]
    np.testing.assert_array_equal(np.rint(found**2), np.rint(expected**2))


@settings(max_examples=10)
@given(seeds)
def test_the_other_side_has_the_other_sign(seed):
    masks = jnp.asarray(drawn(seed, (2, 6, 7, 1)))
    signed = signed_distances(masks)
    np.testing.assert_array_equal(signed_distances(~masks), -signed)
    np.testing.assert_array_equal(signed < 0, masks)
    assert jnp.abs(signed).min() == 1


def test_each_image_and_channel_is_its_own():
    masks = jnp.asarray(drawn(1, (3, 6, 7, 2)))
    together = signed_distances(masks)
    for channel in range(2):
        alone = signed_distances(masks[:2, ..., channel, None])
        np.testing.assert_array_equal(together[:2, ..., channel, None], alone)


def test_distances_under_vmap():
    masks = jnp.asarray(drawn(2, (3, 2, 6, 7, 1)))
    expected = jnp.stack([signed_distances(each) for each in masks])
    found = jax.vmap(signed_distances)(masks)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("spacing", [0, -1.0, [1.0], [1.0, 0.0]])
def test_spacings_that_do_not_fit_are_refused(spacing):
    with pytest.raises(SpecError, match="2 positive spacings or a single one, found"):
        _distance.distances(jnp.zeros((1, 3, 3, 1), bool), spacing=spacing)
