"""Files in, volumes out, and back voxel for voxel."""

import gzip
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_files import ORIENTATIONS, affine_of, chest, nifti

from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.io import load, load_mask, save
from lungmask_jax.volume import CANONICAL, Volume

DATA = Path(os.environ.get("LUNGMASK_DATA", Path(__file__).parents[1] / "../shared/data"))

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no real scans at {DATA}: set LUNGMASK_DATA"
)


# orientation


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_mask_overlays_its_input_voxel_for_voxel(
    tmp_path: Path, axcodes: str, degrees: float
) -> None:
    affine = affine_of(axcodes, degrees=degrees)
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
        affine = affine_of(axcodes, spacing, degrees).astype(np.float32)
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


# masks


def test_mask_of_floats_that_are_nearly_whole_is_read(tmp_path: Path) -> None:
    array = (chest() > 0) * np.float32(2) + np.float32(1e-4)
    mask = load_mask(nifti(tmp_path / "mask.nii", array))
    assert mask.array.dtype == np.uint8
    assert np.unique(mask.array).tolist() == [0, 2]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_a_mask_in_black_and_white_is_read_as_one_label(tmp_path: Path, kind: type) -> None:
    white = chest() > 0
    mask = load_mask(nifti(tmp_path / "mask.nii", 255 * white.astype(kind)))
    np.testing.assert_array_equal(
        mask.array, load_mask(nifti(tmp_path / "one.nii", white * kind(1))).array
    )
    assert mask.array.max() == 1


def test_255_beside_other_labels_stays(tmp_path: Path) -> None:
    labels = np.where(chest() > 0, 255, 3).astype(np.uint8)
    assert np.unique(load_mask(nifti(tmp_path / "mask.nii", labels)).array).tolist() == [3, 255]


@pytest.mark.parametrize(
    "array", [chest() / 700, chest(), chest() + 2000, np.full((3, 3, 3), np.nan)]
)
def test_values_that_are_no_labels_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ScanError, match="expected a mask of whole labels 0 to 255"):
        load_mask(nifti(tmp_path / "mask.nii", array.astype(np.float32)))


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
    with pytest.raises(ScanError, match=r"expected a name in \.nii, \.nii\.gz, .*found .*a\.png"):
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


def test_a_window_the_wrong_way_round_is_told_to_be_swapped(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="black first"):
        load(tmp_path, window=(150, -1350))
