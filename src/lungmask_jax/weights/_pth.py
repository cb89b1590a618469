"""PyTorch files, read without PyTorch."""

import io
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from lungmask_jax import trees
from lungmask_jax.errors import WeightsError, shown
from lungmask_jax.weights._inert import Budget
from lungmask_jax.weights._torch import NAMES, Storage, storages
from lungmask_jax.weights._unpickle import unpickled

_VALUES: Final = 2**28
"""Bytes that plain values may take beside those of the file's size: for nnU-Net's records of 4,000
epochs and 117 classes it takes most of them."""

_CHUNK: Final = 1_000_000
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_VERSION: Final = 1001
_TAR: Final = slice(257, 262)


def read_pth(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Reads a file of ``torch.save``: a state_dict, or a checkpoint with one.

    Nothing in the file is executed: an interpreter reads its pickle, and anything but tensors and
    plain values is an error that names it. Memory stays below twice the size of the file plus
    256 MB. Zip files and the older format are read, in both byte orders.

    Args:
        path: The file.

    Returns:
        Its dict. Tensors and parameters are read-only arrays with their dtype and strides; those
        that share memory still do. bfloat16 is that of ``jax.numpy``. Ordered dicts become dicts,
        numpy numbers Python numbers, devices text.

    Raises:
        WeightsError: There is no such file, it is damaged or something else, or it has unsupported
            content: a program, complex, quantized or sparse numbers, compressed members.

    Example:
        >>> read_pth("unet_r231.pth")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.WeightsError: expected weights of PyTorch, found no file unet_r231.pth
    """
    path = Path(path)
    with trees.read_errors(path, "weights of PyTorch"), path.open("rb") as file:
        return read_open(file, path)


def read_open(file: io.BufferedReader, path: Path) -> dict[Any, Any]:
    """What `read_pth` returns, of a file that is open; `path` is its name in errors."""
    size = os.fstat(file.fileno()).st_size
    value = _zipped(file, size) if _is_zip(file) else _legacy(file, size)
    if type(value) is not dict:
        raise WeightsError(
            f"expected a dict of tensors in {path}, found a {type(value).__name__}: "
            "save the state_dict of the network"
        )
    return value


def _is_zip(file: BinaryIO) -> bool:
    """Whether the file is a zip; a file that is not a pickle either is refused."""
    head = file.read(512)
    file.seek(0)
    if head[_TAR] == b"ustar":
        raise ValueError(
            "a tar, as PyTorch wrote it before 2017: load and save it with a newer version"
        )
    if not head.startswith((b"PK\3\4", b"\x80")):
        words = trees.described(head)
        raise ValueError(f"neither a zip nor a pickle{words and f', but {words}'}")
    return head.startswith(b"PK")


def _read(
    file: BinaryIO, size: int, room: Budget, memory: Budget
) -> tuple[Any, dict[str, Storage]]:
    """The value of a pickle, and its storages to be filled."""
    kept: dict[str, Storage] = {}
    persistent = storages(room, memory, kept)
    value = unpickled(file, size, names=NAMES, persistent=persistent, budget=memory)
    return value, kept


def _budgets(size: int, storages: str = "its storages take") -> tuple[Budget, Budget]:
    """Budgets for the numbers in a file of this size, and for its other values."""
    return Budget(size, storages), Budget(_VALUES + size, "its values take")


def _zipped(file: BinaryIO, size: int) -> Any:
    room, memory = _budgets(size)
    with trees.zip_file(file) as archive:
        members = _members(archive)
        root = _root(members)
        pickled = io.BytesIO()
        for chunk in _chunks(archive, members[f"{root}/data.pkl"], room):
            pickled.write(chunk)
        pickled.seek(0)
        value, kept = _read(pickled, pickled.getbuffer().nbytes, room, memory)
        swapped = _byte_order(archive, members.get(f"{root}/byteorder")) != sys.byteorder
        for key, storage in kept.items():
            _fill(archive, members.get(f"{root}/data/{key}"), key, storage)
            if swapped:
                storage.swap()
            storage.check()
    return value


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in members:
            raise ValueError(f"its member {shown(info.filename)} is there twice")
        members[info.filename] = info
    return members


def _root(members: dict[str, zipfile.ZipInfo]) -> str:
    """The folder in the zip that holds all."""
    roots = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError(f"a zip with {len(roots)} members data.pkl, those of PyTorch have one")
    if f"{roots[0]}/constants.pkl" in members:
        raise ValueError("a program of TorchScript: save the state_dict of its network")
    return roots[0]


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo, room: Budget) -> Iterator[bytes]:
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError("its members are compressed, as PyTorch never does: zip them uncompressed")
    room.spend(info.file_size)
    with archive.open(info) as member:
        while chunk := member.read(_CHUNK):
            yield chunk


def _byte_order(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None) -> str:
    """Of the numbers; files from before 2023 do not say it, and are little-endian."""
    if info is None:
        return "little"
    with archive.open(info) as member:
        order = member.read(10)
    if order not in (b"little", b"big"):
        raise ValueError(f"the unknown byte order {order!r}")
    return order.decode()


def _fill(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, key: str, storage: Storage
) -> None:
    """Copies the bytes of a member into a storage of the same size."""
    if info is None or info.file_size != storage.raw.size:
        found = "is missing" if info is None else f"has {info.file_size}"
        raise ValueError(
            f"its storage {shown(key)} should have {storage.raw.size} bytes, and {found}"
        )
    at = 0
    for chunk in _chunks(archive, info, Budget(info.file_size, "a storage takes")):
        storage.raw.data[at : at + len(chunk)] = chunk
        at += len(chunk)
    if at != info.file_size:
        raise ValueError(f"its storage {shown(key)} ends too early")


def _legacy(file: io.BufferedReader, size: int) -> Any:
    """Of five pickles in a row the fourth is the value; the numbers follow them."""
    room, memory = _budgets(size, "its end is missing, or its storages take")
    none = Budget(-1, "storages beside its value take")
    for expected in (_MAGIC, _VERSION):
        found, _ = _read(file, size, none, memory)
        if type(found) is not int or found != expected:
            raise ValueError("a pickle of something else")
    about, _ = _read(file, size, none, memory)
    if type(about) is not dict or about.get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine: save it on another one")
    value, kept = _read(file, size, room, memory)
    keys, _ = _read(file, size, none, memory)
    if type(keys) is not list or keys != list(dict.fromkeys(keys)) or set(keys) != kept.keys():
        raise ValueError("its list of storages is not that of its tensors")
    for key in keys:
        _fill_next(file, key, kept[key])
    return value


def _fill_next(file: io.BufferedReader, key: str, storage: Storage) -> None:
    """Fills a storage from the next bytes: the number of elements, and their bytes."""
    count = int.from_bytes(file.read(8), "little", signed=True)
    if count * storage.dtype.itemsize != storage.raw.size:
        raise ValueError(
            f"its storage {shown(key)} should have {storage.raw.size} bytes, has {count} numbers"
        )
    if file.readinto(storage.raw.data) != storage.raw.size:
        raise ValueError(f"its storage {shown(key)} ends too early")
    storage.check()
