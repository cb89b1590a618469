"""Labels and probabilities of one model: thin slices, neighbors, little memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_models import scanned, threshold_bundle

from lungmask_jax import (
    calibration,
    inference,
    models,
    preprocess,
    weights,
)
from lungmask_jax.errors import SpecError
from lungmask_jax.inference import _network
from lungmask_jax.models import Model
from lungmask_jax.prediction import _plans
from lungmask_jax.spec import (
    ModelSpec,
    PredictSpec,
    changed_steps,
)
from lungmask_jax.weights import Bundle


def test_batches_change_nothing():
    noise = np.random.default_rng(0).integers(-1000, 0, (6, 32, 32)).astype(np.int16)
    bundle = threshold_bundle()
    together = inference.probabilities(scanned(noise), bundle)
    alone = [inference.probabilities(scanned(noise[k : k + 1]), bundle)[0] for k in range(6)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_scans_of_any_length_share_one_compilation():
    bundle = threshold_bundle()
    inference.segment(scanned(np.zeros((3, 32, 32), np.int16)), weights=[bundle])
    before = compiled()
    for count in (1, 4, 9):
        inference.segment(scanned(np.zeros((count, 32, 32), np.int16)), weights=[bundle])
    assert compiled() == before


def compiled():
    return _plans._of_slices._cache_size(), _network._decided._cache_size()


def thin(ct, mm=1.25, thickness_mm=2.5):
    """The scan with thin slices, and a known model that sees thicker ones."""
    bundle = threshold_bundle()
    seen = replace(bundle.spec.preprocess, thickness_mm=thickness_mm)
    volume = scanned(ct, np.array([[0, 0, -2, 0], [0, -2, 0, 0], [mm, 0, 0, 0], [0, 0, 0, 1.0]]))
    return volume, replace(bundle, spec=replace(bundle.spec, preprocess=seen))


def test_thin_slices_are_seen_together_and_answered_each(monkeypatch):
    ct = np.zeros((401, 32, 32), np.int16)
    ct[80:120, 4:20, 3:12] = -900
    seen = []
    run = _plans._of_slices

    def counted(params, state, batch, box, **options):
        seen.append(len(batch))
        return run(params, state, batch, box, **options)

    monkeypatch.setattr(_plans, "_of_slices", counted)
    for mm, count, batches in (
        (1.25, 2, 51),
        (0.8, 3, 34),
        (0.6, 4, 26),
        (0.1, 4, 26),
        (3, 1, 101),
    ):
        seen.clear()
        volume, bundle = thin(ct, mm)
        found = inference.labels(volume, bundle)
        assert seen == [4] * batches
        ends = np.flatnonzero(found.array.any(axis=(1, 2)))[[0, -1]]
        assert abs(ends - [80, 119]).max() <= count // 2
        np.testing.assert_array_equal(found.array[84:116], ct[84:116] < -500)


def test_answers_for_thin_slices_lie_on_a_line_between_those_for_thick_ones():
    ct = np.random.default_rng(0).integers(-503, -496, (200, 32, 32)).astype(np.int16)
    volume, bundle = thin(ct)
    found = inference.probabilities(volume, bundle)
    thick = inference.probabilities(scanned(preprocess.averaged(ct, 2)), bundle)
    middles, slices = np.arange(100) * 2 + 0.5, np.arange(200)
    for row, column in ((0, 0), (7, 30)):
        line = np.interp(slices, middles, thick[:, row, column])
        np.testing.assert_allclose(found[:, row, column], line, atol=1e-6)
    before = compiled()
    inference.probabilities(*thin(np.zeros((400, 32, 32), np.int16), 0.8))
    assert compiled() == before  # three slices at once need no other program than two


@pytest.mark.parametrize("kind", [(2, 3), (2, 5), (3, 1)])
@pytest.mark.parametrize("length", [200, 201, 210])
def test_neighbors_past_the_ends_of_a_thin_scan_are_those_of_the_thick_one(kind, length):
    ct = np.random.default_rng(0).integers(-900, -100, (length, 32, 32)).astype(np.int16)
    volume, bundle = thin(ct)
    like = Neighborly.bundle(*kind)
    bundle = replace(like, spec=replace(like.spec, preprocess=bundle.spec.preprocess))
    found = inference.probabilities(volume, bundle)
    averaged = preprocess.averaged(ct, 2)
    thick = inference.probabilities(scanned(averaged), bundle)
    middles = np.arange(len(averaged)) * 2 + 0.5
    for row, column in ((0, 0), (7, 30)):
        line = np.interp(np.arange(length), middles, thick[:, row, column])
        np.testing.assert_allclose(found[:, row, column], line, atol=1e-6)


class Neighborly:
    """A network that answers with the mean over a slice and its neighbors, or over a volume."""

    @staticmethod
    def bundle(ndim, in_channels=1):
        name = f"neighbors_for_tests_{ndim}_{in_channels}"

        def build():
            def apply(params, state, images, /, *, train=False, key=None):
                if ndim == 2:
                    return 10 * (images.mean(axis=-1, keepdims=True) - 0.5), state
                below = jnp.concatenate([images[:, :1], images[:, :-1]], axis=1)
                above = jnp.concatenate([images[:, 1:], images[:, -1:]], axis=1)
                return 10 * ((images + below + above) / 3 - 0.5), state

            return Model(
                lambda key: ({}, {}), apply, in_channels=in_channels, ndim=ndim, depth_stride=4
            )

        if name not in models.registry:
            models.registry.register(name, build)
        spec = replace(threshold_bundle().spec, model=ModelSpec(name=name))
        return Bundle(name, spec, {}, {}, "2" * 64)


OUT_OF_MEMORY = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")


class Small:
    """A device whose memory holds so many slices."""

    def __init__(self, slices, run):
        self.slices, self.run, self.batches = slices, run, []

    def __call__(self, params, state, batch, box, **options):
        self.batches.append(len(batch))
        if len(batch) > self.slices:
            raise OUT_OF_MEMORY
        return self.run(params, state, batch, box, **options)


@pytest.mark.parametrize(("memory", "tried"), [(3, [4, 2, 2, 2]), (1, [4, 2, *[1] * 6])])
def test_a_device_with_little_memory_gets_smaller_batches(monkeypatch, memory, tried):
    ct = scanned(np.random.default_rng(0).integers(-1000, 0, (6, 32, 32)).astype(np.int16))
    expected = inference.labels(ct, threshold_bundle())
    device = Small(memory, _plans._of_slices)
    monkeypatch.setattr(_plans, "_of_slices", device)
    found = inference.labels(ct, threshold_bundle())
    np.testing.assert_array_equal(found.array, expected.array)
    assert device.batches == tried


@pytest.mark.parametrize("failing", [0, 1, 2, 5])
def test_memory_that_is_short_between_thick_slices_changes_nothing(monkeypatch, failing):
    noise = np.random.default_rng(0).integers(-600, -400, (200, 32, 32)).astype(np.int16)
    volume, bundle = thin(noise)
    expected = inference.probabilities(volume, bundle)
    run, calls = _network._decided, []

    def short(*arguments, **options):
        calls.append(None)
        if len(calls) == failing + 1:
            raise OUT_OF_MEMORY
        return run(*arguments, **options)

    monkeypatch.setattr(_network, "_decided", short)
    np.testing.assert_array_equal(inference.probabilities(volume, bundle), expected)


def test_neighbors_are_the_same_in_smaller_batches(monkeypatch):
    ct = scanned(np.random.default_rng(0).integers(-1000, 0, (5, 32, 32)).astype(np.int16))
    expected = inference.probabilities(ct, Neighborly.bundle(2, 3))
    monkeypatch.setattr(_plans, "_of_slices", Small(4, _plans._of_slices))
    found = inference.probabilities(ct, Neighborly.bundle(2, 3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("bundle", [threshold_bundle(), Neighborly.bundle(3)], ids=str)
def test_a_device_too_small_for_the_least_batch_says_so(monkeypatch, bundle):
    monkeypatch.setattr(_plans, "_of_slices", Small(0, _plans._of_slices))
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        inference.labels(scanned(np.zeros((5, 32, 32), np.int16)), bundle)


def test_mirror_averaging_of_a_symmetric_model_changes_nothing():
    noise = np.random.default_rng(0).integers(-1000, 0, (2, 32, 32)).astype(np.int16)
    plain = inference.probabilities(scanned(noise), threshold_bundle())
    both = inference.probabilities(
        scanned(noise), threshold_bundle(predict=PredictSpec(mirror=(False, False, True)))
    )
    np.testing.assert_array_equal(plain, both)


def test_probabilities_are_calibrated_as_the_bundle_says(scan):
    bundle = weights.load("lungs")
    changed = changed_steps(bundle.spec.postprocess, "calibration", slope=0.5, offset=-0.3)
    ct = scanned(scan.ct.array[:4])
    plain = inference.probabilities(ct, bundle)
    found = inference.probabilities(
        ct, replace(bundle, spec=replace(bundle.spec, postprocess=changed))
    )
    expected = np.where(plain > 0, calibration.calibrated(plain, (0.5, -0.3)), 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_slices_far_from_the_lungs_cost_nothing(monkeypatch):
    ct = np.full((40, 32, 32), 0, np.int16)
    ct[16:20, 4:20, 3:12] = -900
    lungs, infection = threshold_bundle(hu=-500.0), threshold_bundle("infection", hu=-600.0)
    looked = []
    run = _plans._of_slices

    def counted(params, state, batch, box, **options):
        looked.append("lungs" if params["edge"] == 0.5 else "infection")
        return run(params, state, batch, box, **options)

    monkeypatch.setattr(_plans, "_of_slices", counted)
    result = inference.segment(scanned(ct), weights=[lungs, infection])
    assert (looked.count("lungs"), looked.count("infection")) == (10, 1)
    np.testing.assert_array_equal(result.infection.array > 0, ct == -900)


@pytest.mark.parametrize("slices", [1, 3, 8, 21])
@pytest.mark.parametrize("bundle", [Neighborly.bundle(2, 3), Neighborly.bundle(3)], ids=str)
def test_networks_that_look_at_neighbors_see_the_right_ones(bundle, slices):
    levels = np.random.default_rng(slices).integers(-900, -100, slices)
    ct = scanned(np.broadcast_to(levels[:, None, None], (slices, 32, 32)).astype(np.int16))
    found = inference.probabilities(ct, bundle)[:, 16, 16]
    grey = np.pad((levels + 1000) / 1000, 1, mode="edge")
    means = (grey[:-2] + grey[1:-1] + grey[2:]) / 3
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-10 * (means - 0.5))), atol=1e-4)


def test_a_lung_region_without_lungs_is_refused(scan):
    with pytest.raises(SpecError, match="lung mask"):
        inference.probabilities(scan.ct, weights.load("infection"))


def test_predictions_do_not_depend_on_the_key_or_the_run(scan):
    first = inference.probabilities(scan.ct, weights.load("lungs"))
    np.testing.assert_array_equal(first, inference.probabilities(scan.ct, weights.load("lungs")))
    assert jax.config.jax_enable_x64 is False
