"""Options of the commands from scans to results."""

import argparse
from pathlib import Path
from typing import Any

from lungmask_jax import DISCLAIMER, files
from lungmask_jax.cli._shared_options import WINDOW, add_overwrite, add_shell, add_weights


def add_segment(commands: Any) -> None:
    """``segment``."""
    segment = commands.add_parser(
        "segment",
        help="segment scans and measure them",
        description="Writes masks, a picture, a JSON file and a CSV row for every scan.",
        epilog=DISCLAIMER,
    )
    segment.add_argument(
        "scans",
        nargs="+",
        type=Path,
        metavar="SCAN",
        help="NIfTI file, image, DICOM file, a folder of one of these, or a list of scans (.csv)",
    )
    segment.add_argument(
        "--recursive", action="store_true", help="also search all subfolders for scans"
    )
    _add_series(segment)
    segment.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    segment.add_argument(
        "--retry-failed", action="store_true", help="also try scans that failed in an earlier run"
    )
    segment.add_argument(
        "--again", action="store_true", help="segment all scans again, those that are done, too"
    )
    segment.add_argument(
        "--part",
        type=_part,
        metavar="K/N",
        help="segment only the K-th of N equal shares of the scans, for several machines",
    )
    segment.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="let workers of Dask segment: local:2 starts two here, tcp://host:8786 uses a cluster",
    )
    segment.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="with --cluster: a scan that takes longer fails",
    )
    add_overwrite(segment)
    add_weights(segment)
    segment.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write the uncertainty of the infection model",
    )
    segment.add_argument(
        "--format",
        choices=files.FORMATS,
        default="",
        help="format of the masks (default: that of the scan if it is nrrd or mha, else nii.gz); "
        "dicom-seg also writes the measures as a structured report",
    )
    segment.add_argument(
        "--report",
        action="store_true",
        help="also write a page to read for each scan, and index.html with all scans",
    )
    segment.add_argument(
        "--surface",
        action="store_true",
        help="also write a picture of the masks as solids, NAME_surface.png",
    )
    segment.add_argument(
        "--no-patient",
        action="store_false",
        dest="patient",
        help="store neither PatientID nor StudyDate in JSON files, tables and pages",
    )
    segment.add_argument("--profile", action="store_true", help="print the time of each stage")
    segment.add_argument("--window", **WINDOW)
    add_shell(segment)


def _part(text: str) -> tuple[int, int]:
    """The numbers of a share, as in 2/8."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected K/N with K from 1 to N, found {text!r}")
    return int(number), int(count)


def add_inspect(commands: Any) -> None:
    """``inspect``."""
    inspect = commands.add_parser(
        "inspect",
        help="list scans and say which would be segmented",
        description="Lists all scans in folders and below, which of them segment --recursive would "
        "use, and why; pixels are not read.",
        epilog=DISCLAIMER,
    )
    inspect.add_argument(
        "scans", nargs="+", type=Path, metavar="PATH", help="file, folder, or list of scans (.csv)"
    )
    _add_series(inspect)
    inspect.add_argument(
        "-o",
        "--out",
        type=Path,
        help="write the list as a .csv file that segment takes, instead of printing it",
    )
    inspect.add_argument("--overwrite", action="store_true", help="replace the file of --out")


def _add_series(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--series",
        metavar="RULE",
        help="DICOM series to use: best (one of each study, the default with subfolders), all, a "
        "SeriesInstanceUID, or a pattern of the description such as '*lung*'",
    )


def add_collect(commands: Any) -> None:
    """``collect``."""
    collect = commands.add_parser(
        "collect",
        help="make one table of a folder of results",
        description="Writes cohort.csv: for every scan its state, a reason if it failed, and its "
        "measures; also as cohort.parquet if pyarrow is installed.",
        epilog=DISCLAIMER,
    )
    collect.add_argument("out", type=Path, metavar="OUT", help="folder of results of segment")
    add_overwrite(collect)


def add_report(commands: Any) -> None:
    """``report``."""
    report = commands.add_parser(
        "report",
        help="write pages about results that are there",
        description="Writes a page for each scan of a folder of results, and index.html with all.",
        epilog=DISCLAIMER,
    )
    report.add_argument("out", type=Path, metavar="OUT", help="folder of results of segment")
    add_overwrite(report)
    report.add_argument("--window", **WINDOW)
    add_shell(report)
