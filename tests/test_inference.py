import base64
import json
import re
from dataclasses import replace

import cv2
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest
from known_models import scanned, threshold_bundle

from lungmask_jax import (
    calibration,
    inference,
    io,
    metrics,
    models,
    postprocess,
    weights,
)
from lungmask_jax.errors import ScanError, ScanWarning, SpecError, UnknownNameError
from lungmask_jax.models import Model
from lungmask_jax.phantoms import phantom
from lungmask_jax.spec import (
    ModelSpec,
    PredictSpec,
    PreprocessSpec,
    changed_steps,
)
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle


@pytest.fixture(scope="module")
def result(scan):
    return inference.segment(scan.ct)


def test_the_phantom_is_segmented_with_the_shipped_weights(scan, result):
    lungs = metrics.dice(result.lungs.array > 0, scan.lungs.array > 0)
    assert lungs > 0.93
    assert metrics.dice(result.infection.array, scan.infection.array) > 0.5


def test_the_sides_are_those_of_the_patient(scan, result):
    for side in (1, 2):
        assert metrics.dice(result.lungs.array == side, scan.lungs.array == side) > 0.9


def test_masks_are_labels_on_the_grid_of_the_scan(scan, result):
    for mask, labels in ((result.lungs, {0, 1, 2}), (result.infection, {0, 1})):
        assert mask.shape == scan.ct.shape
        assert mask.array.dtype == np.uint8
        assert set(np.unique(mask.array)) <= labels
        np.testing.assert_array_equal(mask.affine, scan.ct.affine)


@pytest.mark.parametrize("axes", ["LAS", "RPI", "PSR"])
def test_masks_are_written_on_the_axes_of_the_scan(scan, result, tmp_path, axes):
    canonical = nib.Nifti1Image(scan.ct.array, scan.ct.affine)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(canonical.affine), nib.orientations.axcodes2ornt(axes)
    )
    turned = canonical.as_reoriented(turn)
    nib.save(turned, tmp_path / "scan.nii.gz")
    found = inference.segment(tmp_path / "scan.nii.gz", weights=["lungs"])
    for path in found.save(tmp_path / "out"):
        if path.name.endswith(".nii.gz"):
            mask = nib.load(path)
            assert mask.shape == turned.shape
            np.testing.assert_allclose(mask.affine, turned.affine, atol=1e-5)
    for name, mask in found.masks.items():
        np.testing.assert_array_equal(mask.array, result.masks[name].array)
        assert mask.header is not None


def test_infection_lies_inside_the_lungs(result):
    assert not (result.infection.array[result.lungs.array == 0]).any()


def test_a_known_model_comes_back_voxel_for_voxel():
    ct = np.full((5, 32, 32), 0, np.int16)
    ct[:, 4:20, 3:12] = ct[:, 4:20, 20:29] = -900
    result = inference.segment(scanned(ct), weights=[threshold_bundle()])
    np.testing.assert_array_equal(result.lungs.array > 0, ct < -500)
    assert result.infection is None


@pytest.mark.parametrize("slices", [1, 4])
def test_nothing_in_hu_takes_away_what_the_network_calls_lung(slices):
    """As emphysema at -990 HU, though gas is as dark."""
    ct = np.full((slices, 64, 64), 40, np.int16)
    ct[:, 8:56, 4:28] = ct[:, 8:56, 36:60] = -990
    ct[:, 20:40, 40:44], ct[:, 0, 0] = -800, 700
    result = inference.segment(scanned(ct), weights=[threshold_bundle(hu=-500.0)])
    np.testing.assert_array_equal(result.lungs.array > 0, ct < -500)


def test_what_makes_a_result_doubtful_goes_with_it(scan, result):
    assert result.notes == ()
    assert 15 < result.noise_hu < 25
    assert result.measure()["noise_hu"] == result.noise_hu
    ct = np.full((1, 32, 32), 40, np.int16)
    ct[:, 4:20, 3:12] = -900
    one = inference.segment(scanned(ct), weights=[threshold_bundle()])
    assert one.notes == (
        "no left lung found: look at the picture",
        "the size of the voxels is not known: there are percentages, but no ml",
    )


def test_one_slice_works_everywhere(tmp_path):
    made = phantom((1, 128, 128), disease=0.2)
    result = inference.segment(made.ct)
    assert result.measure()["lungs_ml"] > 0
    assert result.overlay().dtype == np.uint8
    assert len(result.save(tmp_path)) == 5


