import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lungmask_jax import inference, io, metrics, weights
from lungmask_jax.errors import ScanError, SpecError, UnknownNameError
from lungmask_jax.models import Model
from lungmask_jax.phantoms import phantom
from lungmask_jax.spec import ModelSpec, PostprocessSpec, PreprocessSpec, SegmenterSpec
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle


@pytest.fixture(scope="module")
def scan():
    return phantom((24, 160, 160), disease=0.15, seed=3)


@pytest.fixture(scope="module")
def result(scan):
    return inference.segment(scan.ct)


def threshold_bundle(target="lungs", hu=-500.0, **options):
    """A model that calls everything below `hu` its target: its answers are known beforehand."""
    spec = PreprocessSpec(window=(-1000.0, 0.0), region="full", size=(32, 32))
    segmenter = SegmenterSpec(
        target=target,
        model=ModelSpec(name="threshold_for_tests"),
        preprocess=spec,
        postprocess=PostprocessSpec(),
        **options,
    )
    return Bundle("threshold", segmenter, {"edge": np.float32((hu + 1000) / 1000)}, {}, "0" * 64)


@pytest.fixture(autouse=True, scope="module")
def _threshold_model():
    def build():
        def apply(params, state, images, /, *, train=False, key=None):
            return 1e4 * (params["edge"] - images), state

        return Model(init=lambda key: ({"edge": jnp.zeros(())}, {}), apply=apply)

    weights.models.register("threshold_for_tests", build)


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


def test_infection_lies_inside_the_lungs(result):
    assert not (result.infection.array[result.lungs.array == 0]).any()


def test_a_known_model_comes_back_voxel_for_voxel():
    ct = np.full((5, 32, 32), 0, np.int16)
    ct[:, 4:20, 3:12] = ct[:, 4:20, 20:29] = -900
    result = inference.segment(Volume(ct), weights=[threshold_bundle()])
    np.testing.assert_array_equal(result.lungs.array > 0, ct < -500)
    assert result.infection is None


def test_batches_change_nothing():
    noise = np.random.default_rng(0).integers(-1000, 0, (6, 32, 32)).astype(np.int16)
    bundle = threshold_bundle()
    together = inference.probabilities(Volume(noise), bundle)
    alone = [inference.probabilities(Volume(noise[k : k + 1]), bundle)[0] for k in range(6)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_scans_of_any_length_share_one_compilation():
    bundle = threshold_bundle()
    inference.segment(Volume(np.zeros((3, 32, 32), np.int16)), weights=[bundle])
    before = inference._answers._cache_size()
    for count in (1, 4, 9):
        inference.segment(Volume(np.zeros((count, 32, 32), np.int16)), weights=[bundle])
    assert inference._answers._cache_size() == before


def test_mirror_averaging_of_a_symmetric_model_changes_nothing():
    noise = np.random.default_rng(0).integers(-1000, 0, (2, 32, 32)).astype(np.int16)
    plain = inference.probabilities(Volume(noise), threshold_bundle())
    both = inference.probabilities(Volume(noise), threshold_bundle(flip=True))
    np.testing.assert_array_equal(plain, both)


def test_one_slice_works_everywhere(tmp_path):
    made = phantom((1, 128, 128), disease=0.2)
    result = inference.segment(made.ct)
    assert result.measure()["lungs_ml"] > 0
    assert result.overlay().dtype == np.uint8
    assert len(result.save(tmp_path)) == 3


def test_a_scan_without_lungs_gives_empty_masks_and_no_crash(tmp_path):
    ct = np.full((3, 64, 64), -1000, np.int16)
    ct[:, 10:50, 10:50] = 40
    result = inference.segment(Volume(ct))
    measured = result.measure()
    assert measured["severity"] in ("unknown", "CT-0")
    result.save(tmp_path)


def test_saved_masks_overlay_their_scan(scan, result, tmp_path):
    paths = result.save(tmp_path / "new" / "folder", name="case")
    names = ["case_lungs.nii.gz", "case_infection.nii.gz", "case_overlay.png"]
    assert [path.name for path in paths] == names
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
    ct = Volume(np.full((6, 32, 32), -900, np.int16))
    inference.segment(ct, weights=[threshold_bundle()], progress=lambda *step: seen.append(step))
    assert seen == [("lungs", 4, 6), ("lungs", 6, 6)]


def test_wrong_sets_of_models_are_refused(scan):
    with pytest.raises(SpecError, match="one lung model"):
        inference.segment(scan.ct, weights=[threshold_bundle("infection")])
    with pytest.raises(SpecError, match="one lung model"):
        inference.segment(scan.ct, weights=[threshold_bundle(), threshold_bundle()])


def test_unknown_weights_and_missing_files_are_named(scan):
    with pytest.raises(UnknownNameError, match="did you mean 'lungs'"):
        inference.segment(scan.ct, weights=["lung"])
    with pytest.raises(ScanError, match=r"nowhere\.nii"):
        inference.segment("nowhere.nii.gz")


def test_a_lung_region_without_lungs_is_refused(scan):
    with pytest.raises(SpecError, match="lung mask"):
        inference.probabilities(scan.ct, weights.load("infection"))


def test_predictions_do_not_depend_on_the_key_or_the_run(scan):
    first = inference.probabilities(scan.ct, weights.load("lungs"))
    np.testing.assert_array_equal(first, inference.probabilities(scan.ct, weights.load("lungs")))
    assert jax.config.jax_enable_x64 is False


def test_a_voxel_that_is_no_number_does_not_erase_a_slice_in_silence(scan):
    array = scan.ct.array.astype(np.float32)
    array[3, 0, 0] = np.nan
    with pytest.raises(ScanError, match="NaN or infinity in"):
        inference.segment(scan.ct.with_array(array), weights=[threshold_bundle()])


def test_a_volume_in_the_order_of_its_file_is_refused(scan):
    turned = Volume(scan.ct.array.transpose(2, 1, 0), np.diag([-1.0, -1.0, 2.0, 1.0]))
    with pytest.raises(ScanError, match=r"slices from feet to head.*lungmask_jax\.load"):
        inference.segment(turned, weights=[threshold_bundle()])
    with pytest.raises(ScanError, match="slices from feet to head"):
        inference.probabilities(turned, threshold_bundle())
