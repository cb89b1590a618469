"""Kinds of files with weights, told by what they hold, and not by their names."""

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Literal, TypeAlias

from lungmask_jax import trees
from lungmask_jax.errors import WeightsError, shown

__all__ = ["WEIGHTS", "Kind", "kind", "model_above"]

Kind: TypeAlias = Literal["bundle", "nnunet", "pytorch"]

_PICKLE: Final = b"\x80"
_PLANS: Final = ("plans.json", "plans.pkl")
_PARTS: Final = (*_PLANS, "dataset.json", "debug.json")
WEIGHTS: Final = (".npz", ".pt", ".pth", ".zip")
"""How names of files with weights end."""


def kind(path: Path) -> Kind:
    """The kind of a file or folder; an unknown one is a damaged bundle.

    Args:
        path: Which may be missing.

    Returns:
        The name of what reads it.

    Raises:
        WeightsError: It is a part of a model, or holds packed files with weights.
    """
    if path.is_dir() and path.suffix != ".npz":
        return "nnunet"
    if not path.is_file():  # a pipe would be waited for
        return "bundle"
    if path.name in _PARTS or path.name.endswith(".model.pkl"):
        raise WeightsError(
            f"{path} is a part of a model of nnU-Net: give the folder of the model, "
            f"{model_above(path) or 'which holds plans.json'}"
        )
    with trees.read_errors(path, "weights"), path.open("rb") as file:
        if file.read(1) == _PICKLE:
            return "pytorch"
        return _of_zip(path, _members(file))


def model_above(path: Path) -> Path | None:
    """The nearest folder around a file or folder that holds plans, of a fold and its model."""
    around = path.absolute().parents[:2]
    return next((one for one in around if any((one / name).is_file() for name in _PLANS)), None)


def _of_zip(path: Path, members: Sequence[str]) -> Kind:
    """The kind of a zip by the names in it; none if it is no zip."""
    names = {PurePosixPath(name).name for name in members if "__MACOSX" not in name}
    if names.intersection(_PLANS):
        return "nnunet"
    if "data.pkl" in names:
        return "pytorch"
    if any(name.startswith("checkpoint_") for name in names):
        raise WeightsError(
            f"{path} holds checkpoints of nnU-Net without plans.json: zip the folder that has both"
        )
    inner = sorted(name for name in names if name.endswith(WEIGHTS))
    if inner:
        raise WeightsError(
            f"{path} holds packed weights, such as {shown(inner[0])}: unpack it, and give one of "
            "them"
        )
    return "bundle"


def _members(file: BinaryIO) -> list[str]:
    """The names in a zip; none for other files."""
    try:
        with trees.zip_file(file) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        return []
