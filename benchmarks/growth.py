"""How time and memory grow with slices, with the size of a slice, and with the number of scans.

    python benchmarks/growth.py --scan SCAN.nii.gz

Whole programs, as in `end_to_end.py`; without a scan, a phantom. Seconds are processor time of all
cores, less that of a scan of one slice: what a program costs before it does anything.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from end_to_end import Run, measured, write_scan

SLICES = ((30, 512, 512), (120, 512, 512), (300, 512, 512), (600, 512, 512))
SIDES = ((40, 256, 256), (40, 512, 512), (40, 1024, 1024))
SCANS = (1, 2, 4)


def main() -> None:
    """Prints a row for each shape and each number of scans."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, help="chest CT as NIfTI (default: a phantom)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty = of_shape(folder, options.scan, (1, 512, 512))
        print("| Scans | slices | matrix | processor s | ms a slice | peak GB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for shape in (*SLICES, *SIDES):
            of_shape(folder, options.scan, (1, *shape[1:]))  # compiles what there is to compile
            row(1, shape, of_shape(folder, options.scan, shape), empty)
        for count in SCANS:
            row(count, SIDES[1], of_scans(folder, options.scan, count), empty)


def of_shape(folder: Path, source: Path | None, shape: tuple[int, int, int]) -> Run:
    """One run of `lungmask-jax segment` on a scan of this shape."""
    write_scan(folder / "scan.nii.gz", source, shape)
    return segmented(folder, [folder / "scan.nii.gz"])


def of_scans(folder: Path, source: Path | None, count: int) -> Run:
    """One run on so many scans."""
    write_scan(folder / "scan.nii.gz", source, SIDES[1])
    scans = [folder / f"scan{number}.nii.gz" for number in range(count)]
    for scan in scans:
        shutil.copy(folder / "scan.nii.gz", scan)
    return segmented(folder, scans)


def segmented(folder: Path, scans: list[Path]) -> Run:
    """What the command takes."""
    command = str(Path(sys.executable).with_name("lungmask-jax"))
    return measured([command, "segment", *map(str, scans), "-o", str(folder / "out")])


def row(scans: int, shape: tuple[int, int, int], run: Run, empty: Run) -> None:
    """Prints a line of the table."""
    slices, rows, columns = shape
    seconds = run.processor - empty.processor
    print(
        f"| {scans} | {slices} | {rows} x {columns} | {seconds:.1f} | "
        f"{1000 * seconds / (scans * slices):.0f} | {run.gigabytes:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
