"""DICOM series: which files belong to it, and where its slices lie."""

import contextlib
import filecmp
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungmask_jax.errors import ScanError, ScanWarning
from lungmask_jax.io import _files as files_module
from lungmask_jax.io import load, load_mask
from lungmask_jax.volume import CANONICAL

DATA = Path(os.environ.get("LUNGMASK_DATA", Path(__file__).parents[1] / "../shared/data"))

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no real scans at {DATA}: set LUNGMASK_DATA"
)
pydicom = pytest.importorskip("pydicom")
WriteSlice = Callable[..., Path]


def pixels(first: int = 0, shape: tuple[int, int] = (24, 32)) -> np.ndarray:
    """A ramp from air to bone, with a value of its own in the first pixel."""
    ramp = np.add.outer(np.arange(shape[0]) * 60, np.arange(shape[1]) * 30)
    ramp[0, 0] = first
    return ramp


def series(write: WriteSlice, folder: Path, count: int = 3, step: float = 2.0, **tags: Any) -> Path:
    for number in range(count):
        write(folder / f"{number}.dcm", number * step, pixels(number), **tags)
    return folder


# what a series is


def test_a_series_is_sorted_by_place_and_put_into_the_patient(tmp_path, write_dicom):
    for name, height in (("a", 30), ("b", 10), ("c", 20)):
        write_dicom(tmp_path / name, height, pixels(height), InstanceNumber=height % 7)
    ct = load(tmp_path)
    assert ct.array[:, 0, 0].tolist() == [-1014, -1004, -994]
    assert (ct.shape, ct.spacing, ct.axcodes) == ((3, 24, 32), (10, 0.5, 0.75), "LPS")
    np.testing.assert_allclose(ct.affine @ [2, 4, 8, 1], [100 - 6, 120 - 2, 30, 1])
    np.testing.assert_array_equal(ct.array[0, 1:], pixels()[1:] - 1024)


def test_a_single_file_is_one_slice_of_its_thickness(tmp_path, write_dicom):
    assert load(write_dicom(tmp_path / "a.dcm", 5)).spacing == (2.5, 0.5, 0.75)


@pytest.mark.parametrize("tags", [{"SliceThickness": "0"}, {"SliceThickness": "inf"}])
def test_a_single_slice_without_a_thickness_has_no_real_ml(tmp_path, write_dicom, tags):
    with pytest.warns(ScanWarning, match=r"used 1 mm as the thickness of .*a\.dcm.*not real"):
        assert load(write_dicom(tmp_path / "a.dcm", 5, **tags)).spacing[0] == 1


