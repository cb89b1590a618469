"""``lungmask-jax segment``: scans in, masks, pictures and numbers out."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.progress import Progress

from lungmask_jax import DISCLAIMER, cohort
from lungmask_jax.cli._border import Failures, one_line, stopping
from lungmask_jax.cli._notes import Notes, noted
from lungmask_jax.cli._progress import Stages, bar, counted, stepper, summary


def run(options: argparse.Namespace) -> int:
    """Segments every scan; one that fails is named on stderr and the others go on."""
    scans = cohort.find_scans(options.scans, recursive=options.recursive)
    results = cohort.outputs(options.out, inputs=scans.values(), overwrite=options.overwrite)
    todo = results.missing(scans) if options.skip_existing else scans
    stages, failures, written = Stages(), Failures(options.debug), len(scans) - len(todo)

    def so_far() -> str:
        where = f", results in {options.out}" if written else ""
        return f"{written} of {counted(len(scans), 'scan')} done{where}"

    with bar() as progress, noted() as notes:
        say = partial(progress.console.print, markup=False, highlight=False)
        read = partial(notes.load, window=options.window and tuple(options.window))
        segmented = cohort.segment_all(
            todo,
            results,
            weights=options.weights,
            uncertainty=options.uncertainty,
            format=options.format,
            pages=options.report,
            read=read,
            guard=partial(_guarded, failures, notes, progress, todo),
            progress=stepper(progress),
            begin=stages.begin,
        )
        for line in cohort.left_out(options.scans, scans.values()):
            say(one_line(line))
        with stopping(lambda: f"{so_far()}; --skip-existing skips them"):
            for one in segmented:
                written += 1
                result = f"{summary(one.row)} ({one.seconds:.1f} s)"
                for line in (*notes.of(one.path), *one.notes, result):
                    say(one_line(f"{one.name}: {line}"))
        if options.report:
            stages.begin("pages")
            list(cohort.write_pages(results, problems=failures.reasons, read=read))
        stages.end()
        if options.profile:
            progress.console.print(stages.table())
        say(one_line(so_far()))
        progress.console.print(DISCLAIMER)
    return 1 if failures.reasons else 0


@contextmanager
def _guarded(
    failures: Failures, notes: Notes, progress: Progress, scans: Mapping[str, Path], name: str
) -> Iterator[None]:
    """A block for one scan, with a bar of its own."""
    notes.taken()
    task = progress.add_task(name, total=None)
    with failures.of(name), notes.added(scans[name]):
        yield
    progress.remove_task(task)
