"""Headers of NIfTI: what is kept to the byte, and what is doubted in words."""

import gzip
import re
import warnings
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scan_files import ORIENTATIONS, affine_of, chest

from lungmask_jax.errors import ScanError, ScanWarning
from lungmask_jax.io import load, load_mask, save
from lungmask_jax.io._header import FIELDS
from lungmask_jax.volume import Volume

MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def made(affine=None, *, qform=None, codes=(1, 1), unit="mm", kind=nib.Nifti1Image, order="<"):
    """An image with both forms as given, in a unit, in a version and a byte order."""
    affine = affine_of() if affine is None else affine
    scale = np.diag([*3 * [1 / MILLIMETRES[unit]], 1])
    header = kind.header_class(endianness=order)
    image = kind(chest(), scale @ affine, header)
    image.header.set_qform(scale @ (affine if qform is None else qform), codes[0])
    image.header.set_sform(scale @ affine, codes[1])
    image.header.set_xyzt_units(unit)
    return image


def written(folder, image, name="scan.nii", **fields):
    """The bytes of an image, with fields of its header changed."""
    header = image.header.copy()
    for field, value in fields.items():
        header[field] = value
    header["vox_offset"] = len(header.binaryblock) + 4
    if "scl_slope" not in fields:
        header["scl_slope"], header["scl_inter"] = 1, 0
    values = np.asarray(image.dataobj).astype(image.get_data_dtype())
    data = header.binaryblock + bytes(4) + values.tobytes(order="F")
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def quietly(read, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScanWarning)
        return read(path)


def masked(path, folder):
    """The scan, and where its mask was written."""
    ct = quietly(load, path)
    save(ct.with_array((ct.array < -500).astype(np.uint8)), folder / "mask.nii")
    return ct, folder / "mask.nii"


def geometry(path):
    data = path.read_bytes()
    kind = nib.Nifti2Header if data[4:7] == b"n+2" else nib.Nifti1Header
    header = kind(data[: kind.sizeof_hdr], check=False)
    return header.endianness, {name: header[name].tobytes() for name in FIELDS}


# the law


@given(
    axcodes=st.sampled_from(ORIENTATIONS),
    degrees=st.sampled_from([0.0, 7.0, -30.0]),
    shear=st.sampled_from([0.0, 0.2]),
    moved=st.sampled_from([0.0, 40.0]),
    codes=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    unit=st.sampled_from(sorted(MILLIMETRES)),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    order=st.sampled_from("<>"),
    slope=st.sampled_from([(1, 0), (0.5, -100), (0, 0), (np.nan, np.nan)]),
)
def test_the_mask_says_where_it_lies_in_the_words_of_its_scan(
    tmp_path_factory, axcodes, degrees, shear, moved, codes, unit, kind, order, slope
):
    folder = tmp_path_factory.mktemp("law")
    affine = affine_of(axcodes, degrees=degrees)
    affine[:3, 2] += shear * affine[:3, 1]
    qform = affine.copy()
    qform[2, 3] += moved
    image = made(affine, qform=qform, codes=codes, unit=unit, kind=kind, order=order)
    path = written(folder, image, scl_slope=slope[0], scl_inter=slope[1])
    ct, mask = masked(path, folder)
    assert geometry(mask) == geometry(path)
    scan, its_mask = nib.load(path), nib.load(mask)
    np.testing.assert_array_equal(its_mask.affine, scan.affine)
    stored = scan.get_fdata()
    expected = stored < -500
    np.testing.assert_array_equal(np.asarray(its_mask.dataobj), expected)
    scale = MILLIMETRES[unit]
    np.testing.assert_allclose(
        ct.voxel_ml, abs(np.linalg.det(scan.affine[:3, :3] * scale)) / 1000, rtol=1e-6
    )
    np.testing.assert_array_equal(quietly(load_mask, mask).array, ct.array < -500)


@given(unit=st.sampled_from(sorted(MILLIMETRES)), axcodes=st.sampled_from(ORIENTATIONS))
def test_ml_are_the_same_in_every_unit(tmp_path_factory, unit, axcodes):
    folder = tmp_path_factory.mktemp("unit")
    ct = load(written(folder, made(affine_of(axcodes), unit=unit)))
    assert ct.voxel_ml == pytest.approx(0.75 * 1.5 * 2.5 / 1000)
    assert min(ct.spacing) == pytest.approx(0.75)


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 5), (6, 7, 5, 1), (6, 7, 5, 1, 1)])
def test_a_mask_has_as_many_axes_as_its_scan(tmp_path, shape):
    image = nib.Nifti1Image(chest(shape), affine_of("RAS"))
    _, mask = masked(written(tmp_path, image), tmp_path)
    assert nib.load(mask).shape == shape


def test_a_scan_in_another_place_is_written_in_millimetres(tmp_path):
    path = written(tmp_path, made(unit="meter", codes=(1, 2)))
    ct = load(path)
    moved = ct.affine + np.array([[0, 0, 0, 10]] + 3 * [[0, 0, 0, 0]])
    save(replace(ct, affine=moved), tmp_path / "a.nii")
    again = nib.load(tmp_path / "a.nii")
    assert again.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(again.affine[:3, 3], [-110.5, 33.25, 700], atol=1e-3)
    assert (again.header["qform_code"], again.header["sform_code"]) == (1, 1)


