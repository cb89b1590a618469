"""Bundles by name or from files of any program."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from lungmask_jax.errors import SpecError, UnknownNameError, WeightsError, nearest, shown
from lungmask_jax.weights._bundle import Bundle, registry, save
from lungmask_jax.weights._kinds import Kind, kind, model_above
from lungmask_jax.weights._lungmask import is_lungmask, lungmask_bundle
from lungmask_jax.weights._nnunet import read_nnunet
from lungmask_jax.weights._pth import read_pth
from lungmask_jax.weights._read import read_bundle

_ENDINGS: Final = (".npz", ".pth", ".zip")
"""Suffixes of files; no name of a bundle has one."""


def load(name: str | os.PathLike[str]) -> Bundle:
    """A bundle by name or from a file, also from one of lungmask or a model of nnU-Net.

    Files are recognized by their content, whatever their names end with. Weights of other programs
    become a bundle with the masks of their own program. Nothing in the file is executed.

    Args:
        name: A name in `registry`, or the path of a file or folder, recognized by its suffix, by a
            separator, or because a file but no bundle has that name.

    Returns:
        The bundle, checked against its network.

    Raises:
        UnknownNameError: There is neither such a name nor such a file.
        WeightsError: The file is damaged, its spec cannot be used, its network is not installed or
            not known, or its arrays are not finite or do not fit the network.
        SpecError: The labels of a model of nnU-Net are not those of a task.
        PluginError: The package of the name returns no path.

    Example:
        >>> load("lungs").spec.target
        'lungs'
    """
    path = _path(name)
    try:
        return _READERS[kind(path)](path)
    except (SpecError, WeightsError) as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error  # one of several that are given


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
        WeightsError: The source cannot be read, the path is none for a bundle, a number does not
            fit into float16, or the written file differs.
        UnknownNameError: There is neither such a name nor such a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     import_file("lungs", f"{folder}/mine.npz").name
        'mine'
    """
    path = Path(path)
    if path.suffix != ".npz" or not path.parent.is_dir():  # before minutes of reading
        raise WeightsError(
            f"expected the path of a bundle, an .npz in a folder that exists, found {path}: give "
            "another one"
        )
    bundle = source if isinstance(source, Bundle) else load(source)
    if bundle.previous is not None:
        raise WeightsError(
            f"a bundle has one network, {bundle.name} has the two of a cascade: give its folder or "
            "zip to segment"
        )
    save(path, bundle.spec, bundle.params, bundle.state, half=half)
    written = read_bundle(path)
    wanted = Bundle.of(written.name, bundle.spec, bundle.params, bundle.state, half=half)
    if (written.checksum, written.spec) != (wanted.checksum, wanted.spec):
        raise WeightsError(f"{path} differs from {bundle.name}: write it again, on another disk")
    return written


def _path(name: str | os.PathLike[str]) -> Path:
    path = Path(name)
    if isinstance(name, os.PathLike) or os.sep in name or path.suffix in _ENDINGS:
        return path
    if name not in registry:
        if path.exists():
            return path
        raise UnknownNameError(
            f"no {shown(name)} among the weights, and no such file (weights of other programs are "
            f"given as files): {nearest(name, registry)}"
        )
    with registry.plugin_errors(name, "returns no path of a bundle"):
        return Path(registry[name]())


def _from_pytorch(path: Path) -> Bundle:
    """The bundle of a file of PyTorch, whose tensors identify the network."""
    tensors = read_pth(path)
    if tensors.keys() & {"network_weights", "state_dict"}:
        above = model_above(path)
        raise WeightsError(
            f"{path} is a checkpoint, which does not say what its network sees: give the folder "
            f"that holds its plans, {above or 'or the zip of that folder'}"
        )
    if not is_lungmask(tensors):
        raise WeightsError(
            f"expected the tensors of a network that is known, such as lungmask's, found others in "
            f"{path}: fill the network yourself with lungmask_jax.weights.converted"
        )
    return lungmask_bundle(tensors, path)


_READERS: Final[Mapping[Kind, Callable[[Path], Bundle]]] = {
    "bundle": read_bundle,
    "nnunet": read_nnunet,
    "pytorch": _from_pytorch,
}
"""Functions from a path to a bundle, by kind of file."""
