"""Results that appear whole, and replace only what this program made.

What a run writes is recorded in a JSON file, with a checksum of each file, and the JSON file is the
last to appear: where it is, the results are whole. A file is the program's own if it is in such a
record and has its checksum still; all others are left alone, unless the user says ``--overwrite``.
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lungmask_jax import records
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.files import checksum, output_folder

_HIDDEN: Final = ".lungmask-jax-"
_FILES: Final = (
    *(".nii", ".gz", ".nrrd", ".mha", ".mhd", ".dcm", ".png", ".jpg", ".tif"),
    *(".npz", ".csv", ".json", ".zip"),
)


@dataclass(frozen=True)
class Outputs:
    """A folder for results, and its protected files.

    Attributes:
        folder: The folder.
        inputs: Real paths of the inputs, which are never replaced.
        overwrite: Whether other files may be replaced.
        left: Hidden folders of killed runs, with their records.

    Example:
        >>> list(Outputs(Path("nowhere")).missing({"a": Path("a.nii.gz")}))
        ['a']
    """

    folder: Path
    inputs: frozenset[str] = frozenset()
    overwrite: bool = False
    left: tuple[Path, ...] = ()

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
    def staged(self) -> Iterator[Path]:
        """A hidden folder to write results into, which is removed after the block."""
        with tempfile.TemporaryDirectory(
            prefix=_HIDDEN, dir=self.folder, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)

    @contextlib.contextmanager
    def written(self, record: str) -> Iterator[Path]:
        """A hidden folder for results, which are moved out together when the block succeeds."""
        with self.staged() as folder:
            yield folder
            with self.moved(folder, record):
                pass

    @contextlib.contextmanager
    def moved(self, staged: Path, record: str) -> Iterator[None]:
        """Moves results in, except the record, which follows when the block succeeds.

        Own files of an earlier run that are no more written go. If anything fails, all is as it
        was before.
        """
        names = sorted(path.name for path in staged.iterdir() if path.name != record)
        self.check(record, names)
        aside = staged / "before"
        aside.mkdir()
        done: list[Path] = []
        try:
            for name in {*names, record, *self._own_names(record)}:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self.folder / name, aside / name)
            for name in names:
                os.replace(staged / name, self.folder / name)
                done.append(self.folder / name)
            yield
            os.replace(staged / record, self.folder / record)
        except BaseException:
            for path in done:
                path.unlink(missing_ok=True)
            for path in aside.iterdir():
                os.replace(path, self.folder / path.name)
            raise

    def check_source(self, record: str, path: Path) -> None:
        """Refuses to replace the results of another scan."""
        other = records.read_json(self.folder / record).get("source", source(path))
        if other != source(path) and not self.overwrite:
            raise ScanError(
                f"{self.folder / record} has the results of another scan, {other}: give another "
                "--out, or replace them with --overwrite"
            )

    def missing(self, scans: Mapping[str, Path]) -> dict[str, Path]:
        """The scans without complete results."""
        return {name: path for name, path in scans.items() if not self._is_done(name, path)}

    def _is_done(self, name: str, path: Path) -> bool:
        values = records.read_json(self.folder / f"{name}.json")
        return values.get("source") == source(path) and all(
            (self.folder / name).is_file() for name in values["files_written"]
        )

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
        """Checksums by name: of the last run, and of those that were killed at their last step."""
        ours: dict[str, set[str]] = {}
        for folder in (self.folder, *self.left):
            for name, one in records.read_json(folder / record).get("files_written", {}).items():
                ours.setdefault(name, set()).add(one)
        return ours


def outputs(
    folder: str | os.PathLike[str], *, inputs: Iterable[Path] = (), overwrite: bool = False
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
    real = {place(one) for one in inputs for place in (os.path.realpath, os.path.abspath)}
    left = sorted(output_folder(path).glob(f"{_HIDDEN}*"))
    return Outputs(path, frozenset(map(str, real)), overwrite, tuple(left))


def source(path: Path) -> str:
    """An identifier of a scan among others of the same name."""
    return os.path.abspath(path)
