"""Files in, volumes out, and back voxel for voxel."""

import gzip
import itertools
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungmask_jax.errors import ScanError, ScanWarning, SpecError
from lungmask_jax.io import load, load_mask, save
from lungmask_jax.volume import CANONICAL, Volume

DATA = Path(os.environ.get("LUNGMASK_DATA", Path(__file__).parents[1] / "../shared/data"))

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no real scans at {DATA}: set LUNGMASK_DATA"
)

ORIENTATIONS = [
    "".join(pair[sign] for pair, sign in zip(pairs, signs, strict=True))
    for pairs in itertools.permutations(("RL", "AP", "SI"))
    for signs in itertools.product((0, 1), repeat=3)
]


def chest(shape: tuple[int, ...] = (5, 6, 7)) -> np.ndarray:
    """Every value from air to bone once or more, so that no two voxels can be exchanged."""
    return np.linspace(-1020, 1500, int(np.prod(shape))).round().astype(np.int16).reshape(shape)


def body(shape: tuple[int, ...] = (8, 32, 32)) -> np.ndarray:
    """Air around fat, soft tissue, lungs and bone."""
    array = np.random.default_rng(0).normal(-1000, 10, shape)
    array[:, 4:28, 4:28] += 900
    array[:, 6:26, 6:26] += 140
    array[:, 8:20, 8:14] -= 850
    array[:, 22:24, 14:18] += 500
    return np.maximum(array, -1024).round().astype(np.int16)


def affine_of(axcodes: str, spacing: tuple[float, ...] = (0.75, 1.5, 2.5)) -> np.ndarray:
    affine = np.eye(4)
    for column, (axis, sign) in enumerate(nib.orientations.axcodes2ornt(axcodes)):
        affine[:3, column] = np.eye(3)[int(axis)] * sign * spacing[column]
    affine[:3, 3] = -120.5, 33.25, 700.0
    return affine


def tilted(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return rotation


def nifti(
    path: Path,
    array: np.ndarray,
    affine: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 1),
    kind: type = nib.Nifti1Image,
) -> Path:
    image = kind(array, np.diag([0.75, 0.75, 2.5, 1.0]) if affine is None else affine)
    image.set_qform(image.affine, int(codes[0]))
    image.set_sform(image.affine, int(codes[1]))
    nib.save(image, path)
    return path


def picture(path: Path, array: np.ndarray, *options: int) -> Path:
    assert cv2.imwrite(str(path), array, options)
    return path


def gray_body(shape: tuple[int, ...] = (8, 32, 32)) -> np.ndarray:
    return ((np.clip(body(shape), -1250, 250) + 1250) / 1500 * 255).round().astype(np.uint8)


# orientation


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_mask_overlays_its_input_voxel_for_voxel(
    tmp_path: Path, axcodes: str, degrees: float
) -> None:
    affine = tilted(degrees) @ affine_of(axcodes)
    source = nib.load(nifti(tmp_path / "scan.nii", chest(), affine, (1, 2)))
    ct = load(tmp_path / "scan.nii")
    save(ct.with_array((ct.array < -500).astype(np.uint8)), tmp_path / "mask.nii")
    written = nib.load(tmp_path / "mask.nii")
    np.testing.assert_array_equal(
        np.asanyarray(written.dataobj), np.asanyarray(source.dataobj) < -500
    )
    np.testing.assert_array_equal(written.affine, source.affine)
    assert written.get_data_dtype() == np.uint8
    assert (written.header["qform_code"], written.header["sform_code"]) == (1, 2)
    assert written.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert ct.axcodes == "".join(nib.aff2axcodes(source.affine))


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_loaded_arrays_are_canonical_and_contiguous(tmp_path: Path, axcodes: str) -> None:
    ct = load(nifti(tmp_path / "scan.nii", chest(), affine_of(axcodes)))
    image = nib.load(tmp_path / "scan.nii")
    transform = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(CANONICAL)
    )
    expected = image.as_reoriented(transform)
    assert "".join(nib.aff2axcodes(ct.affine)) == CANONICAL
    np.testing.assert_array_equal(ct.array, np.asanyarray(expected.dataobj))
    np.testing.assert_array_equal(ct.affine, expected.affine)
    assert ct.array.flags.c_contiguous


