"""The documentation: examples run, commands parse, links resolve, no public name is missing.

The tutorial's blocks, ``{python}`` and ``{bash}``, run when the pages are built, not here.
"""

import doctest
import importlib
import io
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lungmask_jax
from lungmask_jax.cli._options import parser

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs/api/index.md"]
API = sorted((ROOT / "docs" / "api").glob("*.md"))
EXAMPLE = ROOT / "docs" / "examples" / "plugin" / "README.md"
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", EXAMPLE]
PAGES = [*GUIDES, *(page for page in API if page not in GUIDES), *OTHERS]
MODULES = [m.name for m in pkgutil.iter_modules(lungmask_jax.__path__) if m.name[0] != "_"]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def fenced(page: Path, language: str) -> str:
    """The lines inside fences of a language; the others are blank, so that numbers hold."""
    lines, inside = [], ""
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = re.fullmatch(r"```(\S*)( \S+)?", line)
        if fence:
            inside = "" if inside else fence[1] or "text"
        lines.append(line if inside == language and not fence else "")
    return "\n".join(lines)


def with_fences(language: str, word: str) -> list[Path]:
    return [page for page in GUIDES if word in fenced(page, language)]


def page_name(page: object) -> str:
    return str(page.relative_to(ROOT)) if isinstance(page, Path) else str(page)


@pytest.mark.parametrize("page", with_fences("python", ">>>"), ids=page_name)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(
        fenced(page, "python"), {}, page.name, str(page), 0
    )
    printed = io.StringIO()
    doctest.DocTestRunner(optionflags=FLAGS).run(examples, out=printed.write)
    assert not printed.getvalue(), printed.getvalue()


@pytest.mark.parametrize("page", with_fences("bash", "lungmask-jax "), ids=page_name)
def test_commands_parse(page):
    text = "\n".join([fenced(page, "bash"), fenced(page, "{bash}")])
    lines = re.split(r"\n|&&|>", text.replace("\\\n", " "))
    words = [shlex.split(line, comments=True) for line in lines]
    for line in words:
        if "lungmask-jax" in line:  # variables or a loop may stand before it, and & behind
            arguments = line[line.index("lungmask-jax") + 1 :]
            parser().parse_args([word for word in arguments if word not in ("&", "done")])


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_resolve(page):
    targets = re.findall(r"\]\(([^)\s]*)\)", prose(page))
    local = [target.partition("#") for target in targets if "://" not in target]
    links = [(page.parent / path if path else page, anchor) for path, _, anchor in local]
    assert [str(file) for file, _ in links if not file.exists()] == []
    assert [link for link in links if link[1] not in {"", *anchors(link[0])}] == []


def prose(page: Path) -> str:
    """The text outside of fences."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """Those of its headings, down to the third level, as MyST and GitHub make them."""
    if page.suffix != ".md":
        return set()
    headings = re.findall(r"^#{1,3} (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_changelog_begins_with_what_is_unreleased_and_then_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *released = re.findall(r"^## (\S+)", changelog, re.MULTILINE)
    assert first == "Unreleased"
    assert released[:1] in ([], [lungmask_jax.__version__])


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_in_the_api_pages(name):
    module = importlib.import_module(f"lungmask_jax.{name}")
    page = (ROOT / "docs" / "api" / f"{name}.md").read_text(encoding="utf-8")
    directive = r"^\.\. (?:auto(?:class|function|data)|py:data):: (\S+)$"
    documented = re.findall(directive, page, re.MULTILINE)
    assert set(documented) >= {f"{module.__name__}.{each}" for each in public_names(module)}


def built(folder: Path, *blocks: str) -> tuple[int, str]:
    """The exit code and the page, or the error, of blocks that the build of a page runs."""
    pytest.importorskip("myst_parser")
    fences = [f"```{block}\n```" for block in blocks]
    (folder / "index.md").write_text("\n\n".join(["# Page", *fences]), encoding="utf-8")
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'docs')!r})\n"
        "extensions = ['myst_parser', 'executed']\n"
    )
    words = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(folder), str(folder / "out")]
    done = subprocess.run(words, capture_output=True, encoding="utf-8")
    page = folder / "out" / "index.html"
    return done.returncode, page.read_text("utf-8") if page.is_file() else done.stderr


def test_blocks_of_a_page_run_in_order_and_show_what_they_print(tmp_path):
    make = (
        "import numpy as np, lungmask_jax as lj\n"
        "lj.viz.save_png(np.zeros((4, 4, 3), np.uint8), 'made.png')\n"
        "number = 6"
    )
    count = "ls *.png\nlungmask-jax --version"
    code, page = built(
        tmp_path, f"{{python}}\n{make}", "{python}\nprint(number * 7)", f"{{bash}}\n{count}",
        "{made} made.png",
    )  # fmt: skip
    assert code == 0, page
    for text in ("42\n", "made.png\n", f"lungmask-jax {lungmask_jax.__version__}\n"):
        assert text in page
    assert (tmp_path / "out/_images/made.png").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf.py", "index.md", "out"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("{python}\nprint('so far')\n1 / 0", "ZeroDivisionError"),
        ("{bash}\necho so far\nfalse\necho not reached", "exit code 1\n"),
        ("{bash}\nlungmask-jax nothing", "no 'nothing': known: "),
        ("{made} nothing.png", "expected an image"),
    ],
)
def test_a_block_that_fails_ends_the_build_of_the_pages(tmp_path, block, message):
    code, error = built(tmp_path, block)
    assert code != 0
    assert message in error


def public_names(module) -> list[str]:
    """Those of ``__all__``; without one, what the module itself defines."""
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    return vars(module).get("__all__", [name for name in own if not name.startswith("_")])
