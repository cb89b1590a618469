"""The files of an evaluation: cases as CSV, a summary as JSON, box plots, pictures of the worst."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lungmask_jax import DISCLAIMER, records, report, viz
from lungmask_jax.evaluation._masks import Masks
from lungmask_jax.evaluation._scores import Row
from lungmask_jax.evaluation._tables import SHOWN, comparisons, labels_of, summaries, unseen
from lungmask_jax.files import output_folder

_RECORD = "summary.json"
_CASES = "cases.csv"
_PAGE = "report.html"

_TILE = 384  # wide enough for the column of a paper


class Picture(NamedTuple):
    """The errors of a case.

    Attributes:
        dice: Dice of its whole mask.
        name: Name of the case.
        rgb: ``(H, W, 3)`` uint8.

    Example:
        >>> Picture(0.5, "a", np.zeros((2, 2, 3), np.uint8)).rgb.shape
        (2, 2, 3)
    """

    dice: float
    name: str
    rgb: np.ndarray


@dataclass(frozen=True, eq=False)
class Report:
    """The scores of a model.

    Attributes:
        rows: One per case and label.
        against: The table of another model to compare with, if there is one.
        others: Its rows.
        worst: Pictures of the cases with the lowest Dice, the worst first.

    Example:
        >>> scores = dict.fromkeys(SHOWN, 0.5)
        >>> judged = Report([{"case": "a", "label": "infection", **scores}])
        >>> judged.summary()["summary"]["infection"]["dice"]["mean"]
        0.5
    """

    rows: Sequence[Row]
    against: Path | None = None
    others: Sequence[Row] = ()
    worst: Sequence[Picture] = ()

    def summary(self) -> dict[str, Any]:
        """The summary of all cases.

        Returns:
            ``summary``, by label and score the result of `summarize` for the cases that the model
            has not seen; separately ``learned_from`` and ``held_out``. With another model,
            ``comparison``, by label and score the result of `compare` for the cases that neither
            has seen, and ``not_compared``, those in one table only.
        """
        if self.against is None:
            return summaries(self.rows)
        compared = comparisons(self.rows, self.others)
        return {**summaries(self.rows), "against": str(self.against), **compared}

    def page(self, *, name: str = "this model") -> str:
        """The page to read, from `lungmask_jax.report.evaluation_page`.

        Args:
            name: Name of the model.

        Returns:
            HTML, to be written as UTF-8.

        Raises:
            MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.
        """
        other = None
        if self.against is not None:
            before = _other_name(self.against, name)
            other = report.Scores(before, self.others, summaries(self.others))
        return report.evaluation_page(
            report.Scores(name, self.rows, self.summary()),
            scores=SHOWN,
            other=other,
            pictures={f"{one.name}: Dice {one.dice:.3f}": one.rgb for one in self.worst},
        )

    def save(
        self, directory: str | os.PathLike[str], *, name: str = "", page: bool = False
    ) -> list[Path]:
        """Writes cases, box plots, the pictures of the worst cases, and the summary last.

        Where matplotlib is missing there are no box plots.

        Args:
            directory: Created if it does not exist. Other files are not changed.
            name: Name of the model, beside another; that of the directory if empty.
            page: Whether to write the page to read, too.

        Returns:
            The paths: ``cases.csv``, ``boxes.png`` or one per label, ``worst1_<case>.png`` and so
            on, ``report.html`` for the page, and ``summary.json`` with a checksum of each.

        Raises:
            ScanError: The directory cannot be written.
            MissingPackageError: A page needs Jinja2, which the extra ``report`` brings.
        """
        folder = output_folder(directory)
        name = name or folder.resolve().name
        records.write_csv(folder / _CASES, self.rows)
        paths = [folder / _CASES]
        if not viz.missing_plots():
            paths += _boxes(folder, self, name)
        for number, picture in enumerate(self.worst, 1):
            paths.append(folder / f"worst{number}_{picture.name}.png")
            viz.save_png(picture.rgb, paths[-1])
        if page:
            paths.append(folder / _PAGE)
            report.write_page(paths[-1], self.page(name=name))
        records.write_json(folder / _RECORD, self.summary(), files=sorted(paths))
        return [*paths, folder / _RECORD]


def _boxes(folder: Path, judged: Report, name: str) -> list[Path]:
    """Draws the scores of each label as box plots, with those of another model beside them."""
    rows = unseen(judged.rows)
    models = {name: rows or judged.rows}
    if judged.against is not None and rows and (others := unseen(judged.others)):
        models = {_other_name(judged.against, name): others, **models}
    labels, paths = labels_of(models[name]), []
    for label in labels:
        chosen = {
            model: [row for row in some if row["label"] == label] for model, some in models.items()
        }
        known = "" if rows else ", known to the model"
        title = f"{label}, {len(chosen[name])} cases{known}"
        picture = viz.box_plot(_drawn({m: some for m, some in chosen.items() if some}), title=title)
        paths.append(folder / ("boxes.png" if len(labels) == 1 else f"boxes_{label}.png"))
        viz.save_png(picture, paths[-1])
    return paths


def _other_name(against: Path, name: str) -> str:
    """The name of the other model, from the folder of its table."""
    other = against.parent.name or "other"
    return f"{other} (before)" if other == name else other


def _drawn(models: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, list[float]]]:
    """Scores between 0 and 1, by model; a single model needs no name."""
    return {
        key: {
            model if len(models) > 1 else "": [float(row[key]) for row in some]
            for model, some in models.items()
        }
        for key in SHOWN
        if key != "hausdorff95_mm"
    }


def worst(so_far: Sequence[Picture], row: Row, masks: Masks, count: int) -> list[Picture]:
    """The pictures of the cases with the lowest Dice; the scans of others are not even read."""
    dice, name = float(row["dice"]), str(row["case"])
    if masks.scan is None or count < 1 or (len(so_far) >= count and dice >= so_far[-1].dice):
        return list(so_far)
    title = f"{name}: {row['label']}, Dice {dice:.2f}"
    rgb = viz.errors(
        masks.scan(), masks.prediction, masks.truth, title=title, caption=DISCLAIMER, tile=_TILE
    )
    return sorted([*so_far, Picture(dice, name, rgb)], key=lambda one: one.dice)[:count]
