"""Atomic writing of files, by one writer at a time, and printable names."""

import contextlib
import hashlib
import os
import secrets
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lungmask_jax.errors import ScanError

__all__ = [
    "FORMATS",
    "LONGEST_NAME",
    "atomic",
    "checksum",
    "locked",
    "output_folder",
    "printable",
]

FORMATS: Final = ("nii.gz", "nrrd", "seg.nrrd", "mha", "dicom-seg", "dicom-seg-binary")
"""Formats in which masks are written."""

LONGEST_NAME: Final = 200
"""Most bytes in the name of a scan; file systems allow 255, and names of masks are longer."""

_UNSEEN: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # categories of characters that steer, not show
_DIGITS: Final = 16


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path that replaces `path` when the block succeeds.

    It is in the same folder, so the last step is one rename: a reader of `path` sees the old file
    or the new one, never a part of it. If the block fails, the temporary file is removed and an
    older `path` is not changed. A link is not followed: the file replaces it, and its target is
    not changed.

    Args:
        path: Final path of the file; its folder must exist.

    Yields:
        A path with the same suffix, which the block must write.

    Raises:
        OSError: The folder is missing, cannot be written, or `path` is a folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic(Path(folder) / "numbers.txt") as temporary:
        ...         characters = temporary.write_text("1 2 3")
        ...     Path(folder, "numbers.txt").read_text()
        '1 2 3'
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"expected the path of a file, {target} is a folder: add a name")
    suffix = ".nii.gz" if target.name.lower().endswith(".nii.gz") else target.suffix
    temporary = target.parent / f".{secrets.token_hex(8)}{suffix}"
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = True) -> Iterator[bool]:
    """A lock on a path, which one process at a time can hold.

    The lock is that of the operating system, so it ends with the process in any case. On a file
    system without locks, nothing is locked.

    Args:
        path: A file to be read, changed and written again; it need not exist.
        wait: Whether to wait until no other process holds it.

    Yields:
        Whether the lock is held; ``False`` only if another process holds it, without `wait`.

    Raises:
        OSError: The folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with locked(Path(folder) / "numbers.txt"):
        ...         characters = Path(folder, "numbers.txt").write_text("1 2 3")
        ...         with locked(Path(folder) / "numbers.txt", wait=False) as held:
        ...             held
        ...     os.listdir(folder)
        False
        ['numbers.txt']
    """
    lock = Path(path).parent / f".{Path(path).name}.lock"
    descriptor = _locked(lock, wait)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):  # Windows keeps a file that is open
            lock.unlink()
        os.close(descriptor)


def checksum(path: str | os.PathLike[str]) -> str:
    """A checksum of the content of a file.

    Args:
        path: The file.

    Returns:
        The first 16 digits of its SHA-256.

    Raises:
        OSError: It cannot be read.

    Example:
        >>> checksum(os.devnull)
        'e3b0c44298fc1c14'
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]


def printable(text: str) -> str:
    r"""A text without invisible characters, for a terminal, a table or a file name.

    Bytes that are no UTF-8, as Python keeps them in file names, control characters and those that
    turn the direction of writing become percent and their bytes in hexadecimal, as in URLs.

    Args:
        text: Any.

    Returns:
        The same text if all of it is visible.

    Example:
        >>> printable("Zoë 1.5"), printable("M\udcfcller"), printable("a\x1b[31m")
        ('Zoë 1.5', 'M%FCller', 'a%1B[31m')
    """
    return "".join(_escaped(one) if unicodedata.category(one) in _UNSEEN else one for one in text)


def output_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder for results, created if it does not exist.

    Args:
        folder: Its path.

    Returns:
        The same.

    Raises:
        ScanError: It cannot be made or written, or is a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as outer:
        ...     output_folder(Path(outer, "results", "today")).is_dir()
        True
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScanError(
            f"expected a folder for results, but {path} cannot be made "
            f"({error.strerror}): give another one"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ScanError(
            f"expected a folder for results, but {path} cannot be written: give another one"
        )
    return path


def _locked(lock: Path, wait: bool) -> int | None:
    """A descriptor of the lock file, which its last owner removes: only the one that is there.

    None if another process holds it, without waiting.
    """
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            free = _hold(descriptor, wait)
            with contextlib.suppress(FileNotFoundError):
                if free and os.path.samestat(os.fstat(descriptor), lock.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not free:
            return None


def _hold(descriptor: int, wait: bool) -> bool:
    """Locks a file, if that is free or is waited for; says whether nobody else holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # no locks on this file system
        return True
    return True


def _escaped(one: str) -> str:
    how = "surrogateescape" if "\udc80" <= one <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in one.encode("utf-8", how))
