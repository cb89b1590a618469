"""lungmask's weights in our program, against what lungmask itself made of them."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungmask_jax import cli, inference, postprocess, preprocess, weights
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.spec import PreprocessSpec, SegmenterSpec
from lungmask_jax.volume import Volume

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS.parent / "benchmarks"), str(TESTS / "references")]
made_weights, pth_files, references = (
    importlib.import_module(name) for name in ("made_weights", "pth_files", "lungmask_masks")
)
del sys.path[:2]

THEIRS = dict(np.load(TESTS / "references" / "lungmask_masks.npz"))


def scan(kind):
    return Volume.of(references.scan(references.SHAPES[kind]), spacing=(3.0, 1.0, 1.0)).as_checked()


def write(path, tensors):
    """A file of PyTorch, without it."""
    stored = {}
    for number, (name, array) in enumerate(tensors.items()):
        strides = tuple(step // array.itemsize for step in array.strides)
        storage = pth_files.Storage(str(number), array.ravel())
        stored[name] = pth_files.tensor(storage, array.shape, strides)
    path.write_bytes(pth_files.zipped(stored))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of lungs and lobes."""
    folder = tmp_path_factory.mktemp("weights")
    return {
        name: write(folder / f"{name}.pth", made_weights.tensors(name, references.FEATURES))
        for name in ("lungs", "lobes")
    }


@pytest.mark.parametrize("kind", ["several", "single"])
def test_masks_are_those_of_lungmask(files, kind):
    ct = scan(kind)
    alone = inference.segment(ct, weights=[files["lobes"]])
    both = inference.segment(ct, weights=[files["lobes"], files["lungs"]])
    assert list(both.masks) == ["lungs", "lobes"]
    np.testing.assert_array_equal(alone.masks["lobes"].array, THEIRS[f"{kind} lobes"])
    np.testing.assert_array_equal(both.masks["lungs"].array, THEIRS[f"{kind} lungs"])
    np.testing.assert_array_equal(both.masks["lobes"].array, THEIRS[f"{kind} lungslobes"])


@pytest.mark.parametrize("kind", ["several", "single"])
def test_boxes_around_the_body_of_each_slice_are_those_of_lungmask(kind):
    np.testing.assert_array_equal(preprocess.slice_bodies(scan(kind)), THEIRS[f"{kind} boxes"])


def test_a_slice_without_a_body_is_seen_whole():
    assert preprocess.slice_bodies(Volume(np.full((1, 50, 60), -1000))).tolist() == [[0, 50, 0, 60]]
    assert preprocess.slice_bodies(Volume(np.zeros((0, 50, 60)))).shape == (0, 4)


@pytest.mark.parametrize("name", ["two", "five", "spare", "single"])
def test_regions_join_as_in_lungmask(name):
    (labels, spare), *_ = [(one, spare) for key, one, spare in references.regions() if key == name]
    mask = Volume(labels)
    if spare:
        inside = Volume((labels != 0).astype(np.uint8))
        found = postprocess.fill_outer(mask.with_array(labels * (labels != spare)), fills=inside)
    else:
        found = postprocess.solid_regions(postprocess.join_regions(mask))
    np.testing.assert_array_equal(found.array, THEIRS[f"regions {name}"])


def test_nothing_joins_nothing():
    empty = Volume(np.zeros((2, 3, 4), np.uint8))
    for step in (postprocess.join_regions, postprocess.solid_regions):
        assert not step(empty).array.any()
    assert not postprocess.fill_outer(empty, fills=empty).array.any()
    assert postprocess.fill_outer(empty) is empty


def test_what_touches_no_label_stays_a_region_and_lung_without_one_goes():
    labels = np.zeros((1, 1, 9), np.uint8)
    labels[0, 0] = [1, 1, 1, 1, 0, 1, 1, 1, 0]
    joined = postprocess.join_regions(Volume(labels))
    np.testing.assert_array_equal(joined.array, labels)
    lungs = Volume(np.ones((1, 1, 3), np.uint8))
    assert not postprocess.fill_outer(
        Volume(np.zeros((1, 1, 3), np.uint8)), fills=lungs
    ).array.any()


