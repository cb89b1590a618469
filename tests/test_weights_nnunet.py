"""Models of nnU-Net: goldens of nnunetv2 itself, and folders and zips that somebody made up."""

import contextlib
import dataclasses
import importlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lungmask_jax import cli, inference, preprocess
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.prediction import Predictor
from lungmask_jax.spec import VolumeSpec
from lungmask_jax.volume import Volume
from lungmask_jax.weights import _nnunet as nnunet
from lungmask_jax.weights import import_file, load, read_nnunet
from lungmask_jax.weights._labels import spec_of
from lungmask_jax.weights._nnunet1 import planned_before, renamed
from lungmask_jax.weights._plans import planned
from lungmask_jax.weights._totalsegmentator import KNOWN

REFERENCES = Path(__file__).parent / "references"
GOLDEN = REFERENCES / "nnunet.npz"
ZIP = REFERENCES / "nnunet.zip"
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
pth_files, nnunet_files = map(importlib.import_module, ("pth_files", "nnunet_files"))
sys.path.remove(str(BENCHMARKS))
ARCHITECTURE, DATASET, FULL, OLDER, PLANS, checkpoint, tensors = (
    getattr(nnunet_files, name)
    for name in ("ARCHITECTURE", "DATASET", "FULL", "OLDER", "PLANS", "checkpoint", "tensors")
)
V1 = nnunet_files.PLANS_BEFORE


@pytest.fixture
def model(tmp_path):
    """A function that writes a model, with whatever is changed in it, and returns its folder."""

    def write(*, plans=PLANS, dataset=DATASET, folds=("0",), name="checkpoint_final.pth"):
        folder = tmp_path / "Dataset001_mine" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
        shutil.rmtree(folder, ignore_errors=True)
        for number, fold in enumerate(folds):
            (folder / f"fold_{fold}").mkdir(parents=True)
            (folder / f"fold_{fold}" / name).write_bytes(checkpoint(number))
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        return folder

    return write


def packed(folder, **compression):
    path = folder.parents[1] / "model.zip"
    with zipfile.ZipFile(path, "w", **compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parents[1]))
    return path


def scan(axcodes="LPS"):
    noise = np.random.default_rng(0).normal(-400, 300, (9, 20, 24)).round().astype(np.int16)
    return dataclasses.replace(Volume.of(noise, spacing=(4.0, 2.0, 1.5)), axcodes=axcodes)


def test_a_folder_a_folder_around_it_and_a_zip_are_one_model(model):
    folder = model()
    paths = [
        folder,
        folder.parent,
        packed(folder),
        packed(folder, compression=zipfile.ZIP_DEFLATED),
    ]
    bundles = [read_nnunet(path) for path in paths]
    assert len({bundle.checksum for bundle in bundles}) == 1
    assert load(paths[-1]).spec == load(folder).spec == bundles[0].spec
    spec = bundles[0].spec
    assert spec.target == "lungs"
    assert spec.volume.labels == (0, 1, 2)
    assert spec.predict.mirror == (True, False, True)
    assert (spec.volume.window, spec.volume.mean) == ((-1000, 200), -500)


def test_a_model_becomes_a_bundle_that_answers_alike(model, tmp_path):
    folder = model(folds=("0", "1"))
    written = import_file(folder, tmp_path / "mine.npz")
    bundle = load(tmp_path / "mine.npz")
    assert (bundle.spec, bundle.checksum) == (written.spec, read_nnunet(folder).checksum)
    ct = scan()
    np.testing.assert_array_equal(
        inference.labels(ct, bundle).array, inference.labels(ct, read_nnunet(folder)).array
    )


def test_the_command_imports_a_model_whose_labels_have_other_names(model, tmp_path, capsys):
    folder = model(dataset={**DATASET, "labels": {"background": 0, "lung": 1, "COVID": 2}})
    out = tmp_path / "mine.npz"
    words = ["import", str(folder), "-o", str(out), "--target", "infection", "--label"]
    assert cli.main([*words, "COVID=1"]) == 0
    assert load(out).spec.target == "infection"
    assert f"{out}: infection (1 infection)" in capsys.readouterr().out
    assert cli.main([*words, "COVID", "--overwrite"]) == 1
    assert "expected --label NAME=VALUE, found 'COVID'" in capsys.readouterr().err


