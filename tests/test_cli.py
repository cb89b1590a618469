import csv
import json
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lungmask_jax import cli, errors, inference, io, metrics, training, trees, weights
from lungmask_jax.cli import _recipe, _settings
from lungmask_jax.cli._options import parser
from lungmask_jax.phantoms import phantom
from lungmask_jax.spec import (
    PRESETS,
    ModelSpec,
    PostprocessSpec,
    PreprocessSpec,
    SegmenterSpec,
    TrainSpec,
    from_json,
)


@pytest.fixture(autouse=True)
def _no_cache_outside(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "_cache_compilations", lambda: None)


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "one.nii.gz"
    io.save(phantom((8, 128, 128), disease=0.2, seed=1).ct, path)
    return path


def test_segment_writes_masks_picture_json_and_csv(scan_file, tmp_path, capsys):
    assert cli.main(["segment", str(scan_file), "-o", str(tmp_path)]) == 0
    written = {path.name for path in tmp_path.iterdir()}
    kinds = ("lungs.nii.gz", "infection.nii.gz", "lesions.nii.gz", "overlay.png")
    assert written == {*(f"one_{kind}" for kind in kinds), "one.json", "measures.csv"}
    values = json.loads((tmp_path / "one.json").read_text())
    with (tmp_path / "measures.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert line["severity"] == values["severity"]
    assert float(line["lungs_ml"]) == values["lungs_ml"] > 0
    assert cv2.imread(str(tmp_path / "one_overlay.png")) is not None
    assert "not a medical device" in capsys.readouterr().out.lower()


def test_segment_removes_its_own_old_masks_and_no_others(scan_file, tmp_path):
    foreign = tmp_path / "one_infection.nii.gz"
    foreign.write_bytes(b"drawn by hand")
    words = ["segment", str(scan_file), "-o", str(tmp_path)]
    assert cli.main([*words, "--weights", "lungs"]) == 0
    assert foreign.read_bytes() == b"drawn by hand"
    assert cli.main([*words, "--uncertainty"]) == 0
    assert {"one_lesions.nii.gz", "one_uncertainty.nii.gz"} < {p.name for p in tmp_path.iterdir()}
    assert cli.main([*words, "--weights", "lungs"]) == 0
    left = {"one_lungs.nii.gz", "one_overlay.png", "one.json", "measures.csv"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_one_bad_scan_does_not_stop_the_others(scan_file, tmp_path, capsys):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"not a scan")
    out = tmp_path / "out"
    assert cli.main(["segment", str(bad), str(scan_file), "-o", str(out)]) == 1
    assert (out / "one.json").exists()
    assert not list(out.glob("bad*"))
    printed = capsys.readouterr().out
    assert "bad:" in printed
    assert "1 of 2 scans done" in printed


def test_the_profile_names_the_stages_of_all_scans(scan_file, tmp_path, capsys):
    other = tmp_path / "two.nii.gz"
    other.write_bytes(scan_file.read_bytes())
    words = ["segment", str(scan_file), str(other), "-o", str(tmp_path), "--profile"]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    stages = ("weights", "read", "lung network", "lung masks", "infection network", "write")
    assert [stage for stage in stages if printed.count(stage) != 1] == []
    assert "2 of 2 scans done" in printed


def test_what_was_mended_while_reading_ahead_is_told_of_its_own_scan(scan_file, tmp_path, capsys):
    unsigned = io.load(scan_file)
    shifted = unsigned.with_array((unsigned.array + 1024).astype(np.int16))
    io.save(shifted, tmp_path / "shifted.nii.gz")
    words = ["segment", str(scan_file), str(tmp_path / "shifted.nii.gz"), "--weights", "lungs"]
    assert cli.main([*words, "-o", str(tmp_path)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "subtracted 1024" in line]
    assert [note.split(":")[0] for note in notes] == ["shifted"]


def test_running_again_replaces_the_row(scan_file, tmp_path):
    for _ in range(2):
        arguments = ["segment", str(scan_file), "-o", str(tmp_path), "--weights", "lungs"]
        assert cli.main(arguments) == 0
    with (tmp_path / "measures.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1


def test_a_folder_stands_for_its_files_and_equal_names_stay_apart(scan_file, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ct.nii.gz").write_bytes(scan_file.read_bytes())
    out = tmp_path / "out"
    arguments = ["segment", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(out)]
    assert cli.main([*arguments, "--weights", "lungs"]) == 0
    assert {path.name for path in out.glob("*.json")} == {"a_ct.json", "b_ct.json"}


def test_images_need_a_window_and_work_with_one(tmp_path, capsys):
    made = phantom((1, 128, 128)).ct.array[0]
    grey = np.clip((made + 1350) / 1500 * 255, 0, 255).astype(np.uint8)
    image = tmp_path / "slice.png"
    cv2.imwrite(str(image), grey)
    out = str(tmp_path / "out")
    assert cli.main(["segment", str(image), "-o", out]) == 1
    assert "--window" in capsys.readouterr().out
    assert cli.main(["segment", str(image), "-o", out, "--window", "-1350", "150"]) == 0
    printed = capsys.readouterr().out
    assert "slice: lungs of unknown size, infection of unknown size (" in printed
    assert "slice: the size of the voxels is not known" in printed


def test_demo_prints_dice_against_the_truth(tmp_path, capsys, monkeypatch):
    from lungmask_jax.cli import _demo

    small = phantom((8, 128, 128), disease=0.2)
    monkeypatch.setattr(_demo.phantoms, "phantom", lambda **_: small)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    lungs = io.load_mask(tmp_path / "phantom_lungs.nii.gz")
    dice = metrics.dice(lungs.array > 0, small.lungs.array > 0)
    assert f"lungs {dice:.3f}" in capsys.readouterr().out


@pytest.fixture
def training_set(tmp_path):
    """Words for a tiny run on three phantoms; one is held out."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for seed in range(3):
        made = phantom((2, 64, 64), seed=seed)
        io.save(made.ct, images / f"case{seed}.nii.gz")
        whole = made.lungs.with_array((made.lungs.array > 0).astype(np.uint8))
        io.save(whole, masks / f"case{seed}.nii.gz")
    words = ["train", "--images", str(images), "--masks", str(masks), "--target", "lungs"]
    return [*words, "--batch-size", "2", "--channels", "4", "8", "--validation", "0.34"]


def log_of(out):
    lines = [json.loads(text) for text in out.with_suffix(".jsonl").read_text().splitlines()]
    return [{key: line[key] for key in ("step", "loss", "dice")} for line in lines]


def test_train_writes_a_bundle_a_log_a_curve_and_a_checkpoint(training_set, tmp_path):
    out = tmp_path / "mine.npz"
    assert cli.main([*training_set, "-o", str(out), "--steps", "2"]) == 0
    bundle = weights.load(out)
    assert bundle.spec.target == "lungs"
    assert len(bundle.spec.card["held_out"]) == 1
    assert "steps = 2" in _recipe.recipe(bundle.spec).splitlines()
    (line,) = log_of(out)
    assert line["step"] == bundle.spec.card["step"] == 2
    assert 0 <= line["dice"] <= 1
    assert cv2.imread(str(out.with_suffix(".png"))) is not None
    assert out.with_suffix(".checkpoint.npz").is_file()
    scan = str(tmp_path / "images" / "case0.nii.gz")
    assert cli.main(["segment", scan, "-o", str(tmp_path / "o"), "--weights", str(out)]) == 0


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
    assert "calibrated on the scans held out" in capsys.readouterr().out
    bundle = weights.load(out)
    assert bundle.spec.model.options["channels"] == [4, 8]
    assert bundle.spec.postprocess != PostprocessSpec(min_component_ml=5.0, fill_holes=True)
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
    assert cli.main([*training_set, "-o", str(first), "--steps", "1", "--seed", "5"]) == 0
    further = [word for word in training_set if word not in ("--channels", "4", "8")]
    words = [*further, "-o", str(second), "--start", str(first), "--steps", "1"]
    assert cli.main([*words, "--learning-rate", "1e-9"]) == 0
    before, after = weights.load(first), weights.load(second)
    assert after.spec.model == before.spec.model
    assert after.spec.card["started_from"] == str(first)
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
    assert "--resume goes on from it" in printed
    assert out.read_bytes() == before
    out.with_suffix(".checkpoint.npz").unlink()
    assert cli.main(words) == 1
    assert f"--start {out} goes on from it" in capsys.readouterr().err
    assert cli.main([*words, "--overwrite"]) == 0
    assert cli.main([*training_set, "-o", str(tmp_path / "mine")]) == 1
    assert "give " in capsys.readouterr().err


def test_a_run_that_was_replaced_is_not_resumed(training_set, tmp_path, capsys, monkeypatch):
    words = [*training_set, "-o", str(tmp_path / "mine.npz"), "--steps", "1"]
    assert cli.main(words) == 0

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "save_checkpoint", stopped)
        with pytest.raises(KeyboardInterrupt):
            cli.main([*words, "--overwrite"])
    assert cli.main([*words, "--resume"]) == 1
    assert "expected a training checkpoint, found no file" in capsys.readouterr().err


def test_lung_masks_that_are_learned_as_infection_are_suspected(training_set, tmp_path, capsys):
    words = [word for word in training_set if word not in ("--target", "lungs")]
    assert cli.main([*words, "-o", str(tmp_path / "mine.npz"), "--steps", "1"]) == 0
    printed = capsys.readouterr().out
    assert "are they lungs? Then give --target lungs" in printed
    assert printed.startswith("infection: 2 scans with")


def test_a_run_that_started_from_a_bundle_goes_on_only_as_such(training_set, tmp_path, capsys):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    assert cli.main([*training_set, "-o", str(first), "--steps", "1"]) == 0
    further = [word for word in training_set if word not in ("--channels", "4", "8")]
    words = [*further, "-o", str(second), "--steps", "1"]
    assert cli.main([*words, "--start", str(first)]) == 0
    card = weights.load(second).spec.card
    assert card["started_from_checksum"] == weights.load(first).checksum
    assert cli.main([*words, "--channels", "4", "8", "--resume"]) == 1
    assert f"start was {card['started_from_checksum'][:12]}, is none" in capsys.readouterr().err
    assert cli.main([*words, "--start", str(first), "--resume"]) == 0


def test_a_bundle_to_start_from_that_does_not_fit_is_one_line(training_set, tmp_path, capsys):
    out = ["-o", str(tmp_path / "a.npz")]
    assert cli.main([*training_set, *out, "--start", "lungs"]) == 1
    assert "expected --start alone" in capsys.readouterr().err
    words = [word for word in training_set if word not in ("--channels", "4", "8")]
    assert cli.main([*words, *out, "--start", "infection"]) == 1
    assert "expected a bundle for the lungs, found one for infection" in capsys.readouterr().err


def test_masks_of_a_former_run_do_not_stay(scan_file, tmp_path):
    out = tmp_path / "o"
    assert cli.main(["segment", str(scan_file), "-o", str(out), "--uncertainty"]) == 0
    assert (out / "one_uncertainty.nii.gz").exists()
    (out / "one_else.nii.gz").touch()
    assert cli.main(["segment", str(scan_file), "-o", str(out), "--weights", "lungs"]) == 0
    assert {path.name for path in out.glob("*.nii.gz")} == {"one_lungs.nii.gz", "one_else.nii.gz"}


def test_a_folder_that_cannot_be_written_is_told_before_any_work(scan_file, capsys):
    assert cli.main(["segment", "nowhere.nii.gz", "-o", str(scan_file)]) == 1
    found = capsys.readouterr()
    assert f"expected a folder for results, found that {scan_file} cannot be made" in found.err
    assert "nowhere" not in found.out


def test_little_lung_is_said(tmp_path, capsys):
    scan = tmp_path / "scan.nii.gz"
    io.save(phantom((6, 64, 64), disease=0.3, spacing_mm=(3.0, 6.0, 6.0)).ct, scan)
    words = ["segment", str(scan), "nowhere.nii.gz", "-o", str(tmp_path / "o")]
    assert cli.main(words) == 1
    printed = capsys.readouterr().out
    assert "ml of lung: is this a whole chest?" in printed
    assert "in the worse lung" in printed
    assert "1 of 2 scans done, results in" in printed
    assert cli.main(["segment", "nowhere.nii.gz", "-o", str(tmp_path / "o")]) == 1
    assert "0 of 1 scan done\n" in capsys.readouterr().out


def test_a_scan_that_is_stopped_while_written_anew_is_not_done(scan_file, tmp_path, monkeypatch):
    words = ["segment", str(scan_file), "-o", str(tmp_path / "o"), "--weights", "lungs"]
    assert cli.main(words) == 0

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(inference.Segmentation, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        cli.main(words)
    assert not [*(tmp_path / "o").glob("*.json")]


def test_several_models_answer_together_and_tell_how_sure_they_are(tmp_path):
    scan = tmp_path / "scan.nii.gz"
    io.save(phantom((6, 64, 64), disease=0.2).ct, scan)
    words = ["segment", str(scan), "-o", str(tmp_path / "o"), "--uncertainty", "--weights"]
    assert cli.main([*words, "lungs", "infection", "infection"]) == 0
    doubt = io.load_mask(tmp_path / "o" / "scan_uncertainty.nii.gz")
    assert 0 < doubt.array.max() <= 100
    row = json.loads((tmp_path / "o" / "scan.json").read_text())
    assert row["infection_model"].startswith("infection+infection ")


def test_the_log_is_as_fine_as_it_is_asked_for(training_set, tmp_path):
    out = tmp_path / "mine.npz"
    words = [*training_set, "-o", str(out), "--steps", "3", "--steps-per-epoch", "2"]
    assert cli.main(words) == 0
    assert [line["step"] for line in log_of(out)] == [2, 3]


def test_lines_in_a_file_were_broken_after_eighty_characters(training_set, tmp_path, capsys):
    out = tmp_path / ("a" * 80 + ".npz")
    assert cli.main([*training_set, "-o", str(out), "--steps", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{out} is ready: lungmask-jax segment SCAN -o OUT --weights ... {out}" in lines
    assert "" not in lines


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    training_set, tmp_path, monkeypatch, capsys
):
    from lungmask_jax.cli import _train

    train = training.train

    def stopped(*arguments, **options):
        yield next(train(*arguments, **options))
        raise KeyboardInterrupt

    one, other = (tmp_path / folder / "a.npz" for folder in ("one", "other"))
    length = ["--steps", "51", "--cache", str(tmp_path / "cache")]
    assert cli.main([*training_set, *length, "-o", str(one)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(_train.training, "train", stopped)
        with pytest.raises(KeyboardInterrupt):
            cli.main([*training_set, *length, "-o", str(other)])
    assert [line["step"] for line in log_of(other)] == [50]
    assert cli.main([*training_set, *length, "-o", str(other), "--resume"]) == 0
    assert "going on after step 50 of 51" in capsys.readouterr().out
    assert log_of(other) == log_of(one)
    assert weights.load(other).checksum == weights.load(one).checksum


def test_prepared_slices_are_read_again_unless_something_changed(training_set, tmp_path):
    cache = tmp_path / "cache"
    words = [*training_set, "-o", str(tmp_path / "a.npz"), "--steps", "1", "--cache", str(cache)]
    assert cli.main(words) == 0
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(files) == 3
    words.append("--overwrite")
    assert cli.main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files
    assert cli.main([*words, "--window", "-1350", "150"]) == 0
    assert len(list(cache.iterdir())) == 6


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
def test_scans_were_read_before_a_network_that_does_not_fit_was_refused(
    training_set, tmp_path, capsys, more, message
):
    assert cli.main([*training_set, "-o", str(tmp_path / "a.npz"), *more]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert "to learn from" not in printed.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--images", "x", "-o", "y.npz"],
        ["train", "--images", "x", "--masks", "x", "-o", "y.bin"],
        ["train", "--images", "x", "--masks", "x", "-o", "y.npz", "--preset", "lung"],
        ["segment", "x.nii.gz", "-o", "y", "--weights", "nothing"],
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_one(arguments, capsys):
    assert cli.main(arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("lungmask-jax: ")
    assert message.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys, monkeypatch):
    from lungmask_jax.cli import _demo

    monkeypatch.setattr(_demo.phantoms, "phantom", lambda **_: phantom((1, 64, 64)))
    (tmp_path / "file").write_text("in the way")
    assert cli.main(["demo", "-o", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.startswith("lungmask-jax: ")


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


def test_help_needs_neither_jax_nor_opencv():
    code = (
        "import sys, contextlib\n"
        "from lungmask_jax import cli\n"
        "with contextlib.suppress(SystemExit):\n"
        "    cli.main(['segment', '--help'])\n"
        "heavy = {'jax', 'cv2', 'scipy', 'nibabel', 'rich', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--window" in done.stdout
    assert "not a medical device" in done.stdout.lower()


@pytest.fixture
def masks(tmp_path):
    """Predictions as segment leaves them, one wrong by a row, and the truth."""
    found, true = tmp_path / "found", tmp_path / "true"
    found.mkdir()
    true.mkdir()
    for number in range(3):
        made = phantom((4, 64, 64), disease=0.2, seed=number)
        io.save(made.infection, true / f"case{number}.nii.gz")
        io.save(made.lungs, found / f"case{number}_ct_lungs.nii.gz")
        array = np.roll(made.infection.array, int(number == 2), axis=1)
        io.save(made.infection.with_array(array), found / f"case{number}_ct_infection.nii.gz")
    return ["evaluate", "--pred", str(found), "--true", str(true)]


def test_evaluate_writes_every_case_and_a_summary(masks, tmp_path, capsys):
    out = tmp_path / "scores"
    assert cli.main([*masks, "-o", str(out)]) == 0
    with (out / "cases.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["case"] for line in lines] == ["case0", "case1", "case2"]
    assert [float(line["dice"]) == 1 for line in lines] == [True, True, False]
    summary = json.loads((out / "summary.json").read_text())["summary"]["infection"]["dice"]
    assert summary["cases"] == 3
    assert summary["mean"] == pytest.approx(np.mean([float(line["dice"]) for line in lines]))
    assert "infection" in capsys.readouterr().out


def test_evaluate_compares_with_another_model(masks, tmp_path, capsys):
    assert cli.main([*masks, "-o", str(tmp_path / "one")]) == 0
    words = [*masks, "--against", str(tmp_path / "one" / "cases.csv"), "-o", str(tmp_path / "two")]
    assert cli.main(words) == 0
    found = json.loads((tmp_path / "two" / "summary.json").read_text())["comparison"]["infection"]
    assert found["dice"] == {
        "cases": 3,
        "mean": 0,
        "low": 0,
        "high": 0,
        "better": 0,
        "worse": 0,
        "p": 1,
    }


def test_evaluate_segments_what_a_list_names(tmp_path, capsys):
    made = phantom((8, 96, 96), disease=0.2, seed=3)
    io.save(made.ct, tmp_path / "ct.nii.gz")
    io.save(made.lungs, tmp_path / "lungs.nii.gz")
    io.save(made.infection, tmp_path / "infection.nii.gz")
    row = "ct.nii.gz,lungs.nii.gz,infection.nii.gz"
    (tmp_path / "metadata.csv").write_text(f"ct_scan,lung_mask,infection_mask\n{row}\n")
    words = ["evaluate", "--data", str(tmp_path / "metadata.csv"), "--target", "lungs"]
    assert cli.main([*words, "--weights", "lungs", "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["summary"]
    assert list(found) == ["lungs", "right_lung", "left_lung"]
    assert found["lungs"]["dice"]["mean"] > 0.9


@pytest.mark.parametrize("target", ["lungs", "infection"])
def test_scans_were_read_before_a_model_that_lacks_was_asked_for(tmp_path, capsys, target):
    for name in ("ct.nii", "lungs.nii", "infection.nii"):
        (tmp_path / name).write_bytes(b"no scan")
    row = "ct.nii,lungs.nii,infection.nii"
    (tmp_path / "metadata.csv").write_text(f"ct_scan,lung_mask,infection_mask\n{row}\n")
    (other,) = {"lungs", "infection"} - {target}
    words = ["evaluate", "--data", str(tmp_path / "metadata.csv"), "--target", target]
    assert cli.main([*words, "--weights", other, "-o", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert f"expected a model for {target} among --weights, found {other}" in printed.err
    assert "ct.nii" not in printed.out
    assert not (tmp_path / "out").exists()


def test_evaluate_draws_boxes_and_the_worst_cases(masks, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(3):
        io.save(
            phantom((4, 64, 64), disease=0.2, seed=number).ct, scans / f"case{number}_ct.nii.gz"
        )
    words = [*masks, "--scans", str(scans), "--worst", "1"]
    assert cli.main([*words, "-o", str(tmp_path / "one")]) == 0
    drawn = sorted(path.name for path in (tmp_path / "one").glob("*.png"))
    assert drawn == ["boxes.png", "worst1_case2.png"]  # the only one with an error
    against = ["--against", str(tmp_path / "one" / "cases.csv")]
    assert cli.main([*masks, *against, "-o", str(tmp_path / "two")]) == 0
    single, both = (cv2.imread(str(tmp_path / name / "boxes.png")).shape for name in ("one", "two"))
    assert both[0] > 1.5 * single[0]
    assert not list((tmp_path / "two").glob("worst*"))


def test_pictures_of_a_former_run_stayed_among_the_new_ones(masks, tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for number in range(3):
        made = phantom((4, 64, 64), disease=0.2, seed=number)
        io.save(made.ct, scans / f"case{number}.nii.gz")
        io.save(made.lungs, tmp_path / "true" / f"case{number}_lungs.nii.gz")
        (tmp_path / "true" / f"case{number}.nii.gz").rename(
            tmp_path / "true" / f"case{number}_infection.nii.gz"
        )
    words = [*masks, "--scans", str(scans), "-o", str(out)]
    assert cli.main(words) == 0
    assert len(list(out.glob("worst*"))) == 3
    assert cli.main([*words, "--worst", "1", "--target", "lungs"]) == 0
    drawn = sorted(path.name for path in out.glob("*.png"))
    assert drawn == [
        "boxes_left_lung.png",
        "boxes_lungs.png",
        "boxes_right_lung.png",
        "worst1_case0.png",
    ]


def test_scores_outlive_a_scan_that_cannot_be_read(masks, tmp_path, capsys):
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(3):
        io.save(phantom((4, 64, 64), seed=number).ct, scans / f"case{number}.nii.gz")
    (scans / "case1.nii.gz").write_bytes(b"no scan")
    words = [*masks, "--scans", str(scans)]
    assert cli.main([*words, "-o", str(tmp_path / "three")]) == 1
    printed = capsys.readouterr().out
    assert "case1 infection: dice 1.000" in printed
    assert "case1: " in printed
    with (tmp_path / "three" / "cases.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    drawn = sorted(path.name for path in (tmp_path / "three").glob("worst*"))
    assert drawn == ["worst1_case2.png", "worst2_case0.png"]
    # a case that is not among the worst needs no picture, and its scan is not read
    assert cli.main([*words, "--worst", "1", "-o", str(tmp_path / "one")]) == 0
    (scans / "case1.nii.gz").unlink()
    assert cli.main([*words, "-o", str(tmp_path / "none")]) == 1
    assert "expected a scan of every case" in capsys.readouterr().err


def test_one_failed_case_lost_the_summary_of_a_comparison(masks, tmp_path, capsys):
    assert cli.main([*masks, "-o", str(tmp_path / "one")]) == 0
    table = tmp_path / "one" / "cases.csv"
    (tmp_path / "found" / "case2_ct_infection.nii.gz").write_bytes(b"no mask")
    words = [*masks, "--by-type", "--against", str(table)]
    for number in range(3):
        for folder, name in (("found", f"case{number}_ct_lesions"), ("true", f"case{number}")):
            made = phantom((4, 64, 64), disease=0.2, seed=number)
            io.save(made.lesions, tmp_path / folder / f"{name}.nii.gz")
    (tmp_path / "found" / "case2_ct_lesions.nii.gz").write_bytes(b"no mask")
    assert cli.main([*words, "-o", str(tmp_path / "two")]) == 1
    found = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert list(found["summary"]) == ["infection", "ground_glass", "consolidation"]
    assert list(found["comparison"]) == ["infection"]
    assert found["comparison"]["infection"]["dice"]["cases"] == 2
    assert "case2 infection" in found["not_compared"]
    assert "case0 ground_glass" in found["not_compared"]
    assert "not compared, in one table only: case0 ground_glass" in capsys.readouterr().out
    assert (tmp_path / "two" / "boxes_infection.png").is_file()


SCORES = "case,label,dice,iou,sensitivity,precision,surface_dice,hausdorff95_mm,lesion_f1"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "found no file"),
        ("scan,lungs_ml\na,3\n", "another table"),
        ("case,label,dice\n", "another table"),
        ("case,label,dice\na,infection,1\n", "without iou, sensitivity"),
        (f"{SCORES}\na,infection,high,1,1,1,1,1,1\n", "expected scores in"),
        (f"{SCORES}\na,infection,1\n", "expected scores in"),
        (f"{SCORES}\na,lungs,1,1,1,1,1,1,1\n", "expected one row a case of infection"),
        (f"{SCORES}\n" + 2 * "a,infection,1,1,1,1,1,1,1\n", "2 rows of 1 cases"),
    ],
)
def test_another_table_to_compare_with_is_refused_at_once(masks, tmp_path, capsys, table, message):
    if table is not None:
        (tmp_path / "cases.csv").write_text(table)
    words = [*masks, "--against", str(tmp_path / "cases.csv"), "-o", str(tmp_path / "o")]
    assert cli.main(words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_lesions_of_a_list_are_scored_by_type(tmp_path):
    made = phantom((8, 96, 96), disease=0.3, seed=5)
    io.save(made.ct, tmp_path / "ct.nii.gz")
    io.save(made.lesions, tmp_path / "infection.nii.gz")
    (tmp_path / "metadata.csv").write_text("ct_scan,infection_mask\nct.nii.gz,infection.nii.gz\n")
    words = ["evaluate", "--data", str(tmp_path / "metadata.csv"), "--by-type"]
    assert cli.main([*words, "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["summary"]
    assert list(found) == ["infection", "ground_glass", "consolidation"]
    assert cli.main(["segment", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "pred")]) == 0
    (tmp_path / "true").mkdir()
    io.save(made.lesions, tmp_path / "true" / "ct.nii.gz")
    words = ["evaluate", "--by-type", "--pred", str(tmp_path / "pred")]
    words += ["--true", str(tmp_path / "true"), "-o", str(tmp_path / "two")]
    assert cli.main(words) == 0  # the lesions that segment has written
    again = json.loads((tmp_path / "two" / "summary.json").read_text())["summary"]
    assert again["consolidation"]["dice"] == found["consolidation"]["dice"]
    assert found["infection"]["dice"]["mean"] > 0.3


def test_types_were_scored_against_a_truth_that_tells_none(masks, tmp_path, capsys):
    for path in (tmp_path / "found").glob("*_infection*"):
        path.rename(path.with_name(path.name.replace("infection", "lesions")))
    (tmp_path / "true" / "case0.nii.gz").write_bytes(b"no mask")
    assert cli.main([*masks, "--by-type", "-o", str(tmp_path / "scores")]) == 1
    message = "expected a truth with 2 (consolidation) for --by-type, found none"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


def test_a_case_that_cannot_be_scored_does_not_stop_the_others(masks, tmp_path, capsys):
    made = phantom((2, 64, 64))
    io.save(made.infection, tmp_path / "true" / "case1.nii.gz")
    assert cli.main([*masks, "-o", str(tmp_path / "scores")]) == 1
    printed = capsys.readouterr().out
    assert "case1: expected masks of one shape" in " ".join(printed.split())
    assert len((tmp_path / "scores" / "cases.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "more", [[], ["--pred", "x"], ["--pred", "x", "--true", "y", "--data", "z"]]
)
def test_evaluate_wants_folders_or_a_list(more, tmp_path, capsys):
    assert cli.main(["evaluate", *more, "-o", str(tmp_path / "o")]) == 1
    assert "expected --pred with --true, or --data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pred", "x", "--true", "y", "--worst", "-1"], "--worst of 0 or more, found -1"),
        (["--data", "x", "--scans", "y"], "expected --scans beside --pred"),
        (["--data", "x", "--by-type", "--target", "lungs"], "expected --by-type for infection"),
    ],
)
def test_evaluate_says_what_does_not_fit(words, message, tmp_path, capsys):
    assert cli.main(["evaluate", *words, "-o", str(tmp_path / "o")]) == 1
    assert message in capsys.readouterr().err


def test_a_linked_scan_keeps_the_name_of_the_link(tmp_path):
    from lungmask_jax.cli import _segment

    (tmp_path / "3fa9c0de").write_text("")
    (tmp_path / "patient1.nii.gz").symlink_to(tmp_path / "3fa9c0de")
    assert list(_segment._named([tmp_path / "patient1.nii.gz"])) == ["patient1"]


def test_a_recipe_is_options_in_a_file_and_typed_ones_win(tmp_path):
    recipe = tmp_path / "quick.toml"
    recipe.write_text(
        'model = "unet_3d"\nsteps = 7\nbatch-size = 3\nlearning-rate = 1e-3\n'
        'window = [-1000, 200.5]\n[option]\ndeep_supervision = true\nnorm = "batch"\n'
    )
    words = ["train", "--data", "a.csv", "-o", "b.npz", "--steps", "9", "--recipe", str(recipe)]
    options = parser().parse_args(_recipe.with_recipe(words, recipe))
    assert (options.model, options.steps, options.batch_size) == ("unet_3d", 9, 3)
    assert (options.learning_rate, options.window) == (1e-3, [-1000.0, 200.5])
    spec, _ = _settings.settings(options)
    assert spec.model.options == {"deep_supervision": True, "norm": "batch"}


def test_every_command_is_run():
    actions = [action for action in parser()._actions if action.dest == "command"]
    assert set(actions[0].choices) == set(cli._COMMANDS)


def test_every_key_of_a_recipe_is_an_option_of_train():
    taken = vars(parser().parse_args(["train", "--data", "a", "-o", "b"]))
    assert {key.replace("-", "_") for key in _recipe.KEYS} <= set(taken)


PLAIN = SegmenterSpec(target="lungs", preprocess=PRESETS["lungs"])
TRAINED = {"training": {"steps": 3}, "data": "phantoms\nand more", "recipe": "by hand"}
BEGUN = {"started_from": "lungs"}
AWKWARD = SegmenterSpec(
    target="infection",
    model=ModelSpec(options={"norm": "batch", "deep_supervision": True}),
    preprocess=PreprocessSpec(size=(128, 64), denoise="median"),
    card={"training": {"loss": "tversky", "loss_options": {"beta": 0.8}, "weight_decay": 1e-5}},
)
SEVERAL = replace(
    AWKWARD, model=replace(AWKWARD.model, members=2), card={"members": 2 * [AWKWARD.card]}
)


def train_options(words, text, folder):
    path = folder / "recipe.toml"
    path.write_text(text)
    words = ["train", "--data", "a.csv", "-o", "b.npz", *words, "--recipe", str(path)]
    return parser().parse_args(_recipe.with_recipe(words, path))


def shipped(name):
    bundle = weights.load(name)
    return bundle.params, bundle.state


def of_shipped(name):
    return pytest.param(weights.load(name).spec, id=name)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(replace(PLAIN, card=TRAINED), id="plain"),
        pytest.param(AWKWARD, id="awkward"),
        pytest.param(SEVERAL, id="ensemble"),
        pytest.param(replace(weights.load("lungs").spec, card=TRAINED | BEGUN), id="started"),
        *map(of_shipped, ("lungs", "infection")),
    ],
)
def test_the_recipe_of_a_bundle_trains_such_a_one_again(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if spec.card.get("started_from", "").endswith(".npz"):  # made elsewhere, for the same network
        weights.save(tmp_path / spec.card["started_from"], spec, *shipped(spec.target))
    segmenter, training = _settings.settings(train_options([], _recipe.recipe(spec), tmp_path))
    assert segmenter.target == spec.target
    assert replace(segmenter.model, members=spec.model.members) == spec.model
    assert segmenter.preprocess == spec.preprocess
    card = spec.card.get("members", [spec.card])[0]
    assert training == from_json(json.dumps(card["training"]), TrainSpec)


def test_a_recipe_tells_of_the_command_line_too(tmp_path):
    more = {"window": [-1250, 250], "lungs": "scans/📁 of Zoë.npz", "validation": 0.1}
    text = _recipe.recipe(replace(AWKWARD, card=AWKWARD.card | more))
    options = train_options([], text, tmp_path)
    assert options.window == [-1250, 250]
    assert options.lungs == more["lungs"]
    assert options.validation == 0.1


def test_weights_prints_the_recipe_of_a_bundle_and_where_it_comes_from(capsys):
    assert cli.main(["weights", "--recipe", "lungs"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# learned from: 3 low-resolution")
    assert 'target = "lungs"' in printed.splitlines()


def test_a_bundle_that_does_not_know_its_training_has_no_recipe():
    with pytest.raises(errors.SpecError, match="no 'training' in it"):
        _recipe.recipe(PLAIN)


def test_an_option_that_toml_cannot_hold_is_named():
    model = ModelSpec(options={"width": None})
    with pytest.raises(errors.SpecError, match="found width = None"):
        _recipe.recipe(replace(PLAIN, model=model, card=TRAINED))


def test_a_typed_setting_leaves_the_others_of_the_recipe(tmp_path):
    text = "[setting]\nopacities = 0.25\ngas = 0.5\n[option]\nstem = 1\n"
    options = train_options(["--setting", "gas=0", "--option", "norm=batch"], text, tmp_path)
    segmenter, training = _settings.settings(options)
    assert (training.opacities, training.gas) == (0.25, 0.0)
    assert segmenter.model.options == {"stem": 1, "norm": "batch"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--setting=opacity=1", "did you mean 'opacities'"),
        ("--preprocess=sise=[64,64]", "did you mean 'size'"),
        ("--setting=cycles", "expected --setting NAME=VALUE"),
        ("--setting=cycles=0", "cycles of at least 1"),
        ("--setting=seed=5", "expected --seed VALUE, found --setting seed=5"),
        ("--setting=batch_size=5", "expected --batch-size VALUE"),
        ("--option=channels=[8,16]", "expected --channels VALUE"),
    ],
)
def test_a_setting_that_is_none_is_refused(word, message, tmp_path, capsys):
    words = ["train", "--data", "a.csv", "-o", str(tmp_path / "b.npz"), word]
    assert cli.main(words) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize = 4", "did you mean 'batch-size'?"),
        ('data = "a.csv"', "no key 'data' in a recipe"),
        ("steps = ", "expected a recipe in TOML"),
        ("option = 3", "expected a table"),
        ("setting = 3", "expected a table, as in [setting]"),
        ("[steps]\nall = 3", "expected a value or a list, found steps"),
    ],
)
def test_a_recipe_that_cannot_be_used_names_the_key(text, message, tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    recipe.write_text(text)
    words = ["train", "--data", "a.csv", "-o", str(tmp_path / "b.npz"), "--recipe", str(recipe)]
    assert cli.main(words) == 1
    assert message in capsys.readouterr().err
