"""A look at names and what they stand for; those of other packages in a process of its own.

What others wrote may wait for ever when it is imported, end the process, or crash it. A process of
its own can be given up, and the command goes on with the next name.
"""

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lungmask_jax import losses, models, postprocess, tasks, weights
from lungmask_jax.errors import LungmaskError, PluginError
from lungmask_jax.registry import Registry
from lungmask_jax.spec import ModelSpec

REGISTRIES: Final[Mapping[str, Registry[Any]]] = {
    "models": models.registry,
    "losses": losses.registry,
    "postprocess": postprocess.registry,
    "tasks": tasks.registry,
    "weights": weights.registry,
}
_HERE: Final = ("lungmask-jax", "this process")
_PATIENCE_S: Final = 60
"""A package that takes longer to import is as good as one that hangs."""

_ANSWER: Final = "lungmask-jax says: "
_CHILD: Final = "import sys; from lungmask_jax.cli import _probe; _probe.answer(*sys.argv[1:])"


def cells(kind: str, name: str) -> list[str]:
    """The cells of a name in a table, beside the package that brings it.

    Raises:
        LungmaskError: It cannot be used.
    """
    owner = REGISTRIES[kind].owner(name)
    return _cells(kind, name) if owner in _HERE else _asked(kind, name, owner)


def _asked(kind: str, name: str, owner: str) -> list[str]:
    """The cells, from a process of its own, on the CPU."""
    here = {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", _CHILD, kind, name]
    who = f"{name!r} in 'lungmask_jax.{kind}' from {owner}"
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            done = subprocess.run(
                words,
                env={**os.environ, **here},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PluginError(
                f"{who} did not respond in {_PATIENCE_S} seconds: its import hangs; remove the "
                "package, or ask its authors"
            ) from error
        said.seek(0)
        lines = [line for line in said if line.startswith(_ANSWER)]
    if not lines:
        raise PluginError(f"{who} ended the process that loaded it, with {done.returncode}")
    answer = json.loads(lines[-1].removeprefix(_ANSWER))
    if "error" in answer:
        raise PluginError(answer["error"])
    return [str(cell) for cell in answer["cells"]]


def answer(kind: str, name: str) -> None:
    """Prints the cells of a name, or what is wrong with it: the work of the other process."""
    try:
        if kind == "models":
            weights.create_model(ModelSpec(name=name))
        found: dict[str, Any] = {"cells": _cells(kind, name)}
    except LungmaskError as error:
        found = {"error": str(error)}
    print(f"\n{_ANSWER}{json.dumps(found)}", flush=True)


def _cells(kind: str, name: str) -> list[str]:
    if kind == "weights":
        return _bundle(name)
    if kind == "tasks":
        return [", ".join(tasks.registry[name].labels.values())]
    with REGISTRIES[kind].plugin_errors(name, "has no options that can be read"):
        options = inspect.signature(REGISTRIES[kind][name]).parameters.values()
    return [
        ", ".join(f"{one.name}={one.default!r}" for one in options if one.default is not one.empty)
    ]


def _bundle(name: str) -> list[str]:
    spec = weights.load(name).spec
    megabytes = Path(weights.registry[name]()).stat().st_size / 1e6
    licence = str(spec.card.get("license", "not stated"))
    return [spec.target, spec.model.name, f"{megabytes:.1f}", licence]
