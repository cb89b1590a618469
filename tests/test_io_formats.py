"""NRRD and MetaImage against SimpleITK, zip archives, and what hostile headers cost."""

import contextlib
import gzip
import io
import os
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from scan_files import ORIENTATIONS, affine_of, body, chest, nifti

from lungmask_jax import Volume, tasks
from lungmask_jax.errors import ScanError, ScanWarning
from lungmask_jax.io import as_volume, load, load_mask, save

FORMS = ["nrrd", "nhdr", "mha", "mhd"]
WRITTEN = [".nrrd", ".seg.nrrd", ".mha", ".mhd"]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 7 6 5\n"
    "space directions: (0.75,0,0) (0,0.75,0) (0,0,2.5)\nendian: little\nencoding: raw\n"
)
MHA = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    "ElementSpacing = 0.75 0.75 2.5\nDimSize = 7 6 5\nElementType = MET_SHORT\n"
)
VALUES = chest().tobytes()


def image_of(array, affine):
    """A SimpleITK image with an affine in RAS."""
    image = SimpleITK.GetImageFromArray(array)
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def nrrd(folder, *, values=VALUES, header=NRRD, **fields):
    for name, value in fields.items():
        header += f"{name.replace('_', ' ')}: {value}\n"
    (folder / "scan.nrrd").write_bytes(header.encode() + b"\n" + values)
    return folder / "scan.nrrd"


def mha(folder, *, values=VALUES, header=MHA, data="LOCAL", **fields):
    for name, value in fields.items():
        header += f"{name} = {value}\n"
    (folder / "scan.mha").write_bytes(f"{header}ElementDataFile = {data}\n".encode() + values)
    return folder / "scan.mha"


def zipped(folder, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(folder / "scan.zip", "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return folder / "scan.zip"


# SimpleITK


@given(
    form=st.sampled_from(FORMS),
    compressed=st.booleans(),
    axcodes=st.sampled_from(ORIENTATIONS),
    degrees=st.floats(-40, 40),
    kind=st.sampled_from(["i2", "i4", "f4", "f8"]),
    shape=st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(2, 9)),
)
def test_a_scan_is_read_as_simpleitk_reads_it(
    tmp_path_factory, form, compressed, axcodes, degrees, kind, shape
):
    path = tmp_path_factory.mktemp("itk") / f"scan.{form}"
    image = image_of(chest(shape).astype(kind), affine_of(axcodes, degrees=degrees))
    SimpleITK.WriteImage(image, str(path), compressed)
    expected, found = as_volume(image), load(path)
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.affine, expected.affine, rtol=0, atol=1e-9)
    assert (found.axcodes, found.array.dtype) == (expected.axcodes, expected.array.dtype)


@given(
    suffix=st.sampled_from(WRITTEN),
    axcodes=st.sampled_from(ORIENTATIONS),
    degrees=st.floats(-40, 40),
    kind=st.sampled_from([np.uint8, np.int16, np.float32]),
)
def test_what_is_saved_lies_where_the_scan_does(tmp_path_factory, suffix, axcodes, degrees, kind):
    folder = tmp_path_factory.mktemp("saved")
    image = image_of((chest((4, 5, 6)) > 0).astype(kind), affine_of(axcodes, degrees=degrees))
    SimpleITK.WriteImage(image, str(folder / "scan.nii"))
    mask = load_mask(folder / "scan.nii")
    save(mask.with_array(mask.array.astype(kind)), folder / f"mask{suffix}", task=tasks.LUNGS)
    found = SimpleITK.ReadImage(str(folder / f"mask{suffix}"))
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(found), SimpleITK.GetArrayFromImage(image)
    )
    for place in ("GetSpacing", "GetOrigin", "GetDirection"):
        expected = getattr(image, place)()
        np.testing.assert_allclose(getattr(found, place)(), expected, rtol=0, atol=1e-4)
    again = load_mask(folder / f"mask{suffix}")
    np.testing.assert_array_equal(again.array, mask.array)
    np.testing.assert_allclose(again.affine, mask.affine, rtol=0, atol=1e-12)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_file_is_the_same_to_the_byte_every_time(tmp_path, suffix):
    mask = Volume.of((chest() > 0).astype(np.uint8), spacing=(2.5, 0.7, 0.7))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save(mask, tmp_path / name / f"mask{suffix}", task=tasks.LUNGS)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_segments_have_their_names_colors_and_codes(tmp_path):
    mask = Volume.of(np.repeat(np.arange(3, dtype=np.uint8), 8).reshape(3, 2, 4), spacing=(5, 1, 1))
    save(mask, tmp_path / "mask.seg.nrrd", task=tasks.LUNGS)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(tmp_path / "mask.seg.nrrd"))
    reader.ReadImageInformation()
    assert reader.GetMetaData("Segment1_Name") == "left lung"
    assert reader.GetMetaData("Segment1_LabelValue") == "2"
    assert reader.GetMetaData("Segment1_Extent") == "0 3 0 1 2 2"
    assert reader.GetMetaData("Segment0_Color").startswith("0.33")
    for code in ("SCT^39607008^Lung", "SCT^24028007^Right"):
        assert code in reader.GetMetaData("Segment0_Tags")


