import contextlib
import json
import subprocess
import sys
import time
import zipfile

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungmask_jax import models, postprocess, tasks, trees, weights
from lungmask_jax.errors import SpecError, UnknownNameError, WeightsError
from lungmask_jax.spec import ModelSpec, PreprocessSpec, SegmenterSpec

NETWORK = ModelSpec(options={"channels": [2], "stem": 1, "norm": "batch"})
SPEC = SegmenterSpec(
    target="lungs",
    model=NETWORK,
    preprocess=PreprocessSpec(size=(64, 64)),
    postprocess=postprocess.complete(tasks.LUNGS.postprocess),
    card={"by": "us"},
)


@pytest.fixture(scope="module")
def numbers():
    """Parameters and state of the network."""
    return weights.create_model(NETWORK).init(jax.random.key(0))


@pytest.fixture(scope="module")
def good(tmp_path_factory, numbers):
    """A good bundle."""
    path = tmp_path_factory.mktemp("weights") / "good.npz"
    weights.save(path, SPEC, *numbers, half=False)
    return path


def contents(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_single_precision_comes_back_exactly(good, numbers):
    bundle = weights.load(good)
    assert jax.tree.structure((bundle.params, bundle.state)) == jax.tree.structure(numbers)
    for mine, theirs in zip(leaves((bundle.params, bundle.state)), leaves(numbers), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == np.float32


def test_half_precision_comes_back_to_eleven_bits_in_half_the_size(tmp_path, numbers):
    path = tmp_path / "half.npz"
    weights.save(path, SPEC, *numbers)
    stored = [array for name, array in contents(path).items() if not name.startswith("__")]
    assert {array.dtype for array in stored} == {np.dtype(np.float16)}
    bundle = weights.load(path)
    for mine, theirs in zip(leaves(bundle.params), leaves(numbers[0]), strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, theirs, rtol=2**-11, atol=2**-25)


def test_a_bundle_knows_its_name_its_spec_and_its_network(good):
    bundle = weights.load(good)
    assert bundle.name == "good"
    assert bundle.spec == SPEC
    assert bundle.model is weights.create_model(NETWORK)
    assert len(bundle.checksum) == 64


def test_text_and_path_load_the_same(good):
    assert weights.load(str(good)).checksum == weights.load(good).checksum


def test_numpy_alone_can_read_a_bundle(good, numbers):
    arrays = contents(good)
    assert json.loads(str(arrays["__spec__"]))["target"] == "lungs"
    head = arrays["params/head/kernel"]
    np.testing.assert_array_equal(head, numbers[0]["head"]["kernel"])
    assert sum(name.startswith("state/") for name in arrays) == len(leaves(numbers[1]))


def test_the_checksum_follows_the_numbers(good, tmp_path, numbers):
    params, state = numbers
    weights.save(tmp_path / "same.npz", SPEC, params, state, half=False)
    assert weights.load(tmp_path / "same.npz").checksum == weights.load(good).checksum
    params = jax.tree.map(lambda leaf: leaf + 1, params)
    weights.save(tmp_path / "other.npz", SPEC, params, state, half=False)
    assert weights.load(tmp_path / "other.npz").checksum != weights.load(good).checksum


def test_names_are_those_that_ship():
    assert {"infection", "lungs"} <= set(weights.registry)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"no 'lung' .*did you mean 'lungs'"):
        weights.load("lung")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no file .*nowhere\.npz"):
        weights.load(tmp_path / "nowhere.npz")


@settings(max_examples=200)
@given(data=st.data())
def test_a_flipped_bit_is_found_or_harmless(good, tmp_path_factory, data):
    raw = bytearray(good.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flipped") / "good.npz"
    path.write_bytes(raw)
    with contextlib.suppress(WeightsError):
        bundle = weights.load(path)
        assert bundle.checksum == weights.load(good).checksum
        assert bundle.spec == SPEC


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_half_a_file_is_damaged(good, tmp_path, share):
    raw = good.read_bytes()
    path = tmp_path / "cut.npz"
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(WeightsError, match=r"cut\.npz is damaged or something else"):
        weights.load(path)


def write_text(path):
    path.write_text("these are not the weights you are looking for")


def write_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def write_pickle(path):
    np.savez(path, __spec__=np.array({"target": "lungs"}, dtype=object))


def write_folder(path):
    path.mkdir()


def write_archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")


@pytest.mark.parametrize(
    "write", [write_text, write_array, write_pickle, write_folder, write_archive]
)
def test_other_files_are_no_bundles(tmp_path, write):
    path = tmp_path / "other.npz"
    write(path)
    with pytest.raises(WeightsError, match=r"expected a weights bundle.*other\.npz"):
        weights.load(path)


@pytest.mark.parametrize("key", ["__spec__", "__checksum__"])
def test_a_bundle_without_its_texts_is_damaged(good, tmp_path, key):
    arrays = contents(good)
    del arrays[key]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(WeightsError, match=key):
        weights.load(tmp_path / "less.npz")


def test_an_exchanged_array_does_not_pass_the_checksum(good, tmp_path):
    arrays = contents(good)
    arrays["params/head/bias"] = arrays["params/head/bias"] + 1
    np.savez(tmp_path / "changed.npz", **arrays)
    with pytest.raises(WeightsError, match="differ from its checksum"):
        weights.load(tmp_path / "changed.npz")


def test_a_spec_that_cannot_be_read_names_the_file(good, tmp_path):
    arrays = contents(good)
    arrays["__spec__"] = np.array('{"target": "heart"}')
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(WeightsError, match=r"odd\.npz.*'heart'"):
        weights.load(tmp_path / "odd.npz")


def test_arrays_that_do_not_fit_the_network_are_all_named(tmp_path, numbers):
    params, state = numbers
    head = {"kernel": np.zeros((5, 1)), "extra": np.zeros(1)}
    weights.save(tmp_path / "odd.npz", SPEC, {**params, "head": head}, state)
    with pytest.raises(WeightsError) as caught:
        weights.load(tmp_path / "odd.npz")
    for difference in (
        "odd.npz does not fit",
        "missing params/head/bias",
        "unknown params/head/extra",
        "params/head/kernel is (5, 1), not (2, 1)",
    ):
        assert difference in str(caught.value)


def changed(good, path, **members):
    """The good bundle with other members and a checksum that is right."""
    arrays = contents(good) | members
    numbers = {name: array for name, array in arrays.items() if not name.startswith("__")}
    arrays["__checksum__"] = np.array(trees.checksum(numbers))
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    "values",
    [
        np.full(1, np.nan, np.float32),
        np.full(1, np.inf, np.float16),
        np.full(1, -np.inf),
        np.full(1, 1e300),
        np.full(1, "1.5"),
        np.full(1, b"1.5"),
        np.full(1, 1 + 2j),
        np.full(1, 1),
        np.full(1, True),
        np.full(1, "2020-01-01", "datetime64[D]"),
        np.zeros(1, [("a", "f4")]),
    ],
    ids=lambda values: f"{values.dtype} {values[0]}",
)
def test_only_finite_real_numbers_are_loaded_whatever_the_checksum(good, tmp_path, values):
    if values.dtype.kind == "V":  # which has no checksum
        path = tmp_path / "odd.npz"
        np.savez(path, **contents(good) | {"params/head/bias": values})
    else:
        path = changed(good, tmp_path / "odd.npz", **{"params/head/bias": values})
    with pytest.raises(WeightsError, match=r"odd\.npz.*params/head/bias|params/head/bias.*odd"):
        weights.load(path)


@pytest.mark.parametrize(
    "turn", [np.asfortranarray, lambda one: one.astype(one.dtype.newbyteorder(">"))]
)
def test_numbers_in_another_order_are_the_same_numbers(good, tmp_path, turn):
    kernel = contents(good)["params/encoder/0/convolutions/1/kernel"]
    members = {"params/encoder/0/convolutions/1/kernel": turn(kernel)}
    bundle = weights.load(changed(good, tmp_path / "turned.npz", **members))
    for mine, theirs in zip(leaves(bundle.params), leaves(weights.load(good).params), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == np.float32


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"at": 0.5', '"at": NaN'),
        ('"slope": 1.0', '"slope": NaN'),
        ('"window": [-1100.0, 250.0]', '"window": [-1e999, 250.0]'),
        ('"size": [64, 64]', '"size": [1000000, 1000000]'),
        ('"members": 1', '"members": 1000000000'),
        ('"channels": [2]', '"channels": [30000, 30000, 30000]'),
        ('"channels": [2]', '"channels": "abc"'),
        ('"channels": [2]', '"channels": [2], "depht": 3'),
        ('"by": "us"', f'"by": {"[" * 500}{"]" * 500}'),
        ('"by": "us"', f'"by": {"[" * 100_000}{"]" * 100_000}'),
        ('"by": "us"', f'"by": {"9" * 5000}'),
        ('"by": "us"', '"by": 1, "by": 2'),
        ('"name": "unet"', '"name": "unett"'),
    ],
    ids=lambda text: text[:30],
)
def test_a_spec_that_cannot_be_used_is_refused_with_the_file(good, tmp_path, old, new):
    text = str(contents(good)["__spec__"])
    assert old in text
    path = changed(good, tmp_path / "odd.npz", __spec__=np.array(text.replace(old, new)))
    with pytest.raises(WeightsError, match=r"odd\.npz") as caught:
        weights.load(path)
    assert len(str(caught.value)) < 1500


