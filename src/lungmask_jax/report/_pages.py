"""Templates, scripts and styles as one file without requests."""

import base64
import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lungmask_jax import DISCLAIMER, __version__
from lungmask_jax.errors import MissingPackageError
from lungmask_jax.files import atomic

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER: Final = Path(__file__).parent / "pages"


def check_installed() -> None:
    """Raises unless pages can be made.

    Raises:
        MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.

    Example:
        >>> check_installed()
    """
    if importlib.util.find_spec("jinja2") is None:
        raise MissingPackageError(
            "expected Jinja2 to make the pages of a report, found no such package: "
            'pip install "lungmask-jax[report]"'
        )


def write_page(path: Path, page: str) -> None:
    """Writes a page, under a temporary name first.

    Args:
        path: The file.
        page: HTML, as from `scan_page`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_page(Path(folder, "a.html"), "<!doctype html>")
        ...     Path(folder, "a.html").read_text()
        '<!doctype html>'
    """
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def rendered(
    template: str, *, styles: tuple[str, ...], scripts: tuple[str, ...], **values: Any
) -> str:
    """A page from a template; only its own styles and scripts can run in it."""
    check_installed()
    from markupsafe import Markup

    style, script = ("\n".join(map(_read, files)) for files in (styles, scripts))
    return _environment().get_template(template).render(
        **values,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        version=__version__,
        disclaimer=DISCLAIMER,
    )  # fmt: skip


def base64_text(content: bytes) -> str:
    """Bytes as text for a page."""
    return base64.b64encode(content).decode("ascii")


def _policy(style: str, script: str) -> str:
    """What a browser may load: pictures in the page itself, this style and this script."""
    hashes = [base64_text(hashlib.sha256(one.encode()).digest()) for one in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _environment() -> "Environment":
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False}  # no browser reads NaN
    return made


@functools.cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
