"""Scans in any form, through one check."""

import re
import sys
import types
import warnings

import nibabel as nib
import numpy as np
import pytest
from scan_files import body

from lungmask_jax.errors import ScanError, ScanWarning, ShapeError, SpecError
from lungmask_jax.io import as_volume, load, save
from lungmask_jax.volume import CANONICAL, Volume

SPACING = (2.5, 0.75, 0.75)
PLACE = np.array([[0, 0, -0.75, 90], [0, -0.75, 0, 80], [2.5, 0, 0, -40], [0, 0, 0, 1.0]])


def as_file(array, folder):
    image = nib.Nifti1Image(array.transpose(2, 1, 0), PLACE[:, [2, 1, 0, 3]])
    nib.save(image, folder / "scan.nii")
    return {"scan": folder / "scan.nii"}


def as_pure_volume(array, folder):
    return {"scan": Volume(array, PLACE)}


def as_array(array, folder):
    return {"scan": array, "spacing": SPACING}


def as_nibabel(array, folder):
    return {"scan": nib.Nifti1Image(array.transpose(2, 1, 0), PLACE[:, [2, 1, 0, 3]])}


def as_loaded_nibabel(array, folder):
    return {"scan": nib.load(as_file(array, folder)["scan"])}


def as_simpleitk(array, folder):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((-90.0, -80.0, -40.0))
    return {"scan": image}


ENTRANCES = [as_file, as_pure_volume, as_array, as_nibabel, as_loaded_nibabel, as_simpleitk]
entrances = pytest.mark.parametrize("given", ENTRANCES)


@entrances
@pytest.mark.parametrize("kind", [np.int16, np.float32, np.int32, np.float64])
def test_a_ct_is_the_same_by_every_entrance(tmp_path, given, kind):
    ct = as_volume(**given(body().astype(kind), tmp_path))
    np.testing.assert_array_equal(ct.array, body())
    assert (ct.array.dtype, ct.checked) == (np.int16, True)
    assert ct.spacing == pytest.approx(SPACING)
    assert "".join(nib.aff2axcodes(ct.affine)) == CANONICAL
    if given is not as_array:
        np.testing.assert_allclose(ct.affine, PLACE)


@entrances
def test_an_offset_is_taken_off_at_every_entrance(tmp_path, given):
    with pytest.warns(ScanWarning, match="subtracted 1024") as caught:
        ct = as_volume(**given((body() + 1024).astype(np.uint16), tmp_path))
    np.testing.assert_array_equal(ct.array, body())
    assert caught[0].filename == __file__


@entrances
def test_voxels_that_are_no_numbers_are_padding_at_every_entrance(tmp_path, given):
    values = body().astype(np.float32)
    values[3, :3] = np.nan
    with pytest.warns(ScanWarning, match="as padding"):
        ct = as_volume(**given(values, tmp_path))
    assert (ct.array[3, :3] == -1024).all()
    np.testing.assert_array_equal(ct.array[:3], body()[:3])
    assert np.isnan(values[3, :3]).all()  # the array given is left alone


REFUSED = {
    "constant": (np.zeros((8, 32, 32), np.int16), "found 0 in every voxel"),
    "mask": ((body() > -500).astype(np.uint8), "looks like a mask"),
    "unit floats": (((body().clip(-1000, 400) + 1000) / 1400).astype(np.float32), "grey levels"),
    "z-scores": (((body() - body().mean()) / body().std()).astype(np.float32), "not a CT in HU"),
    "radiograph": (np.zeros((1, 1100, 1100), np.int16) - np.arange(1100, dtype=np.int16),
                   "radiograph"),
    "offset twice": (body() - 1024, "subtracted twice"),
    "twice the HU": (body() * 2, "check slope and intercept"),
    "mask in HU": (np.where(body() > -500, 0, -1000).astype(np.int16), "looks like a mask"),
}  # fmt: skip


@entrances
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_ct_is_refused_at_every_entrance(tmp_path, given, name):
    array, message = REFUSED[name]
    with pytest.raises(ScanError, match=message):
        as_volume(**given(array, tmp_path))