def test_segments_without_names_are_refused(tmp_path):
    with pytest.raises(ScanError, match=r"labels have no names: give task="):
        save(Volume(np.zeros((2, 2, 2), np.uint8)), tmp_path / "mask.seg.nrrd")


# units and orientation


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("cm", 10), ("um", 1e-3), ("", 1)])
def test_lengths_are_in_millimetres(tmp_path, unit, scale):
    directions = " ".join(f"({','.join(map(str, row))})" for row in np.eye(3) / scale)
    header = NRRD.replace("(0.75,0,0) (0,0.75,0) (0,0,2.5)", directions)
    units = " ".join([f'"{unit}"'] * 3)
    origin = f"({1 / scale},{2 / scale},{3 / scale})"
    ct = load(nrrd(tmp_path, header=header, space_units=units, space_origin=origin))
    np.testing.assert_allclose(ct.spacing, 1)
    header = MHA.replace("0.75 0.75 2.5", " ".join([str(1 / scale)] * 3))
    offset = " ".join(str(place / scale) for place in (1, 2, 3))
    other = load(mha(tmp_path, header=header, DistanceUnits=unit, Offset=offset))
    np.testing.assert_allclose(other.affine, ct.affine)


def test_an_unknown_unit_is_told(tmp_path):
    with pytest.warns(ScanWarning, match=r"scan\.nrrd is 'parsec': assumed millimetres"):
        load(nrrd(tmp_path, space_units='"parsec" "parsec" "parsec"'))


@pytest.mark.parametrize(("space", "first"), [("RAS", 1), ("left-anterior-superior", -1)])
def test_spaces_of_nrrd_differ_in_their_signs(tmp_path, space, first):
    path = nrrd(tmp_path, header=NRRD.replace("left-posterior-superior", space))
    assert load(path).axcodes == ("RAS" if first > 0 else "LAS")


def test_without_an_orientation_it_is_a_guess(tmp_path):
    header = "\n".join(line for line in NRRD.splitlines() if "space" not in line) + "\n"
    with pytest.warns(ScanWarning, match=r"scan\.nrrd does not state its orientation"):
        ct = load(nrrd(tmp_path, header=header, spacings="0.75 0.75 2.5"))
    assert (ct.axcodes, ct.spacing) == ("LPS", (2.5, 0.75, 0.75))
    header = "\n".join(line for line in MHA.splitlines() if "Matrix" not in line) + "\n"
    with pytest.warns(ScanWarning, match=r"scan\.mha does not state its orientation"):
        assert load(mha(tmp_path, header=header)).spacing == (2.5, 0.75, 0.75)


def test_axes_of_length_1_outside_of_space_are_left_out(tmp_path):
    header = NRRD.replace("dimension: 3", "dimension: 4").replace("sizes: 7", "sizes: 1 7")
    header = header.replace("directions: ", "directions: none ")
    assert load(nrrd(tmp_path, header=header)).shape == (5, 6, 7)
    header = header.replace("sizes: 1 7", "sizes: 2 7")
    with pytest.raises(ScanError, match="expected one 3-D volume of numbers"):
        load(nrrd(tmp_path, header=header, values=2 * VALUES))


def test_slope_and_offset_are_applied(tmp_path):
    plain = load(mha(tmp_path))
    stored = ((chest().astype(np.int32) - 8) * 2).astype("<i2").tobytes()
    more = {"ElementToIntensityFunctionSlope": 0.5, "ElementToIntensityFunctionOffset": 8}
    np.testing.assert_array_equal(load(mha(tmp_path, values=stored, **more)).array, plain.array)


@pytest.mark.parametrize("order", ["little", "big"])
def test_bytes_have_their_order(tmp_path, order):
    values = chest().astype("<i2" if order == "little" else ">i2").tobytes()
    path = nrrd(tmp_path, values=values, header=NRRD.replace("little", order))
    np.testing.assert_array_equal(np.sort(load(path).array, None), chest().ravel())
    path = mha(tmp_path, values=values, BinaryDataByteOrderMSB=order == "big")
    np.testing.assert_array_equal(np.sort(load(path).array, None), chest().ravel())


# files beside


