"""DICOM files as they are stored: transfer syntaxes, packing, bits, padding and frames."""

import base64
import gzip
import importlib
import logging
import re
import tomllib
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scan_files import enhanced

from lungmask_jax.errors import ScanError, ScanWarning
from lungmask_jax.io import _dicom as dicom_package
from lungmask_jax.io import load
from lungmask_jax.io._dicom import _decoders, _jpeg
from lungmask_jax.io._dicom._elements import Damaged

pydicom = pytest.importorskip("pydicom")

RAMP = np.add.outer(np.arange(24) * 60, np.arange(32) * 30)
HTJ2K = (  # 16 x 16, row * 200 + column * 50, made with OpenJPH
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBE"
    "AB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAIAAAf+TwAAmEfcF"
    "B3QAAMAAEsAAEwCQAgd0AEb+Awd0AMAAE0AAE4DGxgGCdAAgB/kAo1QAwAAVMAAFWGAwGPyqcQJ1AIILFiz4wEIB7L"
    "YAwAAroAAWkKIoiqIoiufKenpwgngAjh0dHR0dHR39jGB79jGB7LoA/9k="
)

# transfer syntaxes


def encoded(source: Path, target: Path, name: str) -> Path:
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm encodes what is decoded here")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


LOSSLESS = {
    "JPEGLosslessProcess14": "1.2.840.10008.1.2.4.57",
    "JPEGLosslessProcess14_1": "1.2.840.10008.1.2.4.70",
    "JPEGLSLossless": "1.2.840.10008.1.2.4.80",
    "JPEGLSNearLossless": "1.2.840.10008.1.2.4.81",
    "JPEG2000Lossless": "1.2.840.10008.1.2.4.90",
    "JPEG2000": "1.2.840.10008.1.2.4.91",
    "RLELossless": "1.2.840.10008.1.2.5",
    "DeflatedExplicitVRLittleEndian": "1.2.840.10008.1.2.1.99",
    "ExplicitVRBigEndian": "1.2.840.10008.1.2.2",
}


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize(("bits", "signed"), [(12, 0), (16, 0), (16, 1)])
def test_every_lossless_syntax_is_decoded(tmp_path, write_dicom, name, bits, signed):
    hu = np.random.default_rng(0).integers(-1000, 1000, (24, 32))
    hu[0, :2] = -1024, 1024 if bits == 12 else 3000
    stored = hu if signed else hu + 1024
    source = write_dicom(
        tmp_path / "source",
        pixels=stored % 2**bits if bits == 12 else stored % 2**16,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=signed,
        RescaleIntercept=0 if signed else -1024,
        RescaleType="HU",
    )
    file = encoded(source, tmp_path / "file.dcm", name)
    meta = pydicom.dcmread(file).file_meta
    assert meta.TransferSyntaxUID == LOSSLESS[name]
    np.testing.assert_array_equal(read(file), hu)


