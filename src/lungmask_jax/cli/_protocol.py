"""``lungmask-jax evaluate --protocol NAME``: a published table with a row of our own."""

import argparse

from rich.table import Table

from lungmask_jax import evaluation, records
from lungmask_jax.cli._border import Failures, stopping
from lungmask_jax.cli._progress import bar, console
from lungmask_jax.cli._scores import results, save, watcher
from lungmask_jax.errors import SpecError
from lungmask_jax.evaluation import PROTOCOLS, Published, Report


def run(options: argparse.Namespace) -> int:
    """Scores the data of a protocol and prints what others reached on them."""
    protocol = PROTOCOLS[options.protocol]
    if options.data is None:
        raise SpecError(f"expected --data with {protocol.layout}: get {protocol.data}")
    ignored = ["pred", "true", "scans", "tolerance", "by_type"]
    by_slice = options.protocol == "covid-semiseg"
    ignored += ["against", "report"] if by_slice else []
    if given := [f"--{name.replace('_', '-')}" for name in ignored if getattr(options, name)]:
        raise SpecError(f"expected --protocol without {', '.join(given)}: leave it out")
    judge = evaluation.evaluate_covid_semiseg if by_slice else evaluation.evaluate_covid19_ct_seg
    more = {} if by_slice else {"against": options.against}
    with bar() as progress, stopping(lambda: "no scores written"):
        published = judge(
            options.data,
            weights=options.weights,
            window=options.window,
            guard=Failures(options.debug).of,
            progress=watcher(progress, options),
            **more,
        )
    _save(published, options)
    return 1 if published.failed else 0


def _save(published: Published, options: argparse.Namespace) -> None:
    protocol, details = published.protocol, published.details
    if isinstance(details, Report):
        save(details, options)
    else:
        with results(options).written("cases.json") as folder:
            records.write_json(folder / "cases.json", details)
    table = Table("method", *protocol.scores, title=f"{protocol.title} ({protocol.paper})")
    for number, (method, values) in enumerate({**protocol.published, **published.ours}.items(), 1):
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        table.add_row(method, *cells, end_section=number == len(protocol.published))
    console().print(table)
    for caution in protocol.cautions:
        console().print(f"- {caution}", markup=False, highlight=False)
    rows = {"published": dict(protocol.published), "ours": dict(published.ours)}
    with results(options).written("table.json") as folder:
        records.write_json(folder / "table.json", {**rows, "scores": protocol.scores})
