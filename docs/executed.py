"""Sphinx: the code of a page runs while the page is read, and what it prints is shown below it.

The blocks ``{bash}`` and ``{python}`` of a page run from top to bottom in one folder inside the
build folder; Python keeps its names from block to block. ``{made}`` is an image out of that folder.
A block that fails ends the build.
"""

import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import jax
from docutils import nodes
from docutils.parsers.rst.directives.images import Image
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import lungmask_jax


class Block(SphinxDirective):
    """``{bash}`` and ``{python}``: the code, and what it prints."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        code = "\n".join(self.content)
        run = {"bash": bash, "python": python}[self.name]
        started = self.env.temp_data.get("executed")
        names = self.env.temp_data.setdefault("executed", {})
        folder = folder_of(self.env, new=started is None)
        try:
            printed = run(code, folder, names)
        except Failed as failure:
            raise ExtensionError(f"{self.get_location()}: {self.name}: {failure}") from None
        shown = [(code, self.name, "input"), (printed.rstrip(), "text", "output")]
        return [
            nodes.literal_block(text, text, language=language, classes=[kind])
            for text, language, kind in shown
            if text
        ]


class Made(Image):
    """``{made} PATH``: an image that a block above has made."""

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        path = folder_of(env) / self.arguments[0]
        if not path.is_file():
            raise ExtensionError(f"{env.docname}: expected an image, found no file {path}")
        self.arguments[0] = "/" + Path(os.path.relpath(path, env.srcdir)).as_posix()
        return list(super().run())


class Failed(Exception):
    """A block failed; the text says how."""


def folder_of(env: BuildEnvironment, *, new: bool = False) -> Path:
    """Where the blocks of the page run; a new one is empty."""
    folder = Path(env.doctreedir).absolute() / "executed" / env.docname
    if new:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for source in Path(lungmask_jax.__file__).parent.rglob("*.py"):
            env.note_dependency(str(source))  # other code, other numbers
        if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
            # what the commands compile serves Python, too
            jax.config.update("jax_compilation_cache_dir", str(folder / "cache" / "lungmask-jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return folder


def bash(code: str, folder: Path, names: dict[str, Any]) -> str:
    """What the commands print; those of this Python come first, and any that fails ends it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    more = {
        "PATH": path,
        "PYTHONPATH": str(Path(lungmask_jax.__file__).parents[1]),  # the one that is documented
        "COLUMNS": "110",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    words = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(
        words, cwd=folder, env=os.environ | more, capture_output=True, encoding="utf-8"
    )
    if done.returncode:
        raise Failed(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def python(code: str, folder: Path, names: dict[str, Any]) -> str:
    """What the statements print; `names` are read and written."""
    printed = io.StringIO()
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
            exec(compile(code, "<block>", "exec"), names)
    except Exception as error:
        raise Failed(printed.getvalue() + "".join(traceback.format_exception(error))) from error
    return printed.getvalue()


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directives."""
    logging.getLogger("jax").setLevel(logging.WARNING)  # the theme lets all of INFO through
    for name in ("bash", "python"):
        app.add_directive(name, Block)
    app.add_directive("made", Made)
    app.add_css_file("executed.css")
    return {"parallel_read_safe": True}