def test_prone_and_coronal_slices_come_out_canonical(tmp_path, write_dicom):
    prone = write_dicom(tmp_path / "prone.dcm", ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])
    coronal = write_dicom(tmp_path / "coronal.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    hu = np.add.outer(np.arange(24) * 60, np.arange(32) * 30) - 1024
    np.testing.assert_array_equal(load(prone).array[0], hu[::-1, ::-1])
    np.testing.assert_array_equal(load(coronal).array[:, 0], hu[::-1])


def test_directions_that_differ_by_rounding_are_one_series(tmp_path, write_dicom):
    for number, sine in enumerate([0.0050001] * 4 + [0.0049999] * 8):
        cosines = [0.9999875, sine, 0, -sine, 0.9999875, 0]
        write_dicom(tmp_path / f"{number}", number, ImageOrientationPatient=cosines)
    assert load(tmp_path).shape[0] == 12


def test_heights_do_not_depend_on_the_jitter_of_directions(tmp_path, write_dicom):
    """Far from the origin, a third of a degree is more than a slice."""
    for number in range(6):
        sine = 0.004 * (number % 2)
        cosines = [1, 0, sine, 0, 1, 0]
        position = [-900, -900, float(number)]
        write_dicom(
            tmp_path / f"{number}",
            0,
            pixels(number),
            ImageOrientationPatient=cosines,
            ImagePositionPatient=position,
        )
    assert load(tmp_path).array[:, 0, 0].tolist() == [-1024 + number for number in range(6)]


def test_the_largest_of_several_series_is_taken_with_a_warning(tmp_path, write_dicom):
    series(write_dicom, tmp_path)
    write_dicom(tmp_path / "z", SeriesInstanceUID="1.2.4", SeriesDescription="thick")
    with pytest.warns(ScanWarning, match=r"'0\.dcm' \(3 slices of 24 x 32\), skipped 'thick' \(1"):
        assert len(load(tmp_path)) == 3


def test_a_coronal_reformat_is_not_taken_for_the_scan(tmp_path, write_dicom):
    series(write_dicom, tmp_path)
    for number in range(5):
        write_dicom(
            tmp_path / f"coronal_{number}",
            ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
            ImagePositionPatient=[0, number, 0],
            SeriesInstanceUID="1.2.4",
        )
    with pytest.warns(ScanWarning, match=r"skipped 'coronal_0' \(5 slices"):
        assert load(tmp_path).spacing == (2, 0.5, 0.75)


def test_series_alike_are_refused_by_name(tmp_path, write_dicom):
    write_dicom(tmp_path / "a", SeriesDescription="lung")
    write_dicom(tmp_path / "b", SeriesInstanceUID="1.2.4", SeriesDescription="soft")
    with pytest.raises(ScanError, match=r"expected one CT series, found 'lung' .* and 'soft'"):
        load(tmp_path)


def test_slices_of_another_size_in_a_series_are_left_out_by_name(tmp_path, write_dicom):
    series(write_dicom, tmp_path)
    write_dicom(tmp_path / "small", 6, pixels(0, (12, 32)))
    with pytest.warns(ScanWarning, match=r"skipped 'small' \(1 slices of 12 x 32\)"):
        assert load(tmp_path).shape == (3, 24, 32)


def test_several_patients_are_refused(tmp_path, write_dicom):
    for number in range(3):
        write_dicom(tmp_path / f"{number}.dcm", number, PatientID=f"patient {number // 2}")
    with pytest.raises(ScanError, match=r"one patient, found those of 2 .*1\.dcm, 2\.dcm"):
        load(tmp_path)


# places


def test_uneven_and_missing_slices(tmp_path, write_dicom):
    for name, height in (("a", 0), ("b", 2), ("c", 4.2)):
        write_dicom(tmp_path / name, height)
    with pytest.warns(ScanWarning, match=r"2 to 2\.2 mm apart .* between .*b and c"):
        assert load(tmp_path).spacing[0] == pytest.approx(2.1)
    write_dicom(tmp_path / "d", 10)
    (tmp_path / "e").write_bytes(b"")
    with pytest.raises(ScanError, match=r"5\.8 mm between .*c and d: add .*skipped.*e \(empty\)"):
        load(tmp_path)


def test_phases_of_one_place_are_refused_with_what_tells_them_apart(tmp_path, write_dicom):
    for number in range(6):
        write_dicom(
            tmp_path / f"{number}",
            float(number // 2),
            pixels(number),
            AcquisitionNumber=1 + number % 2,
        )
    message = r"6 slices at 3 positions, such as .*0 and 1 .* differ in AcquisitionNumber \(1, 2\)"
    with pytest.raises(ScanError, match=message):
        load(tmp_path)


def test_copies_of_a_file_are_left_out(tmp_path, write_dicom):
    series(write_dicom, tmp_path)
    shutil.copy(tmp_path / "1.dcm", tmp_path / "1 (1).dcm")
    assert filecmp.cmp(tmp_path / "1.dcm", tmp_path / "1 (1).dcm")
    with pytest.warns(ScanWarning, match=r"skipped .*1.*\.dcm \(a copy of another file\)"):
        assert load(tmp_path).array[:, 0, 0].tolist() == [-1024, -1023, -1022]


def test_a_tilted_gantry_keeps_its_shear_and_is_said(tmp_path, write_dicom):
    for number in range(3):
        place = [-100, -120 + number, 5 * number]
        write_dicom(tmp_path / f"{number}", ImagePositionPatient=place)
    with pytest.warns(ScanWarning, match=r"by 11\.3 degrees, as with a tilted gantry"):
        np.testing.assert_allclose(load(tmp_path).affine[:3, 0], [0, -1, 5])


def test_places_that_contradict_the_orientation_are_refused(tmp_path, write_dicom):
    for number in range(3):
        write_dicom(tmp_path / f"{number}", ImagePositionPatient=[20 * number, 0, number])
    with pytest.raises(ScanError, match=r"0 and 1 87 degrees off"):
        load(tmp_path)


def test_slices_aside_of_the_others_are_named(tmp_path, write_dicom):
    for number in range(4):
        place = [8.0 * (number == 2), 0, number]
        write_dicom(tmp_path / f"{number}", ImagePositionPatient=place)
    with pytest.warns(ScanWarning, match=r"shifted by up to 8 mm, .*2 most"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("tag", "value", "shown"),
    [
        ("PixelSpacing", ["0", "0"], r"PixelSpacing is 0\\0"),
        ("PixelSpacing", ["nan", "1"], r"PixelSpacing is nan\\1"),
        ("PixelSpacing", None, "without PixelSpacing"),
        ("PixelSpacing", ["1"], "PixelSpacing is 1"),
        ("ImagePositionPatient", ["0", "inf", "0"], r"ImagePositionPatient is 0\\inf\\0"),
        ("ImagePositionPatient", ["0", "1e300", "0"], r"ImagePositionPatient is 0\\1e\+300\\0"),
        ("PixelSpacing", ["1e-9", "1e-9"], r"PixelSpacing is 1e-09\\1e-09"),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0], "ImageOrientationPatient is 0"),
        ("ImageOrientationPatient", [1, 0, 0, 0.6, 0.8, 0], "meet at 53.1 degrees"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], "is a localizer: give the series"),
        ("Modality", "MR", "is of modality MR, not CT: give a CT scan"),
        ("SamplesPerPixel", 3, "is in color"),
        ("PhotometricInterpretation", "PALETTE COLOR", "is in color"),
        ("NumberOfFrames", 4, "damaged"),
        ("Rows", 0, "0 rows and 32 columns"),
        ("Rows", 60000, "60000 rows"),
        ("BitsAllocated", 12, "is of 12 bits a pixel: convert it"),
        ("BitsStored", 17, "BitsStored is 17, with BitsAllocated 16"),
        ("PixelData", b"\0\0", "are 1536 bytes, it has 2"),
        ("RescaleSlope", "0", "RescaleSlope is 0"),
        ("RescaleSlope", "1e30", "RescaleSlope is 1e\\+30"),
        ("RescaleSlope", "nan", "RescaleSlope is nan"),
        ("RescaleIntercept", "inf", "RescaleIntercept is inf"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, write_dicom, tag, value, shown):
    drop = (tag,) if value is None else ()
    tags = {} if value is None else {tag: value}
    if tag in ("BitsAllocated", "SamplesPerPixel"):
        file = write_dicom(tmp_path / "a.dcm")
        dataset = pydicom.dcmread(file)
        setattr(dataset, tag, value)
        dataset.save_as(file)
    else:
        file = write_dicom(tmp_path / "a.dcm", drop=drop, **tags)
    with pytest.raises(ScanError, match=shown) as caught:
        load(file)
    assert "a.dcm" in str(caught.value)


def test_numbers_that_are_text_are_shown(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"0.5\\0.75", b"0.x\\0.75"))
    with pytest.raises(
        ScanError, match=r"a\.dcm is a page whose PixelSpacing is '0\.x\\\\0\.75': export it"
    ):
        load(path)


