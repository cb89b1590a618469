import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import lungmask_jax as lj

ROOT = Path(lj.__file__).parent
HEAVY = {"cv2", "flax", "jax", "nibabel", "numpy", "optax", "rich", "scipy"}
POSITIONAL = {  # optional, and yet clear without a name
    "cli.main": {"arguments"},
    "metrics.overlap": {"target"},
    "metrics.f_beta": {"target"},
    "phantoms.phantom": {"shape"},
    "preprocess.region": {"around"},
    "viz.frames": {"masks"},
    "viz.montage": {"masks"},
    "viz.overlay": {"masks"},
    "viz.windowed": {"window"},
}

MODULES = sorted(
    path.stem
    for path in ROOT.iterdir()
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
)


def source(name):
    path = ROOT / f"{name}.py"
    return ast.parse((path if path.exists() else ROOT / name / "__init__.py").read_text())


def defined(name):
    """Public names that a module makes, or that a package takes from its private files."""
    for node in source(name).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign(targets=[ast.Name(id=one)], value=value):
                if not (isinstance(value, ast.Call) and ast.unparse(value.func) == "TypeVar"):
                    yield one
            case ast.AnnAssign(target=ast.Name(id=one)):
                yield one
            case ast.ImportFrom(module=str(module)) if module.startswith(f"lungmask_jax.{name}."):
                yield from (alias.name for alias in node.names)


def public():
    """``(qualified name, object)`` of all public functions and classes."""
    for name in MODULES:
        module = importlib.import_module(f"lungmask_jax.{name}")
        for one in module.__all__:
            value = getattr(module, one)
            if inspect.isfunction(value) or inspect.isclass(value) or hasattr(value, "__wrapped__"):
                yield pytest.param(f"{name}.{one}", value, id=f"{name}.{one}")


every = pytest.mark.parametrize(("name", "value"), list(public()))


@pytest.mark.parametrize("name", MODULES)
def test_all_names_what_a_module_offers_and_nothing_else(name):
    module = importlib.import_module(f"lungmask_jax.{name}")
    offered = {one for one in defined(name) if not one.startswith("_")}
    assert set(module.__all__) == offered
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name):
    assert ast.get_docstring(source(name))


@every
def test_every_public_name_has_a_docstring_with_an_example(name, value):
    assert inspect.getdoc(value)
    if not (inspect.isclass(value) and issubclass(value, Exception | Warning)):
        assert ">>>" in value.__doc__


@every
def test_options_are_given_by_name(name, value):
    if inspect.isclass(value):
        return
    for parameter in inspect.signature(value).parameters.values():
        if parameter.default is not parameter.empty and parameter.name not in POSITIONAL.get(
            name, set()
        ):
            assert parameter.kind is parameter.KEYWORD_ONLY, parameter


@every
def test_a_random_key_comes_first(name, value):
    if inspect.isfunction(value):
        parameters = list(inspect.signature(value).parameters)
        assert "key" not in parameters[1:]


def facade():
    """Public name to the module it comes from, as type checkers read it."""
    (block,) = (
        node
        for node in source("__init__").body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_the_facade_offers_what_type_checkers_see():
    assert set(lj.__all__) == {*facade(), "DISCLAIMER", "__version__"}
    assert dir(lj) == sorted(lj.__all__)


@pytest.mark.parametrize(("name", "module"), facade().items())
def test_every_name_of_the_facade_resolves(name, module):
    if module == "lungmask_jax":
        assert getattr(lj, name) is importlib.import_module(f"lungmask_jax.{name}")
    else:
        assert getattr(lj, name) is getattr(importlib.import_module(module), name)
        assert name in importlib.import_module(module).__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segmentt'"):
        lj.segmentt  # noqa: B018


def test_importing_and_asking_for_help_load_nothing_heavy():
    code = (
        "import contextlib, sys\n"
        "from lungmask_jax import LungmaskError, ScanWarning, cli\n"
        "for words in (['--help'], ['segment', '-h'], ['nonsense']):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        cli.main(words)\n"
        "print('LOADED', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split("LOADED")[1].split())
    assert "lungmask_jax" in loaded
    assert not loaded & HEAVY
