"""What files claim, and how little of it is unpacked, allocated or waited for."""

import contextlib
import gzip
import itertools
import os
import struct
import tracemalloc
import zlib

import cv2
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax.errors import ScanError, ScanWarning
from lungmask_jax.io import (
    _files,
    _image_size,
    _images,
    _intensity,
    _stream,
    _voxels,
    load,
    load_mask,
)


def chest(shape=(7, 6, 5)):
    return np.linspace(-1020, 1500, int(np.prod(shape))).round().astype(np.int16).reshape(shape)


def nifti(shape=(7, 6, 5), kind=nib.Nifti1Image, **fields):
    """The bytes of a scan, with fields of its header changed."""
    header = kind(chest(shape), np.diag([0.7, 0.7, 2.5, 1])).header
    header["vox_offset"] = len(header.binaryblock) + 4
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["magic"] = (
        b"n+1" if kind is nib.Nifti1Image else header["magic"].item().replace(b"i", b"+")
    )
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4) + chest(shape).tobytes(order="F")


def put(folder, data, name="scan.nii"):
    (folder / name).write_bytes(data)
    return folder / name


def peak(read, path):
    """Bytes that were allocated at once, at most."""
    tracemalloc.start()
    try:
        read(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# gzip


def test_what_lies_behind_the_last_voxel_is_not_unpacked(tmp_path):
    path = put(tmp_path, gzip.compress(nifti() + bytes(40_000_000), 1), "bomb.nii.gz")
    with pytest.warns(ScanWarning, match=r"bomb\.nii\.gz has .* after its last voxel"):
        assert peak(load, path) < 10_000_000
    with pytest.warns(ScanWarning, match="after its last voxel"):
        assert load(path).shape == (5, 6, 7)


def test_bytes_behind_a_plain_file_are_told(tmp_path):
    with pytest.warns(ScanWarning, match="has 84 bytes or more after its last voxel"):
        assert load(put(tmp_path, nifti() + bytes(84))).shape == (5, 6, 7)


@pytest.mark.parametrize(
    "behind", [b"", bytes(1000), b"\0", b"garbage", b"\x1f", b"\x1f\x8b"[:1] * 9]
)
@pytest.mark.parametrize("cuts", [(), (10,), (348, 352), (1, 100, 353, 354)])
def test_members_are_one_file_and_garbage_behind_them_is_left_alone(tmp_path, behind, cuts):
    data = nifti()
    ends = [0, *cuts, len(data)]
    members = [gzip.compress(data[a:b]) for a, b in itertools.pairwise(ends)]
    ct = load(put(tmp_path, b"".join(members) + behind, "scan.nii.gz"))
    np.testing.assert_array_equal(np.sort(ct.array, None), chest().ravel())


@given(
    cuts=st.lists(st.integers(0, 772), max_size=4), size=st.integers(1, 64), zeros=st.integers(0, 3)
)
def test_a_packed_file_is_read_as_the_plain_one(tmp_path_factory, cuts, size, zeros):
    data = np.random.default_rng(size).bytes(772)
    ends = [0, *sorted(cuts), len(data)]
    packed = b"".join(gzip.compress(data[a:b]) + bytes(zeros) for a, b in itertools.pairwise(ends))
    path = put(tmp_path_factory.mktemp("gz"), packed)
    with _stream.opened(path) as file:
        stream = _stream.unpacked(file)
        found = b"".join(iter(lambda: stream.read(size), b""))
    assert found == data


@pytest.mark.parametrize("share", np.linspace(0.01, 0.999, 9).tolist())
@pytest.mark.parametrize("members", [1, 3])
def test_a_gzip_file_that_ends_too_early_is_refused(tmp_path, share, members):
    noise = np.random.default_rng(0).integers(-1000, 999, (20, 20, 20), np.int16)
    data = nifti((20, 20, 20))[:352] + noise.tobytes()
    size = -(-len(data) // members)
    packed = b"".join(gzip.compress(data[i : i + size]) for i in range(0, len(data), size))
    path = put(tmp_path, packed[: int(len(packed) * share)], "scan.nii.gz")
    with pytest.raises(ScanError, match=r"scan\.nii\.gz.*(cut short|of another kind)"):
        load(path)


def test_a_wrong_checksum_is_damage(tmp_path):
    data = bytearray(gzip.compress(nifti()))
    data[-6] ^= 1
    with pytest.raises(ScanError, match=r"scan\.nii\.gz.*cut short or damaged"):
        load(put(tmp_path, data, "scan.nii.gz"))


# claims


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("side", "message"),
    [(32767, "voxels .*more than the 1073741824 that are read"), (1000, "cut short")],
)
def test_a_header_that_claims_too_much_costs_nothing(tmp_path, name, kind, side, message):
    data = nifti(kind=kind, dim=[3, side, side, side, 1, 1, 1, 1])
    path = put(tmp_path, gzip.compress(data) if name.endswith("gz") else data, name)

    def refused(path):
        with pytest.raises(ScanError, match=message):
            load(path)

    assert peak(refused, path) < 10_000_000


def test_sizes_beyond_any_integer_are_refused(tmp_path):
    data = nifti(kind=nib.Nifti2Image, dim=[3, 2**62, 2**62, 2**62, 1, 1, 1, 1])
    with pytest.raises(ScanError, match=r"scan\.nii has 9\d+ voxels"):
        load(put(tmp_path, data))


@pytest.mark.parametrize("offset", [100, -352, 1e20, np.nan, np.inf, 2.0**27])
def test_values_that_begin_nowhere_are_refused(tmp_path, offset):
    with pytest.raises(ScanError, match=r"its values begin at byte"):
        load(put(tmp_path, nifti(vox_offset=offset)))


def test_extensions_are_skipped(tmp_path):
    data = nifti(vox_offset=400)
    ct = load(put(tmp_path, data[:348] + b"\1\0\0\0" + bytes(48) + data[352:]))
    np.testing.assert_array_equal(np.sort(ct.array, None), chest().ravel())


# files that are none


@pytest.mark.parametrize("read", [load, load_mask])
def test_devices_and_pipes_are_refused_at_once(tmp_path, read):
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.nii.gz")
    for name in ("zero.nii", "pipe.nii.gz"):
        with pytest.raises(ScanError, match=rf"{name} is not a file but a .*may never end"):
            read(tmp_path / name)


def test_devices_and_pipes_in_a_folder_are_passed_over(tmp_path):
    (tmp_path / "a.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "b.png")
    cv2.imwrite(str(tmp_path / "c.png"), np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert load(tmp_path, window=(-1000, 0)).shape == (1, 16, 16)


def test_links_that_lead_nowhere_or_in_a_circle_are_scan_errors(tmp_path):
    (tmp_path / "gone.nii").symlink_to(tmp_path / "nothing")
    (tmp_path / "round.nii").symlink_to(tmp_path / "round.nii")
    for name in ("gone.nii", "round.nii", "n" * 300, "nul\0byte.nii", "file/scan.nii"):
        (tmp_path / "file").touch()
        with pytest.raises(ScanError):
            load(tmp_path / name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not read")
def test_folders_and_files_without_permission_are_scan_errors(tmp_path, monkeypatch):
    put(tmp_path, nifti())
    (tmp_path / "closed").mkdir()
    put(tmp_path / "closed", nifti())
    (tmp_path / "scan.nii").chmod(0)
    (tmp_path / "closed").chmod(0)
    monkeypatch.chdir(tmp_path)
    os.seteuid(65534)
    try:
        for name in ("scan.nii", "closed/scan.nii", "closed"):
            with pytest.raises(ScanError, match=f"{name}, found: Permission denied"):
                load(name)
    finally:
        os.seteuid(0)


def test_a_file_too_large_for_an_image_is_refused(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), np.arange(256, dtype=np.uint8).reshape(16, 16))
    monkeypatch.setattr(_files, "LARGEST_FILE", 50)
    with pytest.raises(ScanError, match=r"a\.png is larger than"):
        load(tmp_path / "a.png", window=(-1000, 0))


# images


def png(rows, columns, data=b""):
    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(pages, order="<", big=False):
    """Pages that share one strip; ``(rows, columns)`` each."""
    pointer, count = ("Q", "Q") if big else ("I", "H")
    head = b"II" if order == "<" else b"MM"
    head += struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    data = bytearray(head)
    for number, (rows, columns) in enumerate(pages):
        tags = [(256, columns), (257, rows), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1),
                (278, rows), (279, 1)]  # fmt: skip
        body = struct.pack(order + count, len(tags))
        for tag, value in tags:
            body += struct.pack(order + "HH" + pointer + pointer, tag, 16 if big else 4, 1, value)
        following = len(data) + len(body) + struct.calcsize(order + pointer)
        body += struct.pack(order + pointer, following if number + 1 < len(pages) else 0)
        data += body
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", png(50_000, 50_000)),
        ("a.png", png(2**31 - 1, 2**31 - 1)),
        ("a.tif", tiff([(70_000, 70_000)])),
        ("a.tif", tiff([(2**32 - 1, 2**32 - 1)], ">")),
        ("a.tif", tiff([(2**40, 2**40)], big=True)),
        ("a.jpg", b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xd9"),
    ],
)
def test_an_image_that_claims_too_many_pixels_is_not_decoded(tmp_path, monkeypatch, name, data):
    monkeypatch.setattr(cv2, "imdecodemulti", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ScanError, match=rf"{name} has \d+ x \d+ pixels, and a CT slice 16777216"):
        load(put(tmp_path, data, name), window=(-1000, 0))


def test_hundreds_of_large_pages_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imdecodemulti", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ScanError, match=r"a\.tif have more than 268435456 pixels in total"):
        load(put(tmp_path, tiff([(4096, 4096)] * 17), "a.tif"), window=(-1000, 0))


def test_many_large_images_are_not_all_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(_images, "LARGEST_STACK", 600)
    for number in range(3):
        picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    with pytest.raises(ScanError, match=r"up to .*2\.png have more than 600 pixels"):
        load(tmp_path, window=(-1000, 0))


def test_a_part_of_a_png_that_claims_to_be_longer_than_the_file_is_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imdecodemulti", lambda *_: pytest.fail("decoded"))
    data = png(16, 16, zlib.compress(bytes(16 * 17)))
    at = data.index(b"IDAT") - 4
    data = data[:at] + struct.pack(">I", 2**31 - 1) + data[at + 4 :]
    with pytest.raises(ScanError, match=r"a\.png damaged \(a part of it is longer than the file"):
        load(put(tmp_path, data, "a.png"), window=(-1000, 0))


def test_frames_of_an_animated_png_are_counted():
    frame = struct.pack(">I4s26xI", 26, b"fcTL", 0)
    data = png(16, 16)
    at = data.index(b"IDAT") - 4
    assert list(_image_size.page_sizes(data[:at] + 3 * frame + data[at:])) == 3 * [(16, 16)]


def test_pages_in_a_circle_are_damage(tmp_path):
    data = bytearray(tiff([(16, 16)] * 2))
    data[-4:] = struct.pack("<I", 8)
    with pytest.raises(ScanError, match=r"a\.tif damaged \(its pages form a loop"):
        load(put(tmp_path, data, "a.tif"), window=(-1000, 0))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 12), (200, 3), (12, 7, 3)])