def test_a_scan_without_lungs_gives_empty_masks_and_no_crash(tmp_path):
    ct = np.full((3, 64, 64), -1000, np.int16)
    ct[:, 10:50, 10:50] = 40
    result = inference.segment(scanned(ct))
    measured = result.measure()
    assert measured["severity"] in ("unknown", "CT-0")
    result.save(tmp_path)


def test_a_notebook_shows_the_picture(result):
    (picture,) = re.findall(r"data:image/png;base64,([^']+)'", result._repr_html_())
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)
    assert (shown[..., ::-1] == result.overlay()).all()


def test_saved_masks_overlay_their_scan(scan, result, tmp_path):
    paths = result.save(tmp_path / "new" / "folder", name="case")
    names = ["_lungs.nii.gz", "_infection.nii.gz", "_lesions.nii.gz", "_overlay.png", ".json"]
    assert [path.name for path in paths] == [f"case{name}" for name in names]
    assert json.loads(paths[-1].read_text())["lungs_ml"] == result.row("case")["lungs_ml"]
    again = io.load_mask(paths[0])
    np.testing.assert_array_equal(again.array, result.lungs.array)
    np.testing.assert_allclose(again.affine, scan.ct.affine, atol=1e-4)


def test_a_path_and_a_volume_give_the_same(scan, tmp_path):
    io.save(scan.ct, tmp_path / "scan.nii.gz")
    bundle = threshold_bundle(hu=-600)
    from_file = inference.segment(tmp_path / "scan.nii.gz", weights=[bundle])
    from_memory = inference.segment(scan.ct, weights=[bundle])
    np.testing.assert_array_equal(from_file.lungs.array, from_memory.lungs.array)


def test_progress_counts_up_to_the_number_of_slices():
    seen = []
    ct = scanned(np.full((6, 32, 32), -900, np.int16))
    inference.segment(ct, weights=[threshold_bundle()], progress=lambda *step: seen.append(step))
    assert seen == [("lungs", 4, 6), ("lungs", 6, 6)]


def test_without_a_lung_model_nothing_starts(scan):
    with pytest.raises(SpecError, match=r"expected a lung model, .* found \['infection'\]"):
        inference.segment(scan.ct, weights=[threshold_bundle("infection")])
    with pytest.raises(SpecError, match="infection model for the uncertainty"):
        inference.segment(scan.ct, weights=[threshold_bundle()], uncertainty=True)


def test_several_models_of_one_target_answer_together():
    ct = np.full((5, 32, 32), 0, np.int16)
    ct[:, 4:20, 3:12] = ct[:, 4:20, 20:29] = -900
    ct[:, 4:12, 20:29] = -600
    edges = [-800.0, -500.0, -400.0]  # two of three call -600 lung
    together = [threshold_bundle(hu=hu) for hu in edges]
    result = inference.segment(scanned(ct), weights=together)
    np.testing.assert_array_equal(result.lungs.array > 0, ct < -500)
    assert result.models["lungs"].startswith("threshold+threshold+threshold ")
    likely = inference.probabilities(scanned(ct), weights.ensemble(together))
    np.testing.assert_allclose(likely[0, [5, 18, 0], [25, 25, 0]], [2 / 3, 1, 0], atol=1e-6)


def test_models_that_differ_are_no_ensemble():
    wide = replace(threshold_bundle().spec, preprocess=PreprocessSpec())
    other = replace(threshold_bundle(), spec=wide, name="wide")
    with pytest.raises(SpecError, match="one preprocess for an ensemble, found threshold"):
        weights.ensemble([threshold_bundle(), other])
    with pytest.raises(SpecError, match="found none"):
        weights.ensemble([])


def test_an_ensemble_is_saved_and_joined_like_any_bundle(tmp_path):
    two = weights.ensemble([threshold_bundle(hu=hu) for hu in (-800.0, -500.0)])
    weights.save(tmp_path / "two.npz", two.spec, two.params, two.state, half=False)
    loaded = weights.load(tmp_path / "two.npz")
    assert loaded.spec.model.members == 2
    assert loaded.checksum == two.checksum
    three = weights.ensemble([threshold_bundle(hu=-300.0), loaded])
    np.testing.assert_allclose(three.params["edge"], [0.7, 0.2, 0.5], atol=1e-6)


