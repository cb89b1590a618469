"""``lungmask-jax train``, from its words to the bundle."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lungmask_jax import (
    calibration,
    cli,
    data,
    errors,
    io,
    postprocess,
    training,
    trees,
    weights,
)
from lungmask_jax.cli import _recipe, _stop
from lungmask_jax.fitting import Judgement, PreparedScan, _warnings
from lungmask_jax.phantoms import phantom
from lungmask_jax.spec import SegmenterSpec
from lungmask_jax.training import Samples

NETWORK = ["--channels", "4", "8", "--preprocess", "size=[64,64]"]
UNCHANGED = ["--setting", "augment=0", "opacities=0", "gas=0"]  # most of what is compiled
SEVEN_STEPS = ["--steps", "7", "--steps-per-epoch", "3"]


@pytest.fixture(scope="module")
def chests(tmp_path_factory):
    """A folder with the images and the masks of three phantoms."""
    folder = tmp_path_factory.mktemp("chests")
    images, masks = folder / "images", folder / "masks"
    images.mkdir()
    masks.mkdir()
    for seed in range(3):
        made = phantom((2, 64, 64), seed=seed)
        io.save(made.ct, images / f"case{seed}.nii.gz")
        whole = made.lungs.with_array((made.lungs.array > 0).astype(np.uint8))
        io.save(whole, masks / f"case{seed}.nii.gz")
    return folder


@pytest.fixture
def training_set_with_curve(chests, tmp_path):
    """Words for a tiny run on copies of these phantoms; one is held out."""
    shutil.copytree(chests, tmp_path, dirs_exist_ok=True)
    images, masks = tmp_path / "images", tmp_path / "masks"
    words = ["train", "--images", str(images), "--masks", str(masks), "--target", "lungs"]
    return [*words, "--batch-size", "2", "--validation", "0.34", *NETWORK, *UNCHANGED]


@pytest.fixture
def training_set(training_set_with_curve, without_matplotlib):
    """The same without a curve, which takes longer than the training of most of these networks."""
    return training_set_with_curve


def augmented(words):
    """The words, but images change as they do by default."""
    return [word for word in words if word not in UNCHANGED]


def log_of(out):
    lines = [json.loads(text) for text in out.with_suffix(".jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "waited")}
        for line in lines
    ]


def test_train_writes_a_bundle_a_log_a_curve_and_a_checkpoint(training_set_with_curve, tmp_path):
    out = tmp_path / "mine.npz"
    assert cli.main([*training_set_with_curve, "-o", str(out), "--steps", "1"]) == 0
    bundle = weights.load(out)
    assert bundle.spec.target == "lungs"
    assert len(bundle.spec.card["held_out"]) == 1
    assert "steps = 1" in _recipe.toml(bundle.spec).splitlines()
    (line,) = log_of(out)
    assert line["step"] == bundle.spec.card["step"] == 1
    assert 0 <= line["dice"] <= line["dice_at_best"] <= 1
    for name in ("case0", "case1", "case2"):
        image = data.fingerprint(io.load(tmp_path / "images" / f"{name}.nii.gz"))
        known = weights.seen_in_training(bundle.spec.card, "by another name", image)
        held_out = name in bundle.spec.card["held_out"]
        assert known == ("held out" if held_out else "learned from")
    assert cv2.imread(str(out.with_suffix(".png"))) is not None
    assert out.with_suffix(".checkpoint.npz").is_file()
    scan = str(tmp_path / "images" / "case0.nii.gz")
    assert cli.main(["segment", scan, "-o", str(tmp_path / "o"), "--weights", str(out)]) == 0


def test_without_matplotlib_a_bundle_is_trained_and_one_note_said(training_set, tmp_path, capsys):
    out = tmp_path / "mine.npz"
    steps = ["--steps", "2", "--steps-per-epoch", "1"]
    assert cli.main([*training_set, "-o", str(out), *steps]) == 0
    assert len(log_of(out)) == 2
    assert not out.with_suffix(".png").exists()
    assert capsys.readouterr().err.count("no learning curve: expected matplotlib") == 1


@pytest.mark.parametrize(
    "network",
    [["--option", "in_channels=3", "norm=batch"], ["--model", "unet_3d", "--option", "stem=4"]],
    ids=["neighbors", "volumes"],
)
def test_networks_that_look_at_neighbors_train_and_segment_by_name(
    training_set, tmp_path, network, capsys
):
    out = tmp_path / "mine.npz"
    assert cli.main([*training_set, "-o", str(out), "--steps", "1", *network]) == 0
    assert "calibrated on the held-out scans" in capsys.readouterr().out
    bundle = weights.load(out)
    assert bundle.spec.model.options["channels"] == [4, 8]
    assert postprocess.decision(bundle.spec.postprocess) != (1.0, 0.0, 0.5)
    scan = str(tmp_path / "images" / "case0.nii.gz")
    assert cli.main(["segment", scan, "-o", str(tmp_path / "o"), "--weights", str(out)]) == 0


def test_options_that_do_not_fit_are_one_line(training_set, tmp_path, capsys):
    out = ["-o", str(tmp_path / "a.npz")]
    for option, message in (
        ("in_channels=2", "odd number of channels"),
        ("num_classes=3", "expected one class for the lungs"),
        ("depth", "expected --option NAME=VALUE, found 'depth'"),
        ("widths=3", "do not fit the model 'unet'"),
    ):
        assert cli.main([*training_set, *out, "--option", option]) == 1
        assert message in capsys.readouterr().err


def test_training_goes_on_from_a_bundle_with_its_network_and_weights(training_set, tmp_path):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    assert cli.main([*training_set, "-o", str(first), "--steps", "1"]) == 0
    further = [word for word in training_set if word not in NETWORK]
    words = [*further, "-o", str(second), "--start", str(first), "--steps", "1", "--seed", "5"]
    assert cli.main([*words, "--learning-rate", "1e-9"]) == 0
    before, after = weights.load(first), weights.load(second)
    assert after.spec.model == before.spec.model
    assert after.spec.card["started_from"] == first.name
    images = before.spec.card["trained_on_images"]
    assert set(images) <= set(after.spec.card["trained_on_images"])
    assert trees.leaves(after.params).keys() == trees.leaves(before.params).keys()
    for name, leaf in trees.leaves(after.params).items():
        np.testing.assert_allclose(leaf, trees.leaves(before.params)[name], atol=2e-4)


def test_a_bundle_is_replaced_only_when_told_to(training_set, tmp_path, capsys):
    out = tmp_path / "mine.npz"
    words = [*training_set, "-o", str(out), "--steps", "1"]
    assert cli.main(words) == 0
    before = out.read_bytes()
    assert cli.main(words) == 1
    printed = capsys.readouterr().err
    assert "checkpoint.npz: replace it with --overwrite" in printed
    assert "--resume continues it" in printed
    assert out.read_bytes() == before
    out.with_suffix(".checkpoint.npz").unlink()
    assert cli.main(words) == 1
    assert f"--start {out} fine-tunes it" in capsys.readouterr().err
    assert cli.main([*words, "--overwrite"]) == 0
    assert cli.main([*training_set, "-o", str(tmp_path / "mine")]) == 1
    assert "give " in capsys.readouterr().err


def test_a_run_that_was_replaced_is_not_resumed(training_set, tmp_path, capsys, monkeypatch):
    words = [*training_set, "-o", str(tmp_path / "mine.npz"), "--steps", "1"]
    assert cli.main(words) == 0

    def full(*arguments, **options):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(training, "save_checkpoint", full)
        assert cli.main([*words, "--overwrite"]) == 1
    assert cli.main([*words, "--resume"]) == 1
    assert "expected a training checkpoint, found no file" in capsys.readouterr().err


def test_lung_masks_that_are_learned_as_infection_are_suspected(training_set, tmp_path, capsys):
    words = [word for word in training_set if word not in ("--target", "lungs")]
    assert cli.main([*words, "-o", str(tmp_path / "mine.npz"), "--steps", "1"]) == 0
    printed = capsys.readouterr()
    assert "are they lungs? If so, give --target lungs" in printed.err
    assert printed.out.startswith("infection: 2 scans with")


def test_a_run_that_started_from_a_bundle_goes_on_only_as_such(training_set, tmp_path, capsys):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    assert cli.main([*training_set, "-o", str(first), "--steps", "1"]) == 0
    further = [word for word in training_set if word not in NETWORK]
    words = [*further, "-o", str(second), "--steps", "1"]
    assert cli.main([*words, "--start", str(first)]) == 0
    card = weights.load(second).spec.card
    assert card["started_from_checksum"] == weights.load(first).checksum
    assert cli.main([*words, *NETWORK, "--resume"]) == 1
    assert f"start was {card['started_from_checksum'][:12]}, is none" in capsys.readouterr().err
    assert cli.main([*words, "--start", str(first), "--resume"]) == 0


def test_a_bundle_to_start_from_that_does_not_fit_is_one_line(training_set, tmp_path, capsys):
    out = ["-o", str(tmp_path / "a.npz")]
    assert cli.main([*training_set, *out, "--start", "lungs"]) == 1
    assert "expected --start alone" in capsys.readouterr().err
    words = [word for word in training_set if word not in NETWORK]
    assert cli.main([*words, *out, "--start", "infection"]) == 1
    assert "expected a bundle for the lungs, found one for infection" in capsys.readouterr().err


def test_the_log_is_as_fine_as_it_is_asked_for(training_set, tmp_path):
    out = tmp_path / "mine.npz"
    assert cli.main([*training_set, *SEVEN_STEPS, "-o", str(out)]) == 0
    assert [line["step"] for line in log_of(out)] == [3, 6, 7]


def test_lines_in_a_file_are_not_broken_after_eighty_characters(
    training_set, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(Judgement, "learned", True)  # after a single step
    out = tmp_path / ("a" * 80 + ".npz")
    assert cli.main([*training_set, "-o", str(out), "--steps", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{out} is ready: lungmask-jax segment SCAN -o OUT --weights {out}" in lines
    assert "" not in lines


def contents(path):
    """All that a file of arrays and texts holds."""
    stored = trees.read(path, "a file")
    return {name: array.tobytes() for name, array in stored.arrays.items()} | stored.texts


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    training_set, tmp_path, monkeypatch, capsys
):
    train = training.train

    def interrupted(*arguments, progress, **options):
        def ctrl_c(done):
            if done == 4:
                signal.raise_signal(signal.SIGINT)
            return progress(done)

        return train(*arguments, progress=ctrl_c, **options)

    one, other = (tmp_path / folder / "a.npz" for folder in ("one", "other"))
    words = [*augmented(training_set), *SEVEN_STEPS, "--cache", str(tmp_path / "cache")]
    assert cli.main([*words, "-o", str(one)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", interrupted)
        assert cli.main([*words, "-o", str(other)]) == 130
    printed = capsys.readouterr()
    done = int(trees.read(other.with_suffix(".checkpoint.npz"), "").arrays["step"])
    assert done == 5  # the device had begun it
    assert (
        f"stopped after step {done} of 7: repeat the command with --resume to continue"
        in printed.err
    )
    assert printed.out.count("is ready") <= 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert cli.main([*words, "-o", str(other), "--resume"]) == 0
    assert f"continuing after step {done} of 7" in capsys.readouterr().out
    assert log_of(other) == log_of(one)
    for suffix in (".npz", ".checkpoint.npz"):
        assert contents(other.with_suffix(suffix)) == contents(one.with_suffix(suffix))


def test_the_card_of_a_bundle_holds_no_path_and_no_time(training_set, tmp_path):
    out = tmp_path / "a.npz"
    assert cli.main([*training_set, "-o", str(out), "--steps", "1"]) == 0
    card = weights.load(out).spec.card
    assert str(tmp_path) not in json.dumps(card)
    assert not {"seconds", "waited", "data"} & set(card)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_asks_and_a_second_one_stops(number):
    class SecondOneError(Exception):
        pass

    def second(*_):
        raise SecondOneError

    before = signal.signal(number, second)
    try:
        with _stop.stoppable() as stop:
            assert stop.number is None
            signal.raise_signal(number)
            assert stop.number == number
            with pytest.raises(SecondOneError):
                signal.raise_signal(number)
        assert signal.getsignal(number) is second
        signal.signal(number, signal.SIG_IGN)
        with _stop.stoppable() as stop:
            signal.raise_signal(number)
        assert stop.number is None
    finally:
        signal.signal(number, before)


def test_prepared_slices_are_read_again_unless_something_changed(training_set, tmp_path):
    cache = tmp_path / "cache"
    words = [*training_set, "-o", str(tmp_path / "a.npz"), "--steps", "1", "--cache", str(cache)]
    assert cli.main(words) == 0
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(list(cache.glob("*.npz"))) == 3
    card = weights.load(tmp_path / "a.npz").spec.card
    words.append("--overwrite")
    assert cli.main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files
    assert weights.load(tmp_path / "a.npz").spec.card == card
    assert cli.main([*words, "--window", "-1350", "150"]) == 0
    assert len(list(cache.glob("*.npz"))) == 6


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "expected a training checkpoint, found no file"),
        (["--devices", "99"], "expected 1 to"),
        (["--devices", "0"], "expected 1 to"),
        (["--loss", "dise"], "did you mean"),
        (["--preset", "forerunner"], "'body' or 'full' for a lung model"),
    ],
)
def test_a_run_that_cannot_go_on_is_one_line(training_set, tmp_path, capsys, more, message):
    words = [*training_set, "-o", str(tmp_path / "a.npz"), "--steps", "1"]
    assert cli.main([*words, *(more or ["--resume"])]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert "to learn from" not in printed.out  # found before all scans are read


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--loss", "cross_entropy"], "expected a channel for each class"),
        (["--loss", "lovasz_softmax"], "expected a channel for each class"),
        (["--loss", "nested_bce_dice"], "expected a channel for each class"),
        (["--channels", *["4"] * 10], "image sides that are multiples of"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_scans_are_read(
    training_set, tmp_path, capsys, more, message
):
    assert cli.main([*training_set, "-o", str(tmp_path / "a.npz"), *more]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert "to learn from" not in printed.out


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processor cores")
def test_processor_cores_share_each_batch(training_set, tmp_path):
    words = [*training_set, "-o", str(tmp_path / "two.npz"), "--steps", "1", "--devices", "2"]
    code = (
        "import sys\n"
        "from lungmask_jax import cli\n"
        "assert cli.main(sys.argv[1:]) == 0\n"
        "import jax\n"
        "print('devices:', jax.device_count())\n"
    )
    flags = os.environ.get("XLA_FLAGS", "").split()
    env = {**os.environ, "XLA_FLAGS": " ".join(f for f in flags if "device_count" not in f)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert "devices: 2" in done.stdout
    assert (tmp_path / "two.npz").is_file()


def test_what_train_would_write_over_is_refused_before(training_set, tmp_path, capsys):
    (tmp_path / "mine.png").write_text("somebody's")
    assert cli.main([*training_set, "-o", str(tmp_path / "mine.npz"), "--steps", "1"]) == 1
    assert f"found {tmp_path / 'mine.png'}: replace it with --overwrite" in capsys.readouterr().err
    assert (tmp_path / "mine.png").read_text() == "somebody's"


@pytest.mark.parametrize("suffix", [".npz", ".jsonl", ".png", ".checkpoint.npz"])
def test_links_to_nothing_and_folders_are_not_written_over(training_set, tmp_path, capsys, suffix):
    path = tmp_path / f"mine{suffix}"
    words = [*training_set, "-o", str(tmp_path / "mine.npz"), "--steps", "1"]
    path.symlink_to("nowhere")
    assert cli.main(words) == 1
    assert f"found {path}: replace it with --overwrite" in capsys.readouterr().err
    assert path.is_symlink()
    path.unlink()
    path.mkdir()
    assert cli.main([*words, "--overwrite"]) == 1
    printed = capsys.readouterr()
    assert f"{path} is a folder" in printed.err
    assert "to learn from" not in printed.out


def test_a_run_does_not_go_on_without_its_log_and_its_bundle(training_set, tmp_path, capsys):
    out = tmp_path / "mine.npz"
    words = [*training_set, *SEVEN_STEPS, "-o", str(out)]
    assert cli.main(words) == 0
    log, bundle = out.with_suffix(".jsonl"), out.read_bytes()
    whole = log.read_text()
    line, other, last = whole.splitlines()
    twice, empty = (f"{line}\n{middle}\n{last}" for middle in (line, "{}"))
    for text in ("", line, f"{line}\n{other}", twice, empty, "[1]\n5", "mine"):
        log.write_text(text)
        assert cli.main([*words, "--resume"]) == 1
        assert f"damaged one in {log}: put it back" in capsys.readouterr().err
        assert (log.read_text(), out.read_bytes()) == (text, bundle)
    log.write_text(whole)
    out.unlink()
    assert cli.main([*words, "--resume"]) == 1
    assert f"found no file {out}" in capsys.readouterr().err
    out.write_bytes(bundle)
    assert cli.main([*words, "--resume"]) == 0
    assert out.read_bytes() == bundle


def test_a_stop_before_and_after_learning_says_how_to_go_on(
    training_set, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "mine.npz"
    words = [*training_set, "-o", str(out), "--steps", "1"]

    def interrupted(*_):
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(data, "fingerprint", interrupted)
        assert cli.main(words) == 143
    assert "stopped: no epoch is complete yet, start again" in capsys.readouterr().err
    assert not [*tmp_path.glob("mine*")]
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "fit", interrupted)
        assert cli.main(words) == 143
    assert (
        "stopped: training is complete: repeat the command with --resume" in capsys.readouterr().err
    )
    assert cli.main([*words, "--resume"]) == 0
    assert postprocess.decision(weights.load(out).spec.postprocess)[:2] != (1, 0)


@pytest.mark.parametrize("rate", ["nan", "inf", "1e400"])
def test_a_rate_that_is_no_number_is_named(training_set, tmp_path, capsys, rate):
    assert cli.main([*training_set, "-o", str(tmp_path / "a.npz"), "--learning-rate", rate]) == 1
    assert "expected a finite learning_rate, found" in capsys.readouterr().err


def test_a_network_that_cannot_learn_is_not_called_ready(training_set, tmp_path, capsys):
    generator = np.random.default_rng(0)
    for path in (tmp_path / "masks").iterdir():
        mask = io.load_mask(path)
        io.save(mask.with_array(generator.integers(0, 2, mask.shape).astype(np.uint8)), path)
    out = tmp_path / "mine.npz"
    assert cli.main([*training_set, "-o", str(out), "--steps", "1"]) == 0
    printed = capsys.readouterr()
    assert "is ready" not in printed.out
    assert f"{out} has learned nothing" in printed.err.splitlines()[-1]


LUNGS = SegmenterSpec(target="lungs")


def prepared(name, *, slices=2, mask=1, image=0.0, fingerprint=""):
    images = np.full((slices, 4, 4, 1), image)
    masks = np.zeros((slices, 4, 4))
    masks[:, :, 0] = mask
    return PreparedScan(name, Samples.of(images, masks), fingerprint or name)


def test_nothing_is_said_of_data_that_are_as_they_should_be():
    assert (
        list(_warnings.data_warnings([prepared("a"), prepared("b")], [prepared("c")], LUNGS)) == []
    )


def test_masks_that_are_empty_are_named():
    scans = [prepared("a"), prepared("b", mask=0), prepared("c", mask=0)]
    (line,) = _warnings.data_warnings(scans, [prepared("d")], LUNGS)
    assert line.startswith("no lungs in 2 of 4 masks, those of b, c:")
    many = [prepared(str(number), mask=0) for number in range(9)]
    (line,) = _warnings.data_warnings([prepared("a"), *many], [prepared("d")], LUNGS)
    assert "those of 0, 1, 2, 3, 4, 4 more" in line


def test_scans_without_lungs_are_named():
    scans = [prepared("a"), prepared("b", slices=0)]
    (line,) = _warnings.data_warnings(scans, [prepared("d")], LUNGS)
    assert line.startswith("no lungs found in b:")


def test_scans_held_out_without_a_target_allow_no_dice():
    *_, line = _warnings.data_warnings([prepared("a")], [prepared("b", mask=0)], LUNGS)
    assert line.startswith("no lungs in the held-out scans, b: no Dice is possible")


def test_masks_that_are_all_empty_are_nothing_to_learn_from():
    with pytest.raises(errors.ScanError, match="those of all 2 training scans have none"):
        list(
            _warnings.data_warnings(
                [prepared("a", mask=0), prepared("b", mask=0)], [prepared("c")], LUNGS
            )
        )


def test_a_scan_on_both_sides_and_one_that_a_bundle_knows_are_named():
    def leakage_warnings(train, held_out, start=None):
        sides = tuple([data.Case(s.name, Path(s.name)) for s in side] for side in (train, held_out))
        return list(_warnings.leakage_warnings(train, held_out, sides, start))

    train = [prepared("a", fingerprint="1"), prepared("b", fingerprint="2")]
    assert leakage_warnings(train, [prepared("c", fingerprint="3")]) == []
    (line,) = leakage_warnings(train, [prepared("c", fingerprint="2")])
    assert line.startswith("c, held out, is the same scan as b in the training data")
    (line,) = leakage_warnings([prepared("ann_1"), prepared("ben_1")], [prepared("ann_2")])
    assert "similar names in training and held-out scans: ann_1 and ann_2" in line
    spec = SegmenterSpec(target="lungs", card={"trained_on_images": ["3"]})
    start = weights.Bundle("first", spec, {}, {}, "")
    (line,) = leakage_warnings(train, [prepared("c", fingerprint="3")], start)
    assert line.startswith("c, held out, was seen by first")


def test_a_loss_that_does_not_fall_is_said():
    assert (
        list(_warnings.loss_warning([]))
        == list(_warnings.loss_warning([{"step": 5, "loss": 1.0}]))
        == []
    )
    assert list(_warnings.loss_warning([{"step": 5, "loss": 1.0}, {"step": 9, "loss": 0.9}])) == []
    (line,) = _warnings.loss_warning([{"step": 5, "loss": 0.9}, {"step": 9, "loss": 0.9}])
    assert line.startswith("the loss did not fall: 0.9 up to step 5, 0.9 at the end")


def test_a_network_is_judged_against_a_mask_of_everything():
    truth = np.zeros((1, 4, 4), bool)
    truth[0, 0] = True  # a quarter
    everything, nothing = np.ones_like(truth), np.zeros_like(truth)
    assert Judgement.of([everything], [truth])[:2] == pytest.approx((0.4, 0.4))
    assert Judgement.of([truth, nothing], [truth, nothing])[:2] == pytest.approx((1, 8 / 36))
    assert not Judgement.of([everything], [truth]).learned
    assert not Judgement.of([nothing], [truth]).learned
    assert Judgement.of([truth], [truth]).learned
    out = "a.npz"
    assert list(_warnings.score_warning(out, Judgement.of([truth], [truth]))) == []
    (line,) = _warnings.score_warning(out, Judgement.of([nothing], [truth]))
    assert "a.npz has learned nothing: its Dice on the held-out scans is 0.000" in line
    (line,) = _warnings.score_warning(out, None)
    assert "its quality is unknown" in line
