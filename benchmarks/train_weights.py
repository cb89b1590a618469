r"""Trains the weights that ship, and cross-validates their recipes on patients not seen.

    python benchmarks/pretrained.py lungs --out start.npz
    python benchmarks/train_weights.py train lungs --start start.npz --data DIR --out lungs.npz
    python benchmarks/train_weights.py cross-validate lungs --start start.npz --data DIR \
        --out lungs.json
    python benchmarks/train_weights.py card lungs --scores lungs.json --out lungs.npz

and the same with ``infection``, which starts from ``pretrained.py infection --lite 2`` and needs
the lung model of the library, too. DIR holds ``covid_semiseg``, ``covid19_ct_seg``,
``lung_slices``, ``lungsegdb``, ``ct_lowres_volumes`` and ``ct_dicom_slices``, as the model cards
describe them. A training that was stopped goes on from the checkpoint beside its bundle when it is
told the same again. With ``--start`` training goes on from a bundle, in a cross-validation from
that of each fold, where the name says so, as in ``--start infection_fold{fold}.npz``.
``judge`` scores the bundles of a cross-validation again, after a change of post-processing;
``calibrate`` tells what calibration and a threshold would do to each fold of a cross-validation
that were chosen on the others; ``--start`` names the bundles. ``card`` puts the scores of a
cross-validation, and preprocessing and post-processing as they are here, into a bundle, and with
``--signs`` the numbers of ``signs.py``.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from datasets import ITEMS, Item
from judging import calibrate, judged_again, scored, summary
from recipe import (
    CARDS,
    FOLDS,
    MODELS,
    POSTPROCESS,
    PREPROCESS,
    SHARES,
    SPECS,
)
from splits import patient_folds

from lungmask_jax import fitting, weights
from lungmask_jax.fitting import RunFiles, TrainingScans
from lungmask_jax.spec import (
    ModelSpec,
    PredictSpec,
    Recipe,
    SegmenterSpec,
    TrainSpec,
    from_json,
    to_json,
)
from lungmask_jax.training import Samples
from lungmask_jax.weights import Bundle

NOTHING: Mapping[str, Any] = MappingProxyType({})


def main() -> None:
    """Trains, cross-validates, judges or describes, as told on the command line."""
    parser = _parser()
    options = parser.parse_args()
    _refuse(parser, options)
    if options.size:
        small = replace(PREPROCESS[options.target], size=(options.size, options.size))
        PREPROCESS[options.target] = small
    {
        "train": train,
        "cross-validate": cross_validate,
        "judge": judge,
        "calibrate": calibrate_folds,
        "card": describe,
    }[options.action](options)


def train(options: argparse.Namespace) -> None:
    """Trains one bundle on everything."""
    spec, items = _spec(options), _items(options)
    known = mixed(items, prepared(options.target, items), SHARES[options.target])
    bundle = trained(options.target, known, spec, options.out, options.start)
    saved(options.out, bundle, spec, options.start)


def cross_validate(options: argparse.Namespace) -> None:
    """Trains a bundle for each fold and scores what it has not seen."""
    scores = {}
    for name, values in cross_validated(_items(options), options):
        scores[name] = values
        options.out.write_text(json.dumps(scores, indent=1) + "\n")
    print(json.dumps(summary(scores), indent=1))


def judge(options: argparse.Namespace) -> None:
    """Scores the bundles of a cross-validation again."""
    folds = options.folds or range(FOLDS)
    scores = dict(judged_again(options.target, _items(options), folds, options.start))
    options.out.write_text(json.dumps(scores, indent=1) + "\n")
    print(json.dumps(summary(scores), indent=1))


def calibrate_folds(options: argparse.Namespace) -> None:
    """Tells what calibration would do."""
    calibrate(options.out, options.start, [item for item in _items(options) if item.group])


def describe(options: argparse.Namespace) -> None:
    """Puts scores, and preprocessing and post-processing as they are here, into a bundle."""
    scores = {}
    for path in options.scores:
        scores |= json.loads(path.read_text())
    bundle = weights.load(options.out)
    if options.signs:
        numbers = json.loads(options.signs.read_text())["signs"]
        bundle = replace(bundle, spec=replace(bundle.spec, signs=tuple(numbers)))
    trained_by = from_json(json.dumps(bundle.spec.card["training"]), TrainSpec)
    started_from = options.start or bundle.spec.card.get("started_from")
    saved(options.out, bundle, trained_by, started_from, {"scores": summary(scores)})


def saved(
    path: Path,
    bundle: Bundle,
    spec: TrainSpec,
    started_from: str | None,
    more: Mapping[str, Any] = NOTHING,
) -> None:
    """Writes a bundle with its card, and what comes before and after the network, as it is here."""
    target = bundle.spec.target
    card = CARDS[target] | {"training": json.loads(to_json(spec))} | dict(more)
    if started_from:
        card["started_from"] = Path(started_from).name
    segmenter = replace(
        bundle.spec, preprocess=PREPROCESS[target], postprocess=POSTPROCESS[target], card=card
    )
    weights.save(path, segmenter, bundle.params, bundle.state)


def trained(target: str, known: Samples, spec: TrainSpec, out: Path, start: str | None) -> Bundle:
    """A bundle that learned from the samples; where there is a checkpoint, the run goes on."""
    segmenter = SegmenterSpec(
        target=target,  # type: ignore[arg-type]
        model=MODELS[target],
        preprocess=PREPROCESS[target],
        postprocess=POSTPROCESS[target],
        predict=PredictSpec(mirror=(False, False, target == "infection")),
    )
    recipe = Recipe(segmenter=segmenter, training=spec, start=start or "")
    begun = RunFiles(out).checkpoint.is_file()
    for epoch in fitting.fit(
        TrainingScans(known), recipe, out=out, existing="resume" if begun else "replace"
    ):
        print(f"step {epoch.step} loss {epoch.loss:.4f} {epoch.seconds:.0f} s", flush=True)
    return epoch.bundle


def prepared(target: str, items: Sequence[Item]) -> list[Samples]:
    """Each item as the network sees it."""
    parts, model = [], weights.create_model(MODELS[target])
    for item in items:
        spec = PREPROCESS[target]
        if target == "infection" and item.lungs is None:
            spec = replace(spec, region="full")
        parts.append(Samples.of_scan(item.ct, item.mask, spec, lungs=item.lungs, model=model))
    return parts


def mixed(items: Sequence[Item], parts: Sequence[Samples], shares: Mapping[str, float]) -> Samples:
    """All the samples as one.

    Each source has its share of the batches, and in it each patient one that grows as the square
    root of the slices there are: many slices of a patient look alike.
    """
    drawn = slice_shares(items, [len(part.images) for part in parts], shares)
    weighed = [
        part._replace(weights=np.full(len(part.images), share))
        for part, share in zip(parts, drawn, strict=True)
    ]
    return Samples.joined(weighed)


def slice_shares(
    items: Sequence[Item], counts: Sequence[int], shares: Mapping[str, float]
) -> list[float]:
    """How often one slice of each item is drawn, of sources with these shares."""
    slices: dict[tuple[str, str], int] = {}
    for item, count in zip(items, counts, strict=True):
        patient = item.source, item.group
        slices[patient] = slices.get(patient, 0) + count
    roots: dict[str, float] = {}
    for (source, _), count in slices.items():
        roots[source] = roots.get(source, 0.0) + count**0.5
    return [
        shares[item.source] / roots[item.source] / max(slices[item.source, item.group], 1) ** 0.5
        for item in items
    ]


def cross_validated(
    items: Sequence[Item], options: argparse.Namespace
) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of every real case by a model that saw no case of its group."""
    folds, spec, out = patient_folds(items, FOLDS), _spec(options), options.out
    parts, shares = prepared(options.target, items), SHARES[options.target]
    for number in options.folds or range(FOLDS):
        held = folds[number]
        rest = [place for place, item in enumerate(items) if item.group not in held]
        known = mixed([items[place] for place in rest], [parts[place] for place in rest], shares)
        start = options.start and options.start.format(fold=number)
        path = out.with_name(f"{out.stem}_fold{number}.npz")
        bundle = trained(options.target, known, spec, path, start)
        saved(path, bundle, spec, start, {"held_out": sorted(held)})
        yield from scored(bundle, number, [item for item in items if item.group in held])


