from pathlib import Path

import hypothesis.extra.numpy as arrays
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
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


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    for path in (tmp_path / "text.npz", tmp_path):
        with pytest.raises(WeightsError, match=r"expected a tree, .* is damaged or something else"):
            trees.read(path, "a tree")
    with pytest.raises(WeightsError, match=r"ends in \.npz, found tree\.bin"):
        trees.write(Path("tree.bin"), {}, {})
