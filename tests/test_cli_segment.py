import csv
import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
from segment_runs import RESULTS, by_density, copied, files, segment, whole, without_networks

from lungmask_jax import inference, io, records
from lungmask_jax.inference import Segmentation
from lungmask_jax.phantoms import phantom


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "one.nii.gz"
    io.save(phantom((8, 128, 128), disease=0.2, seed=1).ct, path)
    return path


@pytest.fixture
def quick(monkeypatch):
    """No network: what is tested is what becomes of its answer."""
    without_networks(monkeypatch)


@pytest.fixture(scope="module")
def small_ct():
    return phantom((4, 48, 48)).ct


@pytest.fixture
def scan(small_ct, tmp_path):
    """A small scan in a folder of its own."""
    folder = tmp_path / "scans"
    folder.mkdir()
    io.save(small_ct, folder / "one.nii.gz")
    return folder / "one.nii.gz"


def test_segment_writes_masks_picture_json_and_csv(scan_file, tmp_path, capsys):
    assert segment(scan_file, "-o", tmp_path) == 0
    assert files(tmp_path) == whole("one")
    values = json.loads((tmp_path / "one.json").read_text())
    with (tmp_path / "measures.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert line["severity"] == values["severity"]
    assert float(line["lungs_ml"]) == values["lungs_ml"] > 0
    assert cv2.imread(str(tmp_path / "one_overlay.png")) is not None
    assert "not a medical device" in capsys.readouterr().out.lower()


@pytest.mark.slow
def test_several_models_answer_together_and_tell_how_sure_they_are(tmp_path):
    scan = tmp_path / "scan.nii.gz"
    io.save(phantom((6, 64, 64), disease=0.2).ct, scan)
    words = [scan, "-o", tmp_path / "o", "--uncertainty", "--weights"]
    assert segment(*words, "lungs", "infection", "infection") == 0
    doubt = io.load_mask(tmp_path / "o" / "scan_uncertainty.nii.gz")
    assert 0 < doubt.array.max() <= 100
    row = json.loads((tmp_path / "o" / "scan.json").read_text())
    assert row["infection_model"].startswith("infection+infection ")


# Which scans


def test_a_folder_stands_for_its_scans_whatever_the_case_of_their_names(scan, tmp_path, quick):
    folder, out = tmp_path / "mixed", tmp_path / "out"
    copied(scan, folder / "a.nii.gz", folder / "B.NII.GZ", folder / "in" / "c.nii.gz")
    (folder / "._a.nii.gz").write_bytes(b"\0\5\26\7" + bytes(4092))
    assert segment(folder, folder / "a.nii.gz", "-o", out) == 0
    assert files(out) == whole("a", "B")
    assert segment(folder, "-o", out, "--recursive") == 0
    assert files(out) == whole("a", "B", "c")


def test_scans_of_another_kind_beside_nifti_are_said_to_be_left_out(scan, tmp_path, quick, capsys):
    for name in ("a.dcm", "b.IMG", "notes.txt", ".hidden.dcm"):
        (scan.parent / name).touch()
    assert segment(scan.parent, "-o", tmp_path / "out") == 0
    assert "skipped a.dcm and 1 more: give" in capsys.readouterr().out
    assert segment(scan, "-o", tmp_path / "out") == 0
    assert "skipped" not in capsys.readouterr().out


def test_folders_without_scans_are_an_error(scan, tmp_path, quick, capsys):
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    assert segment(tmp_path / "empty", "--recursive", "-o", tmp_path / "out") == 1
    assert f"found none in {tmp_path / 'empty'} or" in capsys.readouterr().err
    assert segment(tmp_path, "-o", tmp_path / "out") == 1
    assert "--recursive" in capsys.readouterr().err


def test_what_was_warned_of_a_scan_that_failed_is_told(scan, tmp_path, quick, capsys):
    image = nib.load(scan)
    values = np.asarray(image.dataobj)
    turned = nib.Nifti1Image(values, image.affine)
    turned.header.set_slope_inter(-1, 0)
    nib.save(turned, tmp_path / "turned.nii")
    raw = bytearray((tmp_path / "turned.nii").read_bytes())
    raw[112:120] = struct.pack("<ff", -1, 0)
    raw[352:] = values.astype("<i2").tobytes("F")
    (tmp_path / "turned.nii").write_bytes(raw)
    assert segment(tmp_path / "turned.nii", "-o", tmp_path / "out") == 1
    warned, failed = capsys.readouterr().err.splitlines()
    assert warned.startswith("turned: the slope of the values")
    assert failed.startswith("turned: expected HU")


def test_a_name_is_printed_as_it_is(scan, tmp_path, quick, capsys):
    copied(scan, tmp_path / "a:b.nii.gz")
    assert segment(tmp_path / "a:b.nii.gz", "-o", tmp_path / "out") == 0
    assert "a:b: lungs" in capsys.readouterr().out


def test_a_full_disk_is_told_with_what_to_do(scan, tmp_path, quick, capsys, monkeypatch):
    def full(*_words, **_more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Segmentation, "save", full)
    assert segment(scan, "-o", tmp_path / "out") == 1
    assert "one: no space for results" in capsys.readouterr().err
    assert not files(tmp_path / "out")


def test_a_folder_in_the_place_of_the_table_stays(scan, tmp_path, quick, capsys):
    (tmp_path / "out" / "measures.csv").mkdir(parents=True)
    assert segment(scan, "-o", tmp_path / "out", "--overwrite") == 1
    assert "it is a folder: move it" in capsys.readouterr().err


def test_names_go_up_the_path_until_they_differ(scan, tmp_path, quick):
    copied(scan, *(tmp_path / patient / "visit" / "ct.nii.gz" for patient in ("p1", "p2")))
    copied(scan, tmp_path / "p2" / "other.nii", tmp_path / "p2" / ".hidden" / "ct.nii.gz")
    shutil.copy(scan, tmp_path / "p2" / "other.nii.gz")
    assert segment(tmp_path / "p1", tmp_path / "p2", "--recursive", "-o", tmp_path / "o") == 0
    names = ("p1_visit_ct", "p2_visit_ct", "other.nii", "other.nii.gz")
    assert files(tmp_path / "o") == whole(*names)


def test_results_are_no_scans(scan, tmp_path, quick):
    assert segment(scan.parent, "-o", scan.parent) == 0
    assert files(scan.parent) == whole("one") | {"one.nii.gz"}
    assert segment(scan.parent, "-o", tmp_path / "out", "--recursive") == 0
    assert files(tmp_path / "out") == whole("one")


def test_folders_of_slices_are_scans_wherever_they_are(scan, tmp_path, quick):
    for name in ("a", "b"):
        (tmp_path / "deep" / name).mkdir(parents=True)
        for number, plane in enumerate(io.load(scan).array):
            grey = np.clip((plane + 1350) / 1500 * 255, 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "deep" / name / f"{number}.png"), grey)
    (tmp_path / "deep" / "notes.txt").touch()
    (tmp_path / "deep" / "round").symlink_to(tmp_path / "deep")
    words = ["--recursive", "--window", "-1350", "150", "-o", tmp_path / "out"]
    assert segment(tmp_path / "deep", *words) == 0
    assert files(tmp_path / "out") == whole("a", "b")


