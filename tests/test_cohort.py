"""Many scans: run again, several at once, lists, shares, tables, workers."""

import csv
import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_runs import by_density, named_only

import lungmask_jax
from lungmask_jax import cli, cohort, inference, io, records
from lungmask_jax.cohort import Scan, _attempt, _cluster, _segment_many, _state
from lungmask_jax.errors import MissingPackageError, ScanError, SpecError
from lungmask_jax.phantoms import phantom

PAGE = Path(__file__).parents[1] / "docs" / "cohorts.md"


@pytest.fixture
def segmented(monkeypatch):
    """No network; the scans that were segmented, by their first row."""
    done = []

    def segment(ct, **more):
        done.append(int(ct.array[0, 0, 0]))
        return by_density(ct, **more)

    monkeypatch.setattr(inference, "segment", segment)
    monkeypatch.setattr(_segment_many, "by_target", named_only)
    monkeypatch.setattr(_cluster, "_models", lambda names: tuple(named_only(names).values()))
    return done


@pytest.fixture
def scans(tmp_path):
    """Three scans; the first voxel has their number."""
    made = phantom((3, 32, 32)).ct
    (tmp_path / "scans").mkdir()
    for number, name in enumerate("abc"):
        write(tmp_path / "scans" / f"{name}.nii.gz", made, number)
    return tmp_path / "scans"


def write(path, made, number):
    array = made.array.copy()
    array[0, 0, 0] = -1000 + number
    io.save(made.with_array(array), path)


def run(scans, out, **more):
    """Name to state, with a star where this run did it."""
    outcomes = cohort.segment_many([scans], out, **more)
    return {one.name: one.state + "*" * one.is_new for one in outcomes}


def results(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


# Again


def test_a_mask_that_was_changed_since_fails_its_scan_and_stays(scans, tmp_path, segmented):
    out = tmp_path / "out"
    run(scans, out)
    mask = out / "b_lungs.nii.gz"
    mask.write_bytes(b"corrected by hand")
    assert run(scans, out) == {"a": "done", "b": "failed*", "c": "done"}
    (failed,) = (one for one in cohort.segment_many([scans], out) if one.state == "failed")
    assert "b_lungs.nii.gz in" in failed.reason
    assert "changed since it was measured" in failed.reason
    assert mask.read_bytes() == b"corrected by hand"
    assert run(scans, out, overwrite=True) == {"a": "done", "b": "done*", "c": "done"}
    assert mask.read_bytes() != b"corrected by hand"
    assert run(scans, out) == {"a": "done", "b": "done", "c": "done"}


def test_results_that_were_copied_are_done_whatever_the_order(scans, tmp_path, segmented):
    run(scans, tmp_path / "out")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "out", copy)
    for path in copy.glob("*.nii.gz"):
        path.touch()
    assert run(scans, copy) == {"a": "done", "b": "done", "c": "done"}


def test_run_again_does_what_is_new_or_changed(scans, tmp_path, segmented):
    out = tmp_path / "out"
    assert run(scans, out) == {"a": "done*", "b": "done*", "c": "done*"}
    assert run(scans, out) == {"a": "done", "b": "done", "c": "done"}
    write(scans / "b.nii.gz", phantom((3, 32, 32)).ct, 7)
    write(scans / "d.nii.gz", phantom((3, 32, 32)).ct, 8)
    assert run(scans, out) == {"a": "done", "b": "done*", "c": "done", "d": "done*"}
    os.utime(scans / "a.nii.gz", (1, 1))  # the same content
    assert run(scans, out)["a"] == "done"
    assert run(scans, out, weights=["lungs"])["a"] == "done*"
    assert run(scans, out, weights=["lungs"], uncertainty=True)["a"] == "done*"
    assert run(scans, out, weights=["lungs"], uncertainty=True)["a"] == "done"


def test_a_failed_scan_is_tried_again_if_told_to_or_if_it_has_changed(scans, tmp_path, segmented):
    out = tmp_path / "out"
    (scans / "b.nii.gz").write_bytes(b"no scan")
    assert run(scans, out)["b"] == "failed*"
    assert run(scans, out)["b"] == "failed"
    assert run(scans, out, retry_failed=True)["b"] == "failed*"
    write(scans / "b.nii.gz", phantom((3, 32, 32)).ct, 7)
    assert run(scans, out) == {"a": "done", "b": "done*", "c": "done"}


