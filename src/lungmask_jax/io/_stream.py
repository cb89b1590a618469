"""Bytes of files, never more than requested: plain or decompressed."""

import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lungmask_jax.errors import ScanError

GZIP: Final = b"\x1f\x8b"

LARGEST_VOXELS: Final = 2**30
"""Of a scan: 4096 slices of 512 x 512. A whole body at 1 mm has half as many."""

LARGEST_FILE: Final = 2**30
"""Bytes of an image that is read as a whole."""

DEFLATE: Final = 1032
"""No gzip file unpacks to more times its size."""

PIECE: Final = 2**18
"""Bytes that are read or unpacked at once."""


def is_folder(path: Path) -> bool:
    """Whether a path is that of a folder; raises if it does not exist."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # or no name at all
        raise ScanError(f"expected a scan, found nothing at {path}: check the path") from error
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """A file to read from. Pipes and devices are refused, as they may never end.

    Raises:
        ScanError: It cannot be read, or is not a file.
    """
    try:
        kind = _special(os.stat(path).st_mode)
        if kind:
            raise ScanError(f"{path} is not a file but {kind}, which may never end: give a file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise unreadable(path, error) from error


def unpacked(file: io.BufferedReader, *, piece: int = PIECE) -> io.BufferedReader:
    """The bytes of a file, decompressed while reading if it is a gzip file.

    The stream ends with the last gzip member; later bytes are not read.
    """
    if file.peek(2)[:2] != GZIP:
        return file
    return io.BufferedReader(_Unpacked(file, piece), piece)


def unreadable(path: Path, error: OSError) -> ScanError:
    """The error for a file that cannot be read.

    Args:
        path: The file.
        error: What the system says.
    """
    return ScanError(
        f"expected to read {path}, found: {error.strerror or error}; check its permissions"
    )


def inflated(file: io.BufferedReader) -> io.BufferedReader:
    """The bytes of a zlib stream that begins here, decompressed while reading."""
    return io.BufferedReader(_Unpacked(file, PIECE, zlib.MAX_WBITS), PIECE)


class _Unpacked(io.RawIOBase):
    """What a gzip file unpacks to, in the standard library's shape for such things.

    That of `gzip` takes what follows the last member for damage, and an unfinished one for the end.
    """

    def __init__(self, file: io.BufferedReader, piece: int, wbits: int = 31) -> None:
        self._file, self._piece = file, piece
        self._packed, self._member = b"", zlib.decompressobj(wbits=wbits)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._member.eof and not self._next_member():
                return 0
            self._packed = self._packed or self._file.read(self._piece)
            if not self._packed:
                raise EOFError("the compressed data are incomplete")
            piece = self._member.decompress(self._packed, len(buffer))
            self._packed = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)

    def _next_member(self) -> bool:
        """Whether another member follows; zeros between members are padding."""
        while not self._packed.strip(b"\0"):
            self._packed = self._file.read(self._piece)
            if not self._packed:
                return False
        self._packed = self._packed.lstrip(b"\0")
        if len(self._packed) < 2:
            self._packed += self._file.read(1)
        if not self._packed.startswith(GZIP):
            return False
        self._member = zlib.decompressobj(wbits=31)
        return True


def _special(mode: int) -> str:
    """What is no file, in words; empty for a file."""
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe or socket" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "a device"
