"""``lungmask-jax segment``: scans in, masks, pictures and numbers out."""

import argparse
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from lungmask_jax import inference, report, weights
from lungmask_jax.cli._progress import bar, stepper, summary
from lungmask_jax.errors import LungmaskError, ScanError, ScanWarning
from lungmask_jax.weights import Bundle

__all__ = ["run"]

_ENDINGS = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")


def run(options: argparse.Namespace) -> int:
    """Segments every scan; one that fails is named and the others go on."""
    bundles = [weights.load(name) for name in options.weights]
    scans = _named(options.scans)
    failed = 0
    with bar() as progress:
        say = progress.console.print
        for name, path in scans.items():
            task = progress.add_task(name, total=None)
            began = time.perf_counter()
            try:
                row, notes = _one(name, path, options, bundles, stepper(progress, task))
            except (LungmaskError, OSError) as error:
                failed += 1
                say(f"{name}: {error}", style="red", markup=False, highlight=False)
            else:
                seconds = time.perf_counter() - began
                for line in (*notes, f"{summary(row)} ({seconds:.1f} s)"):
                    say(f"{name}: {line}", markup=False, highlight=False)
            progress.remove_task(task)
        say(f"{len(scans) - failed} of {len(scans)} scans done, results in {options.out}")
        say(inference.DISCLAIMER)
    return 1 if failed else 0


def _one(
    name: str,
    path: Path,
    options: argparse.Namespace,
    bundles: Sequence[Bundle],
    step: inference.Progress,
) -> tuple[report.Row, list[str]]:
    window = tuple(options.window) if options.window else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ScanWarning)
        result = inference.segment(
            path, weights=bundles, window=window, uncertainty=options.uncertainty, progress=step
        )
    result.save(options.out, name=name)
    row = report.row(name, result)
    report.write_json(options.out / f"{name}.json", row)
    report.update_csv(options.out / "measures.csv", [row])
    return row, [str(note.message) for note in caught if note.category is ScanWarning]


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Scans by the name of their results; a folder of NIfTI files stands for the files."""
    scans: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.nii*")) if path.is_dir() else []
        scans += inside or [path]
    stems = [_stem(path) for path in scans]
    names = [
        stem if stems.count(stem) == 1 else f"{Path(os.path.abspath(path)).parent.name}_{stem}"
        for stem, path in zip(stems, scans, strict=True)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ScanError(f"expected scans of different names, found {twice} twice: rename them")
    return dict(zip(names, scans, strict=True))


def _stem(path: Path) -> str:
    name = Path(os.path.abspath(path)).name  # a link keeps its own name
    ending = next((end for end in _ENDINGS if name.lower().endswith(end)), "")
    return name.removesuffix(name[len(name) - len(ending) :]) if ending else name