def test_where_the_folder_or_the_disk_is_to_blame_the_next_run_tries_again(
    scans, tmp_path, segmented, monkeypatch
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_lungs.nii.gz").write_bytes(b"of others")
    with monkeypatch.context() as patch:
        patch.setattr(inference, "segment", full)
        assert run(scans, out) == {"a": "failed*", "b": "failed*", "c": "failed*"}
    assert run(scans, out) == {"a": "failed*", "b": "done*", "c": "done*"}
    (out / "a_lungs.nii.gz").unlink()
    assert run(scans, out)["a"] == "done*"


def full(*_words, **_more):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_scan_whose_files_or_log_are_gone_is_no_loss(scans, tmp_path, segmented):
    out = tmp_path / "out"
    run(scans, out)
    before = results(out)
    (out / "a_lungs.nii.gz").unlink()
    for path in (out / _state.HIDDEN / "manifest").iterdir():
        path.unlink()
    assert run(scans, out) == {"a": "done*", "b": "done", "c": "done"}
    assert results(out) == before


def test_a_run_again_by_another_version_segments_again(scans, tmp_path, segmented, monkeypatch):
    (scans / "c.nii.gz").write_bytes(b"no scan")
    run(scans, tmp_path / "out")
    monkeypatch.setattr(_attempt, "__version__", "99.0")
    assert run(scans, tmp_path / "out") == {"a": "done*", "b": "done*", "c": "failed*"}
    assert run(scans, tmp_path / "out") == {"a": "done", "b": "done", "c": "failed"}


@pytest.mark.parametrize("more", [{}, {"weights": ["lungs"]}])
def test_a_moved_archive_is_the_same(scans, tmp_path, segmented, more):
    out, moved = tmp_path / "out", tmp_path / "moved"
    run(scans, out)
    scans.rename(moved)
    write(moved / "b.nii.gz", phantom((3, 32, 32)).ct, 7)  # another scan of that name
    states = run(moved, out, **more)
    assert states == {"a": "done*" if more else "done", "b": "failed*", "c": states["a"]}
    record = json.loads((out / "a.json").read_text())
    assert record["source"] == str(moved / "a.nii.gz")
    assert {row["source"] for row in _state.latest(out).values()} == {
        str(moved / f"{name}.nii.gz") for name in "abc"
    }
    assert run(moved, out, overwrite=True, **more)["b"] == "done*"


def test_a_scan_keeps_its_name_when_another_of_that_name_comes(tmp_path, segmented):
    made = phantom((3, 32, 32)).ct
    for number, patient in enumerate("pq"):
        (tmp_path / "scans" / patient).mkdir(parents=True)
        write(tmp_path / "scans" / patient / "ct.nii.gz", made, number)
        scans = cohort.find_scans([tmp_path / "scans"], recursive=True)
        outcomes = [*cohort.segment_many(scans, tmp_path / "out")]
    assert {one.name: one.is_new for one in outcomes} == {"ct": False, "q_ct": True}
    named = {"mine": scans["q_ct"]}
    assert [one.name for one in cohort.segment_many(named, tmp_path / "out")] == ["mine"]


@pytest.mark.parametrize(("header", "voxels"), [("a.mhd", "a.raw"), ("a.nhdr", "a.raw")])
def test_voxels_beside_their_header_belong_to_the_content(tmp_path, segmented, header, voxels):
    (tmp_path / "scans").mkdir()
    write(tmp_path / "scans" / "a.mha", phantom((3, 32, 32)).ct, 1)
    SimpleITK = pytest.importorskip("SimpleITK")
    image = SimpleITK.ReadImage(tmp_path / "scans" / "a.mha")
    (tmp_path / "scans" / "a.mha").unlink()
    SimpleITK.WriteImage(image, tmp_path / "scans" / header)
    scan = tmp_path / "scans" / header
    assert run(scan, tmp_path / "out") == {"a": "done*"}
    assert run(scan, tmp_path / "out") == {"a": "done"}
    data = bytearray((tmp_path / "scans" / voxels).read_bytes())
    data[-1] ^= 1
    (tmp_path / "scans" / voxels).write_bytes(data)
    assert run(scan, tmp_path / "out") == {"a": "done*"}


# Killed


def attempts(out, name, text):
    path = out / _state.HIDDEN / "attempts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_scan_that_ended_one_process_is_tried_last_and_alone(scans, tmp_path, segmented):
    out = tmp_path / "out"
    attempts(out, "a", "attempt host 1\n")
    assert list(run(scans, out)) == ["b", "c", "a"]
    assert _state.attempted(out) == set()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("attempt host 1\nattempt host 2\n", "its process was killed 2 times"),
        ("attempt host 1\nTimeout (0:00:10)!\nThread\n", "took longer than the limit"),
    ],
)
def test_a_scan_that_ended_its_processes_fails(scans, tmp_path, segmented, text, reason):
    out = tmp_path / "out"
    attempts(out, "a", text)
    *_, last = cohort.segment_many([scans], out)
    assert (last.name, last.state) == ("a", "failed")
    assert last.reason.startswith(reason)
    assert run(scans, out)["a"] == "failed"
    assert run(scans, out, retry_failed=True)["a"] == "done*"
    attempts(out, "a", text)
    assert run(scans, out)["a"] == "done"
    assert _state.attempted(out) == set()


