"""What enters ``train`` as text: options by name, and recipes."""

import time

import pytest

from lungmask_jax import cli
from lungmask_jax.cli._options import parsed
from lungmask_jax.cli._recipe import recipe
from lungmask_jax.errors import LungmaskError, SpecError

TRAIN = ["train", "--data", "nowhere.csv", "-o", "mine.npz"]
DEEP = "[" * 10**5
DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"--option x={DEEP}", "expected a value of --option x as JSON"),
        (f"--option x={DIGITS}", "expected a value of --option x as JSON"),
        ("--option x=NaN", "found NaN, which is not finite"),
        ('--option x={"a":1,"a":2}', "found the key 'a' twice"),
        ("--option in_channels=1.0", "in_channels from 1 to 65,536 in whole numbers, found 1.0"),
        ("--option stem=true", "stem from 1 to 4 in whole numbers, found True"),
        ("--option deep_supervison=true", "did you mean 'deep_supervision'?"),
        (f"--option depth={'x' * 10**5}", "do not fit the model 'unet'"),
        ("--channels -1", "channels from 1 to 65,536 in whole numbers, found -1"),
        (f"--channels {'8 ' * 10**4}", "channels of at least one level and at most 12"),
        ("--channels 60000 60000", "at most 1,000,000,000 parameters"),
        ("--model efficient_unet --option depth=1e9", "depth in [0, 16), found 1000000000.0"),
        ("--preprocess size=[1000000,1000000]", "size from 8 to 2,048"),
        (f"--setting batch_sise={DIGITS[:4000]}", "unknown key 'batch_sise'"),
        (f"--setting clip_norm={DIGITS[:4000]}", "expected float for TrainSpec.clip_norm"),
        ("--setting clip_norm=1e999", "a finite clip_norm, found inf"),
        ("--batch-size 60000", "numbers in a batch"),
        ("--learning-rate nan", "a finite learning_rate, found nan"),
        ("--model nothing", "no 'nothing' among the models"),
    ],
    ids=lambda text: text[:40],
)
def test_a_setting_that_is_too_much_is_one_line(capsys, words, said):
    begun = time.monotonic()
    assert cli.main([*TRAIN, *words.split()]) == 1
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed) < 1500
    assert time.monotonic() - begun < 20  # 1 s where nothing else runs


def test_words_that_are_no_json_are_words(capsys):
    assert cli.main([*TRAIN, "--option", "norm=layer"]) == 1
    assert "norm 'group', 'batch' or 'none', found 'layer'" in capsys.readouterr().err


RECIPES = {
    "levels": "channels = " + "[" * 10_000,
    "tables": "option.x = " + "{a = " * 5000,
    "dots": ".".join("a" * 10_000) + " = 1",
    "dotted tables": "[" + ".".join("a" * 10_000) + "]",
    "digits": f"steps = {DIGITS}",
    "100 MB": "# " + "a" * 10**8,
    "a date": "[setting]\nschedule = 1979-05-27",
    "nan": "[setting]\nclip_norm = nan",
    "nothing but bytes": "\0",
    "levels in a table": f"[option]\nx = {'[' * 40}{']' * 40}",
    "a value for a table": "option = 3",
    "a table for a value": "[steps]\nx = 3",
    "another key": "stepps = 3",
    "a long key": f"{'a' * 20_000} = 3",
    "another option as a value": 'model = ["unet", "--overwrite"]',
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_that_is_none_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPES[kind])
    begun = time.monotonic()
    with pytest.raises(LungmaskError, match=r"recipe\.toml|ModelSpec") as caught:
        recipe(parsed([*TRAIN, "--recipe", str(path)]))
    assert len(str(caught.value)) < 1000
    assert time.monotonic() - begun < 5  # 0.1 s where nothing else runs


def test_a_recipe_without_end_is_not_read(tmp_path):
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    with pytest.raises(SpecError, match="at most 32000 bytes"):
        recipe(parsed([*TRAIN, "--recipe", str(tmp_path / "zero.toml")]))
