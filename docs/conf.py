"""Settings of Sphinx: ``python -m sphinx -W -b html docs docs/_build/html``, without network."""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import lungmask_jax

sys.path.insert(0, str(Path(__file__).parent))  # for `executed`, which runs the tutorial

project = "lungmask_jax"
author = "The lungmask_jax developers"
copyright = author
version = release = lungmask_jax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "executed",
]
exclude_patterns = ["_build", "examples"]  # packages of their own
suppress_warnings = ["config.cache"]

default_role = "py:obj"  # `Volume` in a docstring is a link
nitpicky = True
nitpick_ignore_regex = [
    # other packages: no inventories are fetched, so that the pages build without network
    (
        r"py:.*",
        r"(collections|contextlib|datetime|importlib|numpy|np|jax|flax|optax|os|pathlib|zipfile)\..*",
    ),
    (r"py:.*", r"lungmask_jax\..*\.(T|Init|Apply)"),  # type variables, protocols of `Model`
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False  # types are in the signatures
napoleon_use_ivar = True  # fields of dataclasses are described once, in their class
napoleon_use_admonition_for_examples = False
maximum_signature_line_length = 88

myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.output) > div.highlight > pre"

html_theme = "furo"
html_static_path = ["_static"]
html_title = f"lungmask_jax {version}"
html_show_sphinx = False


def resolve(
    app: Sphinx, env: BuildEnvironment, reference: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """A link for a bare or private name that only one public object has, code for an argument.

    Docstrings say `Volume`, and annotations name private modules
    (``lungmask_jax.models._model.Model``); dotted public names that do not exist stay warnings.
    """
    target = reference.get("reftarget", "")
    if reference.get("refdomain") != "py":
        return None
    name = target.rpartition(".")[2] if "._" in target else target
    domain = env.domains.python_domain
    found = [full for full in domain.objects if full.endswith(f".{name}")]
    if len(found) == 1:
        where = reference["refdoc"], app.builder, "obj", found[0]
        return domain.resolve_xref(env, *where, reference, content)
    return content if reference["reftype"] == "obj" and target.isidentifier() else None


def signature(*event: Any) -> tuple[str | None, str | None]:
    """A signature that Sphinx can parse: a dataclass shows ``<factory>`` for a made default."""
    *_, arguments, returns = event
    return arguments and arguments.replace("<factory>", "..."), returns


def docstring(*event: Any) -> None:
    """No text for a constant rather than that of its type, such as ``int``."""
    _, what, _, value, _, lines = event
    if what == "data" and " ".join(lines).split() == (value.__doc__ or "").split():
        lines.clear()


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the hooks."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring)
    return {"parallel_read_safe": True}
