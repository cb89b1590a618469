"""Results that appear whole, and replace only what this program made.

What a run writes is recorded in a JSON file, with a checksum of each file, and the JSON file is the
last to appear: where it is, the results are whole. A file is the program's own if it is in such a
record and has its checksum still; all others are left alone, unless the user says ``--overwrite``.
"""

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lungmask_jax import records
from lungmask_jax.cohort._state import has_content
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.files import checksum, locked, output_folder

_HIDDEN: Final = ".lungmask-jax-"
_ASIDE: Final = "before"
_FILES: Final = (
    *(".nii", ".gz", ".nrrd", ".mha", ".mhd", ".dcm", ".png", ".jpg", ".tif"),
    *(".npz", ".csv", ".json", ".zip"),
)


def changed_since(record: Path, values: Mapping[str, Any]) -> list[str]:
    """Files of a record that are no more as they were written; only newer ones are read."""
    written = record.stat().st_mtime_ns
    return [
        name
        for name, one in values["files_written"].items()
        if (path := record.parent / name).is_file()
        and path.stat().st_mtime_ns > written
        and checksum(path) != one
    ]


@dataclass(frozen=True)
class Outputs:
    """A folder for results, and its protected files.

    Attributes:
        folder: The folder.
        inputs: Paths of the inputs in it, which are never replaced.
        overwrite: Whether other files may be replaced.

    Example:
        >>> Outputs(Path("nowhere")).result("a", source="/scans/a.nii.gz", key="1f-2e")
        {}
    """

    folder: Path
    inputs: frozenset[str] = frozenset()
    overwrite: bool = False

    def check(self, record: str, names: Iterable[str]) -> None:
        """Refuses files that must not or cannot be written; `record` is that of a former run."""
        ours = self._ours(record)
        for name in (record, *names):
            path = self.folder / name
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ScanError(
                    f"{path} cannot be written ({error.strerror}): rename the scan"
                ) from error
            if stat.S_ISDIR(found.st_mode):
                raise ScanError(f"{path} cannot be written because it is a folder: move it")
            if {os.path.realpath(path), os.path.abspath(path)} & self.inputs:
                raise ScanError(f"{path} would be replaced, but it is an input: give another --out")
            if not self.overwrite and not (
                stat.S_ISREG(found.st_mode) and self._is_own(path, record, ours.get(name, set()))
            ):
                raise ScanError(
                    f"{path} exists, and this program did not make it, or it was changed since: "
                    "move it, give another --out, or replace it with --overwrite"
                )

    @contextlib.contextmanager
    def claimed(self, record: str, *, wait: bool = True) -> Iterator[bool]:
        """A block in which no other process works on the results of a record.

        What a run left that was killed while it moved its files is undone first. The value is
        whether the claim is held; it is false only without `wait`, where another process holds it.
        """
        with locked(self.folder / record, wait=wait) as held:
            if held:
                self._undo(record)
            yield held

    @contextlib.contextmanager
    def staged(self, record: str) -> Iterator[Path]:
        """A hidden folder for results, which are moved out when the block succeeds.

        The record is moved last. Own files of an earlier run that are no more written go. If
        anything fails, all is as it was before. The results must be claimed.
        """
        folder = self._stage(record)
        folder.mkdir()
        try:
            yield folder
            self._move(folder, record)
        finally:
            self._undo(record)

    @contextlib.contextmanager
    def written(self, record: str) -> Iterator[Path]:
        """The same with a claim that is waited for."""
        with self.claimed(record), self.staged(record) as folder:
            yield folder

    def check_source(self, record: str, source: str, content: str) -> None:
        """Refuses to replace the results of another scan; one that was moved is the same."""
        values = records.read_json(self.folder / record)
        other = values.get("source", source)
        same = other == source or has_content(values.get("key"), content)
        if not same and not self.overwrite:
            raise ScanError(
                f"{self.folder / record} has the results of another scan, {other}: give another "
                "--out, or replace them with --overwrite"
            )

    def result(self, name: str, *, source: str, key: str) -> dict[str, Any]:
        """The record of complete results of a scan made in one way, or nothing.

        If the scan was moved, the record says from now on where it is. The results must be claimed.

        Raises:
            ScanError: A file was changed since, so that the measures are not those of the file.
        """
        path = self.folder / f"{name}.json"
        values = records.read_json(path)
        same = values.get("key") == key
        if not same or not all((self.folder / one).is_file() for one in values["files_written"]):
            return {}
        if other := changed_since(path, values):
            if self.overwrite:
                return {}
            raise ScanError(
                f"{', '.join(other)} in {self.folder} changed since it was measured: move it, give "
                "another --out, or make it again with --overwrite; "
                "lungmask_jax.quantify.measures measures masks that were corrected"
            )
        return values if values.get("source") == source else records.change(path, source=source)

    def _move(self, staged: Path, record: str) -> None:
        names = sorted(path.name for path in staged.iterdir() if path.name != record)
        self.check(record, names)
        aside = staged / _ASIDE
        aside.mkdir()
        for name in {*names, record, *self._own_names(record)}:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.folder / name, aside / name)
        for name in (*names, record):
            os.replace(staged / name, self.folder / name)

    def _undo(self, record: str) -> None:
        """Takes half-moved results back, and puts older ones where they were.

        A record that is still staged says that its results are not whole. What is left goes.
        """
        staged = self._stage(record)
        aside = staged / _ASIDE
        if aside.is_dir() and (staged / record).is_file():
            for name, one in records.read_json(staged / record).get("files_written", {}).items():
                path = self.folder / name
                if not (staged / name).exists() and path.is_file() and checksum(path) == one:
                    path.unlink()
            for path in aside.iterdir():
                os.replace(path, self.folder / path.name)
            (staged / record).unlink()
        shutil.rmtree(staged, ignore_errors=True)

    def _stage(self, record: str) -> Path:
        """A folder that is the same in every run, and whose name is never too long."""
        return self.folder / f"{_HIDDEN}{hashlib.sha256(os.fsencode(record)).hexdigest()[:16]}"

    def _own_names(self, record: str) -> list[str]:
        return [
            name
            for name, sums in self._ours(record).items()
            if Path(name).name == name and self._is_own(self.folder / name, record, sums)
        ]

    def _is_own(self, path: Path, record: str, checksums: set[str]) -> bool:
        if path.name == record:
            return bool(records.read_json(path))
        return path.is_file() and not path.is_symlink() and checksum(path) in checksums

    def _ours(self, record: str) -> dict[str, set[str]]:
        """Checksums by name: of the last run, and of one that was killed at its last step."""
        ours: dict[str, set[str]] = {}
        for folder in (self.folder, self._stage(record)):
            for name, one in records.read_json(folder / record).get("files_written", {}).items():
                ours.setdefault(name, set()).add(one)
        return ours


def outputs(
    folder: str | os.PathLike[str],
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    overwrite: bool = False,
) -> Outputs:
    """The folder for results, created if it does not exist, or refused before any work.

    Args:
        folder: Its path.
        inputs: Inputs, which must not be replaced.
        overwrite: Whether other files may be replaced.

    Returns:
        The folder, with its protected files.

    Raises:
        SpecError: The path is the name of a file.
        ScanError: The folder cannot be made or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     outputs(Path(folder, "results")).folder.name
        'results'
    """
    path = Path(folder)
    if path.suffix.lower() in _FILES and not path.is_dir():
        raise SpecError(
            f"expected a folder for --out, {path} is a file name: give a folder, and files "
            "named after each scan are written to it"
        )
    ours = {place(output_folder(path)) for place in (os.path.realpath, os.path.abspath)}
    real = {place(one) for one in inputs for place in (os.path.realpath, os.path.abspath)}
    inside = frozenset(str(one) for one in real if os.path.dirname(one) in ours)
    return Outputs(path, inside, overwrite)