def test_of_several_models_one_is_chosen_by_its_configuration():
    assert read_nnunet(ZIP, configuration="2d").spec.model.options["kernels"][0] == [3, 3]
    with pytest.raises(WeightsError, match=r"found Dataset901\S+__2d, .* among"):
        read_nnunet(ZIP)
    with pytest.raises(WeightsError, match="'3d_lowres', found none among"):
        read_nnunet(ZIP, configuration="3d_lowres")


def test_plans_in_their_old_form_are_the_same(model):
    old = {key: value for key, value in FULL.items() if key != "architecture"} | OLDER
    plans = {**PLANS, "configurations": {"base": old, "3d_fullres": {"inherits_from": "base"}}}
    assert read_nnunet(model(plans=plans)).spec == read_nnunet(model()).spec


def test_scans_are_turned_where_the_reader_of_the_plans_turns_them(model):
    turned = read_nnunet(model(plans={**PLANS, "image_reader_writer": "NibabelIOWithReorient"}))
    assert turned.spec.volume.orientation == "RAS"
    one = inference.labels(scan("LPS"), turned).array
    np.testing.assert_array_equal(inference.labels(scan("LAS"), turned).array, one)


def test_folds_are_averaged_as_logits(model):
    folder = model(folds=("0", "1", "all"))
    both = read_nnunet(folder)
    assert both.spec.model.members == 2
    image = np.random.default_rng(0).normal(size=(1, 4, 8, 8, 1)).astype(np.float32)

    def logits(bundle):
        network = Predictor(bundle.model, bundle.params, bundle.state, bundle.spec.predict)
        return network.images(image)

    apart = [logits(read_nnunet(folder, folds=(fold,))) for fold in ("0", "1")]
    np.testing.assert_allclose(logits(both), np.mean(apart, axis=0), atol=1e-5)
    assert read_nnunet(folder, folds=("all",)).spec.model.members == 1


def test_a_model_segments_on_the_grid_of_the_scan(model):
    bundle = read_nnunet(model())
    ct = scan()
    mask = inference.labels(ct, bundle)
    assert mask.shape == ct.shape
    assert set(np.unique(mask.array)) <= {0, 1, 2}
    likely = inference.probabilities(ct, bundle)
    assert likely.min() >= 0
    assert likely.max() <= 1
    found = inference.segment(ct.as_checked(), weights=[bundle], uncertainty=False)
    assert found.lungs.array.max() == mask.array.max()


def test_a_network_sees_the_axes_of_the_file(model):
    bundle = read_nnunet(model())
    one = inference.labels(scan("LPS"), bundle).array
    turned = scan("LAS")
    flipped = dataclasses.replace(turned, array=turned.array[:, ::-1])
    np.testing.assert_array_equal(inference.labels(flipped, bundle).array, one[:, ::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": {**DATASET, "channel_names": {"0": "CT", "1": "PET"}}}, "sees one image"),
        ({"dataset": {**DATASET, "labels": {"background": 0, "a": 1, "b": 5}}}, "labels 0, 1, 2"),
        ({"dataset": {"channel_names": {"0": "CT"}}}, "background 0"),
        ({"plans": {**PLANS, "configurations": {}}}, "no configuration '3d_fullres'"),
        ({"plans": {}}, "expected configurations"),
        ({"folds": ("0",), "name": "checkpoint_best.pth"}, "checkpoint_final.pth of fold 0"),
    ],
)
def test_what_is_wrong_with_a_model_is_named(model, change, message):
    with pytest.raises(WeightsError, match=message):
        read_nnunet(model(**change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalization_schemes": ["RGBTo01Normalization"]}, "RGBTo01Normalization"),
        ({"resampling_fn_data": "no_resampling_hack"}, "no_resampling_hack"),
        ({"resampling_fn_probabilities_kwargs": {"order": 3}}, "orders 3 and 0"),
        ({"inherits_from": "3d_fullres"}, "inherits from itself"),
        ({"spacing": None}, "lack what they should have"),
        ({"architecture": {**ARCHITECTURE, "network_class_name": "a.Primus"}}, "'Primus'"),
        (
            {
                "architecture": {
                    **ARCHITECTURE,
                    "arch_kwargs": {**ARCHITECTURE["arch_kwargs"], "nonlin": "torch.nn.ReLU"},
                }
            },
            "expected nonlin",
        ),
    ],
)
def test_plans_that_are_not_read_are_named(model, change, message):
    plans = {**PLANS, "configurations": {"3d_fullres": {**FULL, **change}}}
    with pytest.raises(WeightsError, match=message):
        read_nnunet(model(plans=plans))


