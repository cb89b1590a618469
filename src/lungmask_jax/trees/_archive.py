"""Reading of untrusted files."""

import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from lungmask_jax.errors import LungmaskError, WeightsError, is_full
from lungmask_jax.trees._others import described, missing

_DAMAGE: Final = (  # what numpy and zipfile raise on files that are not what they seem
    EOFError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

_READ_BYTES: Final = 4_000_000
"""At once, and so of the zip's directory: thirty thousand members."""

_HEAD: Final = 512
_WORDS: Final = 300
"""Characters of somebody else's error that ours repeats."""


@contextmanager
def read_errors(path: Path, what: str) -> Iterator[None]:
    """A context for reading a file, which turns all errors of damaged files into one.

    Args:
        path: The file.
        what: The expected kind of file: ``"a weights bundle"``.

    Raises:
        WeightsError: There is no such file, it is not open to the user, the disk is full, or the
            block raised an error of reading.

    Example:
        >>> with read_errors(Path("nowhere.npz"), "a bundle"), open("nowhere.npz") as file:
        ...     pass
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.WeightsError: expected a bundle, found no file nowhere.npz
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OSError("no regular file")
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"expected {what}, found no file {path}{missing(path)}") from error
    except PermissionError as error:
        raise WeightsError(
            f"{path} is not open to you ({error.strerror}): check its permissions"
        ) from error
    except LungmaskError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and is_full(error):
            raise WeightsError(
                f"no space in {tempfile.gettempdir()} to unpack {path}: free some, or name another "
                "folder in TMPDIR"
            ) from error
        why = str(error)[:_WORDS]
        raise WeightsError(
            f"expected {what}, {path} is damaged or something else ({why}): get or make it again"
        ) from error


def zip_file(file: BinaryIO) -> zipfile.ZipFile:
    """The zip in an open file, whose directory must be of moderate length.

    Args:
        file: Opened to read bytes; the zip reads at most 4 MB of it at once.

    Returns:
        The zip.

    Raises:
        zipfile.BadZipFile: It is not a zip, which the error describes by how it begins, or its
            directory is longer than 4 MB.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> zipfile.ZipFile(file, "w").writestr("a.txt", "1 2 3")
        >>> zip_file(file).namelist()
        ['a.txt']
    """
    try:
        return zipfile.ZipFile(_Frugal(file))
    except _TooLong:
        raise
    except zipfile.BadZipFile as error:
        file.seek(0)
        raise zipfile.BadZipFile(described(file.read(_HEAD)) or str(error)) from error


class _TooLong(zipfile.BadZipFile):
    """A zip whose directory is longer than one of ours."""


class _Frugal:
    """A file for `zipfile`, which reads a directory of any length at once; here, not so."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """As of the file, but never more than a directory of ours has."""
        if size > _READ_BYTES:
            raise _TooLong(f"{size} bytes at once, its directory is too long")
        return self._file.read(size if size >= 0 else _READ_BYTES)
