"""Charts by matplotlib, each a separate figure, independent of the caller's figures."""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from lungmask_jax.errors import MissingPackageError, SpecError, nearest
from lungmask_jax.files import printable

_COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_INK: Final = "0.2"
_PIXELS_PER_INCH: Final = 200
_WIDTH: Final = 8.0  # inches
_LANE: Final = 0.45  # inches of a box and the space around it
_GAP: Final = 0.25  # of a lane, between scores
_LONGEST: Final = 80  # characters that are drawn


def missing_plots() -> str:
    """The reason why charts cannot be drawn.

    Returns:
        The missing package, and how to install it; empty if charts can be drawn.

    Example:
        >>> missing_plots()
        ''
    """
    if importlib.util.find_spec("matplotlib") is not None:
        return ""
    return (
        "expected matplotlib to draw charts, found no such package: "
        'pip install "lungmask-jax[plots]"'
    )


def learning_curve(
    records: Sequence[Mapping[str, float]],
    *,
    x: str = "step",
    series: Sequence[str] = ("loss",),
    scores: Sequence[str] = (),
    title: str = "",
) -> np.ndarray:
    """The learning curve: losses and scores during training.

    A value that is missing or not finite leaves a gap; a lone value is a dot. Without records the
    axes are empty.

    Args:
        records: One mapping per epoch, name to number.
        x: Name of the horizontal axis.
        series: Names drawn on the left axis, which fits their range.
        scores: Names drawn dashed on the right axis, which goes from 0 to 1.
        title: Above the chart.

    Returns:
        ``(900, 1600, 3)`` uint8 RGB.

    Raises:
        SpecError: A name is in none of the records, or there are more names than colors.
        MissingPackageError: matplotlib is missing, which the extra ``plots`` brings.

    Example:
        >>> records = [{"step": 50, "loss": 0.8, "dice": 0.4}, {"step": 100, "loss": 0.5}]
        >>> learning_curve(records, scores=("dice",)).shape
        (900, 1600, 3)
    """
    _check_names(records, x, [*series, *scores])
    figure = _figure(4.5)
    left = _axes(figure, title)
    right = left.twinx() if series and scores else left
    for name, color in zip([*series, *scores], _COLORS, strict=False):
        axes, style = (left, "-") if name in series else (right, "--")
        along, values = _finite(records, x), _finite(records, name)
        axes.plot(along, values, style, color=color, lw=1.8, label=_words(name))
        axes.plot(*_lone(along, values), "o", color=color, ms=5)
    left.set_xlabel(_words(x), parse_math=False)
    left.set_ylabel(", ".join(map(_words, series)), parse_math=False)
    if scores:
        right.set(ylim=(0, 1), ylabel="score, from 0 to 1")
        right.spines["top"].set_visible(False)
    _add_legend(figure, len(series) + len(scores) > 1)
    return _rgb(figure)


def box_plot(scores: Mapping[str, Mapping[str, Sequence[float]]], *, title: str = "") -> np.ndarray:
    """Box plots of scores between 0 and 1: quartiles, median, and a dot for every case.

    Whiskers reach to the farthest case within one and a half times the box (Tukey). Values
    that are not finite are skipped, and counted beside the name.

    Args:
        scores: Name of a score to model to a value for each case; models have one color each.
        title: Above the boxes.

    Returns:
        ``(H, 1600, 3)`` uint8 RGB.

    Raises:
        SpecError: There is nothing to draw, a value is not between 0 and 1, or there are more than
            six models.
        MissingPackageError: matplotlib is missing, which the extra ``plots`` brings.

    Example:
        >>> box_plot({"dice": {"mine": [0.7, 0.8, 0.9]}}).shape[1:]
        (1600, 3)
    """
    models = list(dict.fromkeys(model for row in scores.values() for model in row))
    _check_scores(scores, models)
    lanes = sum(len(row) + _GAP for row in scores.values()) - _GAP
    figure = _figure(_LANE * lanes + 1.4)
    axes = _axes(figure, title)
    lane, ticks = 0.0, list[float]()
    for row in scores.values():
        ticks.append(lane + (len(row) - 1) / 2)
        for model, some in row.items():
            values = np.array([value for value in some if math.isfinite(value)])
            _draw_box(axes, values, lane, _COLORS[models.index(model)])
            lane += 1
        lane += _GAP
    axes.set_yticks(ticks, [_score_words(*one) for one in scores.items()], parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(-0.01, 1.01), ylim=(lanes - 0.5, -0.5), xlabel="score, from 0 to 1")
    for model, color in zip(models, _COLORS, strict=False):
        axes.plot([], [], "s", color=color, ms=8, label=_words(model))
    _add_legend(figure, models != [""])
    return _rgb(figure)


def _check_names(records: Sequence[Mapping[str, float]], x: str, names: Sequence[str]) -> None:
    if len(names) > len(_COLORS):
        raise SpecError(f"expected at most {len(_COLORS)} lines, found {len(names)}")
    known = set().union(*records)
    for name in (x, *names):
        if records and name not in known:
            raise SpecError(f"no record has {name!r}: {nearest(name, known)}")


def _check_scores(
    scores: Mapping[str, Mapping[str, Sequence[float]]], models: Sequence[str]
) -> None:
    values = [v for row in scores.values() for some in row.values() for v in some]
    if not any(math.isfinite(value) for value in values):
        raise SpecError("expected scores to draw, found none that is finite")
    outside = [value for value in values if math.isfinite(value) and not 0 <= value <= 1]
    if outside:
        raise SpecError(f"expected scores between 0 and 1, found {outside[0]}")
    if len(models) > len(_COLORS):
        raise SpecError(f"expected at most {len(_COLORS)} models, found {len(models)}")


def _figure(height: float) -> Any:
    """A white figure, `height` inches tall."""
    if missing := missing_plots():
        raise MissingPackageError(missing)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((_WIDTH, height), _PIXELS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Any, title: str) -> Any:
    axes = figure.add_subplot(facecolor="white", axisbelow=True)
    axes.set_title(_words(title), loc="left", fontsize=12, parse_math=False)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _draw_box(axes: Any, values: np.ndarray, lane: float, color: str) -> None:
    """A box with its whiskers, and the cases as dots over it."""
    line = {"color": color, "lw": 1.3}
    axes.boxplot(
        [values],
        positions=[lane],
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": (color, 0.2), "edgecolor": color, "lw": 1.3},
        medianprops={"color": _INK, "lw": 2.2},
        whiskerprops=line,
        capprops=line,
    )
    # golden-ratio steps: dots of near values lie apart, and the same ones always at one place
    away = (np.arange(len(values)) * 0.618034 % 1 - 0.5) * 0.42
    axes.plot(
        np.sort(values), lane + away, "o", color=color, mec="white", mew=0.5, ms=4.5, zorder=4
    )


def _finite(records: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    numbers = np.array([record.get(name, math.nan) for record in records], np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _lone(along: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values without a neighbor, which a line would not show."""
    there = np.pad(np.isfinite(along + values), 1)
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    return along[alone], values[alone]


def _score_words(name: str, row: Mapping[str, Sequence[float]]) -> str:
    gone = max(sum(not math.isfinite(value) for value in some) for some in row.values())
    return _words(name) + (f" ({gone} undefined)" if gone else "")


def _words(text: str) -> str:
    """A name with characters that any font can show."""
    shown = printable(text[:_LONGEST].replace("_", " "))
    return shown.encode("latin-1", "replace").decode("latin-1")


def _add_legend(figure: Any, wanted: bool) -> None:
    if wanted:
        legend = figure.legend(loc="outside lower center", ncols=6, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _rgb(figure: Any) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
