"""The files around the package: they are valid, and say the same as the package."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import lungmask_jax

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"opencv-python-headless": "py-opencv"}


def read(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_has_what_its_format_asks_for():
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == lungmask_jax.__version__
    assert citation["license"] == PROJECT["license"]
    assert all("name" in one for one in citation["authors"])
    for work in citation["references"]:
        assert {"type", "title", "authors"} <= set(work)


def test_the_recipe_of_conda_has_the_requirements_of_the_package():
    recipe = read("conda/recipe.yaml")
    assert recipe["package"]["version"] == lungmask_jax.__version__
    wanted = [re.fullmatch(r"([\w-]+)(>=[\d.]+)", one).groups() for one in PROJECT["dependencies"]]
    expected = {f"{CONDA_NAMES.get(name, name)} {least}" for name, least in wanted}
    assert set(recipe["requirements"]["run"]) == expected | {f"python {PROJECT['requires-python']}"}
    (script,) = recipe["build"]["python"]["entry_points"]
    assert script == " = ".join(*PROJECT["scripts"].items())


def test_the_workflow_runs_all_checks_and_may_only_read():
    workflow = read(".github/workflows/checks.yml")
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": "bash .ci/run"}
    assert "orthanc orthanc-dicomweb dicom3tools" in job["steps"][-2]["run"]
    for step in job["steps"]:
        assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1"))


@pytest.mark.parametrize("instruction", ["FROM", "ARG", "COPY", "RUN", "USER", "ENTRYPOINT"])
def test_the_image_has_pinned_bases_and_a_user_without_rights(instruction):
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith(f"{instruction} ")]
    assert lines
    for line in lines:
        assert not re.search(r":latest|^ADD |sudo|curl|wget|apt-get", line)
        if instruction == "FROM":
            assert re.match(r"FROM \S+:[\d.]+", line)
        if instruction == "USER":
            assert line == "USER 1000:1000"
        if instruction == "RUN" and "pip" in line:
            assert "--no-cache-dir" in line
        if instruction == "ARG":
            extras = line.partition("=")[2].split(",")
            assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_what_the_image_copies_is_not_ignored():
    kept = {
        line[1:].strip()
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for line in copied for name in line.split()} == kept
    assert all((ROOT / name).exists() for name in kept)