def test_labels_of_other_names_are_given_with_their_task(model):
    folder = model(dataset={**DATASET, "labels": {"background": 0, "lung": 1, "COVID": 2}})
    with pytest.raises(SpecError, match="lung, COVID, found those of none"):
        read_nnunet(folder)
    with pytest.raises(SpecError, match="labels of the task 'infection'"):
        read_nnunet(folder, target="infection")
    bundle = read_nnunet(folder, target="infection", labels={"COVID": 1})
    assert bundle.spec.volume.labels == (0, 0, 1)
    assert bundle.spec.postprocess[-1][0] == "within"


def test_regions_are_painted_in_their_order(model):
    labels = {"background": 0, "lungs": [1, 2], "left_lung": 2, "right_lung": 1}
    folder = model(dataset={**DATASET, "labels": labels, "regions_class_order": [1, 2, 1]})
    bundle = read_nnunet(folder, target="lungs", labels={"right_lung": 1, "left_lung": 2})
    assert bundle.spec.volume.regions
    with pytest.raises(WeightsError, match="regions_class_order of 3 regions"):
        read_nnunet(model(dataset={**DATASET, "labels": labels}))


def test_a_zip_that_claims_too_much_is_refused_before_it_is_unpacked(model):
    path = packed(model(), compression=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/fold_0/checkpoint_final.pth", bytes(10**8))
    with pytest.raises(WeightsError, match="says that it has 100000000 bytes"):
        read_nnunet(path)


def test_paths_in_a_zip_lead_nowhere(model, tmp_path):
    path = packed(model())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../fold_1/checkpoint_final.pth", b"no")
        archive.writestr("/etc/fold_0/checkpoint_best.pth", b"no")
    before = sorted(tmp_path.rglob("*"))
    read_nnunet(path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("data", [b"", b"PK\3\4 and no more", b"text"])
def test_what_is_no_model_is_refused(tmp_path, data):
    path = tmp_path / "model.zip"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="a model of nnU-Net"):
        read_nnunet(path)
    with pytest.raises(WeightsError, match=r"no plans\.json"):
        read_nnunet(tmp_path)


@pytest.mark.parametrize("dataset", KNOWN)
def test_models_of_totalsegmentator_are_used_as_it_does(model, dataset):
    known = KNOWN[dataset]
    names = {"background": 0, "one": 1, "two": 2}
    plans = {**PLANS, "dataset_name": dataset}
    if max(known.labels) > 2:
        with pytest.raises(WeightsError, match="of TotalSegmentator in dataset"):
            read_nnunet(model(plans=plans, dataset={**DATASET, "labels": names}))
        return
    bundle = read_nnunet(model(plans=plans, dataset={**DATASET, "labels": names}))
    assert bundle.spec.volume.labels == (0, *(known.labels.get(one, 0) for one in (1, 2)))
    assert bundle.spec.volume.totalsegmentator == known.resampled
    assert bundle.spec.needs == "lobes"
    assert bundle.spec.predict.mirror == (False, False, False)


def test_nodules_are_looked_for_around_the_lobes(model):
    known = {"target": "lobes", "labels": {"right lung": 1, "left_lung": 2}}
    lobes = read_nnunet(model(), **known)
    plans = {**PLANS, "dataset_name": "Dataset913_lung_nodules"}
    nodules = read_nnunet(model(plans=plans))
    ct = scan().as_checked()
    with pytest.raises(SpecError, match="expected a lobe model"):
        inference.segment(ct, weights=[nodules])
    with pytest.raises(SpecError, match="needs the mask of the lobes"):
        inference.labels(ct, nodules)
    found = inference.segment(ct, weights=[nodules, lobes])
    assert list(found.masks) == ["lobes", "nodules"]
    corner = ct.with_array(np.pad(np.ones((1, 1, 1), np.uint8), ((0, 8), (0, 19), (0, 23))))
    near = inference.labels(ct, nodules, lungs=corner).array
    assert not near[6:].any()
    assert not near[:, 12:].any()  # 20 mm are 10 rows of 2 mm


def test_totalsegmentator_keeps_corners_and_cuts_to_whole_hu():
    spec = VolumeSpec(spacing=(1.0, 1.0, 1.0), orientation="RAS", totalsegmentator=True)
    ct = Volume.of(np.arange(8, dtype=np.int16).reshape(2, 2, 2), spacing=(2.0, 2.0, 2.0))
    frame = preprocess.Frame.of(ct, spec)
    found, spacing = frame.scan(ct)
    assert spacing == (1.0, 1.0, 1.0)
    assert found.shape == (4, 4, 4)
    np.testing.assert_array_equal(found[0, 0], [3, 2, 2, 2])  # from the left, rows from behind
    np.testing.assert_array_equal(frame.restored(found, (2, 2, 2)), frame.view(ct.array))


def older(folder, plans=V1):
    """A model of nnU-Net v1: a pickle beside a checkpoint."""
    for name, data in nnunet_files.model_before(plans).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_model_of_nnunet_1_is_read_without_executing_its_pickles(tmp_path):
    bundle = read_nnunet(older(tmp_path), target="lungs", labels={"1": 1, "2": 2})
    assert bundle.spec.volume.normalize_last
    assert bundle.spec.predict.average == "probabilities"
    assert inference.labels(scan(), bundle).array.max() <= 2


def test_the_oldest_plans_of_nnunet_1_say_how_often_each_axis_is_halved():
    stage = {**V1["plans_per_stage"][0], "num_pool_per_axis": [1, 3, 2]}
    del stage["pool_op_kernel_sizes"], stage["conv_kernel_sizes"]
    plans = {**V1, "plans_per_stage": {0: stage}}
    del plans["transpose_forward"]
    found = planned_before({"plans": plans, "name": "nnUNetTrainer", "init": [""] * 5 + [0]})
    strides = found.model.options["strides"]
    assert strides == [[1, 1, 1], [1, 2, 1], [1, 2, 2], [2, 2, 2]]
    assert found.model.options["kernels"] == [[3, 3, 3]] * 4
    assert found.volume.axes == (0, 1, 2)


def test_tensors_of_nnunet_1_have_their_place():
    found = renamed(nnunet_files.state_before())
    wanted = tensors(coarse=4)
    assert found.keys() == wanted.keys()
    for stage in ("decoder.stages.0.convs.0", "decoder.stages.0.convs.1"):
        name = f"{stage}.conv.weight"
        wanted[name] = wanted[name].repeat(3, axis=2) / 3
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_program_in_the_pickle_of_nnunet_1_is_named(tmp_path):
    older(tmp_path, {**V1, "planner": Path("x")})
    with pytest.raises(WeightsError, match="it names 'pathlib"):
        read_nnunet(tmp_path, target="lungs", labels={"1": 1})


def test_resampling_of_the_scan_is_that_of_scikit_image():
    """Hand-made: a ramp stays a ramp, and edges repeat."""
    spec = VolumeSpec(spacing=(1.0, 1.0, 1.0), order=1, normalize="none")
    ramp = np.arange(4, dtype=np.int16)[None, None].repeat(2, 0).repeat(2, 1)
    found = preprocess.network_volume(ramp, (1.0, 1.0, 2.0), spec)[0, 0, :, 0]
    np.testing.assert_allclose(found, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])


