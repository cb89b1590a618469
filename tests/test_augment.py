import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from lungmask_jax import labels
from lungmask_jax.augment import (
    augment,
    bone_window,
    emphysema,
    flip,
    gas,
    intensities,
    low_resolution,
    opacities,
    warp,
)

SHAPE = (4, 24, 32, 1)
keys = st.integers(0, 2**31).map(jax.random.key)
few = settings(max_examples=15)

jitted_warp = jax.jit(warp)
jitted_intensities = jax.jit(intensities)
jitted_opacities = jax.jit(opacities)
jitted_gas = jax.jit(gas)
jitted_low_resolution = jax.jit(low_resolution)
jitted_emphysema = jax.jit(emphysema)
jitted = jax.jit(functools.partial(augment, opacity_rate=0.5, gas_rate=0.5, coarse_rate=0.5))


def noise(seed=0, shape=SHAPE):
    return jnp.asarray(np.random.default_rng(seed).random(shape, np.float32))


def lungs():
    """Two boxes in each image."""
    mask = np.zeros(SHAPE, np.float32)
    mask[:, 6:18, 4:13] = mask[:, 6:18, 19:28] = 1
    return jnp.asarray(mask)


@few
@given(keys)
def test_images_and_masks_stay_between_zero_and_one(key):
    for values in jitted(key, noise(), lungs()):
        assert values.shape == SHAPE
        assert values.dtype == jnp.float32
        assert 0 <= float(values.min()) <= float(values.max()) <= 1 + 1e-6


@few
@given(keys)
def test_masks_move_with_their_images(key):
    mask = noise()
    image, moved = jitted_warp(key, mask, mask)
    _, inside = jitted_warp(key, mask, jnp.ones(SHAPE))
    inside = np.asarray(inside) > 1 - 1e-5
    assert inside.mean() > 0.2
    np.testing.assert_allclose(image[inside], moved[inside], atol=1e-4)


@few
@given(keys)
def test_what_enters_from_outside_is_background_of_one_grey(key):
    image, mask = jitted_warp(key, noise(), jnp.ones(SHAPE))
    for one, inside in zip(np.asarray(image), np.asarray(mask), strict=True):
        grey = one[inside == 0]
        np.testing.assert_allclose(grey, np.full_like(grey, grey[:1].sum()), atol=1e-6)