def test_the_order_of_an_ensemble_does_not_matter():
    bundles = [threshold_bundle(hu=hu) for hu in (-800.0, -500.0, -300.0)]
    for number, (threshold, slope) in enumerate([(0.2, 1.0), (0.5, 2.0), (0.8, 1.5)]):
        post = changed_steps(bundles[number].spec.postprocess, "threshold", at=threshold)
        post = changed_steps(post, "calibration", slope=slope, offset=slope - 1)
        spec = replace(bundles[number].spec, postprocess=post)
        bundles[number] = replace(bundles[number], spec=spec)
    first, second, third = bundles
    for joined in (
        weights.ensemble([third, first, second]),
        weights.ensemble([first, weights.ensemble([third, second])]),
    ):
        assert postprocess.decision(joined.spec.postprocess) == pytest.approx((1.5, 0.5, 0.5, 0))
    with pytest.raises(SpecError, match="bundles of one predict for an ensemble"):
        weights.ensemble(
            [first, threshold_bundle(predict=PredictSpec(mirror=(False, False, True)))]
        )


def layered_bundle(target="infection"):
    """A model of three classes by HU: below -700 nothing, up to -300 one, above the other."""

    def build():
        def apply(params, state, images, /, *, train=False, key=None):
            scores = [0.3 - images, 0.2 - jnp.abs(images - 0.5), images - 0.7]
            return 1e4 * jnp.concatenate(scores, axis=-1), state

        return Model(init=lambda key: ({}, {}), apply=apply, num_classes=3)

    if "layers_for_tests" not in models.registry:
        models.registry.register("layers_for_tests", build)
    spec = replace(threshold_bundle(target).spec, model=ModelSpec(name="layers_for_tests"))
    return Bundle("layers", spec, {}, {}, "1" * 64)


def test_a_model_of_several_labels_tells_lesions_apart(tmp_path):
    ct = np.full((5, 32, 32), -900, np.int16)
    ct[:, 8:12, 4:8] = -500
    ct[:, 16:20, 4:8] = -100
    lungs = threshold_bundle(hu=0.0)
    scan = scanned(ct, Volume(ct).affine * [2, 1, 1, 1])
    result = inference.segment(scan, weights=[lungs, layered_bundle()])
    expected = np.select([ct > -300, ct > -700], [2, 1], 0)
    np.testing.assert_array_equal(result.masks["lesions"].array, expected)
    np.testing.assert_array_equal(result.infection.array, expected > 0)
    numbers = result.measure()
    assert numbers["ground_glass_ml"] == pytest.approx(5 * 16 * 2 / 1000)
    assert numbers["consolidation_percent"] == pytest.approx(100 * 16 / 32**2)
    assert "a_lesions.nii.gz" in [path.name for path in result.save(tmp_path, name="a")]
    both = inference.probabilities(scanned(ct), layered_bundle())
    np.testing.assert_allclose(both, expected > 0, atol=1e-6)


def test_other_models_tell_lesions_apart_by_density(scan, result):
    np.testing.assert_array_equal(result.masks["lesions"].array > 0, result.infection.array > 0)
    for label in (1, 2):
        ours, theirs = result.masks["lesions"].array == label, scan.lesions.array == label
        both = (result.infection.array > 0) & (scan.infection.array > 0)
        assert metrics.dice(ours & both, theirs & both) > 0.7
    numbers = result.measure()
    total = numbers["ground_glass_ml"] + numbers["consolidation_ml"]
    assert total == pytest.approx(numbers["infection_ml"])


def test_uncertainty_is_the_entropy_inside_the_lungs():
    ct = np.full((5, 32, 32), 0, np.int16)
    ct[:, 4:20, 3:12] = -900
    ct[:, 8:12, 3:12] = -600
    for edges, share in (((-700.0, -500.0), 1 / 2), ((-700.0, -500.0, -400.0), 2 / 3)):
        doubtful = [threshold_bundle("infection", hu) for hu in edges]
        result = inference.segment(
            scanned(ct), weights=[threshold_bundle(hu=-200.0), *doubtful], uncertainty=True
        )
        percent = np.rint(100 * calibration.entropy(np.array(share)))
        np.testing.assert_array_equal(result.uncertainty.array, np.where(ct == -600, percent, 0))
    assert inference.segment(scanned(ct), weights=[threshold_bundle()]).uncertainty is None


