"""The page of one scan."""

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

import numpy as np

from lungmask_jax import quantify, tasks
from lungmask_jax.errors import ShapeError
from lungmask_jax.files import printable
from lungmask_jax.report import _density, _profile, _tables, _voxels
from lungmask_jax.report._pages import base64_text, rendered
from lungmask_jax.report._parts import organ
from lungmask_jax.report._thumbnail import thumbnail
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

_WINDOWS: Final = (("lung", -1350, 150), ("mediastinum", -160, 240), ("own", -1000, 400))
_STEP: Final = 10  # percent of a bit, of the uncertainty on the page


def scan_page(
    ct: Volume,
    masks: Mapping[str, Volume],
    row: Mapping[str, Any],
    *,
    uncertainty: Volume | None = None,
) -> str:
    """A page about one scan: three linked views with its masks, and its numbers.

    Views show the patient's right on the left. Slices are JPEG pictures of 8 bits, finer in lung
    and soft tissue than in bone, in the best quality with which the page has some 20 MB at most;
    slices above 512 pixels are halved. All numbers are those of `row`, of the scan itself. Of a
    single slice there is one view, and no severity, which is a class of whole lungs.

    Args:
        ct: In HU.
        masks: By the name of their task.
        row: The values of the JSON file, or of `lungmask_jax.inference.Segmentation.row`.
        uncertainty: 0 to 100, as in `lungmask_jax.inference.Segmentation`.

    Returns:
        HTML, to be written as UTF-8.

    Raises:
        MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.
        ShapeError: A mask has another shape than the CT.
        UnknownNameError: There is no task of a name.

    Example:
        >>> ct = Volume(np.full((3, 32, 32), -800, np.int16))
        >>> lungs = ct.with_array(np.ones((3, 32, 32), np.uint8))
        >>> page = scan_page(ct, {"lungs": lungs}, {"scan": "<b>one</b>", "lungs_ml": 3.1})
        >>> "<h1>&lt;b&gt;one&lt;/b&gt;</h1>" in page.replace("<bdi>", "").replace("</bdi>", "")
        True
    """
    _check(ct, *masks.values(), *([uncertainty] if uncertainty else []))
    slices = _voxels.slices(ct)
    return rendered(
        "scan.html",
        styles=("page.css", "scan.css"),
        scripts=("numbers.js", "volume.js", "planes.js", "views.js", "scan.js", "gestures.js"),
        title=printable(str(row.get("scan", "scan"))),
        icon=base64_text(thumbnail(masks)),
        slices=[base64_text(one) for one in slices.jpegs],
        data=_data(ct, masks, uncertainty, slices, row),
        has_uncertainty=uncertainty is not None,
        **_numbers(ct, masks, row, slices),
    )


def _check(ct: Volume, *masks: Volume) -> None:
    if not ct.array.size:
        raise ShapeError(f"expected a CT with voxels, found shape {ct.shape}")
    for mask in masks:
        if mask.shape != ct.shape:
            raise ShapeError(
                f"expected masks of the CT's shape {ct.shape}, found {mask.shape}: "
                "bring them to the grid of the CT"
            )