def test_integers_of_a_state_stay_integers(tmp_path):
    params, state = {"w": np.float32([1.5])}, {"count": np.int32([100_003]), "on": np.array(True)}
    models.registry.register(
        "counting", lambda: models.Model(lambda key: (params, state), lambda *_: None)
    )
    spec = SegmenterSpec(target="lungs", model=ModelSpec(name="counting"))
    weights.save(tmp_path / "mine.npz", spec, params, state)
    found = weights.load(tmp_path / "mine.npz").state
    assert (found["count"].item(), found["count"].dtype) == (100_003, np.int32)
    assert found["on"].dtype == np.bool_
    with pytest.raises(WeightsError, match="params/w has complex64"):
        weights.save(tmp_path / "mine.npz", spec, {"w": np.complex64([1])}, state)


def test_too_large_a_network_is_refused_before_it_is_made():
    for spec in (
        ModelSpec(options={"channels": [20_000] * 3}),
        ModelSpec(name="efficient_unet", members=100, options={"width": 8.0}),
    ):
        with pytest.raises(SpecError, match="at most 1,000,000,000 parameters, found"):
            weights.create_model(spec)


def test_options_of_other_types_are_another_network():
    with pytest.raises(SpecError, match=r"found 2\.0"):
        weights.create_model(ModelSpec(options={"channels": [2.0, 4]}))