@settings(max_examples=60, deadline=None)
@given(
    axcodes=st.sampled_from(ORIENTATIONS),
    degrees=st.sampled_from([0.0, 7.0, -30.0, 45.0]),
    shape=st.tuples(*[st.integers(1, 6)] * 3).filter(lambda shape: np.prod(shape) > 3),
    spacing=st.tuples(*[st.sampled_from([0.5, 0.7421875, 1.25, 5.0])] * 3),
    codes=st.sampled_from([(1, 1), (0, 1), (0, 4), (2, 2), (1, 2)]),
    kind=st.sampled_from([np.int16, np.float32, np.uint8]),
)
def test_save_then_load_is_the_identity(
    axcodes: str,
    degrees: float,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    codes: tuple[int, int],
    kind: type,
) -> None:
    values = chest(shape)
    array = {np.uint8: values % 200, np.float32: values + 0.25}.get(kind, values).astype(kind)
    with tempfile.TemporaryDirectory() as folder:
        affine = (tilted(degrees) @ affine_of(axcodes, spacing)).astype(np.float32)
        first = nifti(Path(folder, "first.nii"), array, affine, codes)
        read = load_mask if kind is np.uint8 else load
        volume = read(first)
        save(volume, f"{folder}/second.nii.gz")
        again = read(f"{folder}/second.nii.gz")
    np.testing.assert_array_equal(again.array, volume.array)
    assert again.array.dtype == kind
    np.testing.assert_array_equal(again.affine, volume.affine)
    assert again.axcodes == volume.axcodes