@pytest.mark.parametrize(("labels", "middle"), [([1, 2], 2), ([2, 1], 1), ([0, 1], 1), ([1, 0], 0)])
def test_between_two_labels_of_the_previous_stage_the_nearest_one_counts(labels, middle):
    """The middle of three voxels lies on the edge of two, and nnU-Net takes the later one."""
    spec = VolumeSpec(spacing=(2.0, 1.0, 1.0), previous=(1, 2))
    scan = np.full((2, 1, 1), -500, np.int16)
    before = np.array(labels).reshape(2, 1, 1)
    found = preprocess.network_volume(scan, (3.0, 1.0, 1.0), spec, previous=before)
    channels = found[:, 0, 0, 1:]
    assert (channels @ [1, 2]).tolist() == [labels[0], middle, labels[1]]


def golden(name):
    kept = np.load(GOLDEN)
    regions = {"labels": {"lungs": 1, "left_lung": 2}} if name == "residual" else {}
    configuration = {"2d": "2d", "residual": "3d_fullres", "cascade": "3d_cascade_fullres"}[name]
    bundle = read_nnunet(ZIP, target="lungs", configuration=configuration, **regions)
    ct = Volume.of(kept["scan"], spacing=tuple(kept["spacing"]))
    before = Volume.of(kept["lowres"], spacing=tuple(kept["spacing"]))
    return kept, bundle, ct, before if name == "cascade" else None