@pytest.mark.parametrize("half", [True, False])
def test_equal_bundles_are_equal_to_the_byte(tmp_path, numbers, half, monkeypatch):
    weights.save(tmp_path / "one.npz", SPEC, *numbers, half=half)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    weights.save(tmp_path / "other.npz", SPEC, *numbers, half=half)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


def test_only_npz_is_written(tmp_path, numbers):
    with pytest.raises(WeightsError, match=r"\.npz, found .*mine\.pt"):
        weights.save(tmp_path / "mine.pt", SPEC, *numbers)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "half"), [(1e6, True), (np.nan, True), (np.nan, False), (np.inf, False)]
)
def test_numbers_that_cannot_be_stored_are_refused_and_the_old_file_stays(
    tmp_path, good, numbers, value, half
):
    params, state = numbers
    path = tmp_path / "mine.npz"
    path.write_bytes(good.read_bytes())
    broken = {**params, "head": {**params["head"], "bias": np.full(1, value, np.float32)}}
    with pytest.raises(WeightsError, match="params/head/bias"):
        weights.save(path, SPEC, broken, state, half=half)
    assert path.read_bytes() == good.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_behind_when_writing_fails(tmp_path, numbers, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space left"):
        weights.save(tmp_path / "mine.npz", SPEC, *numbers)
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_the_bundle_is_written(tmp_path, numbers):
    weights.save(tmp_path / "mine.npz", SPEC, *numbers)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]


