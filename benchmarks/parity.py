"""How closely losses and metrics agree with what other libraries have computed.

    python benchmarks/parity.py

Their values are stored in tests/references, with the scripts that made them. A row is a loss, or a
metric, with the largest difference among all stored cases, as a share of the value.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lungmask_jax import losses, metrics

HERE = Path(__file__).parents[1] / "tests" / "references"
SURFACES = (
    "Hausdorff distance",
    "HD95",
    "median surface distance",
    "surface Dice at 1 mm",
    "mean distance of the target's surface",
    "mean distance of the predicted surface",
    "area of the target's surface",
    "area of the predicted surface",
)


def main() -> None:
    """Prints both tables."""
    content = json.loads((HERE / "losses.json").read_text())
    print(f"Losses, beside {content['origin'].split(' with ')[1]}:\n")
    show(of_losses(content["cases"]))
    stored = np.load(HERE / "metrics.npz")
    peers = ", ".join(f"{k} {v}" for k, v in json.loads(str(stored["origin"])).items())
    print(f"\nMetrics, beside {peers}:\n")
    show([*of_surfaces(stored), *of_maps(stored)])


def show(rows: list[tuple[str, int, float]]) -> None:
    """Markdown."""
    print("| Name | values | largest difference |\n| --- | --- | --- |")
    for name, count, difference in rows:
        print(f"| {name} | {count} | {difference:.0e} |")


def difference(found: Any, expected: Any) -> float:
    """The largest, as a share of the value; of very small values, as it is."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    scale = np.where(abs(expected) > 1e-6, abs(expected), 1.0)
    return float((abs(found - expected) / scale).max())


def of_losses(cases: dict[str, Any]) -> list[tuple[str, int, float]]:
    """Name, number of values, largest difference of each loss."""
    counts: dict[str, int] = defaultdict(int)
    worst: dict[str, float] = defaultdict(float)
    for content in cases.values():
        logits, targets = (
            jnp.array(content[kind], jnp.float32).reshape(content["shape"])
            for kind in ("logits", "targets")
        )
        for call, values in content["losses"].items():
            name, options = options_of(call)
            found = losses.create(name, **options)(logits, targets)
            counts[name] += len(values)
            worst[name] = max(worst[name], difference(found, values))
    return [(f"`{name}`", counts[name], worst[name]) for name in sorted(counts)]


def options_of(call: str) -> tuple[str, dict[str, Any]]:
    """``name:option=json,option=json``."""
    name, _, text = call.partition(":")
    pairs = re.findall(r"(\w+)=(\[[^]]*\]|[^,]+)", text)
    return name, {option: json.loads(value) for option, value in pairs}


def of_surfaces(stored: Any) -> Iterator[tuple[str, int, float]]:
    """Surface metrics beside surface-distance."""
    names = sorted({name.split("/")[0] for name in stored.files if name.startswith("surface")})
    ours = np.array([surfaces(stored, name) for name in names])
    theirs = np.array([stored[f"{name}/expected"] for name in names])
    for number, name in enumerate(SURFACES):
        yield name, len(names), difference(ours[:, number], theirs[:, number])


def surfaces(stored: Any, name: str) -> list[float]:
    """Ours, in the order of the stored ones."""
    found = metrics.surface_distances(*stored[f"{name}/masks"], stored[f"{name}/spacing"])
    target, predicted = found.target_areas.sum(), found.areas.sum()
    return [
        *(found.hausdorff(percent=percent) for percent in (100, 95, 50)),
        found.dice(1.0),
        found.to_prediction @ found.target_areas / target,
        found.to_target @ found.areas / predicted,
        target,
        predicted,
    ]


def of_maps(stored: Any) -> Iterator[tuple[str, int, float]]:
    """S-measure, E-measure at 256 thresholds, and mean absolute error, beside pysodmetrics."""
    names = sorted({name.split("/")[0] for name in stored.files if name.startswith("map")})
    rows: dict[str, list[float]] = defaultdict(list)
    for name in names:
        likely, target = stored[f"{name}/grey"] / 255, stored[f"{name}/target"]
        found = metrics.s_measure(likely, target)
        rows["S-measure"].append(difference(found, stored[f"{name}/s"]))
        curve = metrics.threshold_curves(likely, target).e_measure[:-1]  # theirs falls, from 254
        rows["E-measure"].append(difference(curve, stored[f"{name}/e"][254::-1]))
        error = metrics.mean_absolute_error(likely, target)
        rows["mean absolute error"].append(difference(error, stored[f"{name}/mae"]))
    for name, differences in rows.items():
        yield name, len(differences) * (255 if name == "E-measure" else 1), max(differences)


if __name__ == "__main__":
    main()