@entrances
def test_a_window_serves_every_entrance(tmp_path, given):
    levels = ((body().clip(-1250, 250) + 1250) / 1500 * 255).round().astype(np.uint8)
    ct = as_volume(**given(levels, tmp_path), window=(-1250, 250))
    np.testing.assert_allclose(ct.array, body().clip(-1024, 250), atol=4)


@pytest.mark.parametrize("window", [(0, 0), (1, 0), (np.nan, 1), ("a", "b"), 5, (1,)])
def test_a_window_is_checked_at_every_entrance(tmp_path, window):
    for given in (as_file, as_pure_volume, as_array, as_nibabel):
        with pytest.raises(SpecError, match="window"):
            as_volume(**given(body(), tmp_path), window=window)


@pytest.mark.parametrize(
    "array",
    [body().astype(np.complex64), body().astype(str), body().astype(object), body() > 0],
    ids=["complex", "strings", "objects", "booleans"],
)
def test_other_kinds_of_values_are_refused(tmp_path, array):
    for scan in ({"scan": Volume(array, PLACE)}, {"scan": array, "spacing": SPACING}):
        with pytest.raises(ScanError, match=r"real numbers|looks like a mask"):
            as_volume(**scan)


@pytest.mark.parametrize(
    "scan",
    [None, 5, object(), ["a.nii"], b"a.nii", {}, [[1, 2], [3]]],
    ids=lambda scan: type(scan).__name__,
)
def test_what_is_no_scan_at_all_is_named_by_its_type(scan):
    with pytest.raises((ScanError, SpecError, ShapeError)) as caught:
        as_volume(scan, spacing=SPACING)
    assert re.search(rf"found {type(scan).__name__}:|shape \(\)", str(caught.value))


def test_empty_and_masked_arrays_are_refused():
    with pytest.raises(ScanError, match=r"shape \(0, 32, 32\)"):
        as_volume(body()[:0], spacing=SPACING)
    with pytest.raises(ScanError, match=r"array\.filled\(-1024\)"):
        as_volume(np.ma.masked_less(body(), -1000), spacing=SPACING)


def test_an_array_needs_a_spacing_and_nothing_else_takes_one(tmp_path):
    with pytest.raises(SpecError, match=r"has no spacing: give it in mm, slices first"):
        as_volume(body())
    for given in (as_file, as_pure_volume, as_nibabel, as_simpleitk):
        with pytest.raises(SpecError, match="which has its own"):
            as_volume(**given(body(), tmp_path), spacing=SPACING)


@pytest.mark.parametrize("shape", [(32, 32), (1, 8, 32, 32)])
def test_an_array_has_three_axes(shape):
    with pytest.raises(ShapeError, match=r"\(slices, rows, columns\)"):
        as_volume(body((1, 8 * 32 if len(shape) > 2 else 32, 32)).reshape(shape), spacing=SPACING)


def test_slices_last_are_refused():
    with pytest.raises(ShapeError, match="slices last"):
        as_volume(body((32, 32, 8)), spacing=(0.75, 0.75, 2.5))


def test_a_volume_in_the_order_of_its_file_is_refused():
    turned = Volume(body().transpose(2, 1, 0), PLACE[:, [2, 1, 0, 3]])
    with pytest.raises(ScanError, match=r"slices from feet to head.*lungmask_jax\.load"):
        as_volume(turned)


@pytest.mark.parametrize("spacing", [(1000, 1, 1), (1, 0.01, 0.01), (2.5, 120, 1)])
def test_a_doubtful_size_is_told_at_every_entrance(spacing):
    place = PLACE / np.array([*SPACING, 1]) * np.array([*spacing, 1])
    image = nib.Nifti1Image(body().transpose(2, 1, 0), place[:, [2, 1, 0, 3]])
    for scan in ({"scan": Volume(body(), place)}, {"scan": image}):
        with pytest.warns(ScanWarning, match="ml and distances are not real"):
            as_volume(**scan)


@pytest.mark.parametrize("low", [-1000, -2000, -3024, -32768])
def test_lungs_cut_out_are_a_ct_whatever_is_around_them(low):
    lungs = np.where((body() < -600) & (body() > -900), body(), low).astype(np.int16)
    hu = as_volume(lungs, spacing=SPACING).array
    np.testing.assert_array_equal(hu, np.maximum(lungs, -1024))