@pytest.mark.parametrize("name", ["2d", "residual", "cascade"])
def test_logits_and_masks_are_those_of_nnunetv2(name):
    kept, bundle, ct, before = golden(name)
    frame = preprocess.Frame.of(ct, bundle.spec.volume)
    previous = None if before is None else before.array
    hu, spacing = frame.scan(ct)
    volume = preprocess.network_volume(hu, spacing, bundle.spec.volume, previous=previous)
    network = Predictor(bundle.model, bundle.params, bundle.state, bundle.spec.predict)
    logits = network.volume(volume).mean(axis=(1, 2)).T
    np.testing.assert_allclose(logits, kept[f"{name}_logits"], atol=1e-3)
    mask = inference.labels(ct, bundle, lungs=before).array
    assert (mask == kept[name]).mean() > 0.9999


def test_members_may_not_be_there_twice(model):
    path = packed(model())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("Dataset001_mine/nnUNetTrainer__nnUNetPlans__3d_fullres/plans.json", b"{}")
    with pytest.raises(WeightsError, match="is there twice"):
        read_nnunet(path)


@pytest.fixture
def cascade(model):
    """The folder of a data set with both stages of a cascade."""
    first = {**FULL, "spacing": [10.0, 4.0, 4.0], "next_stage": "3d_cascade_fullres"}
    second = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    known = {"3d_fullres": FULL, "3d_lowres": first, "3d_cascade_fullres": second}
    folder = model(plans={**PLANS, "configurations": known})
    for name, images in (("3d_lowres", 1), ("3d_cascade_fullres", 3)):
        stage = folder.with_name(f"nnUNetTrainer__nnUNetPlans__{name}")
        shutil.copytree(folder, stage)
        data = checkpoint(images, name, images=images)
        (stage / "fold_0" / "checkpoint_final.pth").write_bytes(data)
    shutil.rmtree(folder)
    return folder.parent


