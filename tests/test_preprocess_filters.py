import os
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.preprocess import clahe, denoise_bilateral, median

DATA = Path(os.environ.get("LUNGMASK_DATA", Path(__file__).parents[2] / "shared" / "data"))
few = settings(max_examples=8, deadline=None)


def noise(height: int, width: int, *, number: int = 2, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    levels = random.normal(random.uniform(40, 210), random.uniform(2, 70), (number, height, width))
    return levels.clip(0, 255).round().astype(np.uint8)


def opencv_clahe(images: np.ndarray, clip_limit: float, tiles: tuple[int, int]) -> np.ndarray:
    oracle = cv2.createCLAHE(clip_limit, tiles[::-1])
    return np.stack([oracle.apply(image) for image in images])


def real_slices() -> np.ndarray:
    files = sorted((DATA / "covid_semiseg" / "labelled" / "images").glob("*.jpg"))[:4]
    if not files:
        pytest.skip(f"no real slices under {DATA}: set LUNGMASK_DATA to a folder that has them")
    slices = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    return np.stack([cv2.resize(image, (320, 320)) for image in slices])


# CLAHE


def test_one_tile_without_clipping_is_plain_equalisation_by_hand() -> None:
    image = jnp.array([[[7, 7, 7, 9]]], jnp.uint8)
    # cumulative counts 3 and 4 of 4: 255 * 3/4 = 191.25 and 255
    assert clahe(image, clip_limit=0.0, tiles=(1, 1)).tolist() == [[[191, 191, 191, 255]]]


@pytest.mark.parametrize("level", [0, 100, 255])
@pytest.mark.parametrize("clip_limit", [0.0, 2.0])
def test_clahe_of_a_constant_image_is_constant(level: int, clip_limit: float) -> None:
    image = np.full((1, 24, 24), level, np.uint8)
    found = np.asarray(clahe(jnp.asarray(image), clip_limit=clip_limit))
    assert len(np.unique(found)) == 1
    np.testing.assert_array_equal(found, opencv_clahe(image, clip_limit, (8, 8)))


@few
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tiles=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    clip_limit=st.sampled_from([0.0, 0.5, 2.0, 5.0, 40.0]),
    seed=st.integers(0, 99),
)
def test_clahe_agrees_with_opencv(
    height: int, width: int, tiles: tuple[int, int], clip_limit: float, seed: int
) -> None:
    images = noise(height, width, seed=seed)
    found = np.asarray(clahe(jnp.asarray(images), clip_limit=clip_limit, tiles=tiles))
    difference = np.abs(found.astype(int) - opencv_clahe(images, clip_limit, tiles))
    assert difference.max() <= 1
    assert (difference > 0).sum() <= max(3, 0.02 * images.size)


@pytest.mark.parametrize("shape", [(64, 60), (60, 64), (64, 64), (61, 59)])
def test_an_axis_that_fits_is_padded_too_if_the_other_does_not(shape: tuple[int, int]) -> None:
    images = noise(*shape)
    found = np.asarray(clahe(jnp.asarray(images)))
    assert np.abs(found.astype(int) - opencv_clahe(images, 2.0, (8, 8))).max() <= 1


def test_clahe_of_real_slices_agrees_with_opencv() -> None:
    images = real_slices()
    for clip_limit in (2.0, 5.0):
        found = np.asarray(clahe(jnp.asarray(images), clip_limit=clip_limit))
        difference = np.abs(found.astype(int) - opencv_clahe(images, clip_limit, (8, 8)))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 2e-3


def test_floats_are_rounded_and_clipped_to_grey_levels() -> None:
    images = noise(24, 32)
    floats = jnp.asarray(images).astype(jnp.float32)
    found = clahe(floats + 0.3)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, clahe(floats))
    np.testing.assert_allclose(found, clahe(jnp.asarray(images)).astype(jnp.float32), atol=1)
    beyond = jnp.where(floats > 127, 300.0, -20.0)
    np.testing.assert_array_equal(clahe(beyond), clahe(jnp.clip(beyond, 0.0, 255.0)))