@given(shear=st.floats(-0.5, 0.5), axcodes=st.sampled_from(ORIENTATIONS))
def test_a_qform_counts_only_where_it_holds_the_affine(tmp_path_factory, shear, axcodes):
    path = tmp_path_factory.mktemp("tilt") / "a.nii"
    affine = affine_of("SPL")
    affine[1, 0] += shear * affine[2, 0]
    save(Volume(np.zeros((3, 4, 5), np.uint8), affine, axcodes), path)
    header = nib.load(path).header
    assert header["sform_code"] == 1
    if header["qform_code"]:
        np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=0.02)
    else:
        assert abs(shear) > 1e-4


# doubts


@pytest.mark.parametrize(
    ("image", "fields", "message"),
    [
        (made(codes=(0, 0)), {}, "does not state its orientation .* which lung is right"),
        (made(qform=affine_of() + np.eye(4)[:, [3, 0, 1, 2]] * [0, 0, 0, 40]), {}, "40 mm apart"),
        (made(qform=affine_of("RPS")), {}, "right and left may be exchanged"),
        (made(), {"quatern_b": 5.0}, "qform of .* is not a rotation: used the sform"),
        (made(), {"quatern_b": np.nan}, "qform of .* is not a rotation: used the sform"),
        (made(affine_of() @ np.array([[1, 0, 0.2, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
         {}, "tilted gantry"),
        (made(), {"xyzt_units": 5}, "unknown code 5: assumed millimetres"),
        (made(codes=(0, 1)), {"pixdim": [1, 0.75, 1.5, 5, 1, 1, 1, 1]}, "those of the affine"),
        (made(codes=(1, 0)), {"pixdim": [1, 0.75, -1.5, 2.5, 1, 1, 1, 1]}, "0.75 x -1.5 x 2.5 mm"),
        (made(codes=(1, 0)), {"pixdim": [1, 0.75, 0, 2.5, 1, 1, 1, 1]}, "0.75 x 0 x 2.5 mm"),
        (made(codes=(0, 0)), {"pixdim": [0, 0.75, np.nan, 2.5, 1, 1, 1, 1]}, "0.75 x nan"),
        (made(np.eye(4)), {}, "1 x 1 x 1 mm at the origin.*percentages, but no ml"),
        (made(affine_of(spacing=(700, 700, 5000))), {}, "impossible in a patient"),
        (made(affine_of(spacing=(7e-4, 7e-4, 5e-3))), {}, "impossible in a patient"),
        (made(affine_of(spacing=(0.7, 0.7, 600))), {}, "impossible in a patient"),
        (made(), {"scl_slope": 0.0, "scl_inter": -1024.0}, "slope .* is 0 .*as they are stored"),
        (made(), {"scl_slope": np.nan}, "slope .* is nan .*as they are stored"),
    ],
)  # fmt: skip
def test_a_doubtful_header_is_read_and_told(tmp_path, image, fields, message):
    path = written(tmp_path, image, "doubtful.nii", **fields)
    with pytest.warns(ScanWarning) as caught:
        ct = load(path)
    said = [str(one.message) for one in caught]
    assert re.search(message, "\n".join(said))
    assert all("doubtful.nii" in one for one in said)
    assert {one.filename for one in caught} == {__file__}
    assert min(ct.spacing) > 0
    np.testing.assert_array_equal(
        np.sort(ct.array, None), np.sort(np.clip(chest(), -1024, None), None)
    )


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("unit", sorted(MILLIMETRES))
@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0)])
def test_a_sound_header_is_read_without_a_word(tmp_path, kind, unit, codes):
    assert load(written(tmp_path, made(kind=kind, unit=unit, codes=codes))).axcodes == "LPS"


def test_the_size_of_sheared_slices_may_be_that_between_their_planes(tmp_path):
    sheared = affine_of("RAS")
    sheared[1, 2] = 0.5 * sheared[2, 2]
    path = written(tmp_path, made(sheared, codes=(0, 1)), pixdim=[1, 0.75, 1.5, 2.5, 1, 1, 1, 1])
    with pytest.warns(ScanWarning, match="26.6 degrees") as caught:
        load(path)
    assert len(caught) == 1


def test_a_mirrored_scale_is_applied_and_refused_where_it_makes_no_ct(tmp_path):
    rng = np.random.default_rng(0)
    hu = np.where(rng.random((8, 16, 16)) < 0.5, -850, 40) + rng.normal(0, 20, (8, 16, 16))
    hu[:, :4] = -1000
    image = nib.Nifti1Image((-hu).astype(np.int16), affine_of())
    with pytest.warns(ScanWarning, match=r"slope .* is -1 .*inverts"):
        ct = load(written(tmp_path, image, scl_slope=-1, scl_inter=0))
    np.testing.assert_array_equal(np.sort(ct.array, None), np.sort(-image.dataobj, None))
    image = nib.Nifti1Image(hu.astype(np.int16), affine_of())
    with pytest.warns(ScanWarning, match="inverts"), pytest.raises(ScanError, match="not a CT"):
        load(written(tmp_path, image, scl_slope=-1, scl_inter=0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scl_slope": 2, "scl_inter": np.inf}, r"intercept .* is inf"),
        ({"sform_code": 0, "quatern_b": 5.0}, "is not a rotation .*and it has no sform"),
        ({"srow_x": np.nan}, "expected an invertible affine"),
        ({"datatype": 999}, "damaged"),
    ],
)
def test_a_header_without_a_sensible_reading_is_refused(tmp_path, fields, message):
    with pytest.raises(ScanError, match=message) as caught:
        load(written(tmp_path, made(), "senseless.nii", **fields))
    assert "senseless.nii" in str(caught.value)
