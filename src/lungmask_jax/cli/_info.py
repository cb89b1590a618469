"""``lungmask-jax info`` and ``completion``: what is installed, for scripts and for the shell."""

import argparse
import importlib
import importlib.util
import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import jax

from lungmask_jax import DISCLAIMER, __version__, files, models, tasks, weights
from lungmask_jax.cli._options import parser
from lungmask_jax.errors import LungmaskError, MissingPackageError

PACKAGES: Final = ("lungmask-jax", "jax", "jaxlib", "flax", "optax", "numpy", "nibabel")

_EXTRAS: Final = {
    "cluster": ("distributed",),
    "completion": ("shtab",),
    "dicom": ("pydicom", "highdicom", "gdcm"),
    "export": ("flatbuffers",),
    "plots": ("matplotlib", "PIL"),
    "report": ("jinja2",),
}


def info(options: argparse.Namespace) -> int:
    """Prints what is installed, as JSON or as lines."""
    found = facts()
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for key, value in found.items():
            print(f"{key}: {value if isinstance(value, str | int) else json.dumps(value)}")
    return 0


def completion(options: argparse.Namespace) -> int:
    """Prints the completion of a shell.

    Raises:
        MissingPackageError: shtab is missing, which the extra ``completion`` brings.
    """
    try:
        shtab = importlib.import_module("shtab")
    except ImportError as error:
        raise MissingPackageError(
            "the completion of a shell is written by shtab, which is missing: "
            'pip install "lungmask-jax[completion]"'
        ) from error
    whole = parser()
    for action in _actions(whole):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(whole, shell=options.shell))
    return 0


def facts() -> dict[str, Any]:
    """Versions, devices, extras, formats, and all names that can be used."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "extras": {name: all(map(_is_there, needed)) for name, needed in _EXTRAS.items()},
        "cores": os.cpu_count() or 1,
        "devices": [{"kind": one.device_kind, "platform": one.platform} for one in jax.devices()],
        "formats": list(files.FORMATS),
        "tasks": list(tasks.registry),
        "models": list(models.registry),
        "weights": dict(_bundles()),
        "note": DISCLAIMER,
    }


def _bundles() -> Iterator[tuple[str, dict[str, str]]]:
    """Each bundle; of a broken one, the reason."""
    for name in weights.registry:
        try:
            bundle = weights.load(name)
        except LungmaskError as error:
            yield name, {"error": str(error)}
            continue
        licence = str(bundle.spec.card.get("license", "not stated"))
        yield (
            name,
            {
                "task": bundle.spec.target,
                "network": bundle.spec.model.name,
                "checksum": bundle.checksum,
                "licence": licence,
            },
        )


def _actions(whole: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of all commands."""
    for action in whole._actions:
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _actions(command)
        yield action


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # used from its source
        return "not installed"


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