def test_what_is_not_finite_still_gives_grey_levels() -> None:
    image = jnp.full((1, 16, 16), 90.0).at[0, 3:6, 3].set(jnp.array([jnp.nan, jnp.inf, -jnp.inf]))
    found = clahe(image)
    assert float(found.min()) >= 0.0
    assert float(found.max()) <= 255.0


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (jnp.zeros((4, 4), jnp.uint8), "found shape (4, 4): give one image as image[None]"),
        (jnp.zeros((1, 0, 4), jnp.uint8), "with pixels, found shape (1, 0, 4)"),
        (jnp.zeros((1, 4, 4), jnp.int16), "uint8 or float32, found int16"),
    ],
)
def test_clahe_says_which_images_it_takes(images: jax.Array, message: str) -> None:
    with pytest.raises(ShapeError) as error:
        clahe(images)
    assert message in str(error.value)


def test_no_tile_is_an_error() -> None:
    with pytest.raises(SpecError, match=r"at least one tile .* found \(0, 8\)"):
        clahe(jnp.zeros((1, 4, 4), jnp.uint8), tiles=(0, 8))


# Median


@few
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 99))
def test_median_equals_scipy(height: int, width: int, seed: int) -> None:
    images = noise(height, width, seed=seed)
    expected = scipy.ndimage.median_filter(images, (1, 3, 3), mode="nearest")
    found = jax.jit(median)(jnp.asarray(images))
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(found, expected)


def test_median_equals_opencv_on_real_slices() -> None:
    images = real_slices()
    expected = np.stack([cv2.medianBlur(image, 3) for image in images])
    np.testing.assert_array_equal(median(jnp.asarray(images)), expected)


def test_median_keeps_an_edge_and_drops_a_speck() -> None:
    edge = jnp.zeros((1, 6, 6)).at[:, :, 3:].set(1.0)
    np.testing.assert_array_equal(median(edge.at[0, 2, 1].set(5.0)), edge)


# Bilateral


@few
@given(
    height=st.integers(8, 24),
    width=st.integers(8, 24),
    sigma_space=st.sampled_from([0.5, 1.5, 4.0]),
    sigma_range=st.sampled_from([0.02, 0.1, 1.0]),
    radius=st.integers(1, 4),
)
def test_bilateral_agrees_with_opencv(
    height: int, width: int, sigma_space: float, sigma_range: float, radius: int
) -> None:
    images = noise(height, width).astype(np.float32) / 255
    expected = [cv2.bilateralFilter(x, 2 * radius + 1, sigma_range, sigma_space) for x in images]
    found = denoise_bilateral(
        jnp.asarray(images), sigma_space=sigma_space, sigma_range=sigma_range, radius=radius
    )
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-3)  # OpenCV tabulates exp


def test_bilateral_keeps_a_constant_and_images_apart() -> None:
    images = jnp.stack([jnp.full((7, 9), 0.4), jnp.full((7, 9), 0.7)])
    np.testing.assert_allclose(denoise_bilateral(images), images, rtol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(lambda x: denoise_bilateral(x[None])[0])(images), images, rtol=1e-6
    )


def test_a_wide_range_makes_bilateral_a_gaussian_on_a_disc() -> None:
    impulse = jnp.zeros((1, 5, 5)).at[0, 2, 2].set(1.0)
    found = denoise_bilateral(impulse, sigma_space=1.0, sigma_range=1e6, radius=1)
    cross = 1 + 4 * np.exp(-0.5)
    assert float(found[0, 2, 2]) == pytest.approx(1 / cross)
    assert float(found[0, 1, 2]) == pytest.approx(np.exp(-0.5) / cross)
    assert float(found[0, 1, 1]) == 0.0


@pytest.mark.parametrize("options", [{"sigma_space": 0.0}, {"sigma_range": -1.0}, {"radius": 0}])
def test_bilateral_says_which_options_it_takes(options: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="sigmas above 0 and a radius of at least 1"):
        denoise_bilateral(jnp.zeros((1, 4, 4)), **options)


def test_filters_say_which_images_they_take() -> None:
    for filtered in (median, denoise_bilateral):
        with pytest.raises(ShapeError, match=r"found shape \(4, 4\): give one image"):
            filtered(jnp.zeros((4, 4)))
    with pytest.raises(ShapeError, match="expected floating images, found uint8"):
        denoise_bilateral(jnp.zeros((1, 4, 4), jnp.uint8))
