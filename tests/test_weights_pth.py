"""Files of PyTorch: sound ones that it wrote, and hostile ones made by hand."""

import contextlib
import importlib
import pickle
import random
import sys
import tracemalloc
import zipfile
from pathlib import Path

import hypothesis.extra.numpy as arrays
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax.errors import WeightsError
from lungmask_jax.weights import read_pth

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
pth_files = importlib.import_module("pth_files")
sys.path.remove(str(BENCHMARKS))
Call, Named, Storage, tensor = (
    getattr(pth_files, name) for name in ("Call", "Named", "Storage", "tensor")
)

REFERENCES = Path(__file__).parent / "references"
CONTAINERS = {"zip": pth_files.zipped, "legacy": pth_files.legacy}
every = pytest.mark.parametrize("container", CONTAINERS)
drawn = st.dictionaries(
    st.text(),
    st.sampled_from([np.dtype(kind) for kind in pth_files.KINDS]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0))
    ),
    max_size=4,
)


@pytest.fixture
def read(tmp_path):
    """A function that reads bytes as a file."""

    def read(data):
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        return read_pth(path)

    return read


def stored(leaves):
    """As contiguous tensors, each with a storage of its own."""
    return {
        name: tensor(
            Storage(str(number), array.ravel()),
            array.shape,
            tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)[
                -array.ndim :
            ]
            if array.ndim
            else (),
        )
        for number, (name, array) in enumerate(leaves.items())
    }


def numbers(count=6, *, claimed=None):
    return Storage("0", np.arange(count, dtype=np.float32), count=claimed)


def test_an_empty_state_is_an_empty_dict(read):
    assert read(pth_files.zipped({})) == read(pth_files.legacy({})) == {}


@pytest.mark.parametrize("name", ["torch_2.13.pth", "torch_2.13_legacy.pth", "torch_2.13_4.pth"])
def test_what_pytorch_itself_wrote_is_read(name):
    state = read_pth(REFERENCES / name)
    assert state["network_weights"]["0.weight"].shape == (2, 1, 3, 3)
    assert state["network_weights"]["1.num_batches_tracked"] == 1
    assert state["optimizer_state"]["param_groups"][0]["momentum"] == 0.9
    assert state["optimizer_state"]["state"][0]["momentum_buffer"].shape == (2, 1, 3, 3)
    base, views = np.arange(24, dtype=np.float32), state["views"]
    assert np.array_equal(views["all"], base)
    assert np.array_equal(views["turned"], base.reshape(4, 6).T)
    assert np.array_equal(views["third"], base[5:17:3])
    assert np.array_equal(views["permuted"], base.reshape(2, 3, 4).transpose(2, 0, 1))
    for kind, array in state["kinds"].items():
        assert array.dtype == jnp.dtype(kind)
        assert array.astype(int).tolist() == [0, 1, 1 if kind == "bool" else 2]
    assert state["empty"].shape == (0, 3)
    assert state["parameter"].tolist() == [1, 1]
    assert state["logging"] == {
        "numpy": [0.5, 0.25, 3, 1 / 3],
        "plain": [1.5, None, True, 2**40, -3],
    }
    assert state["init_args"] == {
        "bytes": b"ab\xff",
        "device": "cuda:0",
        "dtype": np.float16,
        "none": b"",
        "size": (2, 3),
    }


@every
@given(leaves=drawn)
def test_what_was_stored_is_read(container, tmp_path_factory, leaves):
    path = tmp_path_factory.mktemp("pth") / "weights.pth"
    path.write_bytes(CONTAINERS[container](stored(leaves)))
    found = read_pth(path)
    assert list(found) == list(leaves)
    for name, array in leaves.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array, equal_nan=array.dtype.kind == "f")


@every
def test_tensors_share_their_numbers_and_cannot_be_written(container, read):
    state = read(CONTAINERS[container](pth_files.sound()))["network_weights"]
    weight, turned = state["convolution.weight"], state["turned"]
    assert np.shares_memory(weight, state["all_modules.0.weight"])
    assert np.shares_memory(weight, turned)
    assert turned.tolist() == [[5, 11, 17], [6, 12, 18]]
    with pytest.raises(ValueError, match="read-only"):
        turned[0, 0] = 1


