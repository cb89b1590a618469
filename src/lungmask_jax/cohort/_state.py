"""The state of a scan: its content, how often its process ended, and a log of what became of it.

The log is in ``.lungmask-jax/manifest`` in the folder of the results. Each process appends to a
JSONL file of its own, so no lock is needed, on network file systems either; readers take the latest
row of each scan. Results are whole if their own record is there, whatever the log says.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lungmask_jax.cohort._scan import Scan
from lungmask_jax.errors import is_full
from lungmask_jax.files import atomic, checksum

HIDDEN: Final = ".lungmask-jax"
_PROCESS: Final = secrets.token_hex(4)
_ATTEMPT: Final = "attempt"
_TIMEOUT: Final = "Timeout ("  # the first word of Python's faulthandler
_DIGITS: Final = 16
_STATES: Final = ("running", "done", "failed")
_TEXTS: Final = ("scan", "source", "state", "reason", "signature", "content", "key")
_DATA_FILE: Final = re.compile(rb"(?im)^(?:ElementDataFile *=|data ?file *:) *([^\r\n]+)")
_LONGEST_HEADER: Final = 2**20

_unwritten: dict[Path, bytes] = {}
"""Rows for which the disk had no space; they are written with the next ones."""


def append(folder: Path, row: Mapping[str, Any]) -> None:
    """Adds a row about a scan to the log of this process; the time is added.

    Args:
        folder: The folder of the results.
        row: At least ``scan`` and ``state``: ``"running"``, ``"done"`` or ``"failed"``.
    """
    path = folder / HIDDEN / "manifest" / f"{socket.gethostname()}-{os.getpid()}-{_PROCESS}.jsonl"
    line = json.dumps({**row, "time": round(time.time(), 3)}, ensure_ascii=True)
    data = _unwritten.pop(path, b"") + f"\n{line}\n".encode()  # the first ends a torn line
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(data)
    except OSError as error:
        if not is_full(error):
            raise
        _unwritten[path] = data


def latest(folder: Path) -> dict[str, dict[str, Any]]:
    """The latest row of each scan, with older values where it has none."""
    known: dict[str, dict[str, Any]] = {}
    for row in _rows(folder):
        name, before = str(row["scan"]), known.get(str(row["scan"]), {})
        newer = row["time"] >= before.get("time", 0.0)
        known[name] = {**before, **row} if newer else {**row, **before}
    return known


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    """All rows in no order, without lines that were cut when their process was killed."""
    for path in sorted((folder / HIDDEN / "manifest").glob("*.jsonl")):
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(ValueError, RecursionError):
                    row = json.loads(line)
                    if _is_row(row):
                        yield row


def _is_row(row: Any) -> bool:
    """Whether a line of the log is one that `append` wrote; a damaged one is none."""
    if not isinstance(row, dict) or not {"scan", "state", "time"} <= row.keys():
        return False
    texts = all(isinstance(row[key], str) for key in _TEXTS if key in row)
    return texts and row["state"] in _STATES and isinstance(row["time"], int | float)


def attempted(folder: Path) -> set[str]:
    """The scans that a process works on, or that ended their process."""
    with contextlib.suppress(FileNotFoundError):
        return {name for name in os.listdir(folder / HIDDEN / "attempts") if name[0] != "."}
    return set()


def signature(scan: Scan) -> str:
    """Changes if a file of a scan is written again: from names, sizes and times; empty if none."""
    parts = []
    for file in _files(scan.path):
        found = file.stat()
        parts.append(f"{file.name} {found.st_size} {found.st_mtime_ns}")
    return _short("\n".join([*parts, scan.series])) if parts else ""


def content(scan: Scan) -> str:
    """A checksum of the content of a scan, wherever it lies; empty if there is nothing."""
    path = scan.path
    files = list(_files(path))
    if files == [path] and not scan.series:
        return checksum(path)
    folder = path.parent if path.is_file() else path
    parts = [f"{os.path.relpath(file, folder)} {checksum(file)}" for file in files]
    return _short("\n".join([*parts, scan.series])) if parts else ""


def key_of(content: str, how: Mapping[str, Any]) -> str:
    """Identifies a result: the content of a scan, and a checksum of how it was made."""
    return f"{content}-{_short(json.dumps(how, sort_keys=True))}"


def has_content(key: object, content: str) -> bool:
    """Whether the key of a result is that of a scan with this content."""
    return bool(content) and str(key).startswith(f"{content}-")


def _files(path: Path) -> Iterator[Path]:
    """The files of a scan: itself, or those of a folder, or of its subfolders if it has none."""
    if path.is_file():
        yield path
        yield from _detached(path)
        return
    found: list[Path] = []
    with contextlib.suppress(OSError):  # no folder, or one that whoever reads it will complain of
        found = [one for one in path.iterdir() if one.name[0] != "."]
    files = sorted(one for one in found if one.is_file())
    yield from files
    if not files:
        for folder in sorted(one for one in found if one.is_dir() and not one.is_symlink()):
            yield from _files(folder)


def _detached(header: Path) -> Iterator[Path]:
    """The file beside a header of MetaImage or NRRD that holds its voxels."""
    if header.suffix.lower() not in (".mhd", ".nhdr"):
        return
    with header.open("rb") as file:
        named = _DATA_FILE.search(file.read(_LONGEST_HEADER))
    if named:
        path = header.parent / os.fsdecode(named[1].strip())
        with contextlib.suppress(OSError, ValueError):  # which whoever reads it will complain of
            if path.is_file():
                yield path


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class Attempts:
    """The attempts at a scan that ended with their process.

    Attributes:
        path: A file that is there while an attempt lasts, and stays if the process ends.
    """

    path: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> "Attempts":
        """Those of a scan, by its name."""
        return cls(folder / HIDDEN / "attempts" / name)

    def killed(self) -> int:
        """How many attempts ended with their process; 0 if there is none."""
        return self._text().count(f"{_ATTEMPT} ")

    def timed_out(self) -> bool:
        """Whether the last one took longer than allowed."""
        return _TIMEOUT in self._text()

    @contextlib.contextmanager
    def counted(self) -> Iterator[Path]:
        """A block that counts as killed unless it ends; gives a file for what its end says."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = f"{self._text()}{_ATTEMPT} {socket.gethostname()} {os.getpid()}\n"
        with atomic(self.path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        try:
            yield self.path
        finally:
            self.forget()

    def forget(self) -> None:
        """As if there was no attempt yet."""
        self.path.unlink(missing_ok=True)

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
