import os
from pathlib import Path

import pytest

from lungmask_jax.errors import ScanError
from lungmask_jax.files import atomic, writable


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


def test_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.txt").symlink_to(tmp_path / "file")
    with atomic(tmp_path / "link.txt") as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_folder_in_the_way_and_missing_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="add a name"), atomic(tmp_path):
        pass
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "no" / "a.txt") as temporary:
        temporary.write_text("new")


def test_a_folder_for_results_is_made_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writable(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "a"):
        with pytest.raises(ScanError, match=r"cannot be made .*: give another one"):
            writable(path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ScanError, match="cannot be written: give another one"):
        writable(tmp_path)