def test_both_stages_of_a_cascade_run_one_after_the_other(cascade, tmp_path):
    ct = scan().as_checked()
    second = cascade / "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
    first = read_nnunet(cascade / "nnUNetTrainer__nnUNetPlans__3d_lowres")
    alone = dataclasses.replace(read_nnunet(second), previous=None)
    before = inference.labels(ct, first)
    wanted = inference.probabilities(ct, alone, lungs=before)
    none = ct.with_array(np.zeros_like(before.array))
    assert not np.array_equal(wanted, inference.probabilities(ct, alone, lungs=none))
    both = shutil.make_archive(str(tmp_path / "both"), "zip", cascade)
    for path in (cascade, second, both):
        bundle = read_nnunet(path)
        np.testing.assert_array_equal(inference.probabilities(ct, bundle), wanted)
    mask = inference.segment(ct, weights=[bundle]).lungs.array
    np.testing.assert_array_equal(mask, inference.labels(ct, alone, lungs=before).array)
    with pytest.raises(WeightsError, match="the two of a cascade"):
        import_file(bundle, tmp_path / "mine.npz")
    with pytest.raises(SpecError, match="needs the mask of the previous stage"):
        inference.labels(ct, alone)


def test_the_first_stage_of_a_cascade_keeps_the_labels_of_the_data_set(cascade):
    bundle = read_nnunet(cascade, target="infection", labels={"left_lung": 1})
    assert bundle.spec.volume.labels == (0, 0, 1)
    assert bundle.previous.spec.volume.labels == (0, 1, 2)


VALUES = [None, True, -1, 10**9, 10**30, 1e300, "", [], [[]], {}, [10**9] * 3, [1] * 5000]


@pytest.mark.parametrize("value", VALUES, ids=map(str, range(len(VALUES))))
def test_a_value_of_another_kind_in_the_plans_is_an_error_or_does_not_matter(model, value):
    """By hand what the fuzzer does by chance: each place of the plans, one after the other."""
    kept = FULL["architecture"]["arch_kwargs"]
    for key in ("n_stages", "features_per_stage", "strides", "kernel_sizes", "n_conv_per_stage"):
        own = {**ARCHITECTURE, "arch_kwargs": {**kept, key: value}}
        refused(PLANS, FULL, architecture=own)
    for key in ("patch_size", "spacing", "normalization_schemes", "architecture"):
        refused(PLANS, FULL, **{key: value})
    older = {key: one for key, one in FULL.items() if key != "architecture"} | OLDER
    for key in OLDER:
        refused(PLANS, older, **{key: value})
    for key in ("configurations", "transpose_forward"):
        with contextlib.suppress(WeightsError, SpecError):
            described({**PLANS, key: value}, DATASET)
    for key in DATASET:
        with contextlib.suppress(WeightsError, SpecError):
            described(PLANS, {**DATASET, key: value})


@pytest.mark.parametrize("mm", [1e-3, 1e-300])
def test_a_spacing_that_makes_too_many_voxels_is_an_error_before_memory_is_taken(model, mm):
    own = {**FULL, "spacing": [mm] * 3}
    bundle = read_nnunet(model(plans={**PLANS, "configurations": {"3d_fullres": own}}))
    with pytest.raises(SpecError, match="look at the spacing in the plans"):
        inference.labels(scan(), bundle)


def refused(plans, settings, **change):
    with contextlib.suppress(WeightsError, SpecError):
        described({**plans, "configurations": {"3d_fullres": {**settings, **change}}}, DATASET)


def described(plans, dataset):
    """What reading makes of plans, without tensors."""
    with nnunet._complete("they lack"):
        spec_of(planned(plans, dataset, "3d_fullres"), "", None)


@pytest.mark.parametrize("value", ["3d_fullres", None, 5, [["ab"]], {"inherits_from": 3}])
def test_a_configuration_that_is_none_is_an_error(model, value):
    with pytest.raises(WeightsError, match=r"lack what they should have|no configuration"):
        read_nnunet(model(plans={**PLANS, "configurations": {"3d_fullres": value}}))


@pytest.mark.parametrize("stage", ["../../elsewhere", "/etc", "a/b", 5, [1]])
def test_the_name_of_the_previous_stage_leads_nowhere(model, stage):
    plans = {**PLANS, "configurations": {"3d_fullres": {**FULL, "previous_stage": stage}}}
    with pytest.raises(WeightsError, match=r"as previous_stage|lack what they should have"):
        read_nnunet(model(plans=plans))


