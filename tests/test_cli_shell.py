import os
import subprocess
import sys

import jax
import pytest

from lungmask_jax import cli, io, metrics
from lungmask_jax.cli._options import parsed, parser
from lungmask_jax.phantoms import phantom


def program(*words, **options):
    command = [sys.executable, "-m", "lungmask_jax", *map(str, words)]
    return subprocess.run(command, capture_output=True, check=False, **options)


def test_help_names_the_options_and_what_this_is_not(capsys):
    with pytest.raises(SystemExit):
        cli.main(["segment", "--help"])
    printed = capsys.readouterr().out
    assert "--window" in printed
    assert "not a medical device" in printed.lower()


def test_every_command_is_run():
    actions = [action for action in parser()._actions if action.dest == "command"]
    assert set(actions[0].choices) == set(cli._COMMANDS)


def test_the_package_is_a_program():
    assert program("--version").stdout.startswith(b"lungmask-jax ")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["segmnet", "a.nii"], "no 'segmnet': did you mean 'segment'?"),
        (["segment", "a.nii", "-o", "o", "--retry-faild"], "did you mean '--retry-failed'?"),
        (["segment", "a.nii", "-o", "o", "--wieghts=x"], "did you mean '--weights'?"),
        (["train", "--data", "a", "-o", "o", "--uncertainty"], "no option '--uncertainty'"),
        (["demo", "--device", "gpo"], "did you mean 'gpu'?"),
        (["segment", "-o", "o", "--weights", "lungs", "a.nii"], "put scans first"),
        (["segment", "-o", "o", "-rf.nii.gz"], "is written ./-name"),
    ],
)
def test_a_wrong_word_is_followed_by_what_may_have_been_meant(words, hint, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert hint in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "")  # and back again
    missing = "tpu" if jax.default_backend() != "tpu" else "gpu"
    assert cli.main(["demo", "-o", str(tmp_path), "--device", missing]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lungmask-jax: no {missing} was found for --device {missing}")


@pytest.mark.parametrize("command", ["segment", "train", "evaluate", "demo"])
def test_what_works_can_be_told_where_and_how_loudly(command, monkeypatch):
    needed = {
        "segment": ["a.nii", "-o", "o"],
        "train": ["--data", "a.csv", "-o", "b.npz"],
        "evaluate": ["-o", "o"],
        "demo": [],
    }
    words = [command, *needed[command]]
    options = parsed([*words, "--device", "cpu", "--quiet", "--debug"])
    assert (options.device, options.quiet, options.debug) == ("cpu", True, True)
    options = parsed(words)
    assert (options.device, options.quiet, options.debug) == (None, False, False)


@pytest.fixture
def failing(monkeypatch):
    """A command that does what it is told to."""

    def replace(run):
        monkeypatch.setitem(cli._COMMANDS, "doctor", run)

    return replace


def test_an_error_that_nobody_foresaw_is_one_line_with_its_place(failing, capsys):
    failing(lambda options: {}["key \x1b[31m\n"])
    assert cli.main(["doctor"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lungmask-jax: KeyError in test_cli_shell.py, line ")
    assert "\x1b" not in line


def test_ctrl_c_is_one_line(failing, capsys):
    failing(lambda options: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "lungmask-jax: stopped\n"


def test_a_reader_that_has_left_is_no_error():
    code = (
        "import sys\n"
        "from lungmask_jax import cli\n"
        "from lungmask_jax.cli._progress import console\n"
        "def run(options):\n"
        "    for number in range(1000):\n"
        "        console().print(number, 'x' * 100)\n"
        "    print('the end')\n"
        "    print('done', file=sys.stderr)\n"
        "    return 0\n"
        "cli._COMMANDS['doctor'] = run\n"
        "sys.exit(cli.main(['doctor']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"done\n"
    assert process.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_console_will_do(encoding):
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = (
        "import sys\n"
        "from lungmask_jax import cli\n"
        "from lungmask_jax.cli._progress import console\n"
        "from lungmask_jax.cli._scores import table\n"
        "def run(options):\n"
        "    made = table('\u80ba', 'mean \u00b1 sd')\n"
        "    made.add_row('1', '\\udcff')\n"
        "    console().print(made)\n"
        "    raise ValueError('\u80ba\\udcff')\n"
        "cli._COMMANDS['doctor'] = run\n"
        "sys.exit(cli.main(['doctor']))\n"
    )
    command = [sys.executable, "-X", "utf8=0", "-c", code]
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"lungmask-jax: ValueError")
    assert b"sd" in done.stdout


def test_demo_prints_dice_against_the_truth(tmp_path, capsys, monkeypatch):
    from lungmask_jax.cli import _demo

    small = phantom((4, 128, 128), disease=0.2)
    monkeypatch.setattr(_demo.phantoms, "phantom", lambda **_: small)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    lungs = io.load_mask(tmp_path / "phantom_lungs.nii.gz")
    dice = metrics.dice(lungs.array > 0, small.lungs.array > 0)
    assert f"lungs {dice:.3f}" in capsys.readouterr().out
    (tmp_path / "phantom.nii.gz").write_bytes(b"of others")
    assert cli.main(["demo", "-o", str(tmp_path)]) == 1
    assert "this program did not make it" in capsys.readouterr().err
    assert (tmp_path / "phantom.nii.gz").read_bytes() == b"of others"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--images", "x", "-o", "y.npz"],
        ["train", "--images", "x", "--masks", "x", "-o", "y.bin"],
        ["train", "--images", "x", "--masks", "x", "-o", "y.npz", "--preset", "lung"],
        ["segment", "x.nii.gz", "-o", "y", "--weights", "nothing"],
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_one(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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
