import contextlib
import io
import os
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import hypothesis.extra.numpy as arrays
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungmask_jax import trees
from lungmask_jax.errors import WeightsError

dtypes = st.sampled_from([np.float32, np.float16, np.int32, np.uint8, np.bool_])
drawn = st.dictionaries(
    st.text("abc/", min_size=1).filter(lambda name: not name.startswith("/")),
    dtypes.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0))),
    max_size=4,
)


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f")
        for name in one
    )


def test_an_empty_tree_goes_through_a_file(tmp_path):
    trees.write(tmp_path / "empty.npz", {}, {})
    assert trees.read(tmp_path / "empty.npz", "a tree")[:2] == ({}, {})


@given(drawn, st.booleans())
def test_what_was_written_is_read(tmp_path_factory, leaves, compress):
    path = tmp_path_factory.mktemp("tree") / "tree.npz"
    trees.write(path, leaves, {"note": "über"}, compress=compress)
    stored = trees.read(path, "a tree")
    assert same(stored.arrays, leaves)
    assert stored.texts == {"note": "über"}
    assert stored.checksum == trees.checksum(leaves)


def test_a_file_is_readable_without_this_library(tmp_path):
    trees.write(tmp_path / "tree.npz", {"a/b": np.arange(3)}, {"note": "hi"})
    with np.load(tmp_path / "tree.npz", allow_pickle=False) as file:
        assert file["a/b"].tolist() == [0, 1, 2]
        assert str(file["__note__"]) == "hi"


def test_names_are_paths_and_fill_puts_them_back():
    tree = {"one": [jnp.zeros(2), jnp.ones((2, 3))], "two": (jnp.int32(4),)}
    named = {name: np.asarray(leaf) for name, leaf in trees.leaves(tree).items()}
    assert list(named) == ["one/0", "one/1", "two/0"]
    filled = trees.fill(tree, named, Path("x.npz"))
    assert filled["two"] == (4,)
    assert filled["one"][1].sum() == 6


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "missing a"),
        ({"a": np.zeros(2), "b": np.zeros(2)}, "unknown b"),
        ({"a": np.zeros(3)}, r"a is \(3,\), not \(2,\)"),
    ],
)
def test_a_tree_that_does_not_fit_names_the_difference(arrays, message):
    with pytest.raises(WeightsError, match=message):
        trees.fill({"a": np.zeros(2)}, arrays, Path("x.npz"))


def test_a_changed_number_is_noticed(tmp_path):
    path = tmp_path / "tree.npz"
    trees.write(path, {"a": np.zeros(1000)}, {})
    with np.load(path) as file:
        changed = {**file, "a": np.ones(1000)}
    np.savez(path, **changed)
    with pytest.raises(WeightsError, match="differ from its checksum"):
        trees.read(path, "a tree")