def test_unknown_weights_and_missing_files_are_named(scan):
    with pytest.raises(UnknownNameError, match="did you mean 'lungs'"):
        inference.segment(scan.ct, weights=["lung"])
    with pytest.raises(ScanError, match=r"nowhere\.nii"):
        inference.segment("nowhere.nii.gz")


def test_a_voxel_that_is_no_number_does_not_erase_a_slice(scan):
    array = scan.ct.array.astype(np.float32)
    array[3, 0, 0] = np.nan
    with pytest.warns(ScanWarning, match="NaN or infinity in"):
        result = inference.segment(scan.ct.with_array(array), weights=[threshold_bundle()])
    expected = inference.segment(scan.ct, weights=[threshold_bundle()])
    np.testing.assert_array_equal(result.lungs.array, expected.lungs.array)


@pytest.mark.parametrize("answers", [inference.segment, inference.labels, inference.probabilities])
def test_values_that_are_not_hu_are_mended_or_refused_wherever_a_scan_is_given(scan, answers):
    bundle = threshold_bundle()
    options = {"weights": [bundle]} if answers is inference.segment else {"bundle": bundle}
    unsigned = scan.ct.with_array((scan.ct.array + 1024).astype(np.uint16))
    with pytest.warns(ScanWarning, match="subtracted 1024"):
        found, expected = answers(unsigned, **options), answers(scan.ct, **options)
    arrays = [
        np.asarray(getattr(getattr(one, "lungs", one), "array", one)) for one in (found, expected)
    ]
    np.testing.assert_array_equal(*arrays)
    scores = scan.ct.with_array(scan.ct.array / np.float32(400))
    with pytest.raises(ScanError, match="not a CT in HU"):
        answers(scores, **options)


def test_an_array_with_its_spacing_is_segmented_as_its_volume(scan):
    bundle = threshold_bundle()
    found = inference.segment(scan.ct.array, spacing=scan.ct.spacing, weights=[bundle])
    expected = inference.segment(scan.ct, weights=[bundle])
    np.testing.assert_array_equal(found.lungs.array, expected.lungs.array)
    assert found.measure() == expected.measure()


def test_a_volume_in_the_order_of_its_file_is_refused(scan):
    turned = Volume(scan.ct.array.transpose(2, 1, 0), np.diag([-1.0, -1.0, 2.0, 1.0]))
    with pytest.raises(ScanError, match=r"slices from feet to head.*lungmask_jax\.load"):
        inference.segment(turned, weights=[threshold_bundle()])
    with pytest.raises(ScanError, match="slices from feet to head"):
        inference.probabilities(turned, threshold_bundle())


def with_signs():
    """A lung model, one of infection below -800 HU that tells signs, and a scan with some."""
    ct = np.full((4, 32, 32), 0, np.int16)
    ct[:, 4:20, 3:12] = ct[:, 4:20, 20:29] = -700
    ct[2, 4:20, 3:12] = -900
    infection = threshold_bundle("infection", hu=-800.0, signs=(2.0, -1.0))
    return scanned(ct), [threshold_bundle(), infection]


def test_signs_of_pneumonia_are_told_of_the_scan_and_of_each_slice(tmp_path):
    ct, models = with_signs()
    result = inference.segment(ct, weights=models)
    likely = 1 / (1 + np.exp(1 - 2 * np.log(np.array([0.1, 0.1, 50.1, 0.1]))))
    np.testing.assert_allclose(result.signs.slices, likely, atol=1e-6)
    assert result.measure()["signs_of_pneumonia"] == pytest.approx(likely[2])
    written = json.loads(result.save(tmp_path)[-1].read_text())
    assert written["signs_of_pneumonia"] == pytest.approx(likely[2], abs=1e-3)
    assert written["signs_of_pneumonia_by_slice"] == pytest.approx(likely, abs=1e-3)
    silent = replace(result, signs=None)
    assert (result.overlay() != silent.overlay()).any()
    assert "signs_of_pneumonia" not in silent.row("a")


def test_models_that_tell_signs_tell_their_mean():
    _, (_, infection) = with_signs()
    other = replace(infection, spec=replace(infection.spec, signs=(3.0, -2.0)))
    assert weights.ensemble([infection, other]).spec.signs == (2.5, -1.5)
    silent = replace(infection, spec=replace(infection.spec, signs=None))
    assert weights.ensemble([infection, silent]).spec.signs is None
