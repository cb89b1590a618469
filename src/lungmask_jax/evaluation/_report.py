"""The files of an evaluation: cases as CSV, a summary as JSON, box plots, pictures of the worst."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungmask_jax import records, report, viz
from lungmask_jax.evaluation._scores import Row
from lungmask_jax.evaluation._tables import SHOWN, comparisons, labels_of, summaries, unseen
from lungmask_jax.evaluation._worst import Beside, Picture, case_errors
from lungmask_jax.files import output_folder

_RECORD = "summary.json"
_CASES = "cases.csv"
_PAGE = "report.html"


@dataclass(frozen=True, eq=False)
class Report:
    """The scores of a model.

    Attributes:
        rows: One per case and label.
        against: The table of another model to compare with, if there is one.
        others: Its rows.
        worst: Pictures of the cases with the lowest Dice, the worst first.
        beside: Pictures of the cases with the lowest Dice of the other model.

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
    beside: Sequence[Beside] = ()

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
            errors=case_errors(self.worst, self.beside, self.others, labels_of(self.rows)[0]),
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
