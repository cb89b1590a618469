import json
import os
import signal
import subprocess
import sys

import pytest

import lungmask_jax
from lungmask_jax import cli
from lungmask_jax.files import FORMATS


def test_info_is_json_for_scripts(capsys):
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == lungmask_jax.__version__
    assert found["formats"] == list(FORMATS)
    assert found["weights"]["lungs"]["task"] == "lungs"
    assert len(found["weights"]["lungs"]["checksum"]) >= 12
    assert found["devices"][0]["platform"] in ("cpu", "gpu", "tpu")
    assert found["note"] == lungmask_jax.DISCLAIMER
    assert found["extras"].keys() >= {"cluster", "completion", "dicom", "export", "plots", "report"}


def test_info_is_a_line_for_each_fact(capsys):
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"version: {lungmask_jax.__version__}"
    assert any(line.startswith("formats: [") for line in lines)


def test_nothing_is_said_where_nobody_reads_on():
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "lungmask_jax", "info", "--json"]
    ended = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_the_completion_of_a_shell_knows_commands_and_formats(capsys, shell):
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("lungmask-jax", "segment", "--format", "dicom-seg"):
        assert word in script
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_without_shtab_it_is_said_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 1
    assert 'pip install "lungmask-jax[completion]"' in capsys.readouterr().err
