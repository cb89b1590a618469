"""What the first bytes of a file say: scans are told from each other, and other kinds are named."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax.errors import ScanError
from lungmask_jax.io import load
from lungmask_jax.io._kinds import HEAD, kind_of, other_kind

ANALYZE = (348).to_bytes(4, "little") + bytes(344)


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, bytes(100))
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("scan.nii"), io.BytesIO())
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(4))
    return buffer.getvalue()


KINDS = {
    "scans.zip": (zipped("scan.dcm"), "a zip archive: unpack it"),
    "scans.rar": (b"Rar!\x1a\x07\x01\0" + bytes(20), "a RAR archive: unpack it"),
    "scans.7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(20), "a 7z archive: unpack it"),
    "scans.tar": (tarred(), "a tar archive: unpack it"),
    "scans.tgz": (gzip.compress(tarred()), "a tar archive"),
    "scan.nii.xz": (lzma.compress(bytes(400)), "compressed with xz"),
    "scan.nii.bz2": (bz2.compress(bytes(400)), "compressed with bzip2"),
    "scan.h5": (b"\x89HDF\r\n\x1a\n" + bytes(90), r"HDF5 \(or MINC 2\)"),
    "scan.mnc": (b"CDF\x01" + bytes(90), r"NetCDF \(or MINC 1\)"),
    "scan.hdr": (ANALYZE, "header of an Analyze pair"),
    "pair.hdr": (ANALYZE[:344] + b"ni1\0", "header of a NIfTI pair"),
    "scan.npy": (array(), "a NumPy array.*Volume"),
    "scan.mat": (b"MATLAB 5.0 MAT-file, Platform" + bytes(99), "a MATLAB file"),
    "report.pdf": (b"%PDF-1.7\n%\xe2\xe3\n", "a PDF document"),
    "film.mp4": (b"\0\0\0\x20ftypisom" + bytes(20), "an MP4 video"),
    "picture.gif": (b"GIF89a" + bytes(20), "a GIF image: save it as PNG"),
    "picture.bmp": (b"BM\x46\0\0\0" + bytes(20), "a BMP image"),
    "picture.webp": (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP image"),
    "picture.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    "scan.json": (json.dumps({"case": 1}).encode(), "JSON"),
    "page.html": (b"\xef\xbb\xbf<!DOCTYPE html><html>", "XML or HTML"),
    "notes.txt": ("Größe der Läsion: 3 mm\r\n".encode() * 60, "a text file"),
    "zeros.dcm": (bytes(4000), "nothing but zeros"),
    "empty.nii.gz": (b"", "is empty: copy it again"),
    "noise.dcm": (bytes(range(256)) * 9, "of another kind"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_not_read_is_named_as_what_it_is(tmp_path, name):
    data, message = KINDS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ScanError, match=rf"{name} is .*{message.removeprefix('is ')}"):
        load(tmp_path / name)
    with pytest.raises(ScanError, match=r"found none in .*give the folder") as caught:
        load(tmp_path)
    assert name in str(caught.value)


def test_the_voxels_of_a_pair_are_known_by_their_header(tmp_path):
    (tmp_path / "scan.hdr").write_bytes(ANALYZE)
    (tmp_path / "scan.img").write_bytes(np.arange(999, dtype="<i2").tobytes())
    with pytest.raises(ScanError, match=r"scan\.img is the voxels of a pair with scan\.hdr"):
        load(tmp_path / "scan.img")


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x08\0", b"\0\x08", b"\2\0\0\0", b"\x08\0\5\0CS"]),
)
def test_bytes_that_are_no_dicom_are_not_taken_for_it(tail, start):
    assert kind_of(start + tail) in ("other", "image")


@given(st.binary(max_size=2 * HEAD))
def test_every_file_has_a_name_and_an_advice(data):
    what, advice = other_kind(data[:HEAD])
    assert what
    assert advice


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<i4", "<f4"])
def test_raw_voxels_are_not_taken_for_dicom(dtype):
    for seed in range(200):
        generator = np.random.default_rng(seed)
        voxels = generator.integers(0, 40, 512) if seed % 2 else generator.normal(0, 900, 512)
        assert kind_of(voxels.astype(dtype).tobytes()[:HEAD]) == "other"