TREE = {"a": np.arange(200, dtype=np.float32), "b/c": np.zeros((3, 2), np.float16)}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of `TREE`."""
    path = tmp_path_factory.mktemp("trees") / "good.npz"
    trees.write(path, TREE, {"note": "hi"}, compress=True)
    return path


def expected(_texts):
    return TREE


@settings(max_examples=300)
@given(data=st.data())
def test_damage_is_found_or_harmless(good, tmp_path_factory, data):
    raw = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "tree.npz"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    for shapes in (expected, None):
        with contextlib.suppress(WeightsError):
            assert same(trees.read(path, "a tree", shapes=shapes).arrays, TREE)


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array))
    return file.getvalue()


def header(text, data=b""):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


SUM = ("__checksum__.npy", npy("0"))
ZEROS = ("a.npy", npy(np.zeros(10**8, np.uint8)))
HOSTILE = {
    "more than expected": [SUM, ZEROS],
    "beside what is expected": [SUM, ("a.npy", npy(TREE["a"])), ("x.npy", ZEROS[1])],
    "a long text": [SUM, ("__spec__.npy", npy("a" * 25_000_000))],
    "a long checksum": [("__checksum__.npy", npy("0" * 25_000_000))],
    "numbers for a text": [("__checksum__.npy", ZEROS[1])],
    "10^12 numbers": [
        SUM,
        ("a.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }")),
    ],
    "an endless side": [
        SUM,
        ("a.npy", header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {10**30}), }}")),
    ],
    "digits": [
        SUM,
        (
            "a.npy",
            header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'9' * 9000},), }}"),
        ),
    ],
    "a header of code": [SUM, ("a.npy", header("__import__('os').system('true')"))],
    "a deep header": [SUM, ("a.npy", header("{'descr': " + "(" * 5000))],
    "no array": [SUM, ("a.npy", b"nothing of the kind")],
    "an empty member": [SUM, ("a.npy", b"")],
    "another member": [SUM, ("readme.txt", b"hello")],
    "a zip in a zip": [SUM, ("a.npy", b"PK\x03\x04" + bytes(30))],
    "paths": [SUM, ("../../a.npy", npy(1)), ("/a.npy", npy(1))],
    "ten thousand": [SUM, *((f"{n}.npy", b"") for n in range(10_000))],
    "objects": [SUM, ("a.npy", header("{'descr': '|O', 'fortran_order': False, 'shape': (), }"))],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_quickly_and_in_little_memory(tmp_path, kind):
    path = archive(tmp_path / "hostile.npz", HOSTILE[kind])
    tracemalloc.start()
    begun = time.monotonic()
    for shapes in (expected, None):
        with pytest.raises(WeightsError, match=r"hostile\.npz") as caught:
            trees.read(path, "a tree", shapes=shapes)
        assert len(str(caught.value)) < 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    assert time.monotonic() - begun < 10  # 0.2 s where nothing else runs


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_not_unpacked(tmp_path, method):
    path = archive(tmp_path / "packed.npz", [SUM, ("a.npy", npy(TREE["a"]))], method)
    with pytest.raises(WeightsError, match="not a plain member"):
        trees.read(path, "a tree")


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "twice.npz", [SUM, ("a.npy", npy(1)), ("a.npy", npy(2))])
    with pytest.raises(WeightsError, match="'a' is there twice"):
        trees.read(path, "a tree")


def test_a_locked_member_is_refused(good, tmp_path):
    raw = bytearray(good.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := raw.find(mark, at + 1)) >= 0:
            raw[at + offset] |= 1
    (tmp_path / "locked.npz").write_bytes(raw)
    with pytest.raises(WeightsError, match="encrypted"):
        trees.read(tmp_path / "locked.npz", "a tree")


def test_a_directory_without_end_is_not_read(good, tmp_path):
    raw = bytearray(good.read_bytes())
    end = raw.rfind(b"PK\x05\x06")
    raw[end:end] = bytes(10**7)
    size = struct.unpack_from("<I", raw, end + 10**7 + 12)[0]
    struct.pack_into("<I", raw, end + 10**7 + 12, size + 10**7)
    (tmp_path / "long.npz").write_bytes(raw)
    with pytest.raises(WeightsError, match="directory is too long"):
        trees.read(tmp_path / "long.npz", "a tree")


def test_large_members_are_read_in_parts(tmp_path):
    tree = {"a": np.random.default_rng(0).random(10**6), "none": np.zeros((0, 3), np.int8)}
    for compress in (False, True):
        trees.write(tmp_path / "large.npz", tree, {}, compress=compress)
        assert same(
            trees.read(tmp_path / "large.npz", "a tree", shapes=lambda _: tree).arrays, tree
        )


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", "<>")
def test_every_order_of_numbers_is_the_same_array(tmp_path, order, byte_order):
    array = np.arange(24, dtype=f"{byte_order}f4").reshape(2, 3, 4).copy(order)
    trees.write(tmp_path / "tree.npz", {"a": array}, {})
    found = trees.read(tmp_path / "tree.npz", "a tree").arrays["a"]
    np.testing.assert_array_equal(found, array)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(WeightsError, match="no regular file"):
        trees.read(tmp_path / "pipe.npz", "a tree")


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (np.zeros(2, "<U3"), "a holds <U3, not float64"),
        (np.zeros(2, np.complex64), "a holds complex64, not float64"),
        (np.zeros(2, np.int8), "a holds int8, not float64"),
        (np.zeros(2, np.bool_), "a holds bool, not float64"),
    ],
)
def test_numbers_of_another_kind_do_not_fit(there, message):
    with pytest.raises(WeightsError, match=message):
        trees.fill({"a": np.zeros(2)}, {"a": there}, Path("x.npz"))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    for path in (tmp_path / "text.npz", tmp_path):
        with pytest.raises(WeightsError, match=r"expected a tree, .* is damaged or something else"):
            trees.read(path, "a tree")
    with pytest.raises(WeightsError, match=r"ends in \.npz, found tree\.bin"):
        trees.write(Path("tree.bin"), {}, {})
