"""``lungmask-jax models``, ``weights`` and ``doctor``: what is here, and what is wrong with it."""

import argparse
import inspect
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from rich.table import Table
from rich.text import Text

from lungmask_jax import losses, weights
from lungmask_jax import models as networks
from lungmask_jax.cli._progress import console
from lungmask_jax.cli._recipe import recipe
from lungmask_jax.errors import LungmaskError
from lungmask_jax.registry import Registry

__all__ = ["doctor", "list_models", "list_weights"]

_PACKAGES = ("lungmask-jax", "jax", "jaxlib", "flax", "optax", "numpy", "nibabel")


def list_models(_options: argparse.Namespace) -> int:
    """Names of architectures, who brings them, and their options; a broken one is named."""
    return _listed(networks.registry, ("options",), lambda name: [_options_of(name)])


def list_weights(options: argparse.Namespace) -> int:
    """Names of bundles, what they segment, their networks and licences; or the recipe of one."""
    if options.recipe_of:
        print(recipe(weights.load(options.recipe_of).spec))
        return 0
    return _listed(weights.registry, ("segments", "network", "MB", "licence"), _bundle)


def _listed(
    registry: Registry[Any], columns: Sequence[str], cells: Callable[[str], list[str]]
) -> int:
    """A table of the names; 1 if one cannot be loaded, whose row says why."""
    table, failed = Table("name", "from", *columns), 0
    for name in registry:
        try:
            row = [registry.owner(name), *cells(name)]
        except LungmaskError as error:
            failed, row = 1, ["", str(error)]
        table.add_row(*map(Text, [name, *row]))
    console().print(table)
    return failed


def _options_of(name: str) -> str:
    options = inspect.signature(networks.registry[name]).parameters.values()
    return ", ".join(f"{option.name}={option.default!r}" for option in options)


def _bundle(name: str) -> list[str]:
    spec = weights.load(name).spec
    megabytes = Path(weights.registry[name]()).stat().st_size / 1e6
    licence = str(spec.card.get("license", "not stated"))
    return [spec.target, spec.model.name, f"{megabytes:.1f}", licence]


def doctor(_options: argparse.Namespace) -> int:
    """Versions, devices, cache, and every name that a package brings, loaded."""
    say = console().print
    say(f"Python {platform.python_version()} on {platform.platform()}", highlight=False)
    say(", ".join(f"{name} {version(name)}" for name in _PACKAGES), highlight=False)
    devices = ", ".join(f"{device.device_kind} ({device.platform})" for device in jax.devices())
    say(f"devices: {devices}; {os.cpu_count()} cores", markup=False, highlight=False)
    cache = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    size = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()) / 1e6
    say(f"compiled programs: {size:.1f} MB in {cache}", markup=False, highlight=False)
    problems = list(_problems())
    for problem in problems:
        say(f"WRONG: {problem}", style="red", markup=False, highlight=False)
    if not problems:
        say("All models, losses and weights can be loaded.")
    return 1 if problems else 0


def _problems() -> Iterator[str]:
    """What cannot be loaded, and why."""
    look_up: list[tuple[Iterable[str], Callable[[str], Any]]] = [
        (networks.registry, networks.registry.__getitem__),
        (losses.registry, losses.registry.__getitem__),
        (weights.registry, weights.load),
    ]
    for names, load in look_up:
        for name in names:
            try:
                load(name)
            except LungmaskError as error:
                yield str(error)