def test_sizes_of_images_are_those_that_are_decoded(tmp_path, suffix, shape):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.zeros(shape, np.uint8))
    assert list(_image_size.page_sizes(path.read_bytes())) == [shape[:2]]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [True, False])
def test_sizes_of_pages_are_read_in_every_kind_of_tiff(order, big):
    sizes = [(3, 4), (5, 6), (7, 8)]
    assert list(_image_size.page_sizes(tiff(sizes, order, big))) == sizes


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"II*\0", b"MM\0+"]),
)
def test_a_damaged_header_is_a_value_error(data, start):
    with contextlib.suppress(ValueError):
        assert all(min(size) >= 0 for size in _image_size.page_sizes(start + data))


def test_a_usual_scan_takes_little_more_memory_than_its_voxels_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(_intensity, "SAMPLE_SIZE", 1000)
    values = np.random.default_rng(0).integers(-1000, 1000, (64, 256, 256), np.int16)
    data = nifti((256, 256, 64))[:352] + values.tobytes()
    path = put(tmp_path, gzip.compress(data, 0), "scan.nii.gz")
    assert peak(load, path) < 2.1 * values.nbytes + 5 * 2**20


def test_the_largest_scan_is_larger_than_a_whole_body():
    assert _stream.LARGEST_VOXELS > 2000 * 512 * 512
    assert _voxels.LARGEST_VOXELS is _stream.LARGEST_VOXELS


@given(
    changes=st.lists(st.tuples(st.integers(0, 347), st.binary(min_size=1, max_size=8)), max_size=5),
    end=st.one_of(st.none(), st.integers(0, 800)),
    packed=st.booleans(),
)
@pytest.mark.filterwarnings("ignore::lungmask_jax.errors.ScanWarning")
def test_whatever_a_header_holds_is_read_or_refused(tmp_path_factory, changes, end, packed):
    data = bytearray(nifti())
    for place, replacement in changes:
        data[place : place + len(replacement)] = replacement
    data = bytes(data[:end])
    path = put(tmp_path_factory.mktemp("fuzz"), gzip.compress(data) if packed else data)
    with contextlib.suppress(ScanError):
        ct = load(path, window=(-1000, 200))
        assert np.isfinite(ct.array).all()
        assert np.isfinite(ct.affine).all()
