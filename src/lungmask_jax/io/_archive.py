"""The bytes of a volume: plain, packed with gzip, or the only volume in a zip archive."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from lungmask_jax.io._kinds import HEAD, VOLUMES, kind_of
from lungmask_jax.io._stream import DEFLATE, opened, unpacked

MOST_MEMBERS: Final = 1000
LARGEST_DIRECTORY: Final = 2**20
"""Files in an archive, and bytes of their list; a longer list is not read."""

_ZIP: Final = b"PK\x03\x04"
_END, _ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
_END_SIZE, _LOCATOR_SIZE, _LONGEST_COMMENT = 22, 20, 2**16
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def volume_bytes(
    path: Path, *, piece: int | None = None
) -> Iterator[tuple[io.BufferedReader, int]]:
    """The bytes of a file, unpacked while reading, and how many there may be at most.

    Of a zip archive it is the only NIfTI, NRRD or MetaImage file in it; an archive that holds none,
    or several, or is packed in another way than by deflation, is given as it is stored.

    Args:
        path: The file.
        piece: Bytes that are unpacked at once.

    Raises:
        ScanError: It cannot be read, or is not a file.
    """
    with opened(path) as file:
        member = _only_volume(file) if file.peek(len(_ZIP)).startswith(_ZIP) else None
        file.seek(0)
        if member is None:
            yield _unpacked(file, os.fstat(file.fileno()).st_size, piece)
        else:
            most = min(member.file_size, member.compress_size * DEFLATE)
            with zipfile.ZipFile(file) as archive, archive.open(member) as inner:
                yield _unpacked(_buffered(inner), most, piece)


def bytes_left(stream: io.BufferedReader, most: int) -> int:
    """How many bytes can follow of a stream with `most` bytes."""
    return most - stream.tell() if stream.seekable() else most


def _unpacked(
    stream: io.BufferedReader, most: int, piece: int | None
) -> tuple[io.BufferedReader, int]:
    whole = unpacked(stream, piece=piece) if piece else unpacked(stream)
    return whole, most if whole is stream else most * DEFLATE


def _buffered(inner: IO[bytes]) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", inner))  # of which it has all that is used


def _only_volume(file: io.BufferedReader) -> zipfile.ZipInfo | None:
    if not _has_short_directory(file):
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            volumes = [one for one in archive.infolist() if _is_volume(archive, one)]
    except (zipfile.BadZipFile, UnicodeDecodeError, ValueError, struct.error):
        return None
    return volumes[0] if len(volumes) == 1 else None


def _is_volume(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Whether a file in an archive is a volume; hidden ones are not looked at."""
    parts = Path(member.filename).parts
    if member.is_dir() or any(part.startswith((".", "__MACOSX")) for part in parts):
        return False
    if member.compress_type not in _METHODS or member.flag_bits & 1:  # encrypted
        return False
    try:
        with archive.open(member) as inner:
            stream = unpacked(_buffered(inner), piece=4096)
            return kind_of(stream.read(HEAD)) in VOLUMES
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error):
        return False


def _has_short_directory(file: io.BufferedReader) -> bool:
    """Whether `zipfile` can list an archive with little memory; it looks in the same two places."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LOCATOR_SIZE - _END_SIZE - _LONGEST_COMMENT))
    tail = file.read()
    last = tail[-_END_SIZE:]
    plain = last.startswith(_END) and last.endswith(b"\0\0")
    start = len(tail) - _END_SIZE if plain else tail.rfind(_END)
    if start < 0 or start + _END_SIZE > len(tail):
        return False
    if tail[max(0, start - _LOCATOR_SIZE) :].startswith(_ZIP64):
        return False
    count, length = struct.unpack_from("<HI", tail, start + 10)
    return bool(count <= MOST_MEMBERS and length <= LARGEST_DIRECTORY)
