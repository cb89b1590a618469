"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lungmask_jax.errors import ScanError

__all__ = ["atomic", "writable"]


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path that takes the place of `path` when the block ends well.

    It lies in the same folder, so the last step is one rename: whoever reads `path` meanwhile sees
    the old file or the new one, never half of it. If the block fails, the temporary file is removed
    and an older `path` stays as it was. A link is followed, and what it points to is replaced.

    Args:
        path: Where the file is to be; its folder must be there.

    Yields:
        A path with the same suffixes, which the block must write.

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
    name, target = Path(path), Path(path).resolve()
    if target.is_dir():
        raise IsADirectoryError(f"expected the path of a file, found the folder {name}: add a name")
    suffixes = "".join(name.suffixes[-2:])
    temporary = target.parent / f".{secrets.token_hex(8)}{suffixes}"
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def writable(folder: str | os.PathLike[str]) -> Path:
    """The folder for results, made if it is not there.

    Args:
        folder: Its path.

    Returns:
        The same.

    Raises:
        ScanError: It cannot be made or written, or is a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as outer:
        ...     writable(Path(outer, "results", "today")).is_dir()
        True
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScanError(
            f"expected a folder for results, found that {path} cannot be made "
            f"({error.strerror}): give another one"
        ) from error
    if not os.access(path, os.W_OK):
        raise ScanError(
            f"expected a folder for results, found that {path} cannot be written: give another one"
        )
    return path
