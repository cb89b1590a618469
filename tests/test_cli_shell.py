import subprocess
import sys

import pytest

from lungmask_jax import cli, io, metrics
from lungmask_jax.cli._options import parser
from lungmask_jax.phantoms import phantom


def test_demo_prints_dice_against_the_truth(tmp_path, capsys, monkeypatch):
    from lungmask_jax.cli import _demo

    small = phantom((8, 128, 128), disease=0.2)
    monkeypatch.setattr(_demo.phantoms, "phantom", lambda **_: small)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    lungs = io.load_mask(tmp_path / "phantom_lungs.nii.gz")
    dice = metrics.dice(lungs.array > 0, small.lungs.array > 0)
    assert f"lungs {dice:.3f}" in capsys.readouterr().out


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


def test_every_command_is_run():
    actions = [action for action in parser()._actions if action.dest == "command"]
    assert set(actions[0].choices) == set(cli._COMMANDS)
