"""Folders and zips of files, none of which is believed; nothing is unpacked beside them."""

import io
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from lungmask_jax import trees
from lungmask_jax.errors import WeightsError, shown
from lungmask_jax.weights._kinds import WEIGHTS, model_above

__all__ = ["ModelFiles", "model_files"]

_WANTED: Final = re.compile(
    r"(.*/)?(plans\.(json|pkl)|dataset\.json"
    r"|fold_(\d+|all)/(checkpoint_\w+\.pth|model_\w+\.model(\.pkl)?))"
)
_DEPTH: Final = 5
"""Folders within each other: data set, trainer and fold, and some around them."""

_ENTRIES: Final = 100_000
_TEXT: Final = 32_000_000
"""Bytes of the longest ``plans.json`` or ``dataset.json``; four million characters are read."""

_MEMBER: Final = 8 * 2**30
"""Bytes of the largest checkpoint; nnU-Net's largest have 3 GB with the state of the optimizer."""

_RATIO: Final = 50
"""How many times as large as in the zip a member may be; numbers of networks hardly shrink."""

_CHUNK: Final = 2**20


@dataclass(frozen=True, eq=False)
class ModelFiles:
    """The files of nnU-Net in a folder or a zip.

    Attributes:
        path: Of the folder or zip.
        names: Of the files, with slashes.
        opened: A context with one of them, to read from its beginning.
    """

    path: Path
    names: tuple[str, ...]
    opened: Callable[[str], Any]

    def text(self, name: str) -> str:
        """A file of text."""
        if name not in self.names:
            raise WeightsError(
                f"expected {name} in {self.path}, found none: the folder or zip of a trained model "
                "has it beside its folds"
            )
        with self.opened(name) as file:
            data = file.read(_TEXT + 1)
            if len(data) > _TEXT:
                raise ValueError(f"{name} has more than {_TEXT} bytes")
            return str(data.decode("utf-8"))

    def folders(self) -> list[str]:
        """The folders of models: those that hold plans."""
        plans = [name for name in self.names if PurePosixPath(name).stem == "plans"]
        return sorted({str(PurePosixPath(name).parent) for name in plans})

    def folds(self, folder: str, file: str) -> dict[str, str]:
        """By fold, the names of the files that are called so."""
        pattern = re.compile(rf"{re.escape(_under(folder))}fold_(\w+)/{re.escape(file)}")
        hits = [pattern.fullmatch(name) for name in self.names]
        return {hit[1]: hit[0] for hit in hits if hit}


def _under(folder: str) -> str:
    return "" if folder == "." else f"{folder}/"


@contextmanager
def model_files(path: Path) -> Iterator[ModelFiles]:
    """The files of nnU-Net in a folder or a zip, while it is open.

    Raises:
        WeightsError: It is neither, or holds no plans, or a file in it is damaged.
    """
    if path.is_dir():
        yield _with_plans(ModelFiles(path, tuple(_names(path)), lambda name: _open(path / name)))
        return
    with (
        trees.read_errors(path, "a model of nnU-Net"),
        path.open("rb") as file,
        trees.zip_file(file) as archive,
    ):
        members = _members(archive)

        def opened(name: str) -> Any:
            return _unpacked(archive, members[name])

        yield _with_plans(ModelFiles(path, tuple(members), opened))


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedReader]:
    with trees.read_errors(path, "a file of a model of nnU-Net"), path.open("rb") as file:
        yield file


def _with_plans(files: ModelFiles) -> ModelFiles:
    if not files.folders():
        raise WeightsError(
            f"expected a trained model of nnU-Net in {files.path}, found no plans.json in it: "
            f"{_instead(files)}"
        )
    return files


def _instead(files: ModelFiles) -> str:
    """What to give or do where there are no plans."""
    above = model_above(files.path)
    if above is not None:
        return f"give the folder above, {above}"
    if files.names:
        return "copy it from where its folds were"
    inside = files.path.iterdir() if files.path.is_dir() else ()
    weights = sorted(one.name for one in inside if one.suffix in WEIGHTS)
    if weights:
        return f"give a file in it, such as {shown(weights[0])}"
    return (
        "give the folder that holds it, or its zip; weights of other programs are read without the "
        "options for nnU-Net"
    )


def _names(path: Path) -> Iterator[str]:
    """Those of interest in a folder, links to other folders left out."""
    count = 0
    for folder, inner, files in os.walk(path):
        place = Path(folder).relative_to(path)
        if len(place.parts) >= _DEPTH:
            inner.clear()
        inner.sort()
        count += len(files)
        if count > _ENTRIES:
            raise WeightsError(f"{path} holds too many files: give the folder of the model itself")
        names = (str(PurePosixPath(*place.parts, name)) for name in sorted(files))
        yield from (name for name in names if _WANTED.fullmatch(name))


def _members(archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if not _WANTED.fullmatch(info.filename):
            continue
        if info.filename in members:
            raise ValueError(f"its member {shown(info.filename)} is there twice")
        if info.flag_bits & 1:
            raise ValueError(f"its member {shown(info.filename)} is encrypted")
        if info.file_size > min(_MEMBER, _RATIO * info.compress_size + _CHUNK):
            raise ValueError(
                f"its member {shown(info.filename)} says that it has {info.file_size} bytes of "
                f"{info.compress_size}"
            )
        members[info.filename] = info
    return members


@contextmanager
def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[io.BufferedReader]:
    """A member in a file without a name, which is gone when it is closed."""
    with tempfile.TemporaryFile() as file, archive.open(info) as member:
        while chunk := member.read(_CHUNK):
            file.write(chunk)
        if file.tell() != info.file_size:
            raise ValueError(f"its member {shown(info.filename)} ends too early")
        file.seek(0)
        yield file  # type: ignore[misc]  # it is one, whatever its type says
