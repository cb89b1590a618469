import inspect
import json
from dataclasses import replace

import pytest

from lungmask_jax import cli, errors, fitting, weights
from lungmask_jax.cli import _recipe
from lungmask_jax.cli._options import SETTINGS, parser
from lungmask_jax.spec import (
    PRESETS,
    ModelSpec,
    PreprocessSpec,
    SegmenterSpec,
    TrainSpec,
    from_json,
)


def test_a_recipe_is_options_in_a_file_and_typed_ones_win(tmp_path):
    recipe = tmp_path / "quick.toml"
    recipe.write_text(
        'model = "unet_3d"\nsteps = 7\nbatch-size = 3\nlearning-rate = 1e-3\n'
        'window = [-1000, 200.5]\n[option]\ndeep_supervision = true\nnorm = "batch"\n'
    )
    words = ["train", "--data", "a.csv", "-o", "b.npz", "--steps", "9", "--recipe", str(recipe)]
    made = _recipe.recipe(parser().parse_args(words))
    model, training = made.segmenter.model, made.training
    assert (model.name, training.steps, training.batch_size) == ("unet_3d", 9, 3)
    assert (training.learning_rate, made.window) == (1e-3, (-1000.0, 200.5))
    assert model.options == {"deep_supervision": True, "norm": "batch"}


def test_every_setting_is_a_parameter_of_the_library_and_has_no_other_default():
    options = parser().parse_args(["train", "--data", "a", "-o", "b"])
    assert {getattr(options, name) for name in SETTINGS} == {None}
    own = {*inspect.signature(fitting.recipe).parameters, *inspect.signature(TrainSpec).parameters}
    assert {*SETTINGS} - {"setting"} <= own
    assert _recipe.recipe(options) == fitting.recipe()


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


def train_recipe(words, text, folder):
    path = folder / "recipe.toml"
    path.write_text(text)
    words = ["train", "--data", "a.csv", "-o", "b.npz", *words, "--recipe", str(path)]
    return _recipe.recipe(parser().parse_args(words))


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
    made = train_recipe([], _recipe.toml(spec), tmp_path)
    segmenter, training = made.segmenter, made.training
    assert segmenter.target == spec.target
    assert replace(segmenter.model, members=spec.model.members) == spec.model
    assert segmenter.preprocess == spec.preprocess
    card = spec.card.get("members", [spec.card])[0]
    assert training == from_json(json.dumps(card["training"]), TrainSpec)


def test_a_recipe_tells_of_the_command_line_too(tmp_path):
    more = {"window": [-1250, 250], "lungs": "scans/📁 of Zoë.npz", "validation": 0.1}
    text = _recipe.toml(replace(AWKWARD, card=AWKWARD.card | more))
    made = train_recipe([], text, tmp_path)
    assert made.window == (-1250, 250)
    assert made.lungs == more["lungs"]
    assert made.validation == 0.1


def test_weights_prints_the_recipe_of_a_bundle_and_where_it_comes_from(capsys):
    assert cli.main(["weights", "--recipe", "lungs"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# learned from: 208 slices")
    assert 'target = "lungs"' in printed.splitlines()


def test_a_bundle_that_does_not_know_its_training_has_no_recipe():
    with pytest.raises(errors.SpecError, match="no 'training' in it"):
        _recipe.toml(PLAIN)


def test_an_option_that_toml_cannot_hold_is_named():
    model = ModelSpec(options={"width": None})
    with pytest.raises(errors.SpecError, match="found width = None"):
        _recipe.toml(replace(PLAIN, model=model, card=TRAINED))


def test_a_typed_setting_leaves_the_others_of_the_recipe(tmp_path):
    text = "[setting]\nopacities = 0.25\ngas = 0.5\n[option]\nstem = 1\n"
    made = train_recipe(["--setting", "gas=0", "--option", "norm=batch"], text, tmp_path)
    assert (made.training.opacities, made.training.gas) == (0.25, 0.0)
    assert made.segmenter.model.options == {"stem": 1, "norm": "batch"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--setting=opacity=1", "did you mean 'opacities'"),
        ("--preprocess=sise=[64,64]", "did you mean 'size'"),
        ("--setting=cycles", "expected --setting NAME=VALUE"),
        ("--setting=cycles=0", "cycles from 1 to 1,000, found 0"),
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
