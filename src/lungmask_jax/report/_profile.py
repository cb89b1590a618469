"""The disease along the body: its share of each slice, and of each lobe or side in it."""

import itertools
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from lungmask_jax.report._density import points
from lungmask_jax.report._parts import disease, division, organ
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

_STEPS: Final = (1, 2, 5, 10, 20, 50, 100)
_SHADES: Final = 8
_FULL: Final = 50.0  # percent of a part of a slice that has the full color


class Profile(NamedTuple):
    """Voxels by slice, from feet to head.

    `parts` has for each name the voxels of a part of the organ and those of the disease in it.
    """

    whole: np.ndarray
    sick: np.ndarray
    parts: dict[str, tuple[np.ndarray, np.ndarray]]


def profile(masks: Mapping[str, Volume]) -> Profile | None:
    """The profile of the disease; none without the mask of an organ that has voxels."""
    around, inner, parts = organ(masks), disease(masks), division(masks)
    if around is None or parts is None or not masks[around.name].array.any():
        return None
    sick = masks[inner.name] if inner else None
    counted = np.stack(
        [
            _counts(part, None if sick is None else sick.array[number], parts)
            for number, part in enumerate(masks[parts.name])
        ]
    )
    named = {
        name.replace("_", " "): (counted[:, :, label].sum(axis=1), counted[:, 1, label])
        for label, name in parts.labels.items()
    }
    whole = np.array([np.count_nonzero(one) for one in masks[around.name]], float)
    return Profile(whole, counted[:, 1, 1:].sum(axis=1), named if inner else {})


def _counts(part: np.ndarray, sick: np.ndarray | None, task: Task) -> np.ndarray:
    """Voxels ``(2, labels)``: healthy and sick."""
    labels = max(task.labels) + 1
    there = np.minimum(part, labels).astype(np.int64)
    if sick is not None:
        there += (labels + 1) * (sick != 0)
    return np.bincount(there.ravel(), minlength=2 * labels + 2).reshape(2, -1)[:, :labels]


def as_chart(found: Profile, signs: np.ndarray | None) -> dict[str, Any]:
    """Lines, lanes and ticks for the template: 0 to 1000 from head to feet, 0 to 100 downwards."""
    count = len(found.whole)
    shares = _percent(found.sick, found.whole)
    top = next((step for step in _STEPS if step >= shares.max()), 100)
    x = 1000 * (np.arange(count) + 0.5) / count
    lanes = [
        {"name": name, "cells": _cells(_percent(sick, whole) / _FULL, whole > 0)}
        for name, (whole, sick) in found.parts.items()
    ]
    if signs is not None and len(signs) == count and np.isfinite(signs).any():
        there = found.whole > 0
        rounded = np.rint(_SHADES * np.nan_to_num(signs)) / _SHADES  # none for a few percent
        lanes.append({"name": "signs of pneumonia", "cells": _cells(rounded, there)})
    return {
        "has_signs": len(lanes) > len(found.parts),
        "outline": points(x, (100 - 90 * found.whole / found.whole.max())[::-1]),
        "line": points(x, (100 - 100 * shares / top)[::-1]) if found.parts else "",
        "top": top,
        "lanes": lanes,
    }


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return 100 * part / np.maximum(whole, 1)


def _cells(values: np.ndarray, there: np.ndarray) -> list[dict[str, float]]:
    """Runs of slices with one shade, from head to feet: place, width, and opacity from 0 to 1."""
    shades = np.where(there, np.ceil(np.clip(values, 0, 1) * _SHADES), -1)[::-1].astype(int)
    starts = [0, *(np.flatnonzero(np.diff(shades)) + 1).tolist(), len(shades)]
    unit = 1000 / len(shades)
    return [
        {
            "x": round(start * unit, 2),
            "width": round((stop - start) * unit, 2),
            "shade": round(shades[start] / _SHADES, 3),
        }
        for start, stop in itertools.pairwise(starts)
        if shades[start] >= 0
    ]
