"""Kinds of files that are no archives of ours, told by how they begin."""

import difflib
import itertools
from pathlib import Path
from typing import Final

__all__ = ["described", "missing"]

_PACKED: Final = "packed: unpack it, and give the file in it"
_OTHER_PROGRAM: Final = "which is not read: weights of PyTorch and bundles are"

_BEGINNINGS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"PK\3\4", "a zip without its end: it was not downloaded or copied to the end"),
    (b"\x1f\x8b", _PACKED),
    (b"BZh", _PACKED),
    (b"\xfd7zXZ", _PACKED),
    (b"7z\xbc\xaf", _PACKED),
    (b"Rar!", _PACKED),
    (b"\x28\xb5\x2f\xfd", _PACKED),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch its file with git lfs pull"),
    (b"\x93NUMPY", f"a single array of numpy, {_OTHER_PROGRAM}"),
    (b"\x89HDF", f"HDF5, as of Keras, {_OTHER_PROGRAM}"),
)
"""The first bytes of a file, and what it is."""

_NAMES: Final = 1_000
_LIKE: Final = 0.7
"""How alike two names must be: ``unet_r231.pth`` is like ``unet_r231-d5d2fc3d.pth``."""

_SPACE: Final = b" \t\r\n\xef\xbb\xbf"
_SAFETENSORS: Final = slice(8, 10)
_DICOM: Final = slice(128, 132)
_NIFTI: Final = slice(344, 348)


def described(head: bytes) -> str:
    """What a file is that cannot be read, from its first 512 bytes; empty if it is not known.

    Example:
        >>> described(b""), described(b"<!DOCTYPE html><html>")
        ('an empty file', 'a web page: download the file itself')
    """
    if not head:
        return "an empty file"
    for beginning, words in _BEGINNINGS:
        if head.startswith(beginning):
            return words
    text = head.lstrip(_SPACE)[:9].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page: download the file itself"
    if head[_SAFETENSORS] == b'{"':
        return f"safetensors, {_OTHER_PROGRAM}"
    if head[_DICOM] == b"DICM" or head[_NIFTI] in (b"n+1\0", b"ni1\0"):
        return "a scan"
    return ""


def missing(path: Path) -> str:
    """Why a file is not there, for the end of an error: its folder, or a file of a like name.

    Example:
        >>> missing(Path("nowhere/weights.npz"))
        ': there is no folder nowhere'
    """
    if path.is_symlink():
        return ": the link leads nowhere"
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    names = itertools.islice((one.name for one in path.parent.iterdir()), _NAMES)
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=_LIKE)
    return f": did you mean {close[0]!r}?" if close else ""
