import ast
import re
import sys
from pathlib import Path

import pytest

import lungmask_jax

ROOT = Path(lungmask_jax.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"

ROWS = [  # a module imports only from the rows above its own, and siblings never
    ["errors"],
    ["files", "labels", "registry", "volume"],
    ["tasks"],
    ["spec"],
    [
        "augment",
        "io",
        "losses",
        "metrics",
        "models",
        "phantoms",
        "postprocess",
        "preprocess",
        "quantify",
        "records",
        "trees",
        "viz",
    ],
    ["calibration", "data", "prediction", "quality", "report", "weights"],
    ["inference", "training"],
    ["cohort", "fitting", "testing"],
    ["evaluation"],
    ["cli"],
]
USERS = {  # who may import what others wrote; numpy is for all
    "PIL": {"viz"},
    "cv2": {"io", "postprocess", "preprocess", "quality", "report", "viz"},
    "dask": {"cohort"},
    "distributed": {"cohort"},
    "flax": {"models"},
    "highdicom": {"io"},
    "jax": {
        "augment",
        "cli",
        "fitting",
        "inference",
        "losses",
        "models",
        "prediction",
        "preprocess",
        "testing",
        "training",
        "trees",
        "weights",
    },
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "matplotlib": {"viz"},
    "nibabel": {"io"},
    "optax": {"losses", "training"},
    "pyarrow": {"cohort"},
    "pydicom": {"io"},
    "rich": {"cli"},
    "scipy": {
        "calibration",
        "evaluation",
        "metrics",
        "phantoms",
        "postprocess",
        "preprocess",
        "quantify",
        "viz",
    },
}
ROW = {name: number for number, names in enumerate(ROWS) for name in names}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT or path.stem in ROW]


def owner(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    """Dotted names of all imports in a file, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_row():
    modules = {owner(path) for path in ROOT.rglob("*.py")} - {"__init__", "__main__"}
    assert modules == set(ROW)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    ours = [name.split(".")[1] for name in imported(path) if name.startswith("lungmask_jax.")]
    for name in set(ours) - {owner(path), "DISCLAIMER", "__version__"}:
        assert ROW[name] < ROW[owner(path)], f"{owner(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_of_others_has_its_few_users(path):
    roots = {name.split(".")[0] for name in imported(path)}
    for name in roots - set(sys.stdlib_module_names) - {"lungmask_jax", "numpy"}:
        assert owner(path) in USERS.get(name, set()), f"{owner(path)} imports {name}"


def test_the_page_about_architecture_draws_these_rows():
    drawn = re.findall(r"^(\d)  (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(row): names.split() for row, names in drawn} == dict(enumerate(ROWS))


def test_the_page_about_architecture_names_these_users():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [re.findall(r"`(\w+)`", line) for line in lines if line.startswith("| `")]
    assert {package: set(users) for package, *users in cells} == USERS
