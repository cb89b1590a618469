"""The page of an evaluation: scores of one model, or of two, and the cases behind them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.files import printable
from lungmask_jax.report import _lanes, _scores
from lungmask_jax.report._comparison import compared
from lungmask_jax.report._pages import base64_text, rendered
from lungmask_jax.report._scores import GROUPS, Errors, Row, Scores, shown
from lungmask_jax.report._tables import words

_VOLUMES: Final = ("volume_ml", "target_ml")
_QUALITY: Final = 88


def evaluation_page(
    model: Scores,
    *,
    scores: Sequence[str],
    other: Scores | None = None,
    errors: Sequence[Errors] = (),
) -> str:
    """A page about a model: box plots and tables of its scores, its worst cases, and all cases.

    Args:
        model: The model with its scores.
        scores: Names of the scores to show, the main one first.
        other: Another model to compare with; the summary of `model` then has the comparison.
        errors: The worst cases, the worst first, and after them those of the other model.

    Returns:
        HTML, to be written as UTF-8.

    Raises:
        MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.
        ScanError: A picture of the other model is damaged.

    Example:
        >>> row = {"case": "a", "label": "infection", "dice": 0.5}
        >>> page = evaluation_page(Scores("mine", [row], {}), scores=["dice"])
        >>> page.startswith("<!doctype html>")
        True
    """
    models = [model] if other is None else [model, other]
    return rendered(
        "evaluation.html",
        styles=("page.css", "folder.css", "evaluation.css"),
        scripts=("numbers.js", "folder.js", "evaluation.js"),
        title=printable(model.name),
        other="" if other is None else printable(other.name),
        models=[printable(one.name) for one in models],
        count=len(_scores.cases(model.rows)),
        figures=[*_figures(model, scores[0])],
        sections=[*_sections(models, scores)],
        compared=[] if other is None else compared(model, other, scores),
        missing=[printable(one) for one in model.summary.get("not_compared", ())],
        worst=[_pictures(one, with_other=other is not None) for one in errors],
        labels=[words(label) for label in _scores.labels(model.rows)],
        data=_table(model, other, scores),
    )


def _figures(model: Scores, score: str) -> Iterator[dict[str, str]]:
    """The main score of each label, on top of the page."""
    group = next((one for one in GROUPS if model.summary.get(one)), "summary")
    for label, found in model.summary.get(group, {}).items():
        if found[score]["cases"]:
            yield {
                "name": f"{_scores.name(score)}, {words(label)}",
                "value": shown(found[score]["mean"], 3),
                "about": f"95 %: {_scores.interval(found[score], 3)}",
            }


def _sections(models: Sequence[Scores], scores: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The scores of each label, separately those of cases that the model has seen."""
    for group, known in GROUPS.items():
        for label in models[0].summary.get(group, {}):
            there = enumerate(models[:1] if known else models)
            both = [
                (place, rows, one.summary[group][label])
                for place, one in there
                if (rows := _scores.of(one.rows, label, group))
            ]
            title = words(label).capitalize()
            yield {
                "title": f"{title}, {known}" if known else title,
                "count": _counted(both[0][1]),
                "both": len(both) > 1,
                "axes": [
                    _on_axis(both, some, _scores.cases(models[0].rows))
                    for some in _scores.on_one_axis(scores)
                ],
            }


def _counted(rows: Sequence[Row]) -> str:
    """The number of cases, and of patients if some have several."""
    cases, patients = len(rows), len({*map(_scores.patient, rows)})
    counted = f"{cases} case{'' if cases == 1 else 's'}"
    return counted if cases == patients else f"{counted} of {patients} patients"


