"""Bundles by name or from files of any program."""

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from lungmask_jax import trees
from lungmask_jax.errors import WeightsError
from lungmask_jax.weights._bundle import Bundle, registry, save
from lungmask_jax.weights._lungmask import is_lungmask, lungmask_bundle
from lungmask_jax.weights._nnunet import read_nnunet
from lungmask_jax.weights._pth import read_pth
from lungmask_jax.weights._read import read_bundle

_ENDINGS: Final = (".npz", ".pth", ".zip")
"""Suffixes of files; no name of a bundle has one."""

_PICKLE: Final = b"\x80"


def load(name: str | os.PathLike[str]) -> Bundle:
    """A bundle by name or from a file, also from one of lungmask or a model of nnU-Net.

    Such weights are recognized by their content, and become a bundle with the masks of their own
    program. Nothing in the file is executed.

    Args:
        name: A name in `registry`, or the path of a file or folder, recognized by its suffix, by a
            separator, or because a file but no bundle has that name.

    Returns:
        The bundle, checked against its network.

    Raises:
        UnknownNameError: There is neither such a name nor such a file.
        WeightsError: The file is damaged, its spec cannot be used, its network is not installed or
            not known, or its arrays are not finite or do not fit the network.
        PluginError: The package of the name returns no path.

    Example:
        >>> load("lungs").spec.target
        'lungs'
    """
    path = _path(name)
    return _READERS[_kind(path)](path)


def import_file(
    source: str | os.PathLike[str] | Bundle, path: str | os.PathLike[str], *, half: bool = False
) -> Bundle:
    """Converts weights of any kind to a bundle of this library, and verifies the file.

    Args:
        source: As for `load`, or a bundle, such as that of `read_nnunet`.
        path: Path of the bundle, ending in ``.npz``.
        half: Whether to store float16, half the size; float32 gives the results of the source.

    Returns:
        The bundle, read back from the file.

    Raises:
        WeightsError: The source cannot be read, a number does not fit into float16, or the
            written file differs.
        UnknownNameError: There is neither such a name nor such a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     import_file("lungs", f"{folder}/mine.npz").name
        'mine'
    """
    bundle = source if isinstance(source, Bundle) else load(source)
    if bundle.previous is not None:
        raise WeightsError(
            f"a bundle has one network, {bundle.name} has the two of a cascade: give its folder or "
            "zip to segment"
        )
    save(path, bundle.spec, bundle.params, bundle.state, half=half)
    written = read_bundle(Path(path))
    wanted = Bundle.of(written.name, bundle.spec, bundle.params, bundle.state, half=half)
    if (written.checksum, written.spec) != (wanted.checksum, wanted.spec):
        raise WeightsError(f"{path} differs from {bundle.name}: write it again, on another disk")
    return written


def _path(name: str | os.PathLike[str]) -> Path:
    path = Path(name)
    if isinstance(name, os.PathLike) or os.sep in name or path.suffix in _ENDINGS:
        return path
    if name not in registry and path.exists():
        return path
    with registry.plugin_errors(name, "returns no path of a bundle"):
        return Path(registry[name]())


def _kind(path: Path) -> str:
    """The kind of a file, from its content; an unknown one is a damaged bundle."""
    if path.suffix == ".npz" or not path.exists():
        return "bundle"
    if path.is_dir():
        return "nnunet"
    if not path.is_file():  # a pipe would be waited for
        return "bundle"
    with path.open("rb") as file:
        if file.read(1) == _PICKLE:
            return "pytorch"
    names = {Path(name).name for name in _members(path)}
    if names & {"plans.json", "plans.pkl"}:
        return "nnunet"
    if any(name.endswith(".zip") for name in names):
        raise WeightsError(f"{path} holds other zips: unpack it, and give one of them")
    return "pytorch" if "data.pkl" in names else "bundle"


def _members(path: Path) -> list[str]:
    """The names in a zip; none for other files."""
    try:
        with path.open("rb") as file, trees.zip_file(file) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        return []


def _from_pytorch(path: Path) -> Bundle:
    """The bundle of a file of PyTorch, whose tensors identify the network."""
    tensors = read_pth(path)
    if tensors.keys() & {"network_weights", "state_dict"}:
        raise WeightsError(
            f"{path} is a checkpoint, which does not say what its network sees: give the folder "
            "that holds its plans, or the zip of that folder"
        )
    if not is_lungmask(tensors):
        raise WeightsError(
            f"expected the tensors of a network that is known, such as lungmask's, found others in "
            f"{path}: fill the network yourself with lungmask_jax.weights.converted"
        )
    return lungmask_bundle(tensors, path)


_READERS: Final[Mapping[str, Callable[[Path], Bundle]]] = {
    "bundle": read_bundle,
    "nnunet": read_nnunet,
    "pytorch": _from_pytorch,
}
"""Functions from a path to a bundle, by kind of file."""