def test_headers_that_are_mended_are_said(tmp_path, write_dicom):
    folder = series(write_dicom, tmp_path, PixelSpacing=[-0.5, 0.75])
    with pytest.warns(ScanWarning, match=r"negative PixelSpacing -0\.5\\0\.75 .* and 2 more files"):
        assert load(folder).spacing == (2, 0.5, 0.75)
    twice = write_dicom(tmp_path / "b" / "a.dcm", ImageOrientationPatient=[2, 0, 0, 0, 2, 0])
    with pytest.warns(ScanWarning, match="not of length 1"):
        assert load(twice).spacing == (2.5, 0.5, 0.75)


# what is left out


def strays(write: WriteSlice, folder: Path) -> list[tuple[str, str]]:
    """Files that are no slices, and what they are called."""
    write(folder / "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    page = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    secondary = ["DERIVED", "SECONDARY"]
    write(folder / "dose", drop=page, ImageType=secondary, SeriesInstanceUID="1.2.9")
    write(
        folder / "capture",
        drop=page,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.7",
        Modality="OT",
    )
    write(folder / "pet", Modality="PT")
    nothing = ("Rows", "Columns", "PixelData")
    classes = {
        "structures": "481.3",
        "segments": "66.4",
        "report": "88.33",
        "shown": "11.1",
    }
    for name, end in classes.items():
        uid = f"1.2.840.10008.5.1.4.1.1.{end}"
        write(folder / name, drop=nothing, SOPClassUID=uid, Modality="OT")
    write(folder / "DICOMDIR", drop=nothing, SOPClassUID="1.2.840.10008.1.3.10")
    (folder / "notes.txt").write_text("Read me.\n")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "damaged.dcm").write_bytes(write(folder / "scout").read_bytes()[:600])
    write(folder / "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    return [
        ("scout", "a localizer"),
        ("dose", "a derived page without ImagePositionPatient"),
        ("capture", "of modality OT"),
        ("pet", "of modality PT"),
        ("structures", "a radiotherapy object"),
        ("segments", "a segmentation"),
        ("report", "a structured report"),
        ("shown", "a presentation state"),
        ("DICOMDIR", "a DICOMDIR"),
        ("notes.txt", "a text file"),
        ("empty.dcm", "empty"),
        ("damaged.dcm", "damaged"),
        ("picture.png", "an image or NIfTI file"),
    ]