# NIfTI


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1, 1), (6, 7, 5, 1), (6, 7, 5, 1, 1)])
def test_single_slices_and_trailing_axes_of_one_are_one_volume(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    ct = load(nifti(tmp_path / "scan.nii", chest(shape), np.diag([-0.7, -0.7, 1, 1])))
    assert ct.shape == (int(np.prod(shape[2:])), 7, 6)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    nifti(tmp_path / "plain.nii", chest())
    packed = gzip.compress((tmp_path / "plain.nii").read_bytes())
    (tmp_path / "packed.nii").write_bytes(packed)
    (tmp_path / "plain.nii").rename(tmp_path / "plain.nii.gz")
    (tmp_path / "none").write_bytes(packed)
    for name in ("packed.nii", "plain.nii.gz", "none"):
        np.testing.assert_array_equal(np.sort(load(tmp_path / name).array, None), chest().ravel())


def test_nifti_2_and_big_endian_are_read(tmp_path: Path) -> None:
    second = nifti(tmp_path / "two.nii", chest(), kind=nib.Nifti2Image)
    header = nib.Nifti1Header(endianness=">")
    nib.save(nib.Nifti1Image(chest(), 2 * np.eye(4), header.copy()), tmp_path / "big.nii")
    for path in (second, tmp_path / "big.nii"):
        assert load(path).array.dtype == np.dtype(np.int16)
        np.testing.assert_array_equal(np.sort(load(path).array, None), chest().ravel())


@pytest.mark.parametrize(("slope", "dtype"), [(1.0, np.int16), (0.25, np.float32)])
@pytest.mark.parametrize("stored", [np.int16, np.uint16, np.int32, np.float64])
def test_slope_and_intercept_are_applied(
    tmp_path: Path, slope: float, dtype: type, stored: type
) -> None:
    raw = np.arange(4000, dtype=stored).reshape(10, 20, 20)
    path = nifti(tmp_path / "scan.nii", raw, affine_of(CANONICAL))
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([slope, -1024], "<f4").tobytes()
    path.write_bytes(data)
    np.testing.assert_array_equal(load(path).array, raw * slope - 1024)
    assert load(path).array.dtype == dtype


@pytest.mark.parametrize("axis", [3, 4])
def test_several_volumes_in_one_file_are_refused(tmp_path: Path, axis: int) -> None:
    shape = [4, 5, 6, 1, 1]
    shape[axis] = 2
    with pytest.raises(ScanError, match="expected one 3-D volume of numbers, found shape"):
        load(nifti(tmp_path / "scan.nii", chest(tuple(shape))))


def test_color_complex_and_one_dimensional_files_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array in (rgb, np.ones((4, 4, 4), np.complex64), chest((9,))):
        with pytest.raises(ScanError, match=r"expected one 3-D volume of numbers.*scan.nii"):
            load(nifti(tmp_path / "scan.nii", array))


def patched(path: Path, offset: int, values: Any) -> Path:
    data = bytearray(nifti(path, chest()).read_bytes())
    raw = values.tobytes()
    data[offset : offset + len(raw)] = raw
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("offset", "values", "message"),
    [
        (42, np.array([0], "<i2"), "expected voxels, found the empty shape"),
        (42, np.array([30000], "<i2"), "cut short"),
        (42, np.array([-5], "<i2"), "scan.nii"),
        (70, np.array([999], "<i2"), "damaged"),
        (280, np.zeros(12, "<f4"), "expected an invertible affine"),
        (280, np.full(12, np.nan, "<f4"), "expected an invertible affine"),
        (280, np.array([1, 1, 0, 0, 0, 1e-20], "<f4"), "expected an invertible affine"),
        (344, np.frombuffer(b"xyz\0", "u1"), "of another kind"),
    ],
)
def test_damaged_headers_are_refused(
    tmp_path: Path, offset: int, values: np.ndarray, message: str
) -> None:
    with pytest.raises(ScanError, match=message):
        load(patched(tmp_path / "scan.nii", offset, values))


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_truncated_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    nifti(tmp_path / name, np.random.default_rng(0).integers(-1000, 999, (20, 20, 20), np.int16))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ScanError, match=rf"{name}.*(cut short|empty)"):
        load(tmp_path / name)


def test_flipped_bits_in_compressed_data_are_refused(tmp_path: Path) -> None:
    data = bytearray(nifti(tmp_path / "scan.nii.gz", chest()).read_bytes())
    data[len(data) // 2 :] = bytes(reversed(data[len(data) // 2 :]))
    (tmp_path / "scan.nii.gz").write_bytes(data)
    with pytest.raises(ScanError, match=r"scan\.nii\.gz"):
        load(tmp_path / "scan.nii.gz")


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.nii").write_bytes(b"")
    (tmp_path / "text.nii").write_text("this is no scan " * 40)
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"nor this " * 99))
    (tmp_path / "bad.nii.gz").write_bytes(b"\x1f\x8bnonsense")
    (tmp_path / "folder").mkdir()
    for name, message in {
        "none.nii.gz": "found nothing at",
        "empty.nii": "empty",
        "text.nii": "is a text file",
        "text.nii.gz": "is a text file",
        "bad.nii.gz": "of another kind",
        "folder": "found none in",
    }.items():
        with pytest.raises(ScanError, match=message) as caught:
            load(tmp_path / name)
        assert name in str(caught.value)


def test_folder_of_volumes_is_refused(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii", chest())
    with pytest.raises(ScanError, match="found NIfTI files in"):
        load(tmp_path)


def test_errors_of_the_file_system_are_scan_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nifti(tmp_path / "scan.nii", chest())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name, given_path in (("open", path), ("iterdir", tmp_path)):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, refuse)
            with pytest.raises(ScanError, match="Permission denied; check its permissions"):
                load(given_path)


# values


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


# images


def test_image_needs_a_window_and_the_error_tells_how(tmp_path: Path) -> None:
    path = picture(tmp_path / "slice.png", gray_body()[0])
    with pytest.raises(ScanError, match=r"--window -1350 150, or window=\(-1350, 150\) in Python"):
        load(path)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("factor", [1, 257])
