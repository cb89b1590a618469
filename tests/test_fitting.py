"""From prepared slices to a bundle, in memory and in files."""

import numpy as np
import pytest

from lungmask_jax import fitting, postprocess, trees, weights
from lungmask_jax.errors import SpecError
from lungmask_jax.fitting import Judgement, PreparedScan, RunFiles, TrainingScans
from lungmask_jax.training import Samples

RECIPE = fitting.recipe(
    target="lungs",
    channels=(4, 8),
    steps=7,
    steps_per_epoch=3,
    batch_size=2,
    **dict.fromkeys(("augment", "opacities", "gas"), 0),  # most of what is compiled
)


@pytest.fixture
def scans():
    """Bright squares to be found, one side held out."""
    images = np.random.default_rng(0).random((4, 16, 16, 1)) / 4
    masks = np.zeros((4, 16, 16))
    masks[:, 4:12, 4:12] = 1
    samples = Samples.of(images + masks[..., None] / 2, masks)
    return TrainingScans(samples, {"a": "1"}, [PreparedScan("b", samples, "2")], ("odd",))


def test_a_bundle_in_memory_is_that_of_the_file(scans, tmp_path):
    *epochs, last = fitting.fit(scans, RECIPE, out=tmp_path / "a.npz")
    *_, alone = fitting.fit(scans, RECIPE)
    loaded = weights.load(tmp_path / "a.npz")
    assert [epoch.step for epoch in epochs] == [3, 6]
    assert [epoch.judgement for epoch in epochs] == [None, None]
    assert alone.bundle.checksum == last.bundle.checksum == loaded.checksum
    assert alone.bundle.spec == last.bundle.spec == loaded.spec
    for name, leaf in trees.leaves(loaded.params).items():
        np.testing.assert_array_equal(leaf, trees.leaves(alone.bundle.params)[name])
    assert loaded.spec.card["trained_on_images"] == ["1"]
    assert loaded.spec.card["held_out"] == ["b"]
    assert 0 <= last.judgement.dice <= 1


def test_a_run_that_was_ended_is_resumed_to_the_same_bundle(scans, tmp_path):
    *_, whole = fitting.fit(scans, RECIPE, out=tmp_path / "a.npz")

    def ended(stage, done, _total):
        return stage == "training" and done == 4

    *_, part = fitting.fit(scans, RECIPE, out=tmp_path / "b.npz", progress=ended)
    assert part.step == 5  # the device had begun it
    assert part.judgement is None
    *_, again = fitting.fit(scans, RECIPE, out=tmp_path / "b.npz", existing="resume")
    assert (again.bundle.checksum, again.bundle.spec) == (whole.bundle.checksum, whole.bundle.spec)
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()
    *_, same = fitting.fit(scans, RECIPE, out=tmp_path / "b.npz", existing="resume")
    assert same.judgement == again.judgement == whole.judgement


def test_without_scans_held_out_the_last_epoch_is_kept_uncalibrated(scans):
    *_, last = fitting.fit(scans._replace(held_out=()), RECIPE)
    assert last.judgement is None
    assert last.bundle.spec.postprocess == postprocess.complete(RECIPE.segmenter.postprocess)
    assert last.bundle.spec.card["step"] == 7
    assert "its quality is unknown" in last.notes[-1]


def test_there_is_nothing_to_resume_in_memory(scans):
    with pytest.raises(SpecError, match="expected out with existing='resume'"):
        next(fitting.fit(scans, RECIPE, existing="resume"))


def test_files_of_an_earlier_run_are_refused_before_anything_is_read(tmp_path):
    RunFiles(tmp_path / "a.npz").log.write_text("mine")
    with pytest.raises(SpecError, match="replace it with --overwrite"):
        next(fitting.fit([], RECIPE, out=tmp_path / "a.npz"))


def test_a_judgement_is_above_chance_or_nothing_is_learned():
    assert Judgement(0.33, 0.3).learned
    assert not Judgement(0.31, 0.3).learned
