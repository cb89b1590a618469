r"""Trains the weights that ship, and cross-validates their recipes on patients not seen.

    python benchmarks/pretrained.py lungs --out start.npz
    python benchmarks/train_weights.py train lungs --start start.npz --data DIR --out lungs.npz
    python benchmarks/train_weights.py cross-validate lungs --start start.npz --data DIR \
        --out lungs.json
    python benchmarks/train_weights.py card lungs --scores lungs.json --out lungs.npz

and the same with ``infection``, which starts from ``pretrained.py infection --lite 2`` and needs
the lung model of the library, too. DIR holds ``covid_semiseg``, ``lungsegdb``,
``ct_lowres_volumes`` and ``ct_dicom_slices``, as the model cards describe them. With ``--start``
training goes on from a bundle, in a cross-validation from that of each fold, where the name says
so, as in ``--start infection_fold{fold}.npz``. With ``--unlabelled`` that bundle also labels slices
without labels, and they are learned from too. ``judge`` scores the bundles of a cross-validation
again, after a change of post-processing; ``calibrate`` tells what calibration and a threshold
would do to each fold of a cross-validation that were chosen on the others; ``--start`` names the
bundles. ``card`` puts the scores of a cross-validation, and preprocessing and post-processing as
they are here, into a bundle.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np
import pretrained
from scipy import ndimage

from lungmask_jax import (
    calibration,
    inference,
    io,
    labels,
    metrics,
    phantoms,
    postprocess,
    training,
    viz,
    weights,
)
from lungmask_jax.models import Model
from lungmask_jax.spec import (
    PRESETS,
    ModelSpec,
    PostprocessSpec,
    SegmenterSpec,
    TrainSpec,
    from_json,
    to_json,
)
from lungmask_jax.training import Samples
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

WINDOW = PRESETS["infection"].window
WIDE_WINDOW = (-1000.0, 1650.0)  # LungSegDB: soft tissue near 100 of 255, bone near 200
CORONACASES_WINDOW = (-1000.0, 1900.0)
LOOKALIKES = ("4 5 16 17 46", "10 43", "3 12 28", "35 67", "13 31", "26 27")
NEIGHBOURS = ("2 81 97 114 131", "152 153 165 168", "372 375 376 379 380")

SPECS = {
    "lungs": TrainSpec(steps=1400, batch_size=4, learning_rate=1.5e-3, opacities=0.25, gas=0.6),
    "infection": TrainSpec(steps=1500, batch_size=4, learning_rate=1e-3),
}
STUDENT = replace(SPECS["infection"], steps=500, learning_rate=5e-4)
UNLABELLED_SHARE = 0.6  # beside 1 for all the labelled items
MODELS = {
    "lungs": ModelSpec(name="efficient_unet"),
    "infection": ModelSpec(name="efficient_unet", options=pretrained.OPTIONS[2]),
}
PREPROCESS = dict(PRESETS)
POSTPROCESS = {
    "lungs": PostprocessSpec(min_component_ml=5.0, fill_holes=True),
    # 0.4 was chosen after looking at held-out scores at 0.3 to 0.6; theory agrees: the threshold
    # that is best for Dice is half the Dice there is (Lipton et al., 2014, arXiv:1402.1892)
    "infection": PostprocessSpec(threshold=0.4, min_component_ml=0.1, rim_mm=5.0),
}
FOLDS = {"lungs": 3, "infection": 5}


class Item(NamedTuple):
    """A scan or slice with the truth for one target.

    Attributes:
        name: Of the case.
        group: Cases of one patient share it; they stay on one side of a split.
        source: Which data set.
        ct: In approximate HU.
        mask: The truth; of infection its lesions, 1 ground glass and 2 consolidation.
        lungs: Predicted lungs, where the region is the lungs and the scan is not cut out already.
    """

    name: str
    group: str
    source: str
    ct: Volume
    mask: Volume
    lungs: Volume | None = None


class Start(NamedTuple):
    """Where training starts.

    Attributes:
        bundle: Path of the bundle to go on from; fresh weights without one.
        data: Folder of slices without labels for it to label, if it is to.
    """

    bundle: str | None = None
    data: Path | None = None


FRESH = Start()


def main() -> None:
    """Trains or cross-validates, as told on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["train", "cross-validate", "judge", "calibrate", "card"])
    parser.add_argument("target", choices=["lungs", "infection"])
    parser.add_argument("--data", type=Path, help="folder with the data sets")
    parser.add_argument("--out", type=Path, required=True, help="bundle, or JSON file of scores")
    parser.add_argument("--folds", type=int, nargs="+", help="only these, to share the work")
    parser.add_argument("--scores", type=Path, nargs="+", help="JSON files of a cross-validation")
    parser.add_argument("--steps", type=int, help="fewer, for a trial")
    parser.add_argument("--learning-rate", type=float, help="another one")
    compare = parser.add_argument_group("for a comparison of networks, smaller and quicker")
    compare.add_argument("--network", help='JSON: {"name": "unet", "options": {"in_channels": 3}}')
    compare.add_argument("--size", type=int, help="side of its images")
    compare.add_argument("--batch-size", type=int, help="images, or volumes of 16 slices, a step")
    compare.add_argument("--sources", nargs="+", help="learn and judge on these alone")
    parser.add_argument("--start", help="bundle to go on from")
    parser.add_argument("--unlabelled", action="store_true", help="which labels more slices, too")
    options = parser.parse_args()
    if options.unlabelled and not (options.start and options.target == "infection"):
        parser.error("--unlabelled needs infection, and a --start that labels")
    if options.action in ("judge", "calibrate") and not options.start:
        parser.error(f"{options.action} needs the bundles of the folds as --start")
    if options.network:
        MODELS[options.target] = from_json(options.network, ModelSpec)
    learns = options.action in ("train", "cross-validate")
    if learns and MODELS[options.target].name == "efficient_unet" and not options.start:
        parser.error("efficient_unet needs a --start, as benchmarks/pretrained.py makes it")
    if learns and options.start:
        refuse_other_networks(
            options.start, options.folds or range(FOLDS[options.target]), options.target
        )
    spec = STUDENT if options.unlabelled else SPECS[options.target]
    spec = replace(spec, steps=options.steps or spec.steps)
    spec = replace(spec, batch_size=options.batch_size or spec.batch_size)
    spec = replace(spec, learning_rate=options.learning_rate or spec.learning_rate)
    if options.size:
        small = replace(PREPROCESS[options.target], size=(options.size, options.size))
        PREPROCESS[options.target] = small
    if options.action == "card":
        scores = {}
        for path in options.scores:
            scores |= json.loads(path.read_text())
        bundle = weights.load(options.out)
        trained_by = from_json(json.dumps(bundle.spec.card["training"]), TrainSpec)
        started_from = options.start or bundle.spec.card.get("started_from")
        saved(options.out, bundle, trained_by, started_from, {"scores": summary(scores)})
        return
    if options.action == "calibrate":
        calibrate(options.out, options.start, list(semiseg(options.data)))
        return
    items = list(ITEMS[options.target](options.data))
    if options.sources:
        items = [item for item in items if item.source in options.sources]
    start = Start(options.start, options.data if options.unlabelled else None)
    if options.action == "train":
        log = options.out.with_suffix(".jsonl")
        bundle = trained(options.target, items, spec, start, log=log)
        saved(options.out, bundle, spec, options.start)
    else:
        folds = options.folds or range(FOLDS[options.target])
        if options.action == "judge":
            found = judged_again(options.target, items, folds, options.start)
        else:
            found = cross_validated(options.target, items, spec, folds, options.out, start)
        scores = dict(found)
        options.out.write_text(json.dumps(scores, indent=1) + "\n")
        print(json.dumps(summary(scores), indent=1))


