"""A few lines of HTML about a scan, for notebooks."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from lungmask_jax import DISCLAIMER, viz
from lungmask_jax.report import _tables


def summary(picture: np.ndarray, row: Mapping[str, Any]) -> str:
    """Reasons to doubt, the main numbers, a table of volumes and shares, and a picture.

    This needs no extra. Notebooks show it for a `lungmask_jax.inference.Segmentation`.

    Args:
        picture: ``(H, W, 3)`` uint8 RGB.
        row: The values, as for `scan_page`.

    Returns:
        HTML without scripts.

    Example:
        >>> picture = np.zeros((2, 2, 3), np.uint8)
        >>> "<td>12.0</td>" in summary(picture, {"scan": "a", "lungs_ml": 12.0})
        True
    """
    figures = " · ".join(
        f"{escape(name)} <b>{escape(value)}</b> {escape(about)}"
        for name, value, about in _tables.figures(row)
    )
    lines = "".join(
        f"<tr><th scope='row' style='text-align:left'>{escape(name)}</th>"
        f"<td>{escape(ml)}</td><td>{escape(percent)}</td></tr>"
        for name, ml, percent in _tables.measures(row)
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in _tables.notes(row))
    doubts = f"<p>Reasons to doubt this result:</p><ul>{notes}</ul>" if notes else ""
    kind, checks = _tables.quality(row)
    if kind in ("look", "fail"):
        figures += f" · Quality checks <b>{escape(checks)}</b>"
    encoded = base64.b64encode(viz.png(picture)).decode("ascii")
    return (
        f"<div>{doubts}<p>{figures}</p>"
        f"<table><tr><th></th><th scope='col'>ml</th><th scope='col'>%</th></tr>{lines}</table>"
        f"<img alt='Slices with their masks' style='max-width:100%' "
        f"src='data:image/png;base64,{encoded}'><p><small>{escape(DISCLAIMER)}</small></p></div>"
    )