def test_image_is_mapped_to_the_window(tmp_path: Path, suffix: str, factor: int) -> None:
    levels = gray_body()[0].astype(np.uint16 if factor > 1 else np.uint8) * factor
    path = picture(tmp_path / f"slice.{suffix}", levels.astype(levels.dtype))
    ct = load(path, window=(-1000, 275))
    np.testing.assert_allclose(ct.array[0], gray_body()[0] * 5.0 - 1000, atol=1e-2)
    assert (ct.shape, ct.spacing, ct.axcodes) == ((1, 32, 32), (1, 1, 1), "LPS")


def test_image_is_in_radiological_view(tmp_path: Path) -> None:
    levels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    levels[0, 19] = 255
    ct = load(picture(tmp_path / "slice.png", levels), window=(-1000, 0))
    assert ct.array[0, 0, 19] == 0
    assert "".join(nib.aff2axcodes(ct.affine)) == CANONICAL


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_of_a_mask_is_no_scan(tmp_path: Path, suffix: str) -> None:
    levels = np.zeros((64, 64), np.uint8)
    levels[16:48, 16:32] = 255
    with pytest.raises(ScanError, match="looks like a mask"):
        load(picture(tmp_path / f"mask.{suffix}", levels), window=(-1350, 150))


def test_folder_of_images_is_stacked_in_the_order_of_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        levels = gray_body()[0]
        levels[0, 0] = 10 * number
        picture(tmp_path / f"slice_{number}.png", levels)
    (tmp_path / "notes.txt").write_text("not a slice")
    (tmp_path / ".hidden.png").write_bytes(b"")
    ct = load(tmp_path, window=(0, 255))
    assert ct.array[:, 0, 0].tolist() == [10, 90, 100]


def test_pages_of_a_tiff_are_slices(tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "stack.tif"), list(gray_body()))
    ct = load(tmp_path / "stack.tif", window=(0, 255))
    np.testing.assert_array_equal(ct.array, gray_body())


def test_image_of_another_size_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", gray_body()[0])
    picture(tmp_path / "2.png", gray_body()[0, :20])
    with pytest.raises(ScanError, match=r"1.png \(32 x 32, 8 bits\), found .*2.png \(20 x 32"):
        load(tmp_path, window=(0, 255))


def test_grey_jpeg_in_three_channels_is_grey_and_a_colored_image_is_not(tmp_path: Path) -> None:
    three = np.repeat(gray_body()[0][..., None], 3, axis=-1)
    ct = load(picture(tmp_path / "a.jpg", three, cv2.IMWRITE_JPEG_QUALITY, 95), window=(0, 255))
    assert np.abs(ct.array[0] - gray_body()[0].astype(float)).mean() < 5
    three[4, 4] = 0, 0, 200
    with pytest.raises(ScanError, match=r"b\.png in color"):
        load(picture(tmp_path / "b.png", three), window=(0, 255))


def test_opaque_image_with_alpha_is_grey(tmp_path: Path) -> None:
    channels = np.dstack([gray_body()[0]] * 3 + [np.full((32, 32), 255, np.uint8)])
    ct = load(picture(tmp_path / "a.png", channels), window=(0, 255))
    np.testing.assert_array_equal(ct.array[0], gray_body()[0])


