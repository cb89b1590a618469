import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax.errors import ScanError
from lungmask_jax.files import atomic, locked, output_folder, printable


def test_atomic_writes_the_file_and_nothing_else(tmp_path: Path) -> None:
    with atomic(tmp_path / "scan.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"new")
        assert not (tmp_path / "scan.nii.gz").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


def half_written(path: Path, failure: type[BaseException]) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise failure


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_failure_keeps_the_older_file_and_removes_the_new_one(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(failure):
        half_written(tmp_path / "a.txt", failure)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_it_takes_a_string_and_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    with atomic(os.fspath(tmp_path / "a")) as temporary:
        temporary.write_text("new")
    (tmp_path / "b").write_text("plain")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_what_a_link_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of others")
    (tmp_path / "link.txt").symlink_to(tmp_path / "file")
    with atomic(tmp_path / "link.txt") as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
    assert not (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "link.txt").read_text() == "new"
    assert (tmp_path / "file").read_text() == "of others"


def test_a_name_as_long_as_can_be_is_written(tmp_path: Path) -> None:
    name = f"{'a' * 240}.{'b' * 6}.nii.gz"
    with atomic(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert os.listdir(tmp_path) == [name]


def add_up(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path):
            path.write_text(str(int(path.read_text()) + 1))


def test_one_writer_at_a_time_and_no_lock_is_left(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    with ThreadPoolExecutor(4) as pool:  # the lock is that of an open file, not of a process
        list(pool.map(add_up, [path] * 4, [25] * 4))
    assert path.read_text() == "100"
    assert os.listdir(tmp_path) == ["count"]


def test_a_file_system_without_locks_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError("no locks")))
    (tmp_path / "count").write_text("0")
    add_up(tmp_path / "count", 2)
    assert (tmp_path / "count").read_text() == "2"


@given(st.text(st.characters(exclude_categories=[])))
def test_a_legible_text_is_the_same_twice_and_can_be_written(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert not any(character in shown for character in "\0\x1b\n\u202e\udcff")


def test_folder_in_the_way_and_missing_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="add a name"), atomic(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "no" / "a.txt") as temporary:
        temporary.write_text("new")


def test_a_folder_for_results_is_made_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert output_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "a"):
        with pytest.raises(ScanError, match=r"cannot be made .*: give another one"):
            output_folder(path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ScanError, match="cannot be written: give another one"):
        output_folder(tmp_path)
