"""``lungmask-jax report``: results in, pages to read out."""

import argparse
from functools import partial

from lungmask_jax import DISCLAIMER, cohort
from lungmask_jax.cli._border import one_line
from lungmask_jax.cli._notes import noted
from lungmask_jax.cli._progress import bar, counted
from lungmask_jax.errors import ScanError


def run(options: argparse.Namespace) -> int:
    """Writes the pages that are missing, and the table of all."""
    if not options.out.is_dir():
        raise ScanError(f"expected a folder of results, found none at {options.out}: segment first")
    results = cohort.outputs(options.out, overwrite=options.overwrite)
    pages, problems = 0, 0
    with bar() as progress, noted() as notes:
        say = partial(progress.console.print, markup=False, highlight=False)
        task = progress.add_task("pages", total=None)
        window = options.window and tuple(options.window)
        for entry in cohort.write_pages(results, window=window, read=notes.load):
            pages += bool(entry.page)
            if entry.problem:
                problems += 1
                say(one_line(f"{entry.row['scan']}: {entry.problem}"))
            progress.update(task, advance=1)
        if not pages + problems:
            raise ScanError(
                f"expected results of scans, found none in {options.out}: give another folder"
            )
        say(one_line(f"{counted(pages, 'page')}; open {options.out / 'index.html'}"))
        progress.console.print(DISCLAIMER)
    return 1 if problems else 0