def test_a_run_that_is_stopped_leaves_no_attempt_and_the_table(scans, tmp_path, segmented):
    out = tmp_path / "out"
    outcomes = cohort.segment_many([scans], out)
    next(outcomes)
    outcomes.close()
    assert _state.attempted(out) == set()
    assert (out / "measures.csv").read_text().count("\n") == 2
    assert run(scans, out)["a"] == "done"
    assert (out / "measures.csv").read_text().count("\n") == 4


def test_the_table_gets_rows_that_a_killed_run_did_not_add(scans, tmp_path, segmented):
    out = tmp_path / "out"
    run(scans, out)
    text = (out / "measures.csv").read_text()
    (out / "measures.csv").unlink()
    run(scans, out)
    assert (out / "measures.csv").read_text() == text


# Several at once


def test_three_runs_at_once_segment_each_scan_once(scans, tmp_path, segmented):
    out = tmp_path / "out"
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: run(scans, out), range(3)))
    assert sorted(segmented) == [-1000, -999, -998]
    for states in found:
        assert {name: state.rstrip("*") for name, state in states.items()} == dict.fromkeys(
            "abc", "done"
        )
    assert (out / "measures.csv").read_text().count("\n") == 4


def test_a_scan_that_another_run_fails_on_is_not_tried_again(scans, tmp_path, segmented):
    out = tmp_path / "out"
    (scans / "a.nii.gz").write_bytes(b"no scan")
    with ThreadPoolExecutor(1) as pool, cohort.outputs(out).claimed("a.json"):
        waiting = pool.submit(run, scans, out)
        for _ in range(1000):
            time.sleep(0.05 * (not (out / "c.json").exists()))
        content = _state.content(Scan(scans / "a.nii.gz"))
        how = {"models": {"lungs": "lungs " + "0" * 12, "infection": "infection " + "0" * 12}}
        how["settings"] = {"uncertainty": False, "format": "", "window": None}
        how["version"] = lungmask_jax.__version__
        key = _state.key_of(content, how)
        row = {"scan": "a", "state": "failed", "reason": "bad", "lasting": True, "key": key}
        _state.append(out, row)
    assert waiting.result()["a"] == "failed"


# The log


def test_the_latest_row_counts_and_what_is_no_row_does_not(tmp_path):
    folder = tmp_path / _state.HIDDEN / "manifest"
    folder.mkdir(parents=True)
    rows = [
        {"scan": "a", "state": "done", "time": 2.0},
        {"scan": "a", "state": "running", "time": 1.0, "content": "1f"},
    ]
    (folder / "one.jsonl").write_text("\n".join([json.dumps(rows[0]), '{"scan": "b", "sta']))
    (folder / "two.jsonl").write_text("\n".join([json.dumps(rows[1]), "[]", "{}"]))
    assert _state.latest(tmp_path) == {
        "a": {"scan": "a", "state": "done", "time": 2.0, "content": "1f"}
    }