def test_configurations_that_inherit_from_each_other_without_end_are_an_error(model):
    chain = {str(n): {"inherits_from": str(n + 1)} for n in range(5000)}
    plans = {**PLANS, "configurations": {**chain, "3d_fullres": {"inherits_from": "0"}}}
    with pytest.raises(WeightsError, match="lack what they should have"):
        read_nnunet(model(plans=plans))
    circle = {"a": {"inherits_from": "3d_fullres"}, "3d_fullres": {"inherits_from": "a"}}
    with pytest.raises(WeightsError, match="inherits from itself"):
        read_nnunet(model(plans={**PLANS, "configurations": circle}))


@pytest.mark.parametrize("key", ["num_classes", "plans_per_stage", "base_num_features"])
@pytest.mark.parametrize("value", [None, 2**31, [1], "a", {}])
def test_pickled_plans_of_another_kind_are_an_error(tmp_path, key, value):
    older(tmp_path, {**V1, key: value})
    with pytest.raises((WeightsError, SpecError)):
        read_nnunet(tmp_path, target="lungs", labels={"1": 1})


def test_links_and_pipes_in_a_folder_are_files_or_nothing(model, tmp_path):
    folder = model()
    checkpoint_path = folder / "fold_0" / "checkpoint_final.pth"
    checkpoint_path.rename(tmp_path / "elsewhere.pth")
    checkpoint_path.symlink_to(tmp_path / "elsewhere.pth")
    read_nnunet(folder)  # as in the caches of those who share models
    checkpoint_path.unlink()
    os.mkfifo(checkpoint_path)
    with pytest.raises(WeightsError, match="no regular file"):
        read_nnunet(folder)
    with pytest.raises(WeightsError, match="no regular file"):
        load(checkpoint_path)
    checkpoint_path.unlink()
    checkpoint_path.symlink_to(checkpoint_path)
    with pytest.raises(WeightsError, match=r"damaged or something else|no file"):
        read_nnunet(folder)
    (folder / "fold_1").symlink_to(folder)
    (folder / "plans.json").unlink()
    with pytest.raises(WeightsError, match=r"no plans\.json"):
        read_nnunet(folder)


def test_a_zip_of_many_models_is_refused_in_few_words(tmp_path):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3000):
            archive.writestr(f"\x1b[2J{number}/plans.json", b"{}")
    with pytest.raises(WeightsError) as error:
        read_nnunet(path, configuration="2d")
    assert len(str(error.value)) < 2000
    assert "\x1b" not in str(error.value)
    assert "and 2980 more" in str(error.value)


def test_each_wrong_file_is_refused_with_what_to_give_instead(model, tmp_path):
    folder = model(name="checkpoint_best.pth")
    with pytest.raises(WeightsError, match=r"found fold_0/checkpoint_best.pth: get the missing"):
        load(folder)
    with pytest.raises(WeightsError, match="give the folder that holds its plans"):
        load(folder / "fold_0" / "checkpoint_best.pth")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(packed(folder), "inner.zip")
    with pytest.raises(WeightsError, match="unpack it, and give one of them"):
        load(tmp_path / "outer.zip")
    before = older(tmp_path / "a" / "b")
    (before / "fold_0" / "model_final_checkpoint.model.pkl").unlink()
    for path in (before, packed(before)):
        with pytest.raises(WeightsError, match=r"expected \S+\.model\.pkl in .* found none: copy"):
            read_nnunet(path, target="lungs", labels={"1": 1})


@pytest.mark.parametrize("state", [None, [], {1: 2}, {"a": {"b": 1}}, "text"])
def test_network_weights_that_are_none_are_an_error(model, state):
    folder = model()
    data = pth_files.zipped(
        {"network_weights": state, "init_args": {"configuration": "3d_fullres"}}
    )
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(data)
    with pytest.raises(WeightsError):
        read_nnunet(folder)
