"""``lungmask-jax models``, ``weights`` and ``doctor``: what is here, and what is wrong with it."""

import argparse
import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import jax
from rich.table import Table
from rich.text import Text

from lungmask_jax import weights
from lungmask_jax.cli._info import PACKAGES
from lungmask_jax.cli._probe import REGISTRIES, cells
from lungmask_jax.cli._progress import console
from lungmask_jax.cli._recipe import toml
from lungmask_jax.errors import LungmaskError


def list_models(_options: argparse.Namespace) -> int:
    """Names of architectures, who brings them, and their options; a broken one is named."""
    return _listed("models", ("options",))


def list_weights(options: argparse.Namespace) -> int:
    """Names of bundles, what they segment, their networks and licences; or the recipe of one."""
    if options.recipe_of:
        print(toml(weights.load(options.recipe_of).spec))
        return 0
    return _listed("weights", ("segments", "network", "MB", "licence"))


def _listed(kind: str, columns: Sequence[str]) -> int:
    """A table of the names; 1 if one cannot be loaded, whose row says why."""
    table, failed, registry = Table("name", "from", *columns), 0, REGISTRIES[kind]
    for name in registry:
        try:
            row = [registry.owner(name), *cells(kind, name)]
        except LungmaskError as error:
            failed, row = 1, ["", str(error)]
        table.add_row(*map(Text, [name, *row]))
    console().print(table)
    return failed


def doctor(_options: argparse.Namespace) -> int:
    """Versions, devices, cache, and every name that a package brings, loaded."""
    say = console().print
    say(f"Python {platform.python_version()} on {platform.platform()}", highlight=False)
    say(", ".join(f"{name} {version(name)}" for name in PACKAGES), highlight=False)
    devices = ", ".join(f"{device.device_kind} ({device.platform})" for device in jax.devices())
    say(f"devices: {devices}; {os.cpu_count()} cores", markup=False, highlight=False)
    say(_cache(), markup=False, highlight=False)
    problems = [*dict.fromkeys(_problems())]
    for problem in problems:
        say(f"WRONG: {problem}", style="red", markup=False, highlight=False)
    if not problems:
        say("All models, losses, tasks, steps and weights can be loaded.")
    return 1 if problems else 0


def _cache() -> str:
    """The folder of the compiled programs, and their size."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")  # as `main` has set it
    if not folder:
        return "compiled programs: none are kept"
    size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
    return f"compiled programs: {size:.1f} MB in {folder}"


def _problems() -> Iterator[str]:
    """The names that cannot be loaded or are claimed in vain, with the reason."""
    for kind, registry in REGISTRIES.items():
        yield from registry.unusable_claims()
        for name in registry:
            try:
                cells(kind, name)
            except LungmaskError as error:
                yield str(error)
