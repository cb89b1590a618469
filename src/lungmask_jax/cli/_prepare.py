"""Scans and masks as they were named on the command line, prepared to learn from."""

import argparse
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from lungmask_jax import __version__, data, inference, weights
from lungmask_jax.data import Case
from lungmask_jax.errors import SpecError
from lungmask_jax.files import atomic
from lungmask_jax.prediction import Slab
from lungmask_jax.spec import SegmenterSpec, to_json
from lungmask_jax.training import Samples
from lungmask_jax.weights import Bundle

__all__ = ["Prepared", "cases", "prepared"]


def cases(options: argparse.Namespace) -> list[Case]:
    """The scans and masks that were named."""
    if options.data:
        return data.read_metadata(options.data, masks=[options.target])
    if not options.masks:
        raise SpecError("expected --masks with --images, found none: name the folder of masks")
    return data.pair_folders(options.images, options.masks, target=options.target)


class Prepared(NamedTuple):
    """A scan as a network learns from it, and what tells the scan from others."""

    name: str
    samples: Samples
    fingerprint: str


def prepared(
    scans: Sequence[Case],
    segmenter: SegmenterSpec,
    options: argparse.Namespace,
    progress: Progress,
    title: str,
) -> list[Prepared]:
    """What a network learns from, or is validated on, of each scan."""
    by_lungs = segmenter.preprocess.region == "lungs"
    lung_model = weights.load(options.lungs) if by_lungs else None
    parts = []
    for case in progress.track(scans, description=title):
        make = functools.partial(_prepared, case, segmenter, options, lung_model)
        if options.cache:
            path = options.cache / _cache_name(case, segmenter, options, lung_model)
            parts.append(_cached(path, make, case.name))
        else:
            parts.append(make())
    return parts


def _prepared(
    case: Case, segmenter: SegmenterSpec, options: argparse.Namespace, lung_model: Bundle | None
) -> Prepared:
    window = tuple(options.window) if options.window else None
    model = weights.create_model(segmenter.model)
    ct, masks = data.load_case(case, window=window, by_type=model.num_classes > 1)
    lungs = None
    if lung_model is not None:
        lungs = inference.segment(ct, weights=[lung_model]).lungs
    samples = Samples.of_scan(
        ct, masks[options.target], segmenter.preprocess, lungs=lungs, model=model
    )
    return Prepared(case.name, samples, data.fingerprint(ct))


def _cached(path: Path, make: Callable[[], Prepared], name: str) -> Prepared:
    """The same from files of a former run, or made and written: the samples and a note beside."""
    note = path.with_suffix(".txt")
    known = note.read_text(encoding="utf-8", errors="replace") if note.is_file() else ""
    if path.is_file() and known:
        return Prepared(name, Samples.cached(path, lambda: make().samples), known)
    made = make()
    with atomic(note) as temporary:
        temporary.write_text(made.fingerprint, encoding="utf-8")
    return made._replace(samples=Samples.cached(path, lambda: made.samples))


def _cache_name(
    case: Case, segmenter: SegmenterSpec, options: argparse.Namespace, lung_model: Bundle | None
) -> str:
    """A file name that changes with anything the prepared slices depend on."""
    mask = case.lungs if options.target == "lungs" else case.infection
    files = [file for path in (case.image, mask) if path is not None for file in _files(path)]
    model = weights.create_model(segmenter.model)
    facts = [
        __version__,
        to_json(segmenter.preprocess),
        [*Slab.of(model), model.ndim, model.num_classes],
        options.target,
        options.window,
        lung_model and [lung_model.checksum, to_json(lung_model.spec)],
        [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
    ]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return f"{case.name}-{digest[:16]}.npz"


def _files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path]