def _items(options: argparse.Namespace) -> list[Item]:
    items = list(ITEMS[options.target](options.data))
    return [item for item in items if item.source in (options.sources or SHARES[options.target])]


def _spec(options: argparse.Namespace) -> TrainSpec:
    spec = SPECS[options.target]
    spec = replace(spec, steps=options.steps or spec.steps)
    spec = replace(spec, batch_size=options.batch_size or spec.batch_size)
    return replace(spec, learning_rate=options.learning_rate or spec.learning_rate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["train", "cross-validate", "judge", "calibrate", "card"])
    parser.add_argument("target", choices=["lungs", "infection"])
    parser.add_argument("--data", type=Path, help="folder with the data sets")
    parser.add_argument("--out", type=Path, required=True, help="bundle, or JSON file of scores")
    parser.add_argument("--folds", type=int, nargs="+", help="only these, to share the work")
    parser.add_argument("--scores", type=Path, nargs="+", help="JSON files of a cross-validation")
    parser.add_argument("--signs", type=Path, help="JSON file of signs.py, to put into the bundle")
    parser.add_argument("--steps", type=int, help="fewer, for a trial")
    parser.add_argument("--learning-rate", type=float, help="another one")
    compare = parser.add_argument_group("for a comparison of networks, smaller and quicker")
    compare.add_argument("--network", help='JSON: {"name": "unet", "options": {"in_channels": 3}}')
    compare.add_argument("--size", type=int, help="side of its images")
    compare.add_argument("--batch-size", type=int, help="images, or volumes of 16 slices, a step")
    compare.add_argument("--sources", nargs="+", help="learn and judge on these alone")
    parser.add_argument("--start", help="bundle to go on from")
    return parser


def _refuse(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Stops before anything is learned where the options do not go together."""
    if options.action in ("judge", "calibrate") and not options.start:
        parser.error(f"{options.action} needs the bundles of the folds as --start")
    if options.network:
        MODELS[options.target] = from_json(options.network, ModelSpec)
    if options.action not in ("train", "cross-validate"):
        return
    expected = MODELS[options.target]
    if expected.name == "efficient_unet" and not options.start:
        parser.error("efficient_unet needs a --start, as benchmarks/pretrained.py makes it")
    if options.start:
        _refuse_other_networks(options.start, options.folds or range(FOLDS), expected)


def _refuse_other_networks(start: str, folds: Iterable[int], expected: ModelSpec) -> None:
    """Raises for a bundle to start from that has another network."""
    for path in sorted({start.format(fold=fold) for fold in folds}):
        found = weights.load(Path(path)).spec.model
        if found != expected:
            raise SystemExit(f"expected {expected} in {path}, found {found}")


if __name__ == "__main__":
    main()