@pytest.mark.parametrize("change", [jitted_intensities, lambda k, x: jitted_warp(k, x, x)[0]])
def test_one_key_gives_one_result_and_another_key_another(change):
    first, again, other = (change(jax.random.key(number), noise()) for number in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_images_of_a_batch_draw_their_own_numbers(key):
    alike = jnp.broadcast_to(noise()[:1], SHAPE)
    for images in (jitted_warp(key, alike, alike)[0], jitted_intensities(key, alike)):
        assert len({np.asarray(image).tobytes() for image in images}) == len(alike)


def test_an_image_does_not_depend_on_its_neighbours(key):
    others = noise().at[1:].set(noise(seed=1)[1:])
    np.testing.assert_array_equal(
        jitted(key, noise(), lungs())[0][0], jitted(key, others, lungs())[0][0]
    )


def test_strength_zero_changes_nothing(key):
    image, mask = augment(key, noise(), lungs(), strength=0.0)
    np.testing.assert_array_equal(image, noise())
    np.testing.assert_array_equal(mask, lungs())


def test_a_warp_of_strength_zero_only_flips():
    images = noise()
    seen = set()
    for number in range(4):
        moved, _ = jitted_warp(jax.random.key(number), images, images, strength=0.0)
        for before, after in zip(np.asarray(images), np.asarray(moved), strict=True):
            flips = [np.flip(before, axis) for axis in ((), 0, 1, (0, 1))]
            (kind,) = [k for k, f in enumerate(flips) if np.allclose(f, after, atol=1e-4)]
            seen.add(kind)
    assert seen == {0, 1, 2, 3}


@few
@given(keys)
def test_a_weak_change_of_intensities_is_a_small_one(key):
    grey = jnp.full(SHAPE, 0.5)
    change = jnp.abs(jitted_intensities(key, grey, strength=0.01) - grey).mean()
    assert 0 < float(change) < 0.005  # 0.002 by the window, 0.0014 by gamma, 0.0004 by noise


@few
@given(keys)
def test_intensities_keep_a_flat_background_black_and_bright_bright(key):
    halves = jnp.zeros(SHAPE).at[:, :, 16:].set(1.0)
    changed = np.asarray(jitted_intensities(key, halves))
    assert (changed[:, :, 20:-4].mean((1, 2)) > changed[:, :, 4:12].mean((1, 2))).all()


@few
@given(keys)
def test_opacities_lie_inside_the_lungs_and_never_darken(key):
    images = 0.8 * noise()
    changed = np.asarray(jitted_opacities(key, images, lungs(), rate=1.0))
    outside = np.asarray(lungs()) == 0
    np.testing.assert_array_equal(changed[outside], np.asarray(images)[outside])
    assert (changed >= np.asarray(images) - 1e-6).all()
    assert changed.max() <= 1


@few
@given(keys)
def test_emphysema_lies_inside_the_lungs_and_never_brightens(key):
    images = noise()
    changed = np.asarray(jitted_emphysema(key, images, lungs(), rate=1.0))
    outside = np.asarray(lungs()) == 0
    np.testing.assert_array_equal(changed[outside], np.asarray(images)[outside])
    assert (changed <= np.asarray(images) + 1e-6).all()


def test_emphysema_is_as_dark_as_air():
    images = jnp.full((200, 24, 32, 1), 0.2)
    changed = jitted_emphysema(jax.random.key(0), images, jnp.ones_like(images), rate=0.5)
    darkest = np.asarray(changed.min(axis=(1, 2, 3)))
    diseased = darkest < 0.2
    assert 0.3 < diseased.mean() < 0.6
    assert np.median(darkest[diseased]) < 0.1


def test_opacities_come_at_their_rate():
    images = jnp.full(SHAPE, 0.2)

    def changed(rate):
        runs = [jitted_opacities(jax.random.key(n), images, lungs(), rate=rate) for n in range(60)]
        return float(np.mean([(run != images).any((1, 2, 3)) for run in runs]))

    assert changed(0.0) == 0
    assert changed(1.0) > 0.9  # in a few no patch meets the lungs
    assert abs(changed(0.5) - changed(1.0) / 2) < 0.12


def test_without_warp_the_masks_stay_and_the_images_change(key):
    change = jax.jit(functools.partial(augment, strength=0.0, opacity_rate=1.0))
    image, mask = change(key, 0.2 * noise(), lungs())
    np.testing.assert_array_equal(mask, lungs())
    assert (image != 0.2 * noise()).any()


@few
@given(keys)
def test_gas_lies_outside_the_lungs_and_never_brightens(key):
    images = 0.2 + 0.8 * noise()
    changed = np.asarray(jitted_gas(key, images, lungs(), rate=1.0))
    inside = np.asarray(lungs()) == 1
    np.testing.assert_array_equal(changed[inside], np.asarray(images)[inside])
    assert (changed <= np.asarray(images) + 1e-6).all()
    assert changed.min() >= 0


def test_no_gas_is_put_beside_lungs_that_are_as_dark(key):
    # as in a bone window, where air and lung are both black
    black = jnp.where(lungs() == 1, 0.0, 0.6)
    np.testing.assert_array_equal(jitted_gas(key, black, lungs(), rate=1.0), black)
    grey = jnp.where(lungs() == 1, 0.2, 0.6)
    assert (jitted_gas(key, grey, lungs(), rate=1.0) != grey).any()


def test_some_gas_is_mottled_and_some_is_even():
    body = jnp.ones((64, 96, 96, 1))
    dark = np.asarray(jitted_gas(jax.random.key(0), body, 0 * body, rate=1.0))[..., 0] < 0.5
    filled = [ndimage.binary_fill_holes(image).sum() for image in dark]
    tissue = 1 - dark.sum((1, 2)) / np.maximum(filled, 1)  # of the blobs, the share within them
    assert (tissue > 0.1).any()
    assert ((tissue < 0.01) & (dark.sum((1, 2)) > 100)).any()


def test_a_bone_window_makes_lung_black_and_keeps_black_and_white(key):
    images = jnp.stack([jnp.full((8, 8, 1), grey) for grey in (0.0, 0.05, 0.5, 1.0)])
    changed = np.asarray(bone_window(key, images, rate=1.0))[:, 0, 0, 0]
    assert changed[0] == changed[1] == 0
    assert 0.05 < changed[2] < 0.5
    np.testing.assert_allclose(changed[3], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(bone_window(key, images, rate=0.0), images)


def test_without_a_rate_there_is_no_gas(key):
    assert (jitted_gas(key, noise(), 0 * lungs(), rate=1.0) != noise()).any()
    np.testing.assert_array_equal(jitted_gas(key, noise(), 0 * lungs(), rate=0.0), noise())


def test_other_values_do_not_compile_again(key):
    jitted(key, noise(), lungs())
    count = jitted._cache_size()
    jitted(jax.random.key(9), noise(seed=9), 1 - lungs())
    assert jitted._cache_size() == count


@given(arrays.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 2)))
def test_flip_mirrors_and_swaps_the_sides(mask):
    flipped = flip(jnp.asarray(mask))
    assert flipped.dtype == jnp.uint8
    np.testing.assert_array_equal(flipped, labels.swap_sides(mask[..., ::-1]))
    np.testing.assert_array_equal(flip(flipped), mask)