def test_bfloat16_is_that_of_jax(read):
    raw = np.array([0x3F80, 0xC020], np.uint16).view(np.int16)
    state = {"w": tensor(Storage("0", raw, kind="BFloat16"))}
    found = read(pth_files.zipped(state))["w"]
    assert found.dtype == jnp.bfloat16
    assert found.astype(np.float32).tolist() == [1, -2.5]


@pytest.mark.parametrize("order", ["big", "little", None])
def test_either_byte_order_of_a_zip_is_read(read, order):
    found = read(pth_files.zipped(pth_files.sound(), order=order))
    assert found["network_weights"]["turned"].tolist() == [[5, 11, 17], [6, 12, 18]]
    assert found["network_weights"]["seen"] == 7


@every
def test_plain_values_of_a_checkpoint_are_those_of_python(container, read):
    found = read(CONTAINERS[container](pth_files.sound()))
    assert found["logging"] == {"losses": [0.0, 0.5, None, -3, 2**40]}
    assert found["init_args"] == {"device": "cuda:0", "configuration": "2d"}
    assert found["inference_allowed_mirroring_axes"] == (0, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither a zip nor a pickle"),
        (b"<html>", "neither a zip nor a pickle"),
        (bytes(257) + b"ustar" + bytes(250), "a tar"),
        (pickle.dumps({"w": 1}), "a pickle of something else"),
        (pth_files.legacy({}, version=7), "a pickle of something else"),
        (pth_files.legacy({}, about={"little_endian": False}), "big-endian"),
        (pth_files.legacy({}, keys=["0"]), "list of storages"),
        (pth_files.legacy({"w": tensor(numbers())}, keys=["0", "0"]), "list of storages"),
        (pth_files.zipped({}, order="middle"), "unknown byte order b'middle'"),
        (pth_files.zipped({}, further={"constants.pkl": b""}), "TorchScript"),
        (pth_files.zipped({}, further={"code/data.pkl": b""}), "2 members data.pkl"),
        (pth_files.zipped({}, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (pth_files.zipped({}).replace(b"data.pkl", b"data.pke"), "0 members data.pkl"),
        (pth_files.zipped({})[:100], "damaged"),
        (pth_files.legacy({"w": tensor(numbers())})[:-1], "ends too early"),
        (pth_files.legacy({"w": 1})[:-20], "ends too early"),
        (pth_files.zipped([1]), "expected a dict of tensors .*, found a list"),
    ],
)
def test_other_containers_are_refused_by_name(read, data, message):
    with pytest.raises(WeightsError, match=message):
        read(data)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="found no file"):
        read_pth(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="damaged or something else"):
        read_pth(tmp_path)


def test_a_member_that_is_there_twice_is_refused(read):
    data = pth_files.zipped({}, further={"data.pkx": b"N."})
    with pytest.raises(WeightsError, match=r"'archive/data.pkl' is there twice"):
        read(data.replace(b"data.pkx", b"data.pkl"))


@pytest.mark.parametrize("part", ["magic", "version", "about", "value", "keys"])
def test_none_of_the_pickles_of_a_legacy_file_is_executed(read, tmp_path, part):
    """CVE-2025-32434: what stood beside the value was read by Python's own pickle."""
    hostile = Call("os.system", f"touch {tmp_path}/executed")
    given = {} if part == "value" else {part: hostile}
    with pytest.raises(WeightsError, match=r"names 'os\.system'"):
        read(pth_files.legacy(hostile if part == "value" else {}, **given))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "builtins.getattr",
        "collections.defaultdict",
        "numpy.core.multiarray._reconstruct",
        "torch.ComplexFloatStorage",
        "torch._utils._rebuild_sparse_tensor",
        "torch._dynamo.guards.GuardBuilder.get",
        "lungmask.resunet.UNet",
    ],
)
def test_an_unknown_name_is_an_error_that_tells_it(read, name):
    with pytest.raises(WeightsError, match=f"names '{name}'"):
        read(pth_files.zipped({"w": Named(name)}))