def test_hu_plus_1024_in_16_bits_is_told_from_grey_levels(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (body()[0] + 1024).astype(np.uint16))
    with pytest.raises(ScanError, match="--window -1024 64511"):
        load(path, window=(-1350, 150))
    np.testing.assert_allclose(load(path, window=(-1024, 64511)).array[0], body()[0], atol=0.01)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_damaged_images_are_refused(tmp_path: Path, suffix: str) -> None:
    data = picture(tmp_path / f"a.{suffix}", gray_body((1, 64, 64))[0]).read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(data[: len(data) // 2])
    with pytest.raises(ScanError, match=rf"a\.{suffix} (cut short|damaged)"):
        load(tmp_path / f"a.{suffix}", window=(0, 255))


def test_failing_decoder_is_a_scan_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise cv2.error("too many pixels")

    path = picture(tmp_path / "a.png", gray_body()[0])
    monkeypatch.setattr(cv2, "imdecodemulti", fail)
    with pytest.raises(ScanError, match=r"a\.png damaged \(too many pixels\)"):
        load(path, window=(0, 255))


def test_black_image_and_image_of_floats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="grey level 0 in every pixel"):
        load(picture(tmp_path / "a.png", np.zeros((9, 9), np.uint8)), window=(0, 255))
    with pytest.raises(ScanError, match="expected 8 or 16 bits per pixel, found float32"):
        load(picture(tmp_path / "a.tif", np.ones((9, 9), np.float32)), window=(0, 255))


# masks


def test_mask_of_floats_that_are_nearly_whole_is_read(tmp_path: Path) -> None:
    array = (chest() > 0) * np.float32(2) + np.float32(1e-4)
    mask = load_mask(nifti(tmp_path / "mask.nii", array))
    assert mask.array.dtype == np.uint8
    assert np.unique(mask.array).tolist() == [0, 2]


@pytest.mark.parametrize(
    "array", [chest() / 700, chest(), chest() + 2000, np.full((3, 3, 3), np.nan)]
)
def test_values_that_are_no_labels_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ScanError, match="expected a mask of whole labels 0 to 255"):
        load_mask(nifti(tmp_path / "mask.nii", array.astype(np.float32)))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_black_and_white_images_are_masks_of_0_and_1(tmp_path: Path, suffix: str) -> None:
    truth = np.zeros((2, 32, 32), np.uint8)
    truth[1, 8:24, 8:24] = 1
    for number, one in enumerate(truth):
        picture(tmp_path / f"{number}.{suffix}", one * 255)
    np.testing.assert_array_equal(load_mask(tmp_path).array, truth)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("a.png", (0, 255)),
        ("a.jpg", (0, 255)),
        ("a.png", (0, 1, 2)),
        ("a.png", (0, 127, 255)),
        ("a.png", (0, 100, 200, 255)),
    ],
)
def test_pictures_of_masks_are_no_scans(tmp_path: Path, name: str, levels: tuple[int, ...]) -> None:
    mask = np.zeros((64, 64), np.uint8)
    for number, level in enumerate(levels):
        mask[8 * number + 8 : 8 * number + 16, 8:40] = level
    with pytest.raises(ScanError, match="looks like a mask: give the CT"):
        load(picture(tmp_path / name, mask), window=(-1350, 150))


@pytest.mark.parametrize("outlier", [65535, 64560])
def test_a_burned_in_label_makes_no_mask_of_a_scan(tmp_path: Path, outlier: int) -> None:
    levels = (body((1, 64, 64))[0] + 1024).astype(np.uint16)
    levels[:4, :20] = outlier
    ct = load(picture(tmp_path / "a.png", levels), window=(-1024, 64511))
    np.testing.assert_allclose(ct.array[0, 5:], body((1, 64, 64))[0, 5:], atol=1)


def test_images_of_labels_keep_them(tmp_path: Path) -> None:
    labels = np.arange(9, dtype=np.uint8).reshape(3, 3) % 3
    assert load_mask(picture(tmp_path / "a.png", labels)).array[0].tolist() == labels.tolist()


def test_grey_image_is_no_mask(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="expected a mask in black and white"):
        load_mask(picture(tmp_path / "a.png", gray_body()[0]))


# saving


