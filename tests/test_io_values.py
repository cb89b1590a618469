"""What values a scan may have, and which are mended."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scan_files import body, gray_body, nifti, picture

from lungmask_jax.errors import ScanError, ScanWarning, SpecError
from lungmask_jax.io import load


def test_padding_and_metal_are_clipped_without_a_word(tmp_path: Path) -> None:
    array = body()
    array[:, :2] = -3024
    array[:, 22, 15] = 9000
    ct = load(nifti(tmp_path / "scan.nii", array))
    assert (ct.array.min(), ct.array.max(), ct.array.dtype) == (-1024, 3071, np.int16)


def test_whole_floats_become_int16_and_others_float32(tmp_path: Path) -> None:
    whole = load(nifti(tmp_path / "whole.nii", body().astype(np.float64)))
    other = load(nifti(tmp_path / "other.nii", body() + 0.5))
    assert (whole.array.dtype, other.array.dtype) == (np.int16, np.float32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_some_values_that_are_no_numbers_become_padding(tmp_path: Path, bad: float) -> None:
    array = body().astype(np.float32)
    array[:, :2] = bad
    with pytest.warns(ScanWarning, match="as padding") as caught:
        ct = load(nifti(tmp_path / "scan.nii", array))
    assert (ct.array == -1024).mean() >= 2 / 32
    assert caught[0].filename == __file__


def test_mostly_nan_is_refused(tmp_path: Path) -> None:
    array = body().astype(np.float32)
    array[:, 8:] = np.nan
    with pytest.raises(ScanError, match="found NaN or infinity in 75%"):
        load(nifti(tmp_path / "scan.nii", array))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_offset_of_unsigned_ct_is_taken_off(tmp_path: Path, dtype: type) -> None:
    with pytest.warns(ScanWarning, match="subtracted 1024"):
        ct = load(nifti(tmp_path / "scan.nii", (body() + 1024).astype(dtype)))
    np.testing.assert_array_equal(np.sort(ct.array, None), np.sort(body(), None))


REFUSED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "constant": (lambda hu: np.full_like(hu, 7), "found 7 in every voxel"),
    "mask": (lambda hu: (hu > 0).astype(np.uint8), "looks like a mask"),
    "windowed": (lambda hu: gray_body(hu.shape), r"--window -1250 250 .*window=\(-1250, 250\)"),
    "unit floats": (lambda hu: (hu.clip(-1000, 400) + 1000) / 1400, "grey levels of a window"),
    "z-scores": (lambda hu: (hu - hu.mean()) / hu.std(), "not a CT in HU"),
    "symmetric": (lambda hu: hu.clip(-1000, 1000) / 1000.0, "not a CT in HU"),
    "soft-tissue window": (lambda hu: hu.clip(-160, 240), "not a CT in HU"),
    "magnetic resonance": (lambda hu: (hu + 1024).clip(0) ** 2 // 700, "not a CT in HU"),
    "offset twice": (lambda hu: hu.clip(-1024) - 1024, "subtracted twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_are_no_hu_are_refused(tmp_path: Path, name: str) -> None:
    change, message = REFUSED[name]
    array = np.asarray(change(body().astype(np.int32)))
    array = array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
    with pytest.raises(ScanError, match=message) as caught:
        load(nifti(tmp_path / "scan.nii", array))
    assert "scan.nii" in str(caught.value)


def noise(center: float, deviation: float) -> np.ndarray:
    return np.random.default_rng(1).normal(center, deviation, (4, 16, 16)).astype(np.int16)


@pytest.mark.parametrize(
    "array",
    [
        noise(-850, 60),
        np.where(noise(0, 1) > 0, noise(-100, 15), noise(50, 20)),
        np.where(noise(0, 1) > 0, noise(-260, 15), noise(50, 20)),
        noise(-980, 60),
        body((1, 32, 32)),
        np.where(body() == body().min(), -3024, body()),
    ],
    ids=["inside a lung", "inside the abdomen", "partial volume", "air", "one slice", "padding"],
)
def test_unusual_ct_is_accepted(tmp_path: Path, array: np.ndarray) -> None:
    np.testing.assert_array_equal(
        np.sort(load(nifti(tmp_path / "scan.nii", array)).array, None),
        np.sort(array.clip(-1024), None),
    )


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_window_turns_grey_levels_into_hu(tmp_path: Path, scale: float) -> None:
    levels = gray_body() * np.float32(scale)
    ct = load(nifti(tmp_path / "scan.nii", levels), window=(-1250, 250))
    expected = (gray_body() / 255 * 1500 - 1250).clip(-1024)
    np.testing.assert_allclose(np.sort(ct.array, None), np.sort(expected, None), atol=1e-2)


def test_window_leaves_hu_as_they_are(tmp_path: Path) -> None:
    path = nifti(tmp_path / "scan.nii", body())
    np.testing.assert_array_equal(load(path, window=(-1250, 250)).array, load(path).array)


@pytest.mark.parametrize("window", [(250, -1250), (0, 0), (0, np.inf), (np.nan, 1)])
def test_window_must_rise(tmp_path: Path, window: tuple[float, float]) -> None:
    with pytest.raises(SpecError, match="low < high HU"):
        load(nifti(tmp_path / "scan.nii", body()), window=window)


def test_radiograph_is_refused(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (1100, 1030, 1), np.int16)
    with pytest.raises(ScanError, match=r"1030 x 1100 pixels in .*looks like a radiograph"):
        load(nifti(tmp_path / "scan.nii", array))
    with pytest.raises(ScanError, match="looks like a radiograph"):
        load(picture(tmp_path / "xray.png", array[..., 0].astype(np.uint8)), window=(0, 1))


@pytest.mark.filterwarnings("ignore:treated NaN:lungmask_jax.errors.ScanWarning")
@pytest.mark.parametrize("padding", [-2000, -1024, np.nan])
def test_padding_does_not_hide_an_offset(tmp_path: Path, padding: float) -> None:
    hu = body((8, 32, 32))
    stored = hu.astype(np.float32) + 1024
    stored[:, :4] = padding
    nifti(tmp_path / "scan.nii", stored)
    with pytest.warns(ScanWarning, match="subtracted 1024"):
        ct = load(tmp_path / "scan.nii")
    assert sorted(np.unique(ct.array))[0] == -1024
    assert np.median(ct.array) == pytest.approx(np.median(hu), abs=200)


@pytest.mark.filterwarnings("ignore::lungmask_jax.errors.ScanWarning")
@pytest.mark.parametrize("padding", [-1024.0, np.nan])
def test_padding_does_not_hide_a_window(tmp_path: Path, padding: float) -> None:
    levels = gray_body().astype(np.float32)
    levels[:, :4] = padding
    nifti(tmp_path / "scan.nii", levels)
    with pytest.raises(ScanError, match="grey levels of a window"):
        load(tmp_path / "scan.nii")
    ct = load(tmp_path / "scan.nii", window=(-1250, 250))
    assert ct.array.min() == -1024