HOSTILE = {
    "an item is set in a list": (
        b"]K\0K\1s.",
        "adds to a value that is not a dict",
    ),  # CVE-2026-24747
    "an item is set in a tensor": (
        b"cnumpy\ndtype\nX\2\0\0\0f8\x85RK\0K\1s.",
        "a value that is not a dict",
    ),
    "items are set in nothing": (b"(K\0K\1u.", "adds to a value that is not a dict"),
    "something is added to a dict": (b"}K\0a.", "adds to a value that is not a list"),
    "a key has no value": (b"}(K\0u.", "key without a value"),
    "a key is a list": (b"}]K\1s.", "a list is a key"),
    "a key is a tuple": (b"}))s.", "a tuple is a key"),
    "keys share a hash": (
        b"}\x8a\x08" + (2**61 - 1).to_bytes(8, "little") + b"K\1s.",
        "int is a key",
    ),
    "a list holds itself": (b"}K\0]q\0h\0as.", "contain themselves"),
    "lists are deep": (b"}K\0" + b"]" * 99 + b"a" * 98 + b"s.", "too deep"),
    "a text is too short": (b"}X\xff\xff\xff\x7fa.", "2147483647 more bytes"),
    "a text is far too short": (b"}\x8d" + b"\xff" * 8 + b"a.", "more bytes"),
    "an integer is long": (b"}\x8a\xff" + bytes(255) + b".", "integer of 255 bytes"),
    "a text is no text": (b"}X\1\0\0\0\xff.", "codec can't decode"),
    "the stack is empty": (b"0.", "takes a value that does not exist"),
    "there is no mark": (b"t.", "takes a mark"),
    "the memo is empty": (b"h\0.", "takes value 0 of 0"),
    "the memo has a gap": (b"}r\xff\xff\xff\x7f.", "as number 2147483647 of 0"),
    "nothing is kept": (b"q\0.", "as number 0 of 0"),
    "the end is missing": (b"}", "ends too early"),
    "a name has no end": (b"c" + b"a" * 300, "name without an end"),
    "a name is no text": (b"K\1K\1\x93.", "name that is not a string"),
    "a list is called": (b"])R.", "calls a value that is not a function"),
    "a function is called with a list": (
        b"ctorch\nSize\n]R.",
        "calls a value that is not a function",
    ),
    "a function is called with too much": (b"ccollections\nOrderedDict\n]\x85R.", "damaged"),
    "the state of a list is set": (b"]}b.", "sets the state"),
    "an opcode is old": (b"I01\n.", "opcode INT"),
    "an opcode is none": (b"\xff.", r"opcode b'\\xff'"),
    "an extension": (b"\x82\1.", "opcode EXT1"),
    "a function is all there is": (b"}K\0ctorch\nSize\ns.", "a function by itself"),
    "a program": (b"(X\6\0\0\0modulet K\0Q.".replace(b" ", b""), "unknown way"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_pickle_is_refused(read, what):
    data, message = HOSTILE[what]
    with pytest.raises(WeightsError, match=message):
        read(pth_files.zipped(b"\x80\2" + data))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (tensor(numbers(), (7,)), "its storage has 6 numbers"),
        (tensor(numbers(), (2, 2), (5, 1)), "its storage has 6 numbers"),
        (tensor(numbers(), (2,), (2**62,)), "its storage has 6 numbers"),
        (tensor(numbers(), (1,), offset=6), "its storage has 6 numbers"),
        (tensor(numbers(), (9, 9, 9), (0, 0, 0)), "its storage has 6 numbers"),
        (tensor(numbers(), (2,), (-1,), offset=3), "no shape or no strides"),
        (tensor(numbers(), (2,), offset=-1), "no offset"),
        (tensor(numbers(), (2,), offset=True), "no offset"),
        (tensor(numbers(), (2, 3), (1,)), "no shape or no strides"),
        (tensor(numbers(), [2], (1,)), "no shape or no strides"),
        (tensor(numbers(), (1,) * 33, (1,) * 33), "no shape or no strides"),
        (tensor(numbers(), (0, 2**62), (1, 1)), "has the shape"),
        (Call("torch._utils._rebuild_tensor_v2", 1, 0, (), ()), "no storage"),
        (Call("torch._utils._rebuild_parameter", 1, True, {}), "a parameter in it is no tensor"),
        (Call("numpy.dtype", "O8", False, True), "dtype 'O8'"),
        (Call("numpy.core.multiarray.scalar", Call("numpy.dtype", "f8"), b""), "not its length"),
        (Call("_codecs.encode", "a", "rot13"), "unknown way"),
        (Call("torch.device", ["cuda"]), "device without a name"),
        (Call("torch.Size", [1]), "a size that is not a tuple"),
        (numbers(), "a storage by itself"),
    ],
)
def test_a_value_that_cannot_be_is_refused(read, value, message):
    for container in CONTAINERS.values():
        with pytest.raises(WeightsError, match=message):
            read(container({"w": value}))


