"""What a trained bundle says of itself. Two equal runs say the same: no times, no paths."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lungmask_jax.cli._prepare import Prepared
from lungmask_jax.spec import SegmenterSpec, TrainSpec, to_json
from lungmask_jax.weights import Bundle

__all__ = ["card"]


def card(
    options: argparse.Namespace,
    train: Sequence[Prepared],
    held_out: Sequence[Prepared],
    segmenter: SegmenterSpec,
    spec: TrainSpec,
    start: Bundle | None,
) -> dict[str, Any]:
    """The card of a run, before its scores are known."""
    before = start.spec.card if start else {}
    found = {
        "trained_on": [scan.name for scan in train],
        "held_out": [scan.name for scan in held_out],
        "trained_on_images": _images(train, before, "trained_on_images"),
        "held_out_images": _images(held_out, before, "held_out_images"),
        "training": json.loads(to_json(spec)),
        "validation": options.validation,
    }
    if options.window:
        found["window"] = list(options.window)
    if segmenter.preprocess.region == "lungs":
        found["lungs"] = Path(options.lungs).name
    if start:
        name = Path(options.start).name
        found |= {"started_from": name, "started_from_checksum": start.checksum}
    return found


def _images(scans: Sequence[Prepared], before: Mapping[str, Any], key: str) -> list[str]:
    """Fingerprints, and those of the bundle that was started from: its weights know them, too."""
    known = before.get(key)
    more = known if isinstance(known, list) else []
    return list(dict.fromkeys([*(scan.fingerprint for scan in scans), *more]))