def test_compressed_file_is_compressed_and_the_same_every_time(tmp_path: Path) -> None:
    save(Volume(np.zeros((20, 50, 50), np.uint8)), tmp_path / "a.nii.gz")
    save(Volume(np.zeros((20, 50, 50), np.uint8)), tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").stat().st_size < 5000
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (chest() > 0, np.uint8),
        ((chest() > 0).astype(np.int64), np.uint8),
        (chest().astype(np.int64), np.int16),
        (chest() + 0.5, np.float32),
    ],
)
def test_other_types_become_the_nearest_that_is_stored(
    tmp_path: Path, array: np.ndarray, dtype: type
) -> None:
    save(Volume(array), tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").get_data_dtype() == dtype


def test_what_cannot_be_saved_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    mask = Volume(np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(ScanError, match=r"expected a name in \.nii or \.nii\.gz, found .*a\.png"):
        save(mask, tmp_path / "a.png")
    with pytest.raises(ScanError, match=r"found no .*none: make it"):
        save(mask, tmp_path / "none" / "a.nii")
    with pytest.raises(ScanError, match="found int64: convert them"):
        save(Volume(np.full((2, 3, 4), 99999)), tmp_path / "a.nii")
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(ScanError, match="folder"):
        save(mask, tmp_path / "folder.nii")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.nii"]


FULL_DISK = """
import resource, sys
import numpy as np
from lungmask_jax.io import save
from lungmask_jax.volume import Volume
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
save(Volume(np.zeros((2, 3, 4), np.uint8)), sys.argv[1])
"""


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_failing_disk_leaves_the_older_file(tmp_path: Path, name: str) -> None:
    save(Volume(np.ones((2, 3, 4), np.uint8)), tmp_path / name)
    words = [sys.executable, "-c", FULL_DISK, str(tmp_path / name)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert "ScanError: expected to write" in done.stderr
    assert "File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert load_mask(tmp_path / name).array.all()


# real scans


def real(*patterns: str) -> list[Any]:
    paths = [path for pattern in patterns for path in sorted(DATA.glob(pattern))]
    return [pytest.param(path, id=path.name) for path in paths]


@needs_data
@pytest.mark.parametrize(
    "path", real("ct_*/*_3mm_ct.nii.gz", "ct_lowres*/*_ct.nii.gz", "ct_chest/apices_2mm*")
)
def test_real_volumes_load_and_masks_overlay_them(path: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ct = load(path)
    assert ct.array.dtype == np.int16
    save(ct.with_array((ct.array > 0).astype(np.uint8)), tmp_path / "mask.nii.gz")
    source, written = nib.load(path), nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), np.asanyarray(source.dataobj) > 0)
    np.testing.assert_allclose(written.affine, source.affine, rtol=0, atol=1e-3)


@needs_data
@pytest.mark.parametrize("path", real("ct_lowres_volumes/*_lungs.nii.gz"))
def test_real_masks_load(path: Path) -> None:
    assert np.unique(load_mask(path).array).tolist() == [0, 1]


@needs_data
def test_real_slices_load() -> None:
    folder = DATA / "covid_semiseg" / "labelled"
    image, mask = (sorted((folder / name).iterdir())[0] for name in ("images", "infection"))
    ct = load(image, window=(-1350, 150))
    assert ct.shape == load_mask(mask).shape
    assert set(np.unique(load_mask(mask).array)) <= {0, 1}


# padding beside values that are not HU


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


# masks in two grey levels


@pytest.mark.parametrize(("kind", "white"), [(np.uint16, 255), (np.uint8, 127), (np.uint8, 20)])
def test_a_small_mask_in_two_levels_is_not_empty(tmp_path: Path, kind: type, white: int) -> None:
    mask = np.zeros((100, 100), kind)
    mask[:8, :8] = white
    assert load_mask(picture(tmp_path / "mask.png", mask)).array.sum() == 64


def test_small_classes_in_grey_are_not_merged(tmp_path: Path) -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[:8, :8], mask[50, 50] = 128, 255
    with pytest.raises(ScanError, match="black and white, or of labels"):
        load_mask(picture(tmp_path / "mask.png", mask))


def test_a_window_the_wrong_way_round_is_told_to_be_swapped(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="black first"):
        load(tmp_path, window=(150, -1350))
