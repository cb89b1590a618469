"""Pictures as scans and as masks."""

from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
from scan_files import body, gray_body, picture

from lungmask_jax.errors import ScanError
from lungmask_jax.io import load, load_mask
from lungmask_jax.volume import CANONICAL


def test_image_needs_a_window_and_the_error_tells_how(tmp_path: Path) -> None:
    path = picture(tmp_path / "slice.png", gray_body()[0])
    with pytest.raises(ScanError, match=r"--window -1350 150, or window=\(-1350, 150\) in Python"):
        load(path)


def test_the_window_of_images_that_seem_to_hold_hu_plus_1024_is_told_at_once(tmp_path):
    coded = (gray_body()[0].astype(np.uint16) * 8).clip(0, 4000)
    with pytest.raises(ScanError, match="--window -1024 64511"):
        load(picture(tmp_path / "slice.png", coded))
    assert load(tmp_path / "slice.png", window=(-1024, 64511)).array.max() == coded.max() - 1024


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