DAMAGED = [
    '{"scan": null, "state": "done", "time": 9}',
    '{"scan": ["a"], "state": "done", "time": 9}',
    '{"scan": "a", "state": "done", "time": "late"}',
    '{"scan": "a", "state": "done", "time": null}',
    '{"scan": "a", "state": "lost", "time": 9}',
    '{"scan": "a", "state": ["done"], "time": 9}',
    '{"scan": "a", "state": "failed", "time": 9, "reason": 5}',
    '{"scan": "a", "state": "done", "time": 9, "signature": {}}',
    "[" * 100_000,
    "\0\xff",
]


def test_damaged_lines_of_the_log_cost_nothing(scans, tmp_path, segmented):
    out = tmp_path / "out"
    run(scans, out, weights=["lungs"])
    folder = out / _state.HIDDEN / "manifest"
    known = _state.latest(out)
    folder.joinpath("damaged.jsonl").write_text("\n".join(DAMAGED), encoding="latin-1")
    assert _state.latest(out) == known
    (folder / "short.jsonl").write_text('{"scan": "z", "state": "failed", "time": 9}\n')
    assert cli.main(["collect", str(out)]) == 0
    table = records.read_csv(out / "cohort.csv")
    assert {name: row["state"] for name, row in table.items()} == {
        **dict.fromkeys(known, "done"),
        "z": "failed",
    }
    assert run(scans, out, weights=["lungs"]) == dict.fromkeys(known, "done")
    problems = {one.row["scan"]: one.problem for one in cohort.write_pages(cohort.outputs(out))}
    assert problems == dict.fromkeys([*known, "z"], "")


