"""``lungmask-jax collect``: a folder of results in, one table of all scans out."""

import argparse

from lungmask_jax import cohort
from lungmask_jax.cli._border import one_line
from lungmask_jax.cli._progress import console


def run(options: argparse.Namespace) -> int:
    """Writes the table, and prints where it is."""
    paths = cohort.collect(options.out, overwrite=options.overwrite)
    for path in paths:
        console().print(one_line(str(path)), markup=False, highlight=False)
    return 0
