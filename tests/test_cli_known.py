"""Cases that a model knows already, as ``lungmask-jax evaluate`` tells them from others."""

import csv
import json
import types

import jax
import numpy as np
import pytest

from lungmask_jax import cli, data, inference, io, weights
from lungmask_jax.phantoms import phantom
from lungmask_jax.spec import ModelSpec, SegmenterSpec

NAMES = ("ann", "ben", "cleo", "dan")
NETWORK = ModelSpec(options={"channels": [2], "stem": 1})


@pytest.fixture(scope="module")
def chests():
    return {name: phantom((2, 32, 32), disease=0.3, seed=k) for k, name in enumerate(NAMES)}


@pytest.fixture(autouse=True)
def _quick(chests, monkeypatch):
    """Whatever is segmented has the lungs of one phantom, and no network is compiled."""
    masks = chests["ann"]
    found = types.SimpleNamespace(masks={"lungs": masks.lungs, "infection": masks.infection})
    monkeypatch.setattr(inference, "segment", lambda ct, **_: found)


@pytest.fixture
def prints(chests, tmp_path):
    """Fingerprints by name of four scans with masks, and their list."""
    rows, found = [], {}
    for name, made in chests.items():
        kinds = {"ct": made.ct, "lungs": made.lungs, "infection": made.infection}
        for kind, volume in kinds.items():
            (tmp_path / kind).mkdir(exist_ok=True)
            io.save(volume, tmp_path / kind / f"{name}.nii.gz")
        rows.append(",".join(f"{kind}/{name}.nii.gz" for kind in kinds))
        found[name] = data.fingerprint(io.load(tmp_path / "ct" / f"{name}.nii.gz"))
    table = "\n".join(["ct_scan,lung_mask,infection_mask", *rows])
    (tmp_path / "metadata.csv").write_text(table + "\n")
    return found


@pytest.fixture
def evaluated(tmp_path, prints, capsys):
    """Evaluates with models of these cards: rows of the table, the summary, what was printed."""

    numbers = weights.create_model(NETWORK).init(jax.random.key(0))

    def evaluate(card, *words, lungs=(), out="out"):
        paths = []
        for target, one in (("lungs", dict(lungs)), ("infection", card)):
            spec = SegmenterSpec(target=target, model=NETWORK, card=one)
            paths.append(str(tmp_path / f"{target}.npz"))
            weights.save(paths[-1], spec, *numbers)
        given = ["--data", str(tmp_path / "metadata.csv"), "--weights", *paths, "--worst", "0"]
        assert cli.main(["evaluate", *given, *words, "-o", str(tmp_path / out)]) == 0
        with (tmp_path / out / "cases.csv").open() as file:
            rows = list(csv.DictReader(file))
        summary = json.loads((tmp_path / out / "summary.json").read_text())
        assert "cases.csv" in summary.pop("files_written")
        return rows, summary, capsys.readouterr()

    return evaluate


def seen(rows):
    return {row["case"]: row["seen"] for row in rows}


def test_cases_that_nobody_has_seen_are_summed_up_as_ever(evaluated):
    rows, summary, printed = evaluated({"trained_on_images": ["0" * 16]})
    assert seen(rows) == dict.fromkeys(NAMES, "")
    assert list(summary) == ["summary"]
    assert summary["summary"]["infection"]["dice"]["cases"] == 4
    assert printed.err == ""


def test_cases_that_a_model_knows_are_named_and_summed_up_apart(evaluated, prints):
    card = {"trained_on_images": [prints["ben"]], "held_out_images": [prints["dan"]]}
    rows, summary, printed = evaluated(card)
    assert seen(rows) == {"ann": "", "ben": "learned from", "cleo": "", "dan": "held out"}
    dice = {row["case"]: float(row["dice"]) for row in rows}
    means = {kind: found["infection"]["dice"]["mean"] for kind, found in summary.items()}
    assert means == pytest.approx(
        {
            "summary": np.mean([dice["ann"], dice["cleo"]]),
            "learned_from": dice["ben"],
            "held_out": dice["dan"],
        }
    )
    assert [line for line in printed.err.splitlines() if "learned from by the model" in line]
    assert "no evidence" in printed.err
    assert "(learned from)" in printed.out


def test_what_the_lung_model_has_learned_from_is_known_too(evaluated, prints):
    rows, _, _ = evaluated({}, lungs={"trained_on_images": [prints["ann"]]})
    assert seen(rows)["ann"] == "learned from"
    lungs, _, _ = evaluated({"trained_on_images": [prints["ann"]]}, "--target", "lungs")
    assert set(seen(lungs).values()) == {""}  # another model than that of the lungs


def test_where_all_are_known_there_is_no_summary_of_strangers(evaluated, prints):
    _, summary, _ = evaluated({"trained_on_images": [*prints.values()]})
    assert summary["summary"] == {}
    assert summary["learned_from"]["infection"]["dice"]["cases"] == 4


def test_known_cases_are_not_compared(evaluated, prints, tmp_path):
    evaluated({}, out="one")
    against = ["--against", str(tmp_path / "one" / "cases.csv")]
    _, summary, _ = evaluated({"trained_on_images": [prints["ben"]]}, *against, out="two")
    assert summary["comparison"]["infection"]["dice"]["cases"] == 3
    assert summary["not_compared"] == []
    against = ["--against", str(tmp_path / "two" / "cases.csv")]
    _, summary, _ = evaluated({}, *against, out="three")
    assert summary["comparison"]["infection"]["dice"]["cases"] == 3
