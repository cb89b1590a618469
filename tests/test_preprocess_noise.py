import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lungmask_jax import preprocess
from lungmask_jax.phantoms import phantom
from lungmask_jax.volume import Volume


def noisy(sigma, shape=(4, 64, 64), hu=40, seed=0):
    return np.random.default_rng(seed).normal(hu, sigma, shape).astype(np.float32)


@pytest.mark.parametrize("hu", [-1000, -700, 1000])
def test_without_soft_tissue_the_noise_is_not_known(hu):
    assert math.isnan(preprocess.noise_hu(Volume(noisy(20, hu=hu))))


def test_flat_tissue_as_outside_a_window_tells_nothing():
    assert math.isnan(preprocess.noise_hu(Volume(np.full((2, 32, 32), 40, np.int16))))
    assert math.isnan(preprocess.noise_hu(Volume(noisy(20, (1, 4, 4)))))


@settings(max_examples=20)
@given(st.floats(1, 150), st.integers(0, 99))
def test_the_noise_of_flat_tissue_is_its_standard_deviation(sigma, seed):
    found = preprocess.noise_hu(Volume(noisy(sigma, seed=seed)))
    assert found == pytest.approx(sigma, rel=0.06)


def test_tissue_that_rises_evenly_has_no_noise_of_its_own():
    slope = np.linspace(-60, 100, 64, dtype=np.float32)
    found = preprocess.noise_hu(Volume(noisy(10, hu=0) + slope + slope[:, None] / 4))
    assert found == pytest.approx(10, rel=0.06)


@pytest.mark.parametrize("added", [0, 25, 75, 150])
@pytest.mark.parametrize("shape", [(8, 160, 160), (8, 96, 96)])
def test_noise_added_to_a_chest_is_told_though_air_is_clipped(shape, added):
    made = phantom(shape, disease=0.1, noise_hu=20).ct
    added_noise = noisy(added, shape, hu=0)
    scan = np.clip(np.rint(made.array + added_noise), -1024, 3071).astype(np.int16)
    found = preprocess.noise_hu(made.with_array(scan))
    assert found == pytest.approx(math.hypot(20, added), rel=0.2)


@pytest.mark.parametrize("shape", [(1, 1, 500), (1, 5000, 2), (3, 512, 3)])
def test_slices_too_narrow_to_tell_have_no_noise(shape):
    assert math.isnan(preprocess.noise_hu(Volume(noisy(10, shape)), matrix=128))


def test_padding_does_not_count():
    wide = np.full((4, 200, 200), -1024, np.float32)
    wide[:, 60:124, 60:124] = noisy(30)
    assert preprocess.noise_hu(Volume(wide)) == pytest.approx(30, rel=0.06)


@pytest.mark.parametrize("blur", [0.5, 0.8, 1.2])
def test_of_the_blurred_noise_of_a_soft_kernel_most_is_told(blur):
    smooth = ndimage.gaussian_filter(noisy(1.0, (4, 512, 512), hu=0), (0, blur, blur))
    found = preprocess.noise_hu(Volume(40 + 30 * smooth / smooth.std()))
    assert 19 < found < 30


def test_from_further_away_the_noise_of_fine_pixels_is_less_and_of_coarse_ones_more():
    for columns, factor in ((512, 0.25), (256, 0.5), (128, 1.0), (64, 2.0)):
        found = preprocess.noise_hu(Volume(noisy(60, (2, columns, columns))), matrix=128)
        assert found == pytest.approx(60 * factor, rel=0.06)