def _on_axis(
    models: Sequence[tuple[int, Sequence[Row], Mapping[str, Any]]],
    scores: Sequence[str],
    names: Sequence[str],
) -> dict[str, Any]:
    """Lines of a table with drawings along one axis; `models`: place, rows and summary."""
    numbers = {name: number for number, name in enumerate(names)}
    values = [float(row[score]) for score in scores for _, rows, _ in models for row in rows]
    along = _lanes.axis([1.0] if _scores.is_share(scores[0]) else values)
    lines = []
    for score in scores:
        lanes = []
        for place, rows, summary in models:
            cases = [numbers.get(str(row["case"]), -1) for row in rows]
            drawn = _lanes.lane([float(row[score]) for row in rows], cases, along, summary[score])
            lanes.append({"model": place, "lane": drawn, **_texts(summary[score], score)})
        lines.append({"name": _scores.name(score), "lanes": lanes})
    return {"lines": lines, "ticks": _lanes.ticks(along)}


def _texts(summary: Mapping[str, float], score: str) -> dict[str, Any]:
    """The numbers of a score."""
    decimals = _scores.digits(score)
    mean, sd, median, q1, q3 = (
        shown(summary[key], decimals) for key in ("mean", "sd", "median", "q1", "q3")
    )
    gone = [f"{summary[what]} {what}" for what in ("undefined", "infinite") if summary[what]]
    return {
        "cases": summary["cases"],
        "gone": ", ".join(gone),
        "mean": f"{mean} ± {sd}" if sd else mean,
        "interval": _scores.interval(summary, decimals),
        "median": f"{median} ({q1} to {q3})" if median else "",
    }


def _table(model: Scores, other: Scores | None, scores: Sequence[str]) -> dict[str, Any]:
    """All cases, for the script of the table: columns as functions of a row of each model."""
    before = {(row["case"], row["label"]): row for row in (other.rows if other else ())}
    volumes = [key for key in _VOLUMES if any(key in row for row in model.rows)]
    main, *more = [*scores, *volumes]
    several = len(_scores.labels(model.rows)) > 1
    shared = _scores.shares_patients(model.rows)
    columns: list[dict[str, Any]] = [_column(key) for key in (main, *more)]
    if other is not None:
        columns.insert(1, {**_column(main), "key": "difference", "name": "Difference"})
    if several:
        columns.insert(0, {"key": "label", "name": "Structure"})
    if shared:
        columns.insert(0, {"key": "patient", "name": "Patient"})
    rows = []
    for row in model.rows:
        theirs = before.get((row["case"], row["label"]), {})
        known = {
            **{key: _cell(float(row[key])) for key in (main, *more)},
            "label": words(str(row["label"])),
            "patient": printable(_scores.patient(row)),
            "difference": _cell(float(row[main]) - float(theirs[main])) if theirs else None,
        }
        start = [printable(str(row["case"])), "", "", "", str(row.get("seen", ""))]
        rows.append([*start, *(known[column["key"]] for column in columns)])
    noun = "row" if several else "case"
    return {"noun": noun, "head": "Case", "columns": columns, "rows": rows}


def _column(score: str) -> dict[str, Any]:
    return {"key": score, "name": _scores.name(score), "digits": _scores.digits(score)}


def _cell(value: float) -> float | str:
    return value if math.isfinite(value) else "undefined" if math.isnan(value) else "infinite"


def _pictures(one: Errors, *, with_other: bool) -> dict[str, Any]:
    """A case and, for each model, its Dice and its picture; only the Dice without a picture."""
    shown_rgb = [one.rgb, _decoded(one.other, one.case)] if with_other else [one.rgb]
    return {
        "case": printable(one.case),
        "models": [
            {
                "dice": shown(dice, 3),
                "webp": "" if rgb is None else _webp(rgb),
                "shape": () if rgb is None else rgb.shape,
            }
            for dice, rgb in zip((one.dice, one.other_dice), shown_rgb, strict=False)
        ],
    }


def _decoded(png: bytes, case: str) -> np.ndarray | None:
    """A picture ``(H, W, 3)`` RGB; none without bytes."""
    if not png:
        return None
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ScanError(
            f"the picture of {printable(case)} beside the scores to compare with is damaged: "
            "evaluate that model again"
        )
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _webp(rgb: np.ndarray) -> str:
    quality = [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    _, encoded = cv2.imencode(".webp", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)
    return base64_text(encoded.tobytes())