def test_strays_of_every_kind_are_left_out_in_one_warning(tmp_path, write_dicom):
    series(write_dicom, tmp_path)
    expected = strays(write_dicom, tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "._0.dcm").write_bytes(b"\0\5\26\7" + bytes(4092))
    with pytest.warns(ScanWarning) as caught:
        ct = load(tmp_path)
    assert ct.array[:, 0, 0].tolist() == [-1024, -1023, -1022]
    (note,) = caught
    for name, what in expected:
        assert name in str(note.message)
        assert what in str(note.message)
    assert "DS_Store" not in str(note.message)
    assert note.filename == __file__


def test_only_strays_are_an_error_that_names_them(tmp_path, write_dicom):
    expected = strays(write_dicom, tmp_path)
    with pytest.raises(ScanError) as caught:
        load(tmp_path)
    for name, what in expected:
        assert name in str(caught.value)
        assert what in str(caught.value)


def test_many_strays_are_counted(tmp_path, write_dicom):
    series(write_dicom, tmp_path)
    for number in range(9):
        write_dicom(tmp_path / f"pet_{number}", Modality="PT")
    with pytest.warns(ScanWarning, match=r"pet_0, pet_1, pet_2, 6 more \(of modality PT"):
        load(tmp_path)


def test_masks_in_dicom_are_refused(tmp_path, write_dicom):
    with pytest.raises(ScanError, match="found DICOM in"):
        load_mask(write_dicom(tmp_path / "a.dcm"))


# folders in folders


def test_a_series_below_folders_alone_is_read(tmp_path, write_dicom):
    deep = tmp_path / "patient" / "study" / "series"
    series(write_dicom, deep)
    (tmp_path / ".hidden").mkdir()
    assert load(tmp_path).shape == load(deep).shape == (3, 24, 32)


def test_slices_spread_over_folders_are_one_series(tmp_path, write_dicom):
    for number in range(3):
        write_dicom(tmp_path / f"part_{number}" / "slice.dcm", number)
    assert len(load(tmp_path)) == 3


def test_folders_of_patients_are_no_scan(tmp_path, write_dicom):
    for name in ("one", "two"):
        series(write_dicom, tmp_path / name, PatientID=name)
    with pytest.raises(ScanError, match=r"found those of 2 in .*give each a folder"):
        load(tmp_path)


def test_folders_are_not_walked_without_end(tmp_path, monkeypatch):
    deep = tmp_path / "/".join("abcdefgh")
    deep.mkdir(parents=True)
    with pytest.raises(ScanError, match="levels of folders"):
        load(tmp_path)
    monkeypatch.setattr(files_module, "MOST_FOLDERS", 3)
    for number in range(9):
        (tmp_path / "wide" / str(number)).mkdir(parents=True)
    with pytest.raises(ScanError, match="more than 3 folders"):
        load(tmp_path / "wide")


def test_a_link_to_its_own_folder_is_not_followed(tmp_path, write_dicom):
    series(write_dicom, tmp_path / "series")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(load(tmp_path)) == 3


# laws

