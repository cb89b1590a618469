"""How time and memory grow with slices, with the size of a slice, and with the number of scans.

    python benchmarks/growth.py --scan SCAN.nii.gz --out growth.png

Whole programs, as in `end_to_end.py`; without a scan, a phantom. Seconds are processor time of all
cores, less that of a scan of one slice: what a program costs before it does anything. Slices are
3 mm thick, however many there are, so that none are averaged. The picture needs matplotlib, of
the extra plots.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from end_to_end import Run, measured, write_scan

SLICES = tuple((count, 512, 512) for count in (30, 150, 300, 600, 1200))
SIDES = ((40, 256, 256), (40, 512, 512), (40, 1024, 1024))
SCANS = (1, 2, 4, 8)
SLICE_MM = 3.0


def main() -> None:
    """Prints a row for each shape and each number of scans."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, help="chest CT as NIfTI (default: a phantom)")
    parser.add_argument("--out", type=Path, default=Path("growth.png"))
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {"slices": [], "pixels": [], "scans": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty = of_shape(folder, options.scan, (1, 512, 512))
        print("| Scans | slices | matrix | processor s | ms a slice | peak GB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for kind, shapes in (("slices", SLICES), ("pixels", SIDES)):
            for shape in shapes:
                of_shape(folder, options.scan, (1, *shape[1:]))  # compiles what there is to compile
                run = of_shape(folder, options.scan, shape)
                amount = shape[0] if kind == "slices" else shape[1] * shape[2] / 1e6
                found[kind].append((amount, *row(1, shape, run, empty)))
        for count in SCANS:
            run = of_scans(folder, options.scan, count)
            found["scans"].append((count, *row(count, SIDES[1], run, empty)))
    picture(found, options.out)


def of_shape(folder: Path, source: Path | None, shape: tuple[int, int, int]) -> Run:
    """One run of `lungmask-jax segment` on a scan of this shape."""
    write_scan(folder / "scan.nii.gz", source, shape, SLICE_MM)
    return segmented(folder, [folder / "scan.nii.gz"])


def of_scans(folder: Path, source: Path | None, count: int) -> Run:
    """One run on so many scans."""
    write_scan(folder / "scan.nii.gz", source, SIDES[1], SLICE_MM)
    scans = [folder / f"scan{number}.nii.gz" for number in range(count)]
    for scan in scans:
        shutil.copy(folder / "scan.nii.gz", scan)
    return segmented(folder, scans)


def segmented(folder: Path, scans: list[Path]) -> Run:
    """What the command takes."""
    command = str(Path(sys.executable).with_name("lungmask-jax"))
    return measured([command, "segment", *map(str, scans), "--again", "-o", str(folder / "out")])


def row(scans: int, shape: tuple[int, int, int], run: Run, empty: Run) -> tuple[float, float]:
    """Prints a line of the table; seconds and gigabytes."""
    slices, rows, columns = shape
    seconds = run.processor - empty.processor
    print(
        f"| {scans} | {slices} | {rows} x {columns} | {seconds:.1f} | "
        f"{1000 * seconds / (scans * slices):.0f} | {run.gigabytes:.2f} |",
        flush=True,
    )
    return seconds, run.gigabytes


def picture(found: Mapping[str, Sequence[tuple[float, float, float]]], path: Path) -> None:
    """Seconds and memory over slices, megapixels and scans, with the line through the origin."""
    from matplotlib.figure import Figure

    labels = {
        "slices": "slices of 512 x 512",
        "pixels": "megapixels of each of 40 slices",
        "scans": "scans of 40 slices of 512 x 512",
    }
    figure = Figure((9, 4.6), dpi=200, layout="constrained")
    panels = figure.subplots(2, 3)
    for column, (kind, label) in zip(panels.T, labels.items(), strict=True):
        amount, *values = np.array(found[kind]).T
        for axes, numbers, color in zip(column, values, ("#0072B2", "#D55E00"), strict=True):
            axes.plot(amount, numbers, "o-", color=color, lw=1.2, ms=5)
            axes.set(xlim=(0, None), ylim=(0, 1.15 * numbers.max()))
            axes.grid(color="0.9")
            axes.spines[["top", "right"]].set_visible(False)
        slope = (amount @ values[0]) / (amount @ amount)
        column[0].plot(
            [0, amount.max()],
            [0, slope * amount.max()],
            "--",
            color="0.5",
            lw=1,
            label="in proportion",
        )
        column[1].set_xlabel(label)
    panels[0, 0].legend(frameon=False)
    panels[0, 0].set_ylabel("processor time, s")
    panels[1, 0].set_ylabel("peak memory, GB")
    figure.savefig(path)


if __name__ == "__main__":
    main()