def refuse_other_networks(start: str, folds: Iterable[int], target: str) -> None:
    """Raises, before anything is learned, for a bundle to start from that has another network."""
    for path in sorted({start.format(fold=fold) for fold in folds}):
        found, expected = weights.load(Path(path)).spec.model, MODELS[target]
        if found != expected:
            raise SystemExit(f"expected {expected} in {path}, found {found}")


def saved(
    path: Path,
    bundle: Bundle,
    spec: TrainSpec,
    started_from: str | None,
    more: Mapping[str, Any] = MappingProxyType({}),
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


def calibrate(path: Path, bundles: str, items: Sequence[Item]) -> None:
    """Calibration and threshold from a cross-validation, judged on each fold by the others."""
    found, truth, fold = {}, {}, {}
    for number, held in enumerate(grouped(items, FOLDS["infection"])):
        bundle = weights.load(Path(bundles.format(fold=number)))
        plain = replace(bundle.spec.postprocess, calibration=(1.0, 0.0))
        whole = replace(bundle.spec.preprocess, region="full")
        bundle = replace(bundle, spec=replace(bundle.spec, postprocess=plain, preprocess=whole))
        for item in items:
            if item.group in held:
                found[item.name] = inference.probabilities(item.ct, bundle)[0]
                truth[item.name], fold[item.name] = item.mask.array[0] > 0, number
    lines = []
    for number in range(FOLDS["infection"]):
        numbers, threshold = chosen(found, truth, [name for name in found if fold[name] != number])
        for name in found:
            if fold[name] == number:
                lines.append(judged(found[name], truth[name], numbers, threshold))
        print(f"fold {number}: log-odds x {numbers[0]:.2f} {numbers[1]:+.2f}, above {threshold}")
    means = {key: float(np.mean([line[key] for line in lines])) for key in lines[0]}
    path.write_text(json.dumps(means, indent=1) + "\n")
    print(json.dumps(means, indent=1))


def chosen(
    found: dict[str, np.ndarray], truth: dict[str, np.ndarray], names: Sequence[str]
) -> tuple[tuple[float, float], float]:
    """Calibration, and the best threshold after it."""
    maps, masks = [found[name] for name in names], [truth[name] for name in names]
    numbers = calibration.fit(maps, masks)
    likely = [calibration.calibrated(one, numbers) for one in maps]
    return numbers, calibration.best_threshold(likely, masks)


def judged(
    found: np.ndarray, truth: np.ndarray, numbers: tuple[float, float], threshold: float
) -> dict[str, float]:
    """What calibration and threshold do to one slice that they were not chosen on."""
    likely = calibration.calibrated(found, numbers)
    return {
        "Dice": metrics.dice(likely > threshold, truth),
        "Brier score before": metrics.brier(found, truth),
        "Brier score": metrics.brier(likely, truth),
        "calibration error before": metrics.calibration_error(found, truth),
        "calibration error": metrics.calibration_error(likely, truth),
        "mean Dice over 256 thresholds before": metrics.threshold_curves(found, truth).dice.mean(),
        "mean Dice over 256 thresholds": metrics.threshold_curves(likely, truth).dice.mean(),
    }


def trained(
    target: str,
    items: Sequence[Item],
    spec: TrainSpec,
    start: Start = FRESH,
    log: Path | None = None,
) -> Bundle:
    """A bundle trained on the items, in memory."""
    segmenter = SegmenterSpec(
        target=target,  # type: ignore[arg-type]
        model=MODELS[target],
        preprocess=PREPROCESS[target],
        postprocess=POSTPROCESS[target],
        flip=target == "infection",
    )
    model = weights.create_model(segmenter.model)
    lines, state, known = [], None, samples(target, items, model)
    if start.bundle:
        before = weights.load(Path(start.bundle))
        state = training.create_state(model, spec, weights=(before.params, before.state))
        if start.data:
            known = Samples.joined([known, believed(before, start.data)])
    for epoch in training.train(model, known, spec, start=state):
        lines.append({"step": epoch.step, "loss": epoch.loss, "seconds": epoch.seconds})
        print(f"step {epoch.step} loss {epoch.loss:.4f} {epoch.seconds:.0f} s", flush=True)
        if log:
            log.write_text("".join(json.dumps(line) + "\n" for line in lines))
            viz.save_png(viz.learning_curve(lines, series=("loss",)), log.with_suffix(".png"))
    state = jax.device_get(epoch.train_state)
    return Bundle(target, segmenter, state.ema, state.state, "unsaved")


def samples(target: str, items: Sequence[Item], model: Model) -> Samples:
    """The items as the network sees them; each source has its share of the batches."""
    parts = []
    for item in items:
        preprocess = PREPROCESS[target]
        if target == "infection" and item.lungs is None:
            preprocess = replace(preprocess, region="full")
        parts.append(
            (
                item.source,
                Samples.of_scan(item.ct, item.mask, preprocess, lungs=item.lungs, model=model),
            )
        )
    slices = {source: 0 for source, _ in parts}
    for source, part in parts:
        slices[source] += len(part.images)
    return Samples.joined(
        [part._replace(weights=part.weights * SHARES[target][s] / slices[s]) for s, part in parts]
    )


def cross_validated(
    target: str,
    items: Sequence[Item],
    spec: TrainSpec,
    numbers: Iterable[int],
    out: Path,
    start: Start = FRESH,
) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of every real case by a model that saw no case of its group."""
    folds = grouped(items, FOLDS[target])
    for number in numbers:
        fold = folds[number]
        rest = [item for item in items if item.group not in fold]
        own = start.bundle and start.bundle.format(fold=number)
        bundle = trained(target, rest, spec, start._replace(bundle=own))
        path = out.with_name(f"{out.stem}_fold{number}.npz")
        saved(path, bundle, spec, own, {"held_out": sorted(fold)})
        yield from scored(bundle, number, [item for item in items if item.group in fold])


def scored(
    bundle: Bundle, number: int, items: Sequence[Item]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of items that the bundle has not seen."""
    for item in items:
        found = predicted(bundle, item)
        scores = metrics.overlap(found.array > 0, item.mask.array > 0)
        if bundle.spec.target == "infection":
            scores |= by_type(postprocess.lesions(found, item.ct).array, item.mask.array)
        print(number, item.name, {k: round(v, 3) for k, v in scores.items()}, flush=True)
        yield item.name, {"fold": number, **scores}


def judged_again(
    target: str, items: Sequence[Item], numbers: Iterable[int], bundles: str
) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of a cross-validation's bundles, with pre- and post-processing as they are here."""
    folds = grouped(items, FOLDS[target])
    for number in numbers:
        bundle = weights.load(Path(bundles.format(fold=number)))
        if set(bundle.spec.card["held_out"]) != folds[number]:
            raise SystemExit(f"{bundle.name} held out other cases than fold {number} has")
        around = {"preprocess": PREPROCESS[target], "postprocess": POSTPROCESS[target]}
        bundle = replace(bundle, spec=replace(bundle.spec, **around))
        yield from scored(bundle, number, [item for item in items if item.group in folds[number]])


def by_type(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of each type of lesion that is there."""
    types = {"ground_glass": labels.GROUND_GLASS, "consolidation": labels.CONSOLIDATION}
    return {
        f"dice_{name}": metrics.dice(found == label, truth == label)
        for name, label in types.items()
        if (truth == label).any()
    }


def predicted(bundle: Bundle, item: Item) -> Volume:
    """What the bundle says, on the grid of the item; slices cut out already are taken whole."""
    if bundle.spec.target == "lungs":
        return inference.segment(item.ct, weights=[bundle]).lungs
    whole = replace(bundle.spec, preprocess=replace(bundle.spec.preprocess, region="full"))
    return inference.labels(item.ct, replace(bundle, spec=whole))


def grouped(items: Sequence[Item], count: int) -> list[set[str]]:
    """Groups of real, labelled cases in folds, every source spread evenly over them.

    Items without a group are in every training set.
    """
    folds: list[set[str]] = [set() for _ in range(count)]
    for source in sorted({item.source for item in items}):
        names = [item.group for item in items if item.source == source and item.group]
        order = np.random.default_rng(0).permutation(sorted(set(names))).tolist()
        held = [0] * count
        for group in sorted(order, key=names.count, reverse=True):
            least = held.index(min(held))
            folds[least].add(group)
            held[least] += names.count(group)
    return folds


def summary(scores: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Mean, standard deviation, median and range of Dice and IoU, by source."""
    result: dict[str, Any] = {}
    for source in sorted({name.split("/")[0] for name in scores}):
        cases = [values for name, values in scores.items() if name.startswith(f"{source}/")]
        result[source] = {"cases": len(cases)}
        for key in ("dice", "iou"):
            values = np.array([case[key] for case in cases])
            result[source][key] = {
                "mean": round(float(values.mean()), 4),
                "sd": round(float(values.std(ddof=1)), 4) if len(values) > 1 else None,
                "median": round(float(np.median(values)), 4),
                "min": round(float(values.min()), 4),
                "max": round(float(values.max()), 4),
            }
    return result


def lung_items(data: Path) -> Iterator[Item]:
    """Lungs: volumes, wide-window slices, COVID-19 slices with outlines made here, phantoms."""
    for path in sorted((data / "ct_lowres_volumes").glob("*_ct.nii.gz")):
        name = path.name.removesuffix("_ct.nii.gz")
        mask = io.load_mask(path.with_name(f"{name}_lungs.nii.gz"))
        yield Item(f"lowres/{name}", f"lowres {name}", "lowres", io.load(path), mask)
    for path in sorted((data / "lungsegdb" / "images").iterdir()):
        mask = io.load_mask(data / "lungsegdb" / "lungs" / path.name)
        group = _group(path.stem, NEIGHBOURS)
        ct = io.load(path, window=WIDE_WINDOW)
        yield Item(f"lungsegdb/{path.stem}", f"lungsegdb {group}", "lungsegdb", ct, mask)
    for path in sorted((data / "ct_dicom_slices").iterdir()):
        ct = io.load(path)
        outline = body_outline(ct)
        if outline.array.any():  # a neck has none, and for SL0058_52 none is found
            yield Item(f"dicom/{path.stem}", f"dicom {path.stem[:6]}", "dicom", ct, outline)
    for item in semiseg(data):
        outline = lung_outline(item.ct, item.mask)
        yield item._replace(mask=outline)
    for seed in range(12):
        made = phantoms.phantom((48, 256, 256), disease=0.05 * (seed % 8), seed=1000 + seed)
        yield Item(f"phantom/{seed}", "", "phantom", made.ct, made.lungs)


def infection_items(data: Path) -> Iterator[Item]:
    """Infection: labelled slices, scans without COVID-19, phantoms."""
    yield from semiseg(data)
    lungs = weights.load("lungs")
    healthy = [*sorted((data / "ct_lowres_volumes").glob("*_ct.nii.gz"))]
    healthy += sorted((data / "ct_dicom_slices").iterdir())
    for path in healthy:
        ct = io.load(path)
        found = inference.segment(ct, weights=[lungs]).lungs
        nothing = ct.with_array(np.zeros(ct.shape, np.uint8))
        source = "lowres" if path.suffix == ".gz" else "dicom"
        yield Item(f"{source}/{path.name}", "", source, ct, nothing, found)
    for seed in range(8):
        made = phantoms.phantom((32, 256, 256), disease=0.05 * seed, seed=2000 + seed)
        yield Item(f"phantom/{seed}", "", "phantom", made.ct, made.lesions, made.lungs)


def believed(teacher: Bundle, data: Path) -> Samples:
    """Unlabelled slices of 20 other patients, with what the teacher sees in them."""
    preprocess = replace(PRESETS["infection"], region="full")
    parts = []
    for ct in unlabelled(data):
        nothing = ct.with_array(np.zeros(ct.shape, np.uint8))
        parts.append(Samples.of_scan(ct, nothing, preprocess).images)
    images = np.concatenate(parts)
    model, weight = weights.create_model(teacher.spec.model), UNLABELLED_SHARE / len(images)
    return training.taught(images, model, teacher.params, teacher.state, weight=weight)


def unlabelled(data: Path) -> Iterator[Volume]:
    """At most 40 slices of each patient, evenly spaced, turned to the radiological view."""
    patients: dict[str, list[Path]] = {}
    for path in (data / "covid_semiseg" / "unlabelled").iterdir():
        patients.setdefault(path.stem.rsplit("_", 1)[0], []).append(path)
    for name in sorted(patients):
        paths = sorted(patients[name], key=lambda path: int(path.stem.rsplit("_", 1)[1]))
        for index in np.unique(np.linspace(0, len(paths) - 1, 40).round().astype(int)):
            wide = "coronacases" in name
            ct = io.load(paths[index], window=CORONACASES_WINDOW if wide else WINDOW)
            turned = np.rot90(ct.array[0]) if wide else ct.array[0].T
            yield Volume(np.ascontiguousarray(turned)[None]).as_checked()


def semiseg(data: Path) -> Iterator[Item]:
    """The 50 labelled slices of COVID-SemiSeg and their lesions, in the radiological view."""
    folder = data / "covid_semiseg" / "labelled"
    for path in sorted((folder / "images").iterdir(), key=lambda path: int(path.stem)):
        ct = io.load(path, window=WINDOW)
        mask = lesions(folder / "lesion_types" / f"{path.stem}.png")
        ct, mask = (Volume(np.ascontiguousarray(v.array.transpose(0, 2, 1))) for v in (ct, mask))
        yield Item(
            f"semiseg/{path.stem}",
            f"semiseg {_group(path.stem, LOOKALIKES)}",
            "semiseg",
            ct.as_checked(),
            mask,
        )


def lesions(path: Path) -> Volume:
    """Types of lesions from a picture with ground glass in red and consolidation in green."""
    _, green, red = cv2.split(cv2.imread(str(path)))
    types = np.select([red > 64, green > 64], [labels.GROUND_GLASS, labels.CONSOLIDATION], 0)
    return Volume(types.astype(np.uint8)[None])


def lung_outline(ct: Volume, infection: Volume) -> Volume:
    """Lungs of one slice cut out around them: dark tissue and infection, closed on each side.

    COVID-SemiSeg has no lung labels. With the infection known, dark tissue plus infection is the
    lung, up to the trachea and to the air around the patient.
    """
    dark = ct.array[0] < -425
    parts, _ = ndimage.label(dark)
    for corner in (parts[0, 0], parts[0, -1], parts[-1, 0], parts[-1, -1]):
        dark &= (parts != corner) | (corner == 0)
    sick = infection.array[0] > 0
    lung = _large_parts(ndimage.binary_opening(dark) | sick, sick)
    size = lung.shape[1] // 20 | 1
    return _closed(ct, lung, size=size, max_hole_mm2=0.01 * lung.size)


def body_outline(ct: Volume) -> Volume:
    """Lungs of one slice in HU that shows the whole body: large dark parts in it, closed.

    It fits lungs with tumors; where it finds no lung, it is empty.
    """
    air = ct.array[0] < -500
    parts, _ = ndimage.label(ndimage.binary_opening(~air, iterations=3))
    body = ndimage.binary_fill_holes(parts == 1 + np.bincount(parts.ravel())[1:].argmax())
    parts, count = ndimage.label(ndimage.binary_opening(air & body))
    area = np.bincount(parts.ravel(), minlength=count + 1) / body.sum()
    area[0] = 0
    return _closed(ct, (area > 0.02)[parts], size=15, max_hole_mm2=3000)


def _closed(ct: Volume, lung: np.ndarray, *, size: int, max_hole_mm2: float) -> Volume:
    """The lung closed on each half of the slice, so that nothing joins across the mediastinum."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    middle = lung.shape[1] // 2
    closed = lung.copy()
    for half in (slice(0, middle), slice(middle, None)):
        alone = np.zeros(lung.shape, np.uint8)
        alone[:, half] = lung[:, half]
        padded = cv2.copyMakeBorder(alone, *[size] * 4, cv2.BORDER_CONSTANT, value=0)
        joined = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[size:-size, size:-size]
        closed[:, half] |= joined[:, half] > 0
    mask = postprocess.filled(ct.with_array(closed[None]), max_hole_mm2=max_hole_mm2)
    return mask.with_array(mask.array.astype(np.uint8))


def _large_parts(lung: np.ndarray, sick: np.ndarray) -> np.ndarray:
    """Components that are no specks and no trachea (small, central, without infection)."""
    parts, count = ndimage.label(lung)
    numbers = np.arange(1, count + 1)
    area = ndimage.sum_labels(np.ones(lung.shape), parts, numbers) / lung.size
    columns = np.array([c for _, c in ndimage.center_of_mass(lung, parts, numbers)])
    central = abs(columns / lung.shape[1] - 0.5) < 0.16
    infected = ndimage.mean(sick, parts, numbers) >= 0.05
    keep = (area > 0.002) & ~(central & (area < 0.02) & ~infected)
    kept: np.ndarray = np.concatenate([[False], keep])[parts]
    return kept


def _group(name: str, groups: Sequence[str]) -> str:
    return next((group for group in groups if name in group.split()), name)


ITEMS: dict[str, Callable[[Path], Iterator[Item]]] = {
    "lungs": lung_items,
    "infection": infection_items,
}
SHARES = {
    "lungs": {"lowres": 0.3, "lungsegdb": 0.15, "dicom": 0.2, "semiseg": 0.2, "phantom": 0.15},
    "infection": {"semiseg": 0.76, "lowres": 0.1, "dicom": 0.07, "phantom": 0.07},
}
_LICENSE = "non-commercial research use only, as the data it was trained on"
_IN_SIGHT = (
    "recipes, threshold and post-processing were chosen with these cases in sight: optimistic"
)
CARDS: dict[str, dict[str, Any]] = {
    "lungs": {
        "data": "3 low-resolution chest CTs (imlab-uiip/lung-segmentation-3d), 14 slices of "
        "LungSegDB, 12 slices of lung-cancer patients and 50 COVID-19 slices of COVID-SemiSeg with "
        "outlines derived from intensity (and infection labels), 12 synthetic volumes; the encoder "
        "before that from ImageNet (EfficientNet-Lite0)",
        "license": _LICENSE,
        "judged": "3-fold cross-validation; " + _IN_SIGHT,
        "recipe": "python benchmarks/pretrained.py lungs --out start.npz; python benchmarks/"
        "train_weights.py train lungs --start start.npz --data DIR --out lungs.npz",
        "known_failures": "complete white-out of a lung; bowel with stool and gas beside the lung; "
        "lungs after resection; scans of animals",
    },
    "infection": {
        "data": "50 labelled slices of COVID-SemiSeg (MedSeg set 1); as healthy examples 3 "
        "low-resolution chest CTs and 14 slices of lung-cancer patients; 8 synthetic volumes; the "
        "encoder before that from ImageNet (EfficientNet-Lite2)",
        "license": _LICENSE,
        "judged": "5-fold cross-validation, the network alone on slices cut out around the lungs; "
        + _IN_SIGHT,
        "recipe": "python benchmarks/pretrained.py infection --lite 2 --out start.npz; python "
        "benchmarks/train_weights.py train infection --start start.npz --data DIR "
        "--out infection.npz",
        "known_failures": "other diseases that look alike (tumour, oedema, other pneumonia, "
        "atelectasis) are called infection; vessels at the hilum; motion at the heart",
    },
}

if __name__ == "__main__":
    main()