def _data(
    ct: Volume,
    masks: Mapping[str, Volume],
    uncertainty: Volume | None,
    slices: _voxels.Slices,
    row: Mapping[str, Any],
) -> dict[str, Any]:
    """What the scripts need besides the slices."""
    layers = [*_layers(masks, slices.step)]
    if uncertainty is not None:
        rounded = (uncertainty.array + np.uint8(_STEP // 2)) // np.uint8(_STEP) * np.uint8(_STEP)
        layers.append(_heat(rounded, slices.step))
    slices_mm, rows_mm, columns_mm = (round(mm, 4) for mm in ct.spacing)
    return {
        "shape": slices.shape,
        "voxels": ct.shape,
        "step": slices.step,
        "spacing": (slices_mm, rows_mm * slices.step, columns_mm * slices.step),
        "sized": ct.has_size,
        "hu": _voxels.code_hu(),
        "windows": [{"name": name, "low": low, "high": high} for name, low, high in _WINDOWS],
        "layers": layers,
        "start": _start(ct, masks, slices.step),
        "signs": [_finite(one) for one in row.get("signs_of_pneumonia_by_slice") or ()],
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _layers(masks: Mapping[str, Volume], step: int) -> Iterator[dict[str, Any]]:
    for name, mask in masks.items():
        task = tasks.registry[name]
        yield {
            "name": _tables.words(name),
            "runs": base64_text(_voxels.runs(_voxels.thinned(mask.array, step))),
            "style": "outline" if task.outlined else "fill",
            "labels": [
                {
                    "value": label,
                    "name": _tables.words(words),
                    "color": task.colors[label],
                    "shown": _is_shown(task, masks),
                }
                for label, words in task.labels.items()
                if label in task.colors
            ],
        }


def _is_shown(task: Task, masks: Mapping[str, Volume]) -> bool:
    """Types are shown instead of the mask they divide, and parts instead of the whole."""
    divided = task.types in masks and masks[task.types].array.max(initial=0) > 1
    plain = task.divides and task.inside in masks and masks[task.name].array.max(initial=0) <= 1
    filled = any(
        tasks.registry[name].fills == task.name and mask.array.any() for name, mask in masks.items()
    )
    return not (divided or plain or filled)


def _heat(array: np.ndarray, step: int) -> dict[str, Any]:
    label = {"value": 100, "name": "uncertainty", "color": (204, 121, 167), "shown": False}
    found = base64_text(_voxels.runs(_voxels.thinned(array, step)))
    return {"name": "uncertainty", "runs": found, "style": "heat", "labels": [label]}


def _start(ct: Volume, masks: Mapping[str, Volume], step: int) -> list[int]:
    """Where the page opens: amid the most of the innermost mask that has anything."""
    for mask in reversed([*masks.values()]):
        if mask.array.any():
            number = int(np.array([np.count_nonzero(one) for one in mask]).argmax())
            rows, columns = np.nonzero(mask.array[number])
            middle = np.abs(rows - rows.mean()) + np.abs(columns - columns.mean())
            nearest = int(middle.argmin())
            return [number, int(rows[nearest]) // step, int(columns[nearest]) // step]
    return [side // 2 // (step if axis else 1) for axis, side in enumerate(ct.shape)]


def _numbers(
    ct: Volume, masks: Mapping[str, Volume], row: Mapping[str, Any], slices: _voxels.Slices
) -> dict[str, Any]:
    """What the template needs besides the voxels."""
    several = len(ct) > 1
    along = _profile.profile(masks) if several else None
    row = quantify.of_slices(row, len(ct))
    signs = row.get("signs_of_pneumonia_by_slice")
    density = _density.densities(ct, masks)
    heads, parts = _tables.parts(row)
    around = organ(masks)
    return {
        "figures": _tables.figures(row),
        "measures": _tables.measures(row),
        "part_heads": heads,
        "parts": parts,
        "scale": _tables.scale(row),
        "score": _tables.number(row.get("ct_severity_score")),
        "signs": _tables.signs(row),
        "at_odds": quantify.is_at_odds(row),
        "doubted": _tables.is_doubted(row),
        "notes": _tables.notes(row),
        "quality": _tables.quality(row),
        "profile": along and _profile.as_chart(along, _as_array(signs)),
        "organ": _tables.words(around.name) if around else "",
        "density": density,
        "bands": _density.BANDS,
        "histogram": _density.as_chart(density),
        "identity": _tables.identity(row, _of_scan(ct, row, slices)),
    }


def _as_array(signs: Any) -> np.ndarray | None:
    """Probabilities by slice, NaN for none."""
    return None if signs is None else np.array([np.nan if one is None else one for one in signs])


def _of_scan(ct: Volume, row: Mapping[str, Any], slices: _voxels.Slices) -> list[tuple[str, str]]:
    _, rows, columns = ct.shape
    size = " x ".join(f"{mm:.3g}" for mm in ct.spacing)
    halved = f", {slices.step} x {slices.step} voxels a pixel" if slices.step > 1 else ""
    source = PurePath(str(row.get("source", ""))).name
    return [
        ("Scan", printable(str(row.get("scan", "scan")))),
        *([("File", printable(source))] if source else []),
        ("Slices", f"{len(ct)} of {rows} x {columns}"),
        ("Voxel size", f"{size} mm" if ct.has_size else "not known"),
        ("Pictures", f"JPEG of 8 bits, quality {slices.quality}{halved}"),
    ]
