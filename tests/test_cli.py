import json
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lungmask_jax import cli, errors, io, training, trees, weights
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
