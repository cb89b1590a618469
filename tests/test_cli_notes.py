"""Warnings of scans are told once, and kept no longer than their scan."""

import warnings
from pathlib import Path

import pytest

from lungmask_jax import io
from lungmask_jax.cli._notes import noted
from lungmask_jax.errors import ScanError, ScanWarning
from lungmask_jax.phantoms import phantom

PATH = Path("a.nii.gz")


@pytest.fixture
def doubtful(monkeypatch):
    """A scan that can be read, with a warning."""

    def load(path, *, window):
        warnings.warn("it is odd", ScanWarning, stacklevel=2)
        return phantom((1, 16, 16)).ct

    monkeypatch.setattr(io, "load", load)


def test_the_lines_of_a_scan_are_told_once(doubtful):
    with noted() as notes:
        notes.load(PATH, None)
        notes.add("masks are odd, too")
        assert notes.of(PATH) == ["it is odd", "masks are odd, too"]
        assert notes.of(PATH) == []


def test_a_scan_that_fails_after_it_was_read_has_its_lines_in_the_error(doubtful):
    with noted() as notes:
        notes.load(PATH, None)
        with pytest.raises(ScanError) as caught, notes.added(PATH):
            raise ScanError("no room for its masks")
        assert caught.value.__notes__ == ["it is odd"]
        assert not notes.by_file


def test_a_scan_that_fails_before_it_is_read_has_none():
    with noted() as notes:
        with pytest.raises(ScanError) as caught, notes.added(PATH):
            raise ScanError("results of another scan")
        assert not hasattr(caught.value, "__notes__")