def read(path: Path) -> np.ndarray:
    """Without a word, but for the missing unit of a file that GDCM wrote."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "treated values of RescaleType 'US'", ScanWarning)
        return load(path).array[0]


def test_lossy_jpeg_of_8_bits_is_decoded(tmp_path, write_dicom):
    levels = RAMP // 10
    tags = {"BitsAllocated": 8, "RescaleSlope": 8}
    source = write_dicom(tmp_path / "source", pixels=levels, **tags)
    file = encoded(source, tmp_path / "file", "JPEGBaselineProcess1")
    assert np.abs(read(file) - (levels * 8 - 1024)).max() <= 8 * 4


def with_frames(path: Path, frames: list[bytes], syntax: str, **tags: object) -> Path:
    """The same file with other, compressed pixels."""
    dataset = pydicom.dcmread(path)
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("end", ["201", "202", "203"])
def test_high_throughput_jpeg_2000_is_decoded(tmp_path, write_dicom, end):
    pytest.importorskip("openjpeg")
    values = np.add.outer(np.arange(16) * 200, np.arange(16) * 50)
    file = write_dicom(tmp_path / "file", pixels=values)
    with_frames(file, [base64.b64decode(HTJ2K)], f"1.2.840.10008.1.2.4.{end}")
    np.testing.assert_array_equal(read(file), np.minimum(values - 1024, 3071))


def test_lossy_jpeg_of_12_bits_is_refused_with_what_can_convert_it(tmp_path, write_dicom):
    source = write_dicom(tmp_path / "source", pixels=RAMP, BitsStored=12, HighBit=11)
    file = encoded(source, tmp_path / "file", "JPEGExtendedProcess2_4")
    with (
        pytest.raises(ScanError, match=r"lossy JPEG of 12 bits in .*gdcmconv --raw"),
        pytest.warns(ScanWarning),
    ):
        load(file)


def test_an_unusual_syntax_is_named(tmp_path, write_dicom):
    file = with_frames(write_dicom(tmp_path / "a"), [b"video"], "1.2.840.10008.1.2.4.102")
    with pytest.raises(ScanError, match=r"found 1\.2\.840\.10008\.1\.2\.4\.102 in .*convert it"):
        load(file)


@pytest.mark.parametrize("end", _decoders.DECODERS)
def test_a_missing_decoder_is_named_by_what_brings_it(tmp_path, write_dicom, monkeypatch, end):
    _, packages = _decoders.DECODERS[end]

    class Nothing:
        available_plugins = ("another",)

    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda syntax: Nothing())
    monkeypatch.setattr(_decoders, "check_frame", lambda *_: None)
    file = with_frames(write_dicom(tmp_path / "a"), [b"frame"], f"1.2.840.10008.1.2.{end}")
    with pytest.raises(ScanError, match=rf"found none: pip install {packages}$"):
        load(file)


def test_what_the_extra_installs_has_every_decoder():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["dicom"]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in extra}
    for _, packages in _decoders.DECODERS.values():
        assert set(packages.split()) <= names
    for end, (plugin, _) in _decoders.DECODERS.items():
        assert plugin in pydicom.pixels.get_decoder(f"1.2.840.10008.1.2.{end}").available_plugins


def test_without_pydicom_compressed_pixels_say_what_to_install(tmp_path, write_dicom, monkeypatch):
    plain = write_dicom(tmp_path / "plain")
    packed = with_frames(write_dicom(tmp_path / "packed"), [bytes(64)], "1.2.840.10008.1.2.4.90")

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    np.testing.assert_array_equal(load(plain).array[0], RAMP - 1024)
    with pytest.raises(ScanError, match=r'pip install "lungmask-jax\[dicom\]"'):
        load(packed)


def test_bytes_left_over_by_rle_are_ignored(tmp_path, write_dicom):
    """Some writers pad each segment with zeros."""
    file = write_dicom(tmp_path / "a")
    dataset = pydicom.dcmread(file)
    dataset.compress(pydicom.uid.RLELossless)
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    _, first, second = np.frombuffer(frame[:12], "<u4")
    header = np.array([2, first, second + 4, *[0] * 13], "<u4").tobytes()
    padded = header + frame[64:second] + bytes(4) + frame[second:] + bytes(8)
    with_frames(file, [padded], pydicom.uid.RLELossless)
    np.testing.assert_array_equal(load(file).array[0], RAMP - 1024)


# damage


@pytest.mark.parametrize("pixels", [b"", b"\xfe\xff\0\xe0\2\0\0\0ab", b"\xfe\xff\0\xe0\0\0\0\0"])
def test_compressed_pixels_without_fragments_are_damaged(tmp_path, write_dicom, pixels):
    file = with_frames(write_dicom(tmp_path / "a"), [b"frame"], "1.2.840.10008.1.2.5")
    data = file.read_bytes()
    start = data.index(b"\xe0\x7f\x10\0") + 12
    file.write_bytes(data[:start] + pixels + b"\xfe\xff\xdd\xe0" + bytes(4))
    with pytest.raises(ScanError, match=r"a (is )?damaged"):
        load(file)


@pytest.mark.parametrize("name", list(LOSSLESS)[:7])
def test_damaged_pixels_are_called_damaged(tmp_path, write_dicom, name):
    file = encoded(write_dicom(tmp_path / "source"), tmp_path / "file.dcm", name)
    data = bytearray(file.read_bytes())
    start = data.index(b"\xe0\x7f\x10\0") + 40
    data[start : start + 60] = bytes(range(60, 120))
    file.write_bytes(data)
    with (
        pytest.raises(ScanError, match=r"file\.dcm damaged .*copy it again"),
        pytest.warns(ScanWarning),
    ):
        load(file)


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14_1", "ExplicitVRBigEndian"])
def test_a_slice_cut_short_beside_good_ones_is_left_out(tmp_path, write_dicom, name):
    folder = tmp_path / "series"
    for number in range(3):
        source = write_dicom(tmp_path / "source", number)
        folder.mkdir(exist_ok=True)
        encoded(source, folder / f"{number}", name)
    data = (folder / "2").read_bytes()
    (folder / "2").write_bytes(data[:-40])
    with pytest.warns(ScanWarning) as caught:
        assert len(load(folder)) == 2
    assert re.search(r"skipped in .*: 2 \(damaged", str(caught[0].message))


def test_a_frame_that_claims_another_size_is_not_decoded(tmp_path, write_dicom):
    file = encoded(write_dicom(tmp_path / "source"), tmp_path / "file", "JPEG2000Lossless")
    data = file.read_bytes()
    start = data.index(b"\xff\x4f\xff\x51") + 8
    file.write_bytes(data[:start] + b"\0\0\xff\xff\0\0\xff\xff" + data[start + 8 :])
    with (
        pytest.raises(ScanError, match=r"damaged .*a frame of 65535 x 65535, for 24 x 32"),
        pytest.warns(ScanWarning),
    ):
        load(file)


JPEG = bytes.fromhex(
    "ffd8"  # start
    "ffc3000b0c000800080101 1100".replace(" ", "")  # frame: 12 bits, 8 x 8
    + "ffc400150001010000000000000000000000000000 0001".replace(" ", "")  # table: 2 codes
    + "ffda0008010100010000"  # scan
    + "0000ffd9"
)


def test_a_sound_lossless_frame_passes():
    _jpeg.check_frame(JPEG, "4.70", (8, 8), 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:30], "markers|cut short"),
        (lambda data: data[:-2], "cut short"),
        (lambda data: data[:-2] + b"\xff\xc4\0\0\xff\xd9", "a marker in the data"),
        (lambda data: data + b"more", "a marker in the data"),
        (lambda data: data.replace(b"\xff\xc3", b"\xff\xc0"), "JPEG marker C0"),
        (lambda data: data.replace(b"\x0b\x0c", b"\x0b\x7c"), "with 124 bits"),
        (lambda data: data.replace(b"\0\x15\0\1\1", b"\0\x15\0\x09\1"), "a Huffman table"),
        (lambda data: data.replace(b"\0\1\xff\xda", b"\0\x63\xff\xda"), "a Huffman table"),
        (lambda data: data.replace(b"\0\x08\1\1\0\1", b"\0\x08\1\1\0\x09"), "head of a scan"),
        (lambda data: data.replace(b"\0\x08\1\1\0\1", b"\0\x08\1\1\x30\1"), "head of a scan"),
        (lambda data: b"none", "no JPEG"),
    ],
)
def test_a_frame_that_would_end_the_process_is_refused(change, message):
    """GDCM ends the process on damaged tables and markers of lossless JPEG."""
    with pytest.raises(Damaged, match=message):
        _jpeg.check_frame(change(JPEG), "4.70", (8, 8), 16)


# packing


def bare(data: bytes, implicit: bool) -> bytes:
    """The data set alone, without preamble and meta information."""
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
    dataset.file_meta = None
    pydicom.filewriter.write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


PACKED = {
    "scan.dcm.gz": gzip.compress,
    "scan": lambda data: data,
    "scan.IMA": lambda data: data,
    "no_preamble": lambda data: data[132:],
    "no_zeros": lambda data: data[128:],
    "text_before": lambda data: b"a preamble of its own ".ljust(128) + data[128:],
    "explicit": lambda data: bare(data, implicit=False),
    "implicit": lambda data: bare(data, implicit=True),
    "implicit.gz": lambda data: gzip.compress(bare(data, implicit=True)),
    "trailing": lambda data: data + bytes(300),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("syntax", ["1.2", "1.2.1", "1.2.1.99"])
def test_packed_files_are_read(tmp_path, write_dicom, name, syntax):
    syntax = f"1.2.840.10008.{syntax}"
    for number in range(2):
        file = write_dicom(tmp_path / "file", number, syntax=syntax)
        folder = tmp_path / "series" / str(number)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(PACKED[name](file.read_bytes()))
    ct = load(tmp_path / "series")
    np.testing.assert_array_equal(ct.array, [RAMP - 1024] * 2)
    np.testing.assert_array_equal(load(folder / name).array[0], RAMP - 1024)


def test_a_syntax_that_the_header_has_wrong_is_seen(tmp_path, write_dicom):
    data = write_dicom(tmp_path / "a", syntax="1.2.840.10008.1.2").read_bytes()
    wrong = data.replace(b"\x12\x001.2.840.10008.1.2\0", b"\x14\x001.2.840.10008.1.2.1\0")
    (tmp_path / "a").write_bytes(wrong)
    np.testing.assert_array_equal(load(tmp_path / "a").array[0], RAMP - 1024)


def test_no_more_is_unpacked_than_the_header_asks_for(tmp_path, write_dicom):
    data = write_dicom(tmp_path / "a").read_bytes()
    packer = zlib.compressobj(1, wbits=31)
    parts = [packer.compress(data)]
    parts += [packer.compress(bytes(2**20)) for _ in range(180)]
    (tmp_path / "a").write_bytes(b"".join([*parts, packer.flush()]))
    tracemalloc.start()
    np.testing.assert_array_equal(load(tmp_path / "a").array[0], RAMP - 1024)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6


def test_packed_files_that_are_cut_short_are_damaged(tmp_path, write_dicom):
    data = gzip.compress(write_dicom(tmp_path / "a").read_bytes())
    (tmp_path / "a").write_bytes(data[:-200])
    with pytest.raises(ScanError, match=r"a is damaged \(cut short\): copy it again"):
        load(tmp_path / "a")


# bits


def test_bits_beyond_those_stored_are_not_part_of_the_value(tmp_path, write_dicom):
    garbage = RAMP | (np.random.default_rng(0).integers(0, 16, RAMP.shape) << 12)
    file = write_dicom(tmp_path / "a", pixels=garbage, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(load(file).array[0], RAMP - 1024)


def test_bits_that_begin_higher_are_moved_down(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a", pixels=RAMP << 4 | 5, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(load(file).array[0], RAMP - 1024)


@given(bits=st.integers(2, 16), signed=st.booleans(), allocated=st.sampled_from([16, 32]))
def test_signs_are_those_of_the_bits_stored(tmp_path_factory, write_dicom, bits, signed, allocated):
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.random.default_rng(bits).integers(low, low + 2**bits, (5, 6))
    values[0, 0], values[0, 1] = low, low + 2**bits - 1
    file = write_dicom(
        tmp_path_factory.mktemp("bits") / "a",
        pixels=values % 2**bits,
        BitsAllocated=allocated,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(signed),
        RescaleIntercept=0,
    )
    read_values = dicom_package.read_series([file]).array[0]
    np.testing.assert_array_equal(read_values, values.clip(-(2**15), 2**15 - 1))


def test_pixels_of_8_bits_are_read(tmp_path, write_dicom):
    levels = RAMP // 10
    file = write_dicom(tmp_path / "a", pixels=levels, BitsAllocated=8, RescaleSlope=8)
    np.testing.assert_array_equal(load(file).array[0], levels * 8 - 1024)


def test_monochrome_1_is_a_matter_of_display(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(load(file).array[0], RAMP - 1024)


# scale and padding


def test_a_slope_of_its_own_is_applied_to_each_slice(tmp_path, write_dicom):
    for number, slope in enumerate((1, 2, 0.5)):
        stored = np.rint(RAMP / slope).astype(int)
        write_dicom(tmp_path / f"{number}", number, stored, RescaleSlope=slope)
    expected = [np.rint(RAMP / slope) * slope - 1024 for slope in (1, 2, 0.5)]
    np.testing.assert_array_equal(load(tmp_path).array, expected)


def test_a_slope_that_turns_values_round_is_said(tmp_path, write_dicom):
    tags = {"RescaleSlope": -1, "RescaleIntercept": 1000, "RescaleType": "OD"}
    file = write_dicom(tmp_path / "a", **tags)
    with pytest.warns(ScanWarning) as caught:
        np.testing.assert_array_equal(load(file).array[0], (1000 - RAMP).clip(-1024))
    notes = [str(note.message) for note in caught]
    assert any("negative RescaleSlope -1 in" in note for note in notes)
    assert any("RescaleType 'OD' as HU in" in note for note in notes)


def test_an_empty_rescale_tag_counts_as_none(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a", RescaleSlope="", RescaleIntercept=-1024)
    np.testing.assert_array_equal(load(file).array[0], RAMP - 1024)


def test_a_slice_without_the_rescale_tags_of_its_series_is_named(tmp_path, write_dicom):
    for number in range(3):
        drop = ("RescaleIntercept",) if number == 1 else ()
        write_dicom(tmp_path / f"{number}", number, drop=drop)
    with pytest.raises(ScanError, match=r"RescaleIntercept in every slice.*1 of 3"):
        load(tmp_path)


@pytest.mark.parametrize(("bits", "signed"), [(16, 0), (16, 1), (12, 0)])
def test_padding_is_air_whatever_its_sign(tmp_path, write_dicom, bits, signed):
    stored = RAMP.copy()
    stored[:3] = 63536  # -2000 without a sign
    tags = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": signed}
    padding = -2000 if signed else 63536
    ct = load(write_dicom(tmp_path / "a", pixels=stored, PixelPaddingValue=padding, **tags))
    assert (ct.array[0, :3] == -1024).all()
    np.testing.assert_array_equal(ct.array[0, 3:], RAMP[3:] - 1024)


def test_a_range_of_padding_is_air(tmp_path, write_dicom):
    stored = RAMP.copy()
    stored[0, :4] = 60000, 61000, 62000, 63000
    tags = {"PixelPaddingValue": 60000, "PixelPaddingRangeLimit": 62000}
    ct = load(write_dicom(tmp_path / "a", pixels=stored, **tags))
    assert ct.array[0, 0, :4].tolist() == [-1024, -1024, -1024, 3071]


# frames


EXPECTED = np.stack([(RAMP // scale) * scale - 1024 for scale in (2, 1, 2, 1)])


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", ["1.2", "1.2.1"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_enhanced_ct_is_read(tmp_path, write_dicom, undefined, syntax, pack):
    file = write_dicom(tmp_path / "a", syntax=f"1.2.840.10008.{syntax}")
    enhanced(file, undefined=undefined)
    file.write_bytes(pack(file.read_bytes()))
    ct = load(file)
    np.testing.assert_array_equal(ct.array, EXPECTED)
    np.testing.assert_allclose(ct.affine @ [3, 0, 0, 1], [100, 120, 0, 1])
    assert ct.spacing == (2, 0.5, 0.75)


@pytest.mark.parametrize("fragments", [1, 2])
def test_compressed_frames_are_told_apart(tmp_path, write_dicom, fragments):
    file = enhanced(write_dicom(tmp_path / "a"))
    dataset = pydicom.dcmread(file)
    dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=4))
    dataset.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=fragments)
    dataset.save_as(file)
    np.testing.assert_array_equal(load(file).array, EXPECTED)


def test_groups_of_an_unknown_representation_are_read(tmp_path, write_dicom):
    """Archives that did not know enhanced CT have stored its sequences as UN."""
    implicit = enhanced(write_dicom(tmp_path / "a", syntax="1.2.840.10008.1.2")).read_bytes()
    explicit = enhanced(write_dicom(tmp_path / "b")).read_bytes()
    tag, last = b"\x00\x52\x30\x92", b"\xe0\x7f\x10\0"
    value = implicit[implicit.index(tag) + 8 : implicit.index(last)]
    length = len(value).to_bytes(4, "little")
    before, after = explicit[: explicit.index(tag)], explicit[explicit.index(last) :]
    (tmp_path / "b").write_bytes(before + tag + b"UN\0\0" + length + value + after)
    np.testing.assert_array_equal(load(tmp_path / "b").array, EXPECTED)


def test_frames_without_a_place_are_refused(tmp_path, write_dicom):
    file = write_dicom(tmp_path / "a.dcm", pixels=np.tile(RAMP, (4, 1)), NumberOfFrames=4, Rows=24)
    with pytest.raises(ScanError, match=r"a\.dcm is of 4 frames, 0 of them with a position"):
        load(file)


def test_phases_in_an_enhanced_ct_are_refused(tmp_path, write_dicom):
    file = enhanced(write_dicom(tmp_path / "a"))
    dataset = pydicom.dcmread(file)
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups[1].PlanePositionSequence = groups[0].PlanePositionSequence
    dataset.save_as(file)
    with pytest.raises(ScanError, match=r"4 slices at 3 positions, .*a \(frame 1\) and a \(frame"):
        load(file)


# what pydicom and others would say


def test_values_that_break_the_standard_are_read_without_a_word(tmp_path, write_dicom, caplog):
    file = write_dicom(
        tmp_path / "a",
        SpecificCharacterSet="NO SUCH SET",
        SeriesInstanceUID="not a uid!",
        PatientID="x" * 80,
        SliceThickness="2.50000000000000000001",
        ImageType=["ORIGINAL", "primary lower case"],
        StudyDate="yesterday",
    )
    caplog.clear()
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG, "lungmask_jax"):
        warnings.simplefilter("error")
        assert load(file).spacing[0] == 2.5
    assert not caplog.records


def test_items_nested_without_end_are_damaged(tmp_path, write_dicom):
    item = b"\x40\x00\x75\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    data = write_dicom(tmp_path / "a").read_bytes()
    start = data.index(b"\xe0\x7f\x10\0")
    (tmp_path / "a").write_bytes(data[:start] + item * 5000 + data[start:])
    with pytest.raises(ScanError, match="nested more than 16 deep"):
        load(tmp_path / "a")


def test_a_series_is_held_once_while_it_is_read(tmp_path, write_dicom):
    stored = np.random.default_rng(0).integers(0, 2000, (256, 256))
    for number in range(20):
        write_dicom(tmp_path / f"{number}", number, stored)
    files = sorted(tmp_path.iterdir())
    dicom_package.read_series(files[:2])
    tracemalloc.start()
    array = dicom_package.read_series(files).array
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert array.dtype == np.int16
    assert peak < array.nbytes + 40 * stored.size  # a slice as float64 and a few masks