@pytest.mark.parametrize("skip", ["0", "16", "-1"])
def test_values_in_another_file_are_found_beside(tmp_path, skip):
    before = bytes({"0": 0, "16": 16, "-1": 99}[skip])
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "values.raw").write_bytes(before + VALUES)
    name = "sub/values.raw"
    for path in (
        nrrd(tmp_path, values=b"", data_file=name, byte_skip=skip),
        mha(tmp_path, values=b"", data=name, HeaderSize=skip),
    ):
        np.testing.assert_array_equal(np.sort(load(path).array, None), chest().ravel())


def test_no_file_outside_of_the_folder_is_read(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    secret = tmp_path / "secret.raw"
    secret.write_bytes(VALUES)
    os.symlink(secret, folder / "link.raw")
    for name in ("../secret.raw", str(secret), "link.raw"):
        for path in (nrrd(folder, values=b"", data_file=name), mha(folder, values=b"", data=name)):
            with pytest.raises(ScanError, match=r"outside of its own folder, which is not read"):
                load(path)


@pytest.mark.parametrize("name", ["LIST", "slice%03d.raw 1 5 1"])
def test_values_in_several_files_are_refused(tmp_path, name):
    for path in (nrrd(tmp_path, values=b"", data_file=name), mha(tmp_path, values=b"", data=name)):
        with pytest.raises(ScanError, match=r"in one file, found several"):
            load(path)


def test_a_missing_or_endless_file_is_refused(tmp_path):
    with pytest.raises(ScanError, match=r"values\.raw, which is not there: copy both"):
        load(nrrd(tmp_path, values=b"", data_file="values.raw"))
    os.mkfifo(tmp_path / "values.raw")
    with pytest.raises(ScanError, match="which is not there"):
        load(mha(tmp_path, values=b"", data="values.raw"))


# limits


def peak(path, message):
    tracemalloc.start()
    try:
        with pytest.raises(ScanError, match=message):
            load(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("side", "message"), [(32767, "more than the 1073741824"), (1000, "cut short")]
)
def test_a_header_that_claims_too_much_costs_nothing(tmp_path, side, message):
    sizes = f"{side} {side} {side}"
    packed = NRRD.replace("raw", "gzip").replace("7 6 5", sizes)
    small = 2_000_000
    assert peak(nrrd(tmp_path, header=NRRD.replace("7 6 5", sizes)), message) < small
    assert peak(nrrd(tmp_path, header=packed, values=gzip.compress(VALUES)), message) < small
    header = MHA.replace("7 6 5", sizes)
    assert peak(mha(tmp_path, header=header), message) < small
    more = {"values": zlib.compress(VALUES), "CompressedData": True}
    assert peak(mha(tmp_path, header=header, **more), message) < small


def test_no_more_is_unpacked_than_the_header_asks_for(tmp_path):
    bomb = VALUES + bytes(40_000_000)
    header = NRRD.replace("raw", "gzip")
    for path in (
        nrrd(tmp_path, header=header, values=gzip.compress(bomb)),
        mha(tmp_path, values=zlib.compress(bomb), CompressedData=True),
        zipped(tmp_path, {"scan.nrrd": NRRD.encode() + b"\n" + bomb}),
    ):
        tracemalloc.start()
        with pytest.warns(ScanWarning, match="after its last voxel"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
        tracemalloc.stop()


def test_a_header_without_an_end_is_refused(tmp_path):
    for path in (nrrd(tmp_path, content="a" * 2**21), mha(tmp_path, Comment="a" * 2**21)):
        with pytest.raises(ScanError, match="its header is longer than"):
            load(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("short", "block", "values of type 'block'"),
        ("encoding: raw", "encoding: bzip2", "raw or packed with gzip, found encoding 'bzip2'"),
        ("endian: little\n", "", "its endian is ''"),
        ("(0,0,2.5)", "(0,0,nan)", "space directions is"),
        ("(0,0,2.5)", "(0,0,0)", "expected an invertible affine"),
        ("(0,0,2.5)", "none", "expected one 3-D volume .* of which 2 are in space,"),
        ("sizes: 7 6 5", "sizes: 7 6", "sizes is '7 6', not 3 numbers"),
        ("sizes: 7 6 5", "sizes: 7 6 0", "empty shape"),
        ("sizes: 7 6 5\n", "", "damaged .'sizes'"),
        ("dimension: 3", "dimension: 99999999", "its dimension is 99999999"),
        ("encoding: raw", "encoding: gzip", "not packed with gzip"),
    ],
)
def test_what_is_wrong_with_a_nrrd_header_is_said(tmp_path, old, new, message):
    with pytest.raises(ScanError, match=message):
        load(nrrd(tmp_path, header=NRRD.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MET_SHORT", "MET_OTHER", "its ElementType is 'MET_OTHER'"),
        ("BinaryData = True", "BinaryData = False", "expected one binary number a voxel"),
        ("NDims", "ElementNumberOfChannels = 3\nNDims", "expected one binary number a voxel"),
        ("1 0 0 0 1 0 0 0 1", "1 0 0", "TransformMatrix is '1 0 0', not 9 numbers"),
        ("7 6 5", "7 6", "DimSize is '7 6', not 3 numbers"),
        ("NDims = 3", "NDims = 12345678", "NDims is 12345678"),
        ("BinaryData", "HeaderSize = 99999999\nBinaryData", "begin at byte 99999999"),
        ("BinaryData", "CompressedData = True\nBinaryData", "cut short or damaged"),
    ],
)
def test_what_is_wrong_with_a_metaimage_header_is_said(tmp_path, old, new, message):
    with pytest.raises(ScanError, match=message):
        load(mha(tmp_path, header=MHA.replace(old, new)))


@given(
    which=st.sampled_from(["nrrd", "mha"]),
    changes=st.lists(st.tuples(st.integers(0, 260), st.binary(min_size=1, max_size=6)), max_size=4),
    end=st.one_of(st.none(), st.integers(0, 800)),
)
@pytest.mark.filterwarnings("ignore::lungmask_jax.errors.ScanWarning")
def test_whatever_a_header_holds_is_read_or_refused(tmp_path_factory, which, changes, end):
    folder = tmp_path_factory.mktemp("fuzz")
    path = nrrd(folder) if which == "nrrd" else mha(folder)
    data = bytearray(path.read_bytes())
    for place, replacement in changes:
        data[place : place + len(replacement)] = replacement
    path.write_bytes(bytes(data[:end]))
    with contextlib.suppress(ScanError):
        ct = load(path, window=(-1000, 200))
        assert np.isfinite(ct.array).all()
        assert np.isfinite(ct.affine).all()


# zip


@pytest.mark.parametrize("name", ["scan.nii", "a/b/scan.nii.gz", "scan.nrrd", "scan.mha"])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_the_only_volume_of_an_archive_is_read(tmp_path, name, method):
    ct = Volume.of(body(), spacing=(2.5, 0.7, 0.7))
    file = tmp_path / Path(name).name
    save(ct, file)
    members = {"read me.txt": "text", name: file.read_bytes(), "__MACOSX/._scan.nii": "hidden"}
    found = load(zipped(tmp_path, members, method))
    np.testing.assert_array_equal(found.array, load(file).array)
    np.testing.assert_array_equal(found.affine, load(file).affine)


def test_other_archives_are_to_be_unpacked(tmp_path):
    scan = nifti(tmp_path / "scan.nii", chest()).read_bytes()
    several = zipped(tmp_path, {"a.nii": scan, "b.nii": scan})
    for path in (several, zipped(tmp_path, {"a.dcm": bytes(128) + b"DICM"})):
        with pytest.raises(ScanError, match=r"scan\.zip is a zip archive: unpack it"):
            load(path)
    with pytest.raises(ScanError, match="a zip archive: unpack it"):
        load(zipped(tmp_path, {"a.nii": scan}, zipfile.ZIP_LZMA))
    with pytest.raises(ScanError, match="a zip archive: unpack it"):
        load(zipped(tmp_path, {f"{number}.txt": "" for number in range(1001)} | {"a.nii": scan}))


def test_a_damaged_archive_is_refused(tmp_path):
    scan = nifti(tmp_path / "scan.nii", body()).read_bytes()
    data = zipped(tmp_path, {"a.nii": scan}).read_bytes()
    for end in (10, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.zip").write_bytes(data[:end])
        with pytest.raises(ScanError, match=r"cut\.zip is a zip archive"):
            load(tmp_path / "cut.zip")
    broken = bytearray(data)
    broken[len(data) // 2] ^= 255
    (tmp_path / "broken.zip").write_bytes(broken)
    with pytest.raises(ScanError, match=r"broken\.zip is (cut short or damaged|a zip archive)"):
        load(tmp_path / "broken.zip")


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
@pytest.mark.filterwarnings("ignore::lungmask_jax.errors.ScanWarning")
def test_whatever_an_archive_holds_is_read_or_refused(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("zip")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("scan.nrrd", NRRD.encode() + b"\n" + VALUES[:40])
    data = bytearray(buffer.getvalue())
    for place, value in changes:
        data[place % len(data)] = value
    (folder / "scan.zip").write_bytes(data)
    with contextlib.suppress(ScanError):
        load(folder / "scan.zip")