TURNS = [
    np.array([np.eye(3)[axis] * sign for axis, sign in zip(axes, signs, strict=True)])
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def turned(turn: np.ndarray, degrees: float) -> np.ndarray:
    """Rows: directions along a row, along a column, and across, in LPS."""
    angle = np.deg2rad(degrees)
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    return turn @ tilt


@settings(max_examples=25)
@given(
    turn=st.sampled_from(TURNS),
    degrees=st.sampled_from([0.0, 7.0, -23.0]),
    order=st.permutations(range(4)),
    gap=st.sampled_from([0.625, 1.0, 5.0]),
    jitter=st.floats(0, 1e-3),
    slope=st.sampled_from([1, 2, 0.5]),
    intercept=st.sampled_from([-1024, -1000, 0]),
    syntax=st.sampled_from(["1.2", "1.2.1", "1.2.1.99", "1.2.2"]),
    compress=st.sampled_from(["", "RLELossless", "JPEGLSLossless"]),
    stray=st.booleans(),
)
def test_a_series_is_the_volume_that_was_written(
    write_dicom, turn, degrees, order, gap, jitter, slope, intercept, syntax, compress, stray
):
    """Whatever the order of files, the direction of axes, the scale and how it is packed."""
    row, column, across = turned(turn, degrees)
    across = np.cross(row, column)
    origin, spacing = np.array([-31.5, 20.25, 400.0]), (0.5, 0.75)
    hu = np.round(np.linspace(-1000, 1400, 4 * 5 * 6) / 4).reshape(4, 5, 6) * 4
    jitters = np.random.default_rng(0).uniform(-jitter, jitter, 4)
    with tempfile.TemporaryDirectory() as name:
        for number, index in enumerate(order):
            file = write_dicom(
                Path(name, f"{number}.dcm"),
                pixels=((hu[index] - intercept) / slope).astype(np.int64) % 2**16,
                syntax=f"1.2.840.10008.{'1.2.1' if compress else syntax}",
                PixelRepresentation=1,
                ImageOrientationPatient=[f"{v:.9f}" for v in (*row, *column)],
                ImagePositionPatient=[
                    f"{v:.9f}" for v in origin + (index * gap + jitters[index]) * across
                ],
                PixelSpacing=list(spacing),
                RescaleSlope=slope,
                RescaleIntercept=intercept,
            )
            if compress:
                dataset = pydicom.dcmread(file)
                dataset.compress(getattr(pydicom.uid, compress))
                dataset.save_as(file)
        if stray:
            Path(name, "notes.txt").write_text("left out")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ct = load(name)
    assert [note.category for note in caught] == [ScanWarning] * stray
    lps = np.column_stack([row * spacing[1], column * spacing[0], across * gap, origin])
    for place in itertools.product(range(6), range(5), range(4)):
        point = lps @ (*place, 1)
        voxel = np.linalg.solve(ct.affine, [-point[0], -point[1], point[2], 1])[:3]
        np.testing.assert_allclose(voxel, np.rint(voxel), atol=5e-3)
        slices, rows, columns = np.rint(voxel).astype(int)
        assert ct.array[slices, rows, columns] == hu[place[2], place[1], place[0]]
    assert "".join(_axcodes(ct.affine)) == CANONICAL or degrees


def _axcodes(affine: np.ndarray) -> str:
    names = (("L", "R"), ("P", "A"), ("I", "S"))
    axes = np.abs(affine[:3, :3]).argmax(axis=0)
    return "".join(names[axis][int(affine[axis, k] > 0)] for k, axis in enumerate(axes))


@pytest.fixture(scope="module")
def sound(tmp_path_factory, write_dicom):
    """The bytes of a file, and where its pixels begin."""
    data = write_dicom(tmp_path_factory.mktemp("sound") / "a", PatientID="one").read_bytes()
    return data, data.index(b"\xe0\x7f\x10\0")


@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4
    )
)
def test_a_damaged_header_is_read_or_refused(sound, edits):
    """Nothing but a ScanError comes out, whatever bytes are changed, lost or added."""
    data, end = bytearray(sound[0]), sound[1]
    for where, lost, added in edits:
        start = int(where * end)
        data[start : start + lost] = added
    with tempfile.TemporaryDirectory() as name:
        Path(name, "a.dcm").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ScanWarning)
            with contextlib.suppress(ScanError):
                assert load(name).array.dtype in (np.int16, np.float32)


# real scans


def real(*patterns: str) -> list[Any]:
    paths = [path for pattern in patterns for path in sorted(DATA.glob(pattern))]
    return [pytest.param(path, id=path.name) for path in paths]


@needs_data
@pytest.mark.parametrize("path", real("ct_dicom_slices/*.dcm"))
def test_real_slices_load(path):
    ct = load(path)
    assert (ct.shape, ct.array.dtype) == ((1, 512, 512), np.int16)


@needs_data
def test_a_real_series_loads():
    pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg decodes this series")
    ct = load(DATA / "ct_body" / "dicom_series")
    assert ct.shape == (20, 512, 512)
    assert ct.spacing == pytest.approx((2, 0.9765625, 0.9765625))