@every
@pytest.mark.parametrize("count", [5, 7, 2**20, 2**62, -1])
def test_a_storage_of_another_size_than_is_claimed_is_refused(container, read, count):
    """CVE-2026-24747, too."""
    hostile = CONTAINERS[container]({"w": tensor(numbers(claimed=count), (1,))})
    with pytest.raises(WeightsError, match=r"its storage|more memory|no dtype, key or length"):
        read(hostile)


def test_a_storage_that_is_missing_or_described_in_two_ways_is_refused(read):
    state = {"w": tensor(numbers())}
    with pytest.raises(WeightsError, match="should have 24 bytes, and is missing"):
        read(pth_files.zipped(state).replace(b"archive/data/0", b"archive/data/1"))
    for other in (numbers(5), Storage("0", np.zeros(6, np.int32))):
        with pytest.raises(WeightsError, match="described in two ways"):
            read(pth_files.zipped({**state, "v": tensor(other)}))


def test_a_bool_that_is_neither_is_refused(read):
    state = {"w": tensor(Storage("0", np.array([0, 1, 2], np.uint8), kind="Bool"))}
    with pytest.raises(WeightsError, match="neither true nor false"):
        read(pth_files.zipped(state))


def test_many_storages_take_no_more_than_the_file_has(read):
    state = {
        str(at): tensor(Storage(str(at), np.zeros(1, np.uint8), count=900)) for at in range(99)
    }
    with pytest.raises(WeightsError, match="its storages take more memory"):
        read(pth_files.legacy(state))


def test_a_list_that_is_met_too_often_is_refused(read):
    """A billion laughs: small in the file and in memory, endless for who walks through it."""
    value = []
    for _ in range(9):
        value = [value] * 20
    with pytest.raises(WeightsError, match="too deep or too many"):
        read(pth_files.zipped({"w": value}))


@every
def test_memory_is_about_that_of_the_numbers(container, read):
    data = CONTAINERS[container]({"w": tensor(Storage("0", np.zeros(5_000_000, np.float32)))})
    tracemalloc.start()
    read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * len(data)


def test_a_damaged_file_is_opened_or_refused(read):
    choose = random.Random(0)
    for container in CONTAINERS.values():
        sound = container(pth_files.sound())
        for _ in range(500):
            data = bytearray(sound)
            for _ in range(choose.choice((1, 1, 3, 9))):
                data[choose.randrange(len(data))] = choose.choice((0, 255, *b"(tRbsqh}]c", 1))
            with contextlib.suppress(WeightsError):
                read(data[: choose.choice((None, None, choose.randrange(len(data))))])


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_as_a_pickle(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("pth") / "weights.pth"
    path.write_bytes(pth_files.zipped(b"\x80\2}" + data + b"."))
    with contextlib.suppress(WeightsError):
        assert type(read_pth(path)) is dict