def test_a_linked_scan_keeps_the_name_of_the_link(scan, tmp_path, quick):
    (tmp_path / "3fa9c0de").write_bytes(scan.read_bytes())
    (tmp_path / "patient1.nii.gz").symlink_to(tmp_path / "3fa9c0de")
    assert segment(tmp_path / "patient1.nii.gz", "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == whole("patient1")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_is_made_legible(scan, tmp_path, quick, capsys):
    for name in (b"bad\xff\xfe.nii.gz", b"=1+1.nii.gz", b"\x1b[31m\n.nii.gz"):
        shutil.copy(scan, os.fsencode(tmp_path) + b"/" + name)
    assert segment(tmp_path, "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == whole("bad%FF%FE", "=1+1", "%1B[31m%0A")
    assert "\x1b" not in capsys.readouterr().out
    lines = (tmp_path / "out" / "measures.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["scan", "%1B[31m%0A", "'=1+1", "bad%FF%FE"]


# One scan that fails


def test_one_bad_scan_does_not_stop_the_others(scan, tmp_path, quick, capsys):
    (tmp_path / "bad.nii.gz").write_bytes(b"not a scan")
    out = tmp_path / "out"
    assert segment(tmp_path / "bad.nii.gz", tmp_path / "nowhere.nii", scan, "-o", out) == 1
    assert files(out) == whole("one")
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.err.splitlines()] == ["bad", "nowhere"]
    assert "1 of 3 scans done, results in" in printed.out
    assert segment(tmp_path / "bad.nii.gz", "-o", out) == 1
    assert "0 of 1 scan done\n" in capsys.readouterr().out


class Panic(BaseException):
    """What decoders in Rust raise."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "not enough memory"),
        (RecursionError("too deep"), "RecursionError"),
        (TypeError("no\nnumber \x1b[31m"), "TypeError in test_cli_segment.py, line"),
        (Panic("broken"), "Panic"),
        (OSError(28, "No space left on device"), "No space left"),
        (UnicodeEncodeError("ascii", "\xe4", 0, 1, "no"), "UnicodeEncodeError"),
    ],
)
def test_whatever_goes_wrong_is_one_line(scan, tmp_path, quick, monkeypatch, capsys, error, said):
    copied(scan, scan.parent / "two.nii.gz")
    broken = []

    def first_fails(ct, **options):
        if not broken:
            broken.append(True)
            raise error
        return by_density(ct, **options)

    monkeypatch.setattr(inference, "segment", first_fails)
    assert segment(scan.parent, "-o", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("one: ")
    assert said in line
    assert "\x1b" not in line
    assert files(tmp_path / "out") == whole("two")
    broken.clear()
    assert segment(scan, "-o", tmp_path / "out", "--debug", "--retry-failed") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and devices there")
def test_pipes_and_devices_are_refused_and_not_waited_for(scan, tmp_path, quick, capsys):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "zero.dcm").symlink_to("/dev/zero")
    words = [tmp_path / "pipe.nii.gz", tmp_path / "zero.dcm", scan, "-o", tmp_path / "out"]
    assert segment(*words) == 1
    assert capsys.readouterr().err.count("which may never end") == 2
    assert files(tmp_path / "out") == whole("one")


def test_a_folder_that_cannot_be_looked_into_is_one_scan_that_fails(
    scan, tmp_path, quick, monkeypatch, capsys
):
    shut = tmp_path / "shut"
    shut.mkdir()
    listed = os.scandir

    def refusing(path="."):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(os, "listdir", lambda path: [one.name for one in refusing(path)])
    for more in ([], ["--recursive"]):
        assert segment(shut, scan, "-o", tmp_path / f"out{len(more)}", *more) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("shut: ")
        assert files(tmp_path / f"out{len(more)}") == whole("one")


def test_a_scan_that_fails_leaves_nothing_and_an_older_result_as_it_was(
    scan, tmp_path, quick, monkeypatch
):
    out = tmp_path / "out"
    assert segment(scan, "-o", out) == 0
    before = {name: (out / name).read_bytes() for name in files(out)}
    for broken in ("segment", "save", "write_json"):
        with monkeypatch.context() as patch:
            module = {"segment": inference, "save": Segmentation}.get(broken, records)
            patch.setattr(module, broken, lambda *_, **__: 1 / 0)
            assert segment(scan, "-o", out, "--again") == 1
            assert segment(scan, "-o", tmp_path / "new") == 1
        assert {name: (out / name).read_bytes() for name in files(out)} == before
        assert files(tmp_path / "new") == set()


# Files of others


def test_what_this_program_did_not_make_is_replaced_only_when_told_to(
    scan, tmp_path, quick, capsys
):
    out = tmp_path / "out"
    out.mkdir()
    foreign = out / "one_lungs.nii.gz"
    foreign.write_bytes(b"drawn by hand")
    assert segment(scan, "-o", out) == 1
    assert "this program did not make it" in capsys.readouterr().err
    assert files(out) == {"one_lungs.nii.gz"}
    assert foreign.read_bytes() == b"drawn by hand"
    assert segment(scan, "-o", out, "--overwrite") == 0
    assert files(out) == whole("one")
    foreign.write_bytes(b"corrected by hand")
    assert segment(scan, "-o", out, "--again") == 1
    assert segment(scan, "-o", out, "--weights", "lungs") == 1
    assert foreign.read_bytes() == b"corrected by hand"


def test_a_former_run_goes_as_a_whole_and_files_of_others_stay(scan, tmp_path, quick):
    out = tmp_path / "out"
    assert segment(scan, "-o", out, "--uncertainty") == 0
    assert files(out) == whole("one") | {"one_uncertainty.nii.gz"}
    (out / "one_else.nii.gz").touch()
    (out / "one_lesions.nii.gz").write_bytes(b"corrected by hand")
    assert segment(scan, "-o", out, "--weights", "lungs") == 0
    left = {"one_lungs.nii.gz", "one_overlay.png", "one.json", "measures.csv"}
    assert files(out) == left | {"one_else.nii.gz", "one_lesions.nii.gz"}


def test_an_input_is_never_replaced(scan, tmp_path, quick, capsys):
    folder = tmp_path / "own"
    copied(scan, folder / "case1.nii.gz", folder / "case1_lungs.nii.gz")
    before = (folder / "case1_lungs.nii.gz").read_bytes()
    words = [folder / "case1.nii.gz", folder / "case1_lungs.nii.gz", "-o", folder, "--overwrite"]
    assert segment(*words) == 1
    assert "would be replaced, but it is an input" in capsys.readouterr().err
    assert (folder / "case1_lungs.nii.gz").read_bytes() == before
    assert not (folder / "case1.json").exists()


def test_links_are_not_followed(scan, tmp_path, quick):
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.write_bytes(b"of others")
    for name in ("one_lungs.nii.gz", "measures.csv"):
        (out / name).symlink_to(other)
        assert segment(scan, "-o", out) == 1
        assert segment(scan, "-o", out, "--overwrite") == 0
        assert not (out / name).is_symlink()
        assert other.read_bytes() == b"of others"
        shutil.rmtree(out)
        out.mkdir()


def test_results_of_another_scan_of_the_same_name_are_kept(scan, tmp_path, quick, capsys):
    ct = io.load(scan)
    (tmp_path / "b").mkdir()
    io.save(ct.with_array(ct.array[:, :, ::-1].copy()), tmp_path / "b" / "one.nii.gz")
    assert segment(scan, "-o", tmp_path / "out") == 0
    for more in ([], ["--again"]):
        assert segment(tmp_path / "b" / "one.nii.gz", "-o", tmp_path / "out", *more) == 1
        assert "the results of another scan" in capsys.readouterr().err
    assert segment(tmp_path / "b" / "one.nii.gz", "-o", tmp_path / "out", "--overwrite") == 0


@pytest.mark.parametrize("text", ["scan,age\nann,57\n", "scan;version\n", "\xff"])
def test_a_table_of_others_is_found_before_work(scan, tmp_path, quick, capsys, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "measures.csv").write_text(text, encoding="latin-1")
    assert segment(scan, "-o", out) == 1
    assert "measures.csv" in capsys.readouterr().err
    assert (out / "measures.csv").read_text(encoding="latin-1") == text
    assert files(out) == {"measures.csv"}
    assert segment(scan, "-o", out, "--overwrite") == 0
    assert files(out) == whole("one")


def test_what_cannot_be_written_is_found_before_a_scan_is_read(tmp_path, quick, capsys):
    (tmp_path / "out" / "one_overlay.png").mkdir(parents=True)
    (tmp_path / "one.nii.gz").write_bytes(b"not a scan")
    assert segment(tmp_path / "one.nii.gz", "-o", tmp_path / "out") == 1
    assert "it is a folder: move it" in capsys.readouterr().err


def test_a_name_that_is_too_long_for_files_is_cut(scan, tmp_path, quick):
    copied(scan, tmp_path / f"{'a' * 240}.nii.gz")
    assert segment(tmp_path / f"{'a' * 240}.nii.gz", "-o", tmp_path / "out") == 0
    (record,) = (tmp_path / "out").glob("*.json")
    assert record.stem.startswith("a" * 191 + "_")


def test_results_do_not_go_among_the_slices_of_a_scan(tmp_path, quick, capsys):
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "1.png").touch()
    assert segment(tmp_path / "slices", "-o", tmp_path / "slices") == 1
    assert "among the slices" in capsys.readouterr().err
    assert files(tmp_path / "slices") == {"1.png"}


@pytest.mark.parametrize("name", ["masks.nii.gz", "table.CSV"])
def test_a_file_is_no_folder_for_results(scan, tmp_path, capsys, name):
    assert segment(scan, "-o", tmp_path / name) == 1
    assert "give a folder" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_a_folder_that_cannot_be_written_is_told_before_any_work(scan, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert segment("nowhere.nii.gz", "-o", tmp_path / "file") == 1
    found = capsys.readouterr()
    assert "expected a folder for results, but" in found.err
    assert "nowhere" not in found.out + found.err


# Going on


def test_scans_that_are_done_are_skipped(scan, tmp_path, quick, capsys, monkeypatch):
    copied(scan, scan.parent / "two.nii.gz", scan.parent / "three.nii.gz")
    out = tmp_path / "out"
    assert segment(scan.parent, "-o", out) == 0
    (out / "two.json").unlink()
    (out / "three_lungs.nii.gz").unlink()
    seen = []
    monkeypatch.setattr(
        inference, "segment", lambda ct, **more: seen.append(ct) or by_density(ct, **more)
    )
    shutil.copy(out / "one_lungs.nii.gz", tmp_path / "left.nii.gz")
    for kind in RESULTS[:-1]:  # two.json is gone: these are those of nobody
        (out / f"two{kind}").unlink()
    assert segment(scan.parent, "-o", out) == 0
    assert len(seen) == 2
    assert "3 of 3 scans done" in capsys.readouterr().out
    assert files(out) == whole("one", "two", "three")


def killed(code, *words):
    """Runs segment in another process, which ends itself; its exit code and what it printed."""
    start = "import os, signal, sys; sys.path.insert(0, sys.argv.pop(1)); "
    start += "from segment_runs import *; "
    start += "from lungmask_jax.cohort import _segment_many; _segment_many.by_target = named_only; "
    start += "inference.segment = by_density; "
    command = [sys.executable, "-c", start + code, str(Path(__file__).parent)]
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


STOPPING = """
def stopping(ct, *, weights, **more):
    os.kill(os.getpid(), signal.{signal}) if os.path.exists(sys.argv[2] + '/one.json') else None
    return by_density(ct, weights=weights, **more)
inference.segment = stopping
sys.exit(segment(sys.argv[1], '-o', sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals end a process at once there")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_run_that_is_stopped_says_what_is_done_and_goes_on(scan, tmp_path, quick, name, code):
    copied(scan, scan.parent / "two.nii.gz")
    out = tmp_path / "out"
    found, _, printed = killed(STOPPING.format(signal=name), scan.parent, out)
    assert found == code
    (line,) = printed.splitlines()
    assert line.startswith("lungmask-jax: stopped: 1 of 2 scans done")
    assert line.endswith("the same command continues")
    assert files(out) == whole("one")
    assert segment(scan.parent, "-o", out) == 0
    assert files(out) == whole("one", "two")


KILLED = """
real, left = os.replace, int(sys.argv[3])
def dying(*paths):
    global left
    left -= 1
    os.kill(os.getpid(), signal.SIGKILL) if left < 0 else None
    real(*paths)
os.replace = dying
segment(sys.argv[1], '-o', sys.argv[2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("moves", [3, 12, 15])
def test_a_run_that_was_killed_while_it_moved_its_files_is_done_again(scan, tmp_path, quick, moves):
    out = tmp_path / "out"
    found, _, _ = killed(KILLED, scan, out, moves)
    assert found == -signal.SIGKILL
    assert not (out / "one.json").exists()
    assert segment(scan, "-o", out) == 0
    assert {name for name in files(out) if name[0] != "."} == whole("one")


# What is said


def test_the_profile_names_the_stages_of_all_scans(scan, tmp_path, quick, capsys):
    copied(scan, scan.parent / "two.nii.gz")
    assert segment(scan.parent, "-o", tmp_path / "out", "--profile") == 0
    printed = capsys.readouterr().out
    stages = ("weights", "read", "lung network", "lung masks", "infection network", "write")
    assert [stage for stage in stages if printed.count(stage) != 1] == []
    assert "2 of 2 scans done" in printed


def test_what_was_mended_while_reading_ahead_is_told_of_its_own_scan(scan, tmp_path, quick, capsys):
    unsigned = io.load(scan)
    shifted = unsigned.with_array((unsigned.array + 1024).astype(np.int16))
    io.save(shifted, tmp_path / "shifted.nii.gz")
    assert segment(scan, tmp_path / "shifted.nii.gz", "-o", tmp_path / "out") == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "subtracted 1024" in line]
    assert [note.split(":")[0] for note in notes] == ["shifted"]


def test_running_again_replaces_the_row(scan, tmp_path, quick):
    for _ in range(2):
        assert segment(scan, "-o", tmp_path / "out") == 0
    with (tmp_path / "out" / "measures.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1


def test_images_need_a_window_and_work_with_one(tmp_path, quick, capsys):
    made = phantom((1, 128, 128)).ct.array[0]
    grey = np.clip((made + 1350) / 1500 * 255, 0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "slice.png"), grey)
    assert segment(tmp_path / "slice.png", "-o", tmp_path / "out") == 1
    assert "--window" in capsys.readouterr().err
    words = ["-o", tmp_path / "out", "--window", "-1350", "150"]
    assert segment(tmp_path / "slice.png", *words) == 0
    said = capsys.readouterr().out
    assert "slice: lungs of unknown size, infection of unknown size (" in said
    assert " %), severity unknown" in said


def test_notes_of_a_result_are_said_with_its_name(scan, tmp_path, monkeypatch, quick, capsys):
    def noted(ct, **options):
        return replace(by_density(ct, **options), notes=("only 3 ml of lung",))

    monkeypatch.setattr(inference, "segment", noted)
    assert segment(scan, "-o", tmp_path / "o") == 0
    printed = capsys.readouterr().out
    assert "one: only 3 ml of lung\n" in printed
    assert "in the worse lung" in printed
    assert json.loads((tmp_path / "o" / "one.json").read_text())["notes"] == "only 3 ml of lung"


def test_quiet_prints_errors_alone(scan, tmp_path, quick, capsys):
    assert segment(scan, "nowhere.nii", "-o", tmp_path / "out", "--quiet") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("nowhere: ")
