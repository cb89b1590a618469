"""The result of a segmentation."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from lungmask_jax import (
    DISCLAIMER,
    __version__,
    io,
    quality,
    quantify,
    records,
    report,
    tasks,
    viz,
)
from lungmask_jax.errors import SpecError
from lungmask_jax.files import output_folder
from lungmask_jax.inference._files import (
    file_names,
    is_binary,
    is_dicom,
    map_file,
    mask_file,
    mask_format,
    page_file,
    picture_file,
    surface_file,
)
from lungmask_jax.volume import Volume

_SIGNS: Final = "signs_of_pneumonia"
_SCORE: Final = "ct_severity_score"
_SCORED: Final = {tasks.LOBES.name, tasks.INFECTION.name}


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of one scan, on its own grid.

    Attributes:
        ct: The scan.
        masks: uint8 labels by the name of the task: ``"lungs"`` with 1 right and 2 left,
            ``"infection"`` inside them with 0 and 1, ``"lesions"`` with 1 ground glass and 2
            consolidation, by density if the model does not tell them apart; and those of plugins.
        models: The bundles used: task to ``"name checksum"``, 12 digits of the checksum.
        uncertainty: Entropy of the probability of the last task that lies inside another, uint8 in
            percent of a bit: 0 is certain, 100 is one half; ``None`` unless requested.
        noise_hu: Standard deviation of the noise, see `lungmask_jax.preprocess.noise_hu`.
        notes: Reasons to doubt masks and measures, in sentences: no lungs, a lung missing or far
            smaller than the other, little lung, no voxel size, much noise.
        signs: The probability of signs of pneumonia in the scan and in each slice; ``None`` if no
            model gives it.
        checks: The results of the rules of `lungmask_jax.quality`, among them those of the notes.

    Example:
        >>> ct = Volume(np.full((1, 16, 16), -800, np.int16), np.diag([10.0, 10.0, 10.0, 1.0]))
        >>> lungs = ct.with_array(np.ones((1, 16, 16), np.uint8))
        >>> round(Segmentation(ct, {"lungs": lungs}, {}).measure()["right_lung_ml"])
        256
    """

    ct: Volume
    masks: Mapping[str, Volume]
    models: Mapping[str, str]
    uncertainty: Volume | None = None
    noise_hu: float = float("nan")
    notes: tuple[str, ...] = ()
    signs: quantify.Signs | None = None
    checks: tuple[quality.Check, ...] = ()

    @property
    def lungs(self) -> Volume:
        """The mask of the lungs, with 0 background, 1 right, 2 left."""
        name = tasks.LUNGS.name
        if name not in self.masks:
            raise SpecError(f"expected a mask of the {name}, found {', '.join(self.masks)}")
        return self.masks[name]

    @property
    def infection(self) -> Volume | None:
        """The infection, 0 or 1; ``None`` without an infection model."""
        return self.masks.get(tasks.INFECTION.name)

    def measure(self) -> dict[str, float | str]:
        """Volumes, shares and severity, from `lungmask_jax.quantify.measures`.

        The severity of a single slice is unknown, see `lungmask_jax.quantify.of_slices`.

        Returns:
            A flat dict for JSON and CSV, also with ``noise_hu`` and, if a model gives it,
            ``signs_of_pneumonia``, a probability.
        """
        signs = {} if self.signs is None else {_SIGNS: self.signs.scan}
        measured = quantify.of_slices(quantify.measures(self.masks, ct=self.ct), len(self.ct))
        return {**measured, **signs, "noise_hu": self.noise_hu}

    def overlay(self, *, title: str = "", count: int = 12) -> np.ndarray:
        """A montage of slices with the masks drawn on them.

        Args:
            title: Text on top.
            count: Number of tiles, including the coronal view.

        Returns:
            ``(H, W, 3)`` uint8 RGB.
        """
        shown: tuple[str, ...] = ()
        caption = DISCLAIMER
        scored = {*self.masks} >= _SCORED and len(self.ct) > 1
        score = quantify.measures(self.masks).get(_SCORE) if scored else None
        if isinstance(score, float) and math.isfinite(score):
            caption = f"CT severity score {score:.0f} of 25. {caption}"
        if self.signs is not None and math.isfinite(self.signs.scan):
            shown = tuple(f"signs {quantify.in_percent(one)}" for one in self.signs.slices)
            likely = quantify.in_percent(self.signs.scan)
            caption = f"Signs of pneumonia, of any kind: {likely}. {caption}"
        return viz.montage(
            self.ct, self.masks, count=count, title=title, caption=caption, notes=shown
        )

    def _repr_html_(self) -> str:
        """The main numbers, a table and the picture, for notebooks."""
        return report.summary(self.overlay(), self._record("scan", ""))

    def page(self, *, name: str = "scan", source: str = "") -> str:
        """The page to read, from `lungmask_jax.report.scan_page`.

        Args:
            name: Of the scan.
            source: Path of the scan; the page shows its last part.

        Returns:
            HTML, to be written as UTF-8.

        Raises:
            MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.
        """
        values = self._record(name, source)
        return report.scan_page(self.ct, self.masks, values, uncertainty=self.uncertainty)

    def row(self, name: str) -> dict[str, str | float | None]:
        """The measures with the models that made them, for JSON and CSV.

        Args:
            name: Of the scan.

        Returns:
            A flat mapping; numbers have three decimals, and what is undefined is ``None``.
            ``notes`` are separated by semicolons.

        Example:
            >>> lungs = Volume(np.array([[[1, 2]]], np.uint8), np.diag([10.0, 10.0, 10.0, 1.0]))
            >>> Segmentation(lungs, {"lungs": lungs}, {"lungs": "mine"}).row("a")["lungs_ml"]
            2.0
        """
        measured = {key: _plain(value) for key, value in self.measure().items()}
        models = {f"{task}_model": model for task, model in self.models.items()}
        made = {**models, "version": __version__, "note": DISCLAIMER}
        return {"scan": name, **measured, **self._quality(), "notes": "; ".join(self.notes), **made}

    def _quality(self) -> dict[str, str]:
        """The verdict of the checks, and the names of those that did not pass."""
        if not self.checks:
            return {}
        names = [one.name for one in self.checks if one.result != "pass"]
        return {"qc": quality.verdict(self.checks), "qc_reasons": "; ".join(names)}

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        name: str = "scan",
        source: str = "",
        key: str = "",
        format: str = "",
        page: bool = False,
        surface: bool = False,
        patient: str = "",
        study_date: str = "",
    ) -> list[Path]:
        """Writes the masks, the montage and the measures, each under a temporary name first.

        The measures are written last, with a checksum of each file: if they exist, all files do.
        Other files are not changed.

        Args:
            directory: Created if it does not exist.
            name: Prefix of the file names.
            source: Identifies the scan among others of the same name; stored with the measures.
            key: Identifies its content, the models and the settings; stored with the measures.
            format: Of the masks, one of `lungmask_jax.files.FORMATS`; by default that of
                `mask_format`.
            page: Whether to write the page to read, too.
            surface: Whether to draw the masks as solids, too, see `lungmask_jax.viz.surface`.
            patient: Whose scan it is; stored with the measures, by default as its DICOM series has
                it.
            study_date: When it was made, likewise.

        Returns:
            The paths: ``<name>_<task>`` with the suffix of the format for each mask and the
            uncertainty, if there is one, ``<name>_overlay.png``, ``<name>_surface.png`` for solids,
            ``<name>.html`` for the page, and ``<name>.json``; for DICOM also
            ``<name>_measures.dcm``.

        Raises:
            ScanError: A file cannot be written, or the masks of this scan cannot be DICOM.
            SpecError: There is no such format.
            MissingPackageError: The format is DICOM, and highdicom is missing; or a page
                needs Jinja2, which the extra ``report`` brings.
        """
        form = mask_format(self.ct, format=format)
        folder = output_folder(directory)
        doubt = self.uncertainty is not None
        names = file_names(
            name, self.masks, uncertainty=doubt, format=form, page=page, surface=surface
        )
        *files, record = (folder / file for file in names)
        with ThreadPoolExecutor() as pool:  # compression runs beside the picture
            written = [pool.submit(write) for write in self._writers(folder, name, form)]
            viz.save_png(self.overlay(title=name), folder / picture_file(name))
            if surface:
                solids = viz.surface(self.masks, title=name, caption=DISCLAIMER)
                viz.save_png(solids, folder / surface_file(name))
            if page:
                report.write_page(folder / page_file(name), self.page(name=name, source=source))
            for one in written:
                one.result()
        values = self._record(name, source, key, patient=patient, study_date=study_date)
        records.write_json(record, values, files=files)
        return [*files, record]

    def _record(
        self, name: str, source: str, key: str = "", *, patient: str = "", study_date: str = ""
    ) -> dict[str, object]:
        """The values of the JSON file."""
        row: dict[str, object] = {**self.row(name)}
        if self.signs is not None:
            row[f"{_SIGNS}_by_slice"] = [_plain(float(one)) for one in self.signs.slices]
        if self.checks:
            row["qc_checks"] = [{**asdict(one), "value": _plain(one.value)} for one in self.checks]
        header = self.ct.header
        more = {
            "patient": patient or (header.patient if header else ""),
            "study_date": study_date or (header.study_date if header else ""),
            "source": source,
            "key": key,
        }
        return {**row, **{kind: value for kind, value in more.items() if value}}

    def _writers(self, folder: Path, name: str, format: str) -> Iterator[Callable[[], object]]:
        """Functions that write the masks and the uncertainty."""
        if is_dicom(format):
            yield partial(
                io.save_dicom,
                self.masks,
                folder,
                name=name,
                models=self.models,
                measures=self.measure(),
                binary=is_binary(format),
            )
        else:
            for task, mask in self.masks.items():
                path = folder / mask_file(name, task, format)
                yield partial(io.save, mask, path, task=tasks.registry[task])
        if self.uncertainty is not None:
            yield partial(io.save, self.uncertainty, folder / map_file(name, format))


def _plain(value: float | str) -> float | str | None:
    if isinstance(value, str):
        return value
    return round(value, 3) if math.isfinite(value) else None
