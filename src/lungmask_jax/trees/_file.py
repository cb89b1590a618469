"""Trees in files."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from lungmask_jax.errors import WeightsError
from lungmask_jax.files import atomic
from lungmask_jax.trees import _npz
from lungmask_jax.trees._archive import read_errors, zip_file
from lungmask_jax.trees._tree import check_fit, checksum, leaves

_CHECKSUM: Final = "__checksum__"

_TEXT_BYTES: Final = 16_100_000
"""Of all texts: four for each character of the longest spec, and some for the others."""

_UNPACKED_BYTES: Final = 64_000_000
_UNPACKED_TIMES: Final = 16
"""How many times its size a file of unknown shapes may unpack to, if that is above the bytes."""


class Stored(NamedTuple):
    """The content of a file.

    Attributes:
        arrays: Leaves by name.
        texts: Texts by name.
        checksum: SHA-256 of the arrays, in hex.

    Example:
        >>> Stored({"w": np.zeros(2)}, {"spec": "{}"}, "").arrays["w"].shape
        (2,)
    """

    arrays: dict[str, np.ndarray]
    texts: dict[str, str]
    checksum: str


def write(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    texts: Mapping[str, str],
    *,
    compress: bool = False,
) -> None:
    """Writes arrays and texts as one file, atomically.

    Args:
        path: Ends in ``.npz``.
        arrays: By name, as `leaves` gives them.
        texts: By name; stored as ``__name__``.
        compress: Whether to compress, which is slower.

    Raises:
        WeightsError: The path does not end in ``.npz``.
        OSError: The file cannot be written; an older one does not change.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "state.npz")
        ...     write(path, leaves({"a": {"b": np.arange(3)}}), {"note": "hi"})
        ...     read(path, "a state").arrays
        {'a/b': array([0, 1, 2])}
    """
    if path.suffix != ".npz":
        raise WeightsError(f"expected a path that ends in .npz, found {path}")
    named = {f"__{name}__": np.array(text) for name, text in texts.items()}
    named[_CHECKSUM] = np.array(checksum(arrays))
    save = np.savez_compressed if compress else np.savez
    with atomic(path) as temporary, temporary.open("wb") as file:
        save(file, allow_pickle=False, **named, **arrays)


def read(
    path: Path, what: str, *, shapes: Callable[[Mapping[str, str]], Any] | None = None
) -> Stored:
    """Reads a file of `write`, and verifies its checksum.

    Texts are read first. Arrays are unpacked only if the file's own directory and their headers
    say that they are what is expected, so that no file can ask for more memory than that.

    Args:
        path: The file.
        what: The expected kind of file, for the error: ``"a weights bundle"``.
        shapes: From the texts, a tree of arrays, or of their shapes and dtypes as of
            ``jax.eval_shape``: what the file must hold. Without it any arrays are read that unpack
            to at most 16 times the file's size, or to 64 MB.

    Returns:
        Arrays, texts and checksum.

    Raises:
        WeightsError: There is no such file, it is damaged or something else, or its arrays are
            not those expected.

    Example:
        >>> read(Path("nowhere.npz"), "a weights bundle")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.WeightsError: expected a weights bundle, found no file nowhere.npz
    """
    with read_errors(path, what), path.open("rb") as file, zip_file(file) as archive:
        members = _npz.members(archive)
        texts = _texts(archive, members)
        expected = None if shapes is None else leaves(shapes(texts))
        headers = _headers(archive, members, expected)
        if expected is None:
            _check_unpacked(members, path)
        else:
            check_fit(expected, headers, path)
        arrays = {
            name: _npz.array(archive, members[name], header)
            for name, header in headers.items()
            if header is not None
        }
    stated = texts.pop(_CHECKSUM.strip("_"))
    if checksum(arrays) != stated:
        raise WeightsError(f"the arrays of {path} differ from its checksum: get or make it again")
    return Stored(arrays, texts, stated)


def _texts(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> dict[str, str]:
    infos = {name[2:-2]: info for name, info in members.items() if _is_text(name)}
    size = sum(info.file_size for info in infos.values())
    if size > _TEXT_BYTES:
        raise ValueError(f"its texts have {size} bytes, at most {_TEXT_BYTES} are read")
    if _CHECKSUM not in members:
        raise ValueError(f"it has no {_CHECKSUM}")
    return {name: _npz.text(archive, info) for name, info in infos.items()}


def _headers(
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    expected: Mapping[str, Any] | None,
) -> dict[str, _npz.Header | None]:
    """The header of each array; none for an array that is not expected."""
    return {
        name: _npz.header(archive, info) if expected is None or name in expected else None
        for name, info in members.items()
        if not _is_text(name)
    }


def _check_unpacked(members: Mapping[str, zipfile.ZipInfo], path: Path) -> None:
    size = sum(info.file_size for info in members.values())
    most = max(_UNPACKED_BYTES, _UNPACKED_TIMES * path.stat().st_size)
    if size > most:
        raise ValueError(f"it unpacks to {size} bytes, at most {most} are read")


def _is_text(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
