"""The card of a bundle. Two equal runs write equal cards: no times, no paths."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungmask_jax.fitting._scans import TrainingScans
from lungmask_jax.spec import Recipe, to_json
from lungmask_jax.weights import Bundle


def card(recipe: Recipe, scans: TrainingScans, start: Bundle | None) -> dict[str, Any]:
    """The card of a run, before its scores are known."""
    before = start.spec.card if start else {}
    held_out = {scan.name: scan.fingerprint for scan in scans.held_out}
    written = {
        **recipe.segmenter.card,
        "trained_on": [*scans.learned],
        "held_out": [*held_out],
        "trained_on_images": _images(scans.learned, before, "trained_on_images"),
        "held_out_images": _images(held_out, before, "held_out_images"),
        "training": json.loads(to_json(recipe.training)),
        "validation": recipe.validation,
    }
    if recipe.window:
        written["window"] = list(recipe.window)
    if recipe.segmenter.preprocess.around:
        written["lungs"] = Path(recipe.lungs).name
    if start:
        name = Path(recipe.start).name
        written |= {"started_from": name, "started_from_checksum": start.checksum}
    return written


def _images(scans: Mapping[str, str], before: Mapping[str, Any], key: str) -> list[str]:
    """Fingerprints, including those of the initial bundle, whose weights have seen its scans."""
    known = before.get(key)
    more = known if isinstance(known, list) else []
    return list(dict.fromkeys([*scans.values(), *more]))
