"""``lungmask-jax train``: from labeled scans to a bundle, a log and its curve."""

import argparse
from collections.abc import Sequence

from lungmask_jax import data, fitting, training
from lungmask_jax.cli._border import print_error, stopping
from lungmask_jax.cli._progress import bar
from lungmask_jax.cli._recipe import recipe
from lungmask_jax.cli._stop import exit_code, stoppable, to_resume
from lungmask_jax.cli._training import print_data, say, watcher
from lungmask_jax.data import Case
from lungmask_jax.errors import SpecError
from lungmask_jax.spec import Recipe


def run(options: argparse.Namespace) -> int:
    """Trains as told; the bundle is written anew after every better epoch."""
    how = recipe(options)
    fitting.RunFiles(options.out).refuse(options.existing)
    mesh = None if options.devices is None else training.make_mesh(count=options.devices)
    cases = _cases(options, how)
    with bar() as progress, stoppable() as stop, stopping(lambda: to_resume(stop)):
        watch = watcher(progress, stop)
        scans = fitting.prepare(cases, how, cache=options.cache, mesh=mesh, progress=watch)
        print_data(scans, how, progress)
        for epoch in fitting.fit(
            scans, how, out=options.out, existing=options.existing, mesh=mesh, progress=watch
        ):
            say(epoch, options.out, how.segmenter.needs, progress)
    if stop.number is None:
        return 0
    print_error(
        f"stopped after step {epoch.step} of {how.training.steps}: repeat the command with "
        "--resume to continue"
    )
    return exit_code(stop.number)


def _cases(options: argparse.Namespace, how: Recipe) -> Sequence[Case]:
    """The scans and masks that were named."""
    if options.data:
        return data.read_metadata(options.data, masks=[how.segmenter.target])
    if not options.masks:
        raise SpecError("expected --masks with --images, found none: name the folder of masks")
    return data.pair_folders(options.images, options.masks, target=how.segmenter.target)