def test_rows_for_which_there_was_no_space_follow_with_the_next(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        _state.append(tmp_path, {"scan": "a", "state": "failed"})
    assert _state.latest(tmp_path) == {}
    _state.append(tmp_path, {"scan": "b", "state": "done"})
    assert {name: row["state"] for name, row in _state.latest(tmp_path).items()} == {
        "a": "failed",
        "b": "done",
    }


def test_the_content_of_a_folder_is_that_of_its_files(tmp_path):
    nothing, one, two = (Scan(tmp_path / name) for name in ("nothing", "one", "two"))
    assert _state.content(nothing) == _state.signature(nothing) == ""
    for scan in (one, two):
        (scan.path / "in").mkdir(parents=True)
        (scan.path / "in" / "1.dcm").write_bytes(b"1")
        (scan.path / ".hidden").write_bytes(scan.path.name.encode())
    assert _state.content(one) == _state.content(two) != ""
    assert _state.content(one) != _state.content(Scan(one.path, "1.2")) != ""
    assert _state.signature(one) != _state.signature(Scan(one.path, "1.2")) != ""
    (two.path / "in" / "2.dcm").write_bytes(b"2")
    assert _state.content(one) != _state.content(two)


# Lists and shares


@given(st.sets(st.text("abc", min_size=1), max_size=20), st.integers(1, 5))
def test_parts_are_equal_shares_of_all_scans(names, count):
    scans = {name: Scan(Path(name)) for name in names}
    parts = [cohort.part(scans, number, count) for number in range(1, count + 1)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_a_part_that_does_not_exist_is_an_error(scans, capsys):
    with pytest.raises(SpecError, match="part 3/2 does not exist"):
        cohort.part({}, 3, 2)
    for text in ("3/2", "0/2", "1", "a/b"):
        with pytest.raises(SystemExit):
            cli.main(["segment", str(scans), "-o", "out", "--part", text])
        assert "expected K/N" in capsys.readouterr().err


def test_scans_in_subfolders_that_are_left_out_are_counted(scans, tmp_path, segmented, capsys):
    for name in ("p/ct.nii.gz", "q/r/ct.nii.gz"):
        (scans / name).parent.mkdir(parents=True)
        write(scans / name, phantom((3, 32, 32)).ct, 7)
    words = ["segment", str(scans), "-o", str(scans / "out")]  # results among them are no scans
    for _ in range(2):
        assert cli.main(words) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "left out 2 scans in its subfolders, such as p/ct.nii.gz: add --recursive" in said
    assert cli.main([*words, "--recursive"]) == 0
    assert "left out" not in capsys.readouterr().out
    given = [scans, scans / "p"]
    used = cohort.find_scans(given).values()
    (line,) = cohort.left_out(given, used)
    assert "left out 1 scan in" in line


def test_an_empty_share_says_so(scans, tmp_path, segmented, capsys):
    assert cli.main(["segment", str(scans), "-o", str(tmp_path / "out"), "--part", "4/5"]) == 0
    assert "part 4/5 is empty: there are 3 scans in all" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_list_names_scans_and_leaves_others_out(scans, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(
        "path,scan,series,use\nscans/a.nii.gz,ann,,\nscans/b.nii.gz,,1.2,Yes\nscans/c.nii.gz,,,n\n"
    )
    assert cohort.find_scans([table]) == {
        "ann": Scan(scans / "a.nii.gz"),
        "b": Scan(scans / "b.nii.gz", "1.2"),
    }
    assert cohort.candidates([table])["c"].use is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.nii\n", "found the columns file in"),
        ("path;scan\na.nii;b\n", "save the table with commas"),
        ("path,scan\na.nii,x\nb.nii,x\n", "found x twice"),
        ("path,scan\na.nii,../x\n", "cannot be the name of files"),
        ("path\n", "found none in"),
        ("path\n\udcff\n", "in UTF-8"),
        ("path,use\na.nii,maybe\n", "found 'maybe' for a.nii"),
        ("path\na\0b.nii\n", "has a NUL character"),
        (f"path,scan\na.nii,{'x' * 300}\n", "longer than 200 bytes"),
        ("path,scan\na.nii,x\0y\n", "cannot be the name of files"),
    ],
)
def test_a_list_that_cannot_be_used_is_an_error(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ScanError, match=message):
        cohort.find_scans([tmp_path / "list.csv"])


@pytest.mark.parametrize(
    ("language", "variable", "part"),
    [("slurm", "SLURM_ARRAY_TASK_ID", "7/100"), ("batch", "AWS_BATCH_JOB_ARRAY_INDEX", "8/100")],
)
def test_scripts_of_the_page_run_their_part(tmp_path, language, variable, part):
    script = PAGE.read_text().split(f"```{language}\n")[1].split("```")[0]
    command = tmp_path / "lungmask-jax"
    command.write_text(
        f"#!{shlex.quote(sys.executable)}\nimport sys\nfrom lungmask_jax.cli import _options\n"
        "print(*_options.parsed(sys.argv[1:]).part, sep='/')\n"
    )
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        env={**os.environ, "PATH": path, variable: "7"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (f"{part}\n", "")


# Tables


def test_collect_makes_one_table_of_what_became_of_each_scan(scans, tmp_path, segmented, capsys):
    out = tmp_path / "out"
    (scans / "b.nii.gz").write_bytes(b"no scan")
    run(scans, out)
    _state.append(out, {"scan": "d", "state": "running", "source": "/d"})
    (out / "other.json").write_text("{}")
    assert cli.main(["collect", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out / "cohort.csv"), str(out / "cohort.parquet")]
    with (out / "cohort.csv").open() as file:
        rows = {row["scan"]: row for row in csv.DictReader(file)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a": "done",
        "b": "failed",
        "c": "done",
        "d": "running",
    }
    assert rows["b"]["reason"].startswith("expected a NIfTI")
    assert rows["b"]["lungs_ml"] == ""
    assert float(rows["a"]["lungs_ml"]) > 0
    parquet = pytest.importorskip("pyarrow.parquet").read_table(out / "cohort.parquet")
    assert parquet.column_names == list(rows["a"])
    assert parquet["scan"].to_pylist() == list("abcd")


def test_collect_leaves_tables_of_others(scans, tmp_path, segmented):
    with pytest.raises(ScanError, match="found none at"):
        cohort.collect(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScanError, match="found none in"):
        cohort.collect(tmp_path / "empty")
    run(scans, tmp_path / "out")
    (tmp_path / "out" / "cohort.csv").write_text("scan,age\na,5\n")
    with pytest.raises(ScanError, match="this program did not make it"):
        cohort.collect(tmp_path / "out")
    cohort.collect(tmp_path / "out", overwrite=True)
    pytest.importorskip("pyarrow")
    cohort.collect(tmp_path / "out")
    (tmp_path / "out" / "cohort.parquet").write_text("mine")
    with pytest.raises(ScanError, match=r"cohort\.parquet exists"):
        cohort.collect(tmp_path / "out")
    assert (tmp_path / "out" / "cohort.parquet").read_text() == "mine"


def test_a_result_of_other_content_than_the_last_attempt_is_not_done(scans, tmp_path, segmented):
    out = tmp_path / "out"
    run(scans, out)
    (scans / "a.nii.gz").write_bytes(b"no scan")
    (out / "b_lungs.nii.gz").unlink()
    assert cohort_states(out) == {"a": "done", "b": "incomplete", "c": "done"}
    assert run(scans, out) == {"a": "failed*", "b": "done*", "c": "done"}
    assert cohort_states(out) == {"a": "failed", "b": "done", "c": "done"}


def cohort_states(out):
    with cohort.collect(out)[0].open() as file:
        return {row["scan"]: row["state"] for row in csv.DictReader(file)}


def test_the_table_has_the_measures_of_results_that_a_killed_run_left(scans, tmp_path, segmented):
    out = tmp_path / "out"
    run(scans, out)
    old = (out / "measures.csv").read_bytes()
    write(scans / "a.nii.gz", phantom((3, 40, 40)).ct, 9)
    run(scans, out)
    new = (out / "measures.csv").read_bytes()
    assert new != old
    (out / "measures.csv").write_bytes(old)  # as if the run was killed before its end
    run(scans, out)
    assert (out / "measures.csv").read_bytes() == new


# Workers


def test_workers_write_the_same_bytes(scans, tmp_path, segmented):
    distributed = pytest.importorskip("distributed")
    run(scans, tmp_path / "alone")
    more = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    (scans / "bad.nii.gz").write_bytes(b"no scan")
    with distributed.Client(**more) as client:
        assert run(scans, tmp_path / "out", client=client) == {
            "a": "done*",
            "b": "done*",
            "bad": "failed*",
            "c": "done*",
        }
        assert run(scans, tmp_path / "out", client=client)["a"] == "done"
        bundle = SimpleNamespace(name="mine")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_cluster, "Bundle", SimpleNamespace)
            with pytest.raises(SpecError, match="found mine, which is loaded here"):
                run(scans, tmp_path / "out", client=client, weights=[bundle])
    assert results(tmp_path / "out") == results(tmp_path / "alone")


@pytest.mark.parametrize("address", ["local:0", "local:x", "local", "host:8786"])
def test_an_address_that_is_none_is_an_error(scans, address, capsys):
    assert cli.main(["segment", str(scans), "-o", "out", "--cluster", address]) == 1
    assert "expected local:2 or tcp://host:8786" in capsys.readouterr().err


def test_a_limit_of_time_needs_workers(scans, tmp_path):
    with pytest.raises(SpecError, match="add --cluster local:1"):
        cohort.segment_many([scans], tmp_path / "out", timeout_s=1.0)


def test_without_dask_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(_cluster.importlib.util, "find_spec", lambda _name: None)
    with (
        pytest.raises(MissingPackageError, match=r"lungmask-jax\[cluster\]"),
        cohort.connected("local:1"),
    ):
        pass


@pytest.mark.slow
def test_a_scan_that_kills_or_hangs_or_fills_the_disk_costs_one_row(scans, tmp_path):
    pytest.importorskip("distributed")
    from hostile_workers import FILLS, HANGS, KILLS, Hostile

    names = {"kills": KILLS, "hangs": HANGS, "fills": FILLS, "good": 0}
    made = {name: Scan(scans / f"{name}.nii.gz") for name in names}
    for name, first in names.items():
        write(made[name].path, phantom((3, 32, 32)).ct, first + 1000)
    with cohort.connected("local:2") as client:
        client.register_plugin(Hostile())
        outcomes = [*cohort.segment_many(made, tmp_path / "out", client=client, timeout_s=30)]
    reasons = {one.name: one.reason for one in outcomes}
    assert len(outcomes) == len(reasons) == len(names)
    assert reasons["kills"].startswith("its process was killed 2 times")
    assert reasons["hangs"].startswith("took longer than the limit of 30 s")
    assert reasons["fills"].startswith("no space for results")
    assert reasons["good"] == ""
    assert _state.attempted(tmp_path / "out") == set()
    known = _state.latest(tmp_path / "out")
    assert {name: row["reason"] for name, row in known.items()} == reasons
    assert {name for name, row in known.items() if row.get("lasting")} == {"kills", "hangs"}