def test_flip_takes_other_axes_and_other_pairs():
    mask = jnp.array([[1, 3], [2, 5]])
    assert flip(mask, axis=0, swap=((1, 2), (3, 5))).tolist() == [[1, 3], [2, 5]]
    assert flip(mask, axis=0, swap=()).tolist() == [[2, 5], [1, 3]]


def test_gas_decides_alike_for_one_channel_and_for_equal_three(key):
    images = jnp.where(lungs() == 1, 0.25, 0.8)
    images = images.at[:, 6:11].set(jnp.where(lungs()[:, 6:11] == 1, 0.0, 0.8))
    one = jitted_gas(key, images, lungs(), rate=1.0)
    three = jitted_gas(key, images.repeat(3, -1), lungs(), rate=1.0)
    np.testing.assert_allclose(three, one.repeat(3, -1), atol=1e-6)
    assert (one != images).any()


def test_a_coarse_matrix_moves_nothing():
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 32, dtype=np.float32), (400, 24, 32))[..., None]
    seen = jitted_low_resolution(jax.random.key(0), jnp.asarray(ramp), rate=1.0).mean(axis=0)
    np.testing.assert_allclose(seen[4:-4, 4:-4], ramp[0, 4:-4, 4:-4], atol=0.02)


def test_noise_of_a_coarse_matrix_comes_in_blobs():
    flat = jnp.full((400, 24, 32, 1), 0.5)
    change = np.asarray(jitted_low_resolution(jax.random.key(0), flat, rate=1.0)) - 0.5
    assert 0.01 < change.std() < 0.08
    neighbors = (change[:, :, 1:] * change[:, :, :-1]).mean() / change.var()
    assert neighbors > 0.2  # independent pixels would have 0


def test_fine_structure_is_lost_on_a_coarse_matrix():
    stripes = jnp.broadcast_to(jnp.arange(32, dtype=jnp.float32) % 2, (400, 24, 32))[..., None]
    seen = np.asarray(jitted_low_resolution(jax.random.key(0), stripes, rate=1.0))
    contrast = seen[:, :, 1::2].mean(axis=(1, 2, 3)) - seen[:, :, ::2].mean(axis=(1, 2, 3))
    assert np.median(contrast) < 0.2
    assert contrast.max() > 0.7


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_images_become_coarse_at_their_rate(rate):
    images = jnp.broadcast_to(noise(shape=(24, 32)), (400, 24, 32))[..., None]
    seen = jitted_low_resolution(jax.random.key(0), images, rate=rate)
    changed = np.asarray(jnp.any(seen != images, axis=(1, 2, 3)))
    assert abs(changed.mean() - rate) < 0.1