def test_equal_specs_share_one_network():
    one = weights.create_model(ModelSpec(options={"channels": (2, 4)}))
    assert one is weights.create_model(ModelSpec(options={"channels": [2, 4]}))
    assert one is not weights.create_model(ModelSpec(options={"channels": [2, 3]}))


NETWORKS = {
    "slices": ModelSpec(options={"channels": [4, 8]}),
    "neighbors": ModelSpec(options={"channels": [4, 8], "in_channels": 3}),
    "volumes": ModelSpec(name="unet_3d", options={"channels": [4, 8], "flat_levels": 0}),
    "ensemble": ModelSpec(options={"channels": [4, 8]}, members=3),
}


@pytest.mark.parametrize(
    "network",
    [
        "slices",
        "ensemble",
        pytest.param("neighbors", marks=pytest.mark.slow),
        pytest.param("volumes", marks=pytest.mark.slow),
    ],
)
def test_an_exported_network_answers_as_the_bundle_does(network, key, tmp_path):
    spec = SegmenterSpec(
        target="lungs", model=NETWORKS[network], preprocess=PreprocessSpec(size=(32, 48))
    )
    model = weights.create_model(spec.model)
    params, state = model.init(key)
    weights.export(weights.Bundle("mine", spec, params, state, ""), tmp_path / "mine.jaxexport")
    program = jax.export.deserialize((tmp_path / "mine.jaxexport").read_bytes())
    depth = (16,) if model.ndim == 3 else ()
    for count in (1, 3):
        images = jax.random.uniform(key, (count, *depth, 32, 48, model.in_channels))
        expected, _ = model.apply(params, state, images)
        np.testing.assert_allclose(program.call(images), expected, atol=1e-5)


def test_an_exported_network_runs_without_flax(key, tmp_path):
    model = NETWORKS["slices"]
    spec = SegmenterSpec(target="lungs", model=model, preprocess=PreprocessSpec(size=(32, 48)))
    bundle = weights.Bundle("mine", spec, *weights.create_model(model).init(key), "")
    weights.export(bundle, tmp_path / "mine.jaxexport")
    code = (
        "import sys, pathlib, jax.export, numpy\n"
        "sys.modules['flax'] = sys.modules['lungmask_jax'] = None\n"
        f"data = pathlib.Path({str(tmp_path / 'mine.jaxexport')!r}).read_bytes()\n"
        "images = numpy.zeros((2, 32, 48, 1), numpy.float32)\n"
        "print(jax.export.deserialize(data).call(images).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 32, 48, 1)"


def test_a_case_is_known_by_its_fingerprint_not_by_its_name():
    card = {
        "trained_on": ["a"],
        "trained_on_images": ["1"],
        "held_out": ["b"],
        "held_out_images": ["2"],
    }
    assert weights.seen_in_training(card, "renamed", "1") == "learned from"
    assert weights.seen_in_training(card, "renamed", "2") == "held out"
    assert weights.seen_in_training(card, "a", "3") == ""


def test_without_fingerprints_the_names_count():
    card = {"trained_on": ["a"], "held_out": ["b"]}
    assert [weights.seen_in_training(card, name, "1") for name in "abc"] == [
        "learned from",
        "held out",
        "",
    ]


def test_what_any_member_has_learned_from_the_ensemble_knows():
    one, other = {"trained_on_images": ["1"]}, {"trained_on_images": ["2"], "held_out": ["x"]}
    ensemble = {"members": [other, {"members": [other, one]}]}
    assert weights.seen_in_training(ensemble, "", "1") == "learned from"
    assert weights.seen_in_training(ensemble, "x", "3") == "held out"


@pytest.mark.parametrize("said", [None, 3, "ab", {"a": 1}])
def test_cards_of_any_making_are_asked_without_harm(said):
    card = {"trained_on": said, "trained_on_images": said, "held_out": said}
    assert weights.seen_in_training(card, "a", "a") == ""
    assert weights.seen_in_training({"members": [said, 5]}, "a", "a") == ""
