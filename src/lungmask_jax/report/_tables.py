"""The values of a scan as tables and sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from lungmask_jax import quantify, tasks
from lungmask_jax.files import printable

_SEVERITY: Final = {
    "CT-0": "up to 0.5 %",
    "CT-1": "above 0.5 %, up to 25 %",
    "CT-2": "above 25 %, up to 50 %",
    "CT-3": "above 50 %, up to 75 %",
    "CT-4": "above 75 %",
}
"""The infected share of the more affected lung."""

_QC: Final = {"pass": "passed", "look": "needs a look", "fail": "failed"}


class Measure(NamedTuple):
    """A line of the table: a name, its ml and its share in percent; empty texts if unknown."""

    name: str
    ml: str
    percent: str


class Figure(NamedTuple):
    """A number that stands out: its name, the number, and what it refers to."""

    name: str
    value: str
    about: str


def number(value: object, digits: int = 0) -> str:
    """A number with a thin space between thousands, or an empty text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def words(name: str) -> str:
    """A key or a label as words."""
    return name.replace("_", " ")


def measures(row: Mapping[str, Any]) -> list[Measure]:
    """All volumes and shares but those of parts, such as lobes."""
    parts = {label for name in tasks.registry for label in _part_names(name)}
    stems = [key.removesuffix("_ml") for key in row if key.endswith("_ml")]
    return [
        Measure(
            words(stem).capitalize(), volume(row[f"{stem}_ml"]), _share(row.get(f"{stem}_percent"))
        )
        for stem in stems
        if not any(stem.startswith(part) for part in parts)
    ]


def parts(row: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table of parts, such as lobes; none without them."""
    names = [
        label for task in tasks.registry for label in _part_names(task) if f"{label}_ml" in row
    ]
    keys = list(dict.fromkeys(
        key.removeprefix(f"{name}_") for name in names for key in row if key.startswith(f"{name}_")
    ))  # fmt: skip
    lines = [
        [words(name).capitalize(), *(_cell(key, row.get(f"{name}_{key}")) for key in keys)]
        for name in names
    ]
    return [_head(key) for key in keys], lines


def figures(row: Mapping[str, Any]) -> list[Figure]:
    """The numbers on top of the page."""
    return [*_organ(row), *_infected(row), *_classified(row)]


def _organ(row: Mapping[str, Any]) -> list[Figure]:
    known = _known(row, "lungs_ml")
    return [Figure("Lungs", volume(row["lungs_ml"]), "ml")] if known else []


def _infected(row: Mapping[str, Any]) -> list[Figure]:
    if not _known(row, "infection_percent"):
        return []
    sides = [
        f"{word} {number(row[key], 1)}"
        for word in ("right", "left")
        if _known(row, key := f"{word}_infection_percent")
    ]
    return [Figure("Infected", number(row["infection_percent"], 1), f"% ({', '.join(sides)})")]


def _classified(row: Mapping[str, Any]) -> list[Figure]:
    found = []
    if share := _SEVERITY.get(severity := str(row.get("severity"))):
        about = f"{share} of the more affected lung infected"
        found.append(Figure("Severity", severity, about))
    if _known(row, "ct_severity_score"):
        found.append(Figure("CT severity score", number(row["ct_severity_score"]), "of 25"))
    if likely := signs(row):
        about = ", at odds with the severity" if quantify.is_at_odds(row) else ""
        found.append(Figure("Signs of pneumonia", likely, f"of any kind{about}"))
    return found


def signs(row: Mapping[str, Any]) -> str:
    """The probability of signs of pneumonia, or an empty text."""
    known = _known(row, "signs_of_pneumonia")
    return quantify.in_percent(row["signs_of_pneumonia"]) if known else ""


def scale(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The classes of severity, the scan's own marked; none without a severity."""
    own = row.get("severity")
    return [
        {"name": name, "meaning": meaning, "own": name == own}
        for name, meaning in (_SEVERITY if own in _SEVERITY else {}).items()
    ]


def notes(row: Mapping[str, Any]) -> list[str]:
    """Reasons to doubt the result."""
    own = [note for note in str(row.get("notes") or "").split("; ") if note]
    checks = [str(one["note"]) for one in row.get("qc_checks") or () if one.get("note")]
    return list(dict.fromkeys(map(printable, [*own, *checks])))


def quality(row: Mapping[str, Any]) -> tuple[str, str]:
    """The result of the quality checks and its words; empty if there is none."""
    found = str(row.get("qc") or "")
    return found, _QC.get(found, found)


def is_doubted(row: Mapping[str, Any]) -> bool:
    """Whether a note or a quality check gives a reason to doubt the result."""
    return bool(notes(row)) or quality(row)[0] in ("look", "fail")


def identity(row: Mapping[str, Any], more: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The input, the models, and the program."""
    models = [
        (f"Model of {words(key.removesuffix('_model'))}", str(value))
        for key, value in row.items()
        if key.endswith("_model")
    ]
    keys = {"Patient": "patient", "Study date": "study_date"}
    known = [(name, printable(str(row[key]))) for name, key in keys.items() if row.get(key)]
    noise = number(row.get("noise_hu"), 1)
    program = (("Program", f"lungmask-jax {row['version']}"),) if "version" in row else ()
    return [*more, *known, *([("Noise", f"{noise} HU")] if noise else []), *models, *program]


def _part_names(task: str) -> list[str]:
    return [*tasks.registry[task].labels.values()] if tasks.registry[task].fills else []


def _known(row: Mapping[str, Any], key: str) -> bool:
    return number(row.get(key)) != ""


def volume(value: object) -> str:
    """Ml, with a decimal below 100, or an empty text."""
    return number(value, 1 if isinstance(value, float) and abs(value) < 100 else 0)


def _share(value: object) -> str:
    return number(value, 1)


def _cell(key: str, value: object) -> str:
    if key.endswith("ml"):
        return volume(value)
    return number(value, 1 if key.endswith("percent") else 0)


def _head(key: str) -> str:
    known = {
        "ml": "ml",
        "mean_hu": "mean HU",
        "below_minus_950_hu_percent": "% below -950 HU",
        "score": "score (0-5)",
    }
    if key in known:
        return known[key]
    unit = {"ml": "ml", "percent": "%"}.get(key.rpartition("_")[2], "")
    return f"{words(key.rpartition('_')[0])} {unit}".strip() if unit else words(key)