def test_slices_that_are_columns_by_the_affine_are_told():
    image = nib.Nifti1Image(body((32, 32, 16)), np.diag([20.0, 4.0, 4.0, 1.0]))
    with pytest.warns(ScanWarning, match=r"4 x 20 mm .*whether axes were exchanged"):
        as_volume(image)


def test_a_place_far_away_is_a_place():
    far = PLACE.copy()
    far[:3, 3] = 1e9
    assert as_volume(Volume(body(), far)).spacing == pytest.approx(SPACING)


def test_voxels_of_one_millimetre_have_a_size_if_they_lie_somewhere():
    somewhere = PLACE / np.array([*SPACING, 1])
    assert as_volume(Volume(body(), somewhere)).has_size
    assert as_volume(body(), spacing=(1, 1, 1)).has_size
    for scan in (Volume(body()), nib.Nifti1Image(body().transpose(2, 1, 0), np.eye(4))):
        with pytest.warns(ScanWarning, match="percentages, but no ml"):
            assert not as_volume(scan).has_size


def test_a_tilted_gantry_is_told_at_every_entrance():
    place = PLACE.copy()
    place[1, 0] = 2.5 * np.tan(np.deg2rad(12))
    image = nib.Nifti1Image(body().transpose(2, 1, 0), place[:, [2, 1, 0, 3]])
    for scan in (Volume(body(), place), image):
        with pytest.warns(ScanWarning, match=r"by 12\.0 degrees, as with a tilted gantry"):
            as_volume(scan)


def test_what_was_checked_is_not_checked_again(tmp_path):
    levels = (body().clip(-160, 240) + 160).astype(np.uint8)
    path = as_file(levels, tmp_path)["scan"]
    ct = load(path, window=(-160, 240))  # no CT in HU, had it come without a window
    assert as_volume(ct) is ct
    with pytest.raises(ScanError, match="not a CT in HU"):
        as_volume(Volume(ct.array, ct.affine))
    with pytest.raises(ScanError, match="not a CT in HU"):
        as_volume(ct.with_array(ct.array.copy()))


def test_a_volume_that_is_marked_is_taken_at_its_word():
    ct = Volume(np.zeros((2, 3, 4), np.int16)).as_checked()
    assert as_volume(ct) is ct


# masks go back to the grid given


def grids():
    for axes in ("LPS", "RAS", "ASL", "SPL"):
        turn = nib.orientations.ornt_transform(
            nib.io_orientation(PLACE), nib.orientations.axcodes2ornt(axes)
        )
        array = nib.orientations.apply_orientation(body((8, 20, 32)), turn)
        yield axes, array, PLACE @ nib.orientations.inv_ornt_aff(turn, (8, 20, 32))


@pytest.mark.parametrize(("axes", "array", "affine"), list(grids()))
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.MGHImage])
def test_masks_of_nibabel_images_lie_on_them(tmp_path, axes, array, affine, kind):
    image = kind(array.astype(np.int16), affine)
    ct = as_volume(image)
    assert ct.axcodes == axes
    save(ct.with_array((ct.array > 0).astype(np.uint8)), tmp_path / "mask.nii")
    mask = nib.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), array > 0)


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_a_nibabel_image_has_its_unit_and_keeps_its_header(tmp_path, unit):
    scale = np.diag([*3 * [{"meter": 1e-3, "micron": 1e3}[unit]], 1])
    image = nib.Nifti1Image(body().transpose(2, 1, 0), scale @ PLACE[:, [2, 1, 0, 3]])
    image.header.set_xyzt_units(unit)
    image.set_qform(image.affine, 3)
    image.set_sform(image.affine, 4)
    ct = as_volume(image)
    assert ct.spacing == pytest.approx(SPACING)
    save(ct.with_array((ct.array > 0).astype(np.uint8)), tmp_path / "mask.nii")
    mask = nib.load(tmp_path / "mask.nii")
    np.testing.assert_array_equal(mask.affine, image.header.get_best_affine())
    for name in ("xyzt_units", "qform_code", "sform_code", "pixdim", "quatern_d"):
        np.testing.assert_array_equal(mask.header[name], image.header[name])


def test_an_affine_that_the_header_of_an_image_does_not_know_counts(tmp_path):
    image = nib.load(as_file(body(), tmp_path)["scan"])
    image.affine[2, 3] += 100
    assert as_volume(image).affine[2, 3] == pytest.approx(PLACE[2, 3] + 100)
    assert as_volume(image).header is None