def test_whole_numbers_stay_whole_from_corner_to_corner():
    slices = np.array([[[0, 1], [4, 9]]], np.int16)
    whole = preprocess.corner_resized(slices, np.array([[0, 2, 0, 2]]), size=(4, 4))
    exact = preprocess.corner_resized(
        slices.astype(np.float32), np.array([[0, 2, 0, 2]]), size=(4, 4)
    )
    assert exact[0, 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    np.testing.assert_array_equal(whole, np.round(exact))
    assert exact[0, [0, 0, 3, 3], [0, 3, 0, 3]].tolist() == [0, 1, 4, 9]


def test_probabilities_and_labels_are_on_the_grid_of_the_scan(files):
    ct, bundle = scan("several"), weights.load(files["lungs"])
    likely = inference.probabilities(ct, bundle)
    labels = inference.labels(ct, bundle)
    assert likely.shape == labels.shape == ct.shape
    assert set(np.unique(labels.array)) == {0, 1, 2}
    assert likely[labels.array > 0].min() > 0.3


def test_a_file_says_what_it_is_and_whose(files, monkeypatch):
    bundle = weights.load(files["lobes"])
    assert (bundle.spec.target, bundle.spec.model.name) == ("lobes", "lungmask_unet")
    assert bundle.spec.card["source"] == "a network of lungmask's kind, of unknown origin"
    assert "unknown" in bundle.spec.card["license"]
    monkeypatch.setattr("lungmask_jax.weights._lungmask.checksum", lambda _: "3a07043d" + 8 * "0")
    card = weights.load(files["lobes"]).spec.card
    assert card["source"] == "lungmask LTRCLobes"
    assert "Apache-2.0" in card["license"]


def test_the_kind_of_a_file_is_told_by_what_it_holds(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("checkpoint").write_bytes(files["lungs"].read_bytes())
    assert weights.load("checkpoint").spec.target == "lungs"
    with pytest.raises(WeightsError, match=r"found no file missing\.pth"):
        weights.load("missing.pth")
    Path("text.pth").write_text("weights")
    with pytest.raises(WeightsError, match=r"text.pth is damaged or something else"):
        weights.load("text.pth")
    Path("folder.zip").mkdir()
    with pytest.raises(WeightsError, match=r"nnU-Net in folder\.zip, found no plans\.json"):
        weights.load("folder.zip")


def test_tensors_of_other_networks_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="expected the tensors of a network that is known"):
        weights.load(write(tmp_path / "other.pth", {"conv.weight": np.zeros((2, 2), np.float32)}))
    tensors = made_weights.tensors("lungs", references.FEATURES)
    tensors |= {"last.weight": np.zeros((4, 4, 1, 1), np.float32)}
    with pytest.raises(
        WeightsError, match=r"of 3 \(lungs\) and 6 \(lobes\) classes, found one of 4"
    ):
        weights.load(write(tmp_path / "four.pth", tensors))


@pytest.mark.parametrize("half", [False, True])
def test_import_writes_a_bundle_and_says_what_it_is(files, tmp_path, capsys, half):
    out = tmp_path / "mine.npz"
    words = ["import", str(files["lungs"]), "-o", str(out), *(["--half"] if half else [])]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "lungs (1 right_lung, 2 left_lung), lungmask_unet with" in said
    assert "Licence: unknown: ask who trained it" in said
    bundle, source = weights.load(out), weights.load(files["lungs"])
    assert bundle.spec == source.spec
    assert (bundle.checksum == source.checksum) != half
    assert cli.main(words) == 1
    assert "mine.npz is there" in capsys.readouterr().err
    assert cli.main([*words, "--overwrite"]) == 0


def test_a_box_a_slice_and_the_way_back_belong_together(files):
    spec = weights.load(files["lungs"]).spec
    with pytest.raises(SpecError, match="one step 'onto_scan' with the region 'bodies'"):
        replace(spec, postprocess=(("most_likely", {}),))
    with pytest.raises(SpecError, match="found 1 with 'body'"):
        replace(spec, preprocess=PreprocessSpec())
    with pytest.raises(SpecError, match="one box for all slices, found 'bodies'"):
        preprocess.region(scan("single"), spec.preprocess)


def test_lobes_are_not_trained():
    with pytest.raises(SpecError, match="expected a target whose labels mirror images keep"):
        importlib.import_module("lungmask_jax").recipe(target="lobes")
    assert SegmenterSpec(target="lobes").postprocess[0][0] == "most_likely"
