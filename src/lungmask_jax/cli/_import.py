"""``lungmask-jax import``: third-party weights as a bundle of this library."""

import argparse
from pathlib import Path
from typing import Any

import jax

from lungmask_jax import tasks, weights
from lungmask_jax.cli._progress import console
from lungmask_jax.cli._recipe import pairs
from lungmask_jax.errors import WeightsError
from lungmask_jax.weights import Bundle


def run(options: argparse.Namespace) -> int:
    """Writes the bundle, and prints its content and licence."""
    if options.out.exists() and not options.overwrite:
        raise WeightsError(
            f"{options.out} is there: give another --out, or replace it with --overwrite"
        )
    bundle = weights.import_file(_source(options), options.out, half=options.half)
    spec = bundle.spec
    count = sum(leaf.size for leaf in jax.tree.leaves((bundle.params, bundle.state)))
    labels = ", ".join(f"{n} {name}" for n, name in tasks.registry[spec.target].labels.items())
    for line in (
        f"{options.out}: {spec.target} ({labels}), {spec.model.name} with {count:,} numbers, equal "
        f"to those of {options.weights}{' rounded to float16' if options.half else ''}",
        f"From: {spec.card.get('source', 'not stated')}",
        f"Licence: {spec.card.get('license', 'not stated')}",
    ):
        console().print(line, markup=False, highlight=False)
    return 0


def _source(options: argparse.Namespace) -> Path | Bundle:
    """The file; with any option for models of nnU-Net, the model that they describe."""
    names = ("target", "configuration", "folds", "checkpoint")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(options, name))}
    if options.label:
        given["labels"] = pairs("label", options.label)
    path: Path = options.weights
    return weights.read_nnunet(path, **given) if given else path
