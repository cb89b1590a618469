"""``lungmask-jax segment``: scans in, masks, pictures and numbers out."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lungmask_jax import DISCLAIMER, cohort
from lungmask_jax.cli._border import one_line, print_error, stopping
from lungmask_jax.cli._notes import Notes, noted
from lungmask_jax.cli._progress import Stages, bar, console, counted, stepper, summary
from lungmask_jax.cohort import Candidate, Outcome, Scan


@dataclass
class _Tally:
    """How many scans of a run are done and failed."""

    total: int
    options: argparse.Namespace
    done: int = 0
    failed: int = 0

    def words(self) -> str:
        """How many are done, and where."""
        where = f", results in {self.options.out}" if self.done else ""
        return f"{self.done} of {counted(self.total, 'scan')} done{where}"


def run(options: argparse.Namespace) -> int:
    """Segments every scan; one that fails is named on stderr and the others go on."""
    found = _candidates(options)
    used = cohort.used(found, options.scans)
    scans = cohort.part(used, *options.part) if options.part else used
    if not scans:
        share = "{}/{}".format(*options.part)
        console().print(f"part {share} is empty: there are {counted(len(used), 'scan')} in all")
        return 0
    stages, tally = Stages(), _Tally(len(scans), options)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(bar())
        notes = stack.enter_context(noted())
        say = partial(progress.console.print, markup=False, highlight=False)
        how = {"read": notes.load, "progress": stepper(progress), "begin": stages.begin}
        if options.cluster:
            how = {"client": stack.enter_context(cohort.connected(options.cluster))}
        outcomes = _outcomes(scans, options, how)
        for line in _left_out(found, used, options):
            say(one_line(line))
        ended = progress.add_task("scans", total=tally.total)
        if not options.cluster:
            progress.add_task("slices", total=None)
        with stopping(lambda: f"{tally.words()}; the same command continues"):
            for one in outcomes:
                _tell(one, notes.of(one.scan), tally, say)
                progress.advance(ended)
            if options.report:
                stages.begin("pages")
                _write_pages(options, notes)
        stages.end()
        if options.profile:
            progress.console.print(stages.table())
        say(one_line(tally.words()))
        progress.console.print(DISCLAIMER)
    return 1 if tally.failed else 0


def _candidates(options: argparse.Namespace) -> dict[str, Candidate]:
    """What is there; it takes minutes to look through a large archive."""
    with bar() as progress:
        progress.add_task("looking for scans", total=None)
        series = options.series or ""
        return cohort.candidates(options.scans, recursive=options.recursive, series=series)


def _left_out(
    found: Mapping[str, Candidate], used: Mapping[str, Scan], options: argparse.Namespace
) -> Iterator[str]:
    """What is not segmented, and why."""
    yield from cohort.left_out(options.scans, used.values(), recursive=options.recursive)
    if left := len(found) - len(used):
        yield f"left out {counted(left, 'scan')}: lungmask-jax inspect says why"


def _outcomes(
    scans: Mapping[str, Scan], options: argparse.Namespace, how: Mapping[str, Any]
) -> Iterator[Outcome]:
    return cohort.segment_many(
        scans,
        options.out,
        weights=options.weights,
        uncertainty=options.uncertainty,
        format=options.format,
        pages=options.report,
        surface=options.surface,
        patient=options.patient,
        window=options.window and tuple(options.window),
        retry_failed=options.retry_failed,
        again=options.again,
        overwrite=options.overwrite,
        timeout_s=options.timeout,
        **how,
    )


def _write_pages(options: argparse.Namespace, notes: Notes) -> None:
    """The pages that are missing, and the table of all."""
    results = cohort.outputs(options.out, overwrite=options.overwrite)
    window = options.window and tuple(options.window)
    list(cohort.write_pages(results, window=window, read=notes.load))


def _tell(one: Outcome, notes: list[str], tally: _Tally, say: Callable[[str], None]) -> None:
    """Prints what became of a scan; of one that was done before, nothing."""
    lines = (*notes, *one.notes)
    if one.row.get("qc", "pass") != "pass":
        lines = (*lines, f"quality control: {one.row['qc']} ({one.row['qc_reasons']})")
    if one.state == "done":
        tally.done += 1
        if one.is_new:
            for line in (*lines, f"{summary(one.row)} ({one.seconds:.1f} s)"):
                say(one_line(f"{one.name}: {line}"))
        return
    tally.failed += 1
    before = "" if one.is_new else "failed before (--retry-failed tries again): "
    for line in (*lines, f"{before}{one.reason}"):
        print_error(f"{one.name}: {line}")
    if tally.options.debug and one.trace:
        print_error(one.trace)