def test_slope_and_intercept_of_a_nibabel_image_are_applied(tmp_path):
    image = nib.Nifti1Image(2 * body().transpose(2, 1, 0), PLACE[:, [2, 1, 0, 3]])
    image.header.set_slope_inter(0.5, -100)  # nibabel stores the values as they are
    nib.save(image, tmp_path / "scaled.nii")
    ct = as_volume(nib.load(tmp_path / "scaled.nii"))
    np.testing.assert_array_equal(ct.array, (body() - 100).clip(-1024))


def test_an_image_whose_file_is_gone_is_a_scan_error(tmp_path):
    path = as_file(body(), tmp_path)["scan"]
    image = nib.load(path)
    path.unlink()
    with pytest.raises(ScanError, match=r"scan\.nii cannot be read"):
        as_volume(image)


@pytest.mark.parametrize("shape", [(4, 4, 4, 2), (9,)])
def test_series_of_nibabel_are_refused(shape):
    image = nib.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), PLACE)
    with pytest.raises(ScanError, match="one 3-D volume"):
        as_volume(image)


@pytest.mark.parametrize("turned", [np.eye(3), np.diag([-1.0, -1.0, 1.0]), np.eye(3)[[2, 0, 1]]])
def test_masks_of_simpleitk_images_lie_on_them(tmp_path, turned):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(body((8, 20, 32)))
    image.SetSpacing((0.75, 0.8, 2.5))
    image.SetOrigin((-10.0, 20.0, 30.0))
    image.SetDirection(turned.ravel().tolist())
    ct = as_volume(image)
    save(ct.with_array((ct.array > 0).astype(np.uint8)), tmp_path / "mask.nii.gz")
    mask = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), body((8, 20, 32)) > 0)
    np.testing.assert_allclose(mask.GetSpacing(), image.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-6)


def test_images_of_simpleitk_that_are_no_volume_are_refused():
    sitk = pytest.importorskip("SimpleITK")
    with pytest.raises(ScanError, match="3 dimensions and 3 values a voxel"):
        as_volume(sitk.Image((4, 4, 4), sitk.sitkVectorInt16, 3))
    with pytest.raises(ScanError, match="4 dimensions"):
        as_volume(sitk.Image((4, 4, 4, 2), sitk.sitkInt16))
    with pytest.raises(ScanError, match="ImageFileReader"):
        as_volume(sitk.ImageFileReader())
    one = sitk.GetImageFromArray(body((1, 32, 32))[0])
    one.SetSpacing((0.7, 0.7))
    assert as_volume(one).shape == (1, 32, 32)


def test_simpleitk_is_told_by_its_module_and_never_imported(monkeypatch):
    class Image:
        __module__ = "SimpleITK.SimpleITK"
        GetDimension = staticmethod(lambda: 3)
        GetNumberOfComponentsPerPixel = staticmethod(lambda: 1)
        GetDirection = staticmethod(lambda: (1, 0, 0, 0, 1, 0, 0, 0, 1))
        GetSpacing = staticmethod(lambda: SPACING[::-1])
        GetOrigin = staticmethod(lambda: (0, 0, 0))

    module = types.ModuleType("SimpleITK")
    module.GetArrayFromImage = lambda image: body()
    monkeypatch.setitem(sys.modules, "SimpleITK", module)
    ct = as_volume(Image())
    np.testing.assert_array_equal(ct.array, body())
    assert (ct.spacing, ct.axcodes) == (SPACING, "LPS")


def test_memory_that_is_short_is_a_scan_error_with_a_name(tmp_path, monkeypatch):
    def short(*_, **__):
        raise MemoryError("Unable to allocate 9 TiB")

    path = as_file(body(), tmp_path)["scan"]
    monkeypatch.setattr(np, "empty", short)
    with pytest.raises(ScanError, match=r"scan\.nii does not fit into memory \(Unable to allocate"):
        load(path)


def test_a_sound_scan_is_taken_without_a_word(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (as_file, as_pure_volume, as_array, as_nibabel, as_loaded_nibabel):
            as_volume(**given(body(), tmp_path))
