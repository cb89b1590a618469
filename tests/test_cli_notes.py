"""Warnings of scans are told once, and kept no longer than their scan."""

import warnings
from pathlib import Path

import pytest

from lungmask_jax import io
from lungmask_jax.cli._notes import noted
from lungmask_jax.cohort import Scan
from lungmask_jax.errors import ScanError, ScanWarning
from lungmask_jax.phantoms import phantom

SCAN = Scan(Path("a.nii.gz"))


@pytest.fixture
def doubtful(monkeypatch):
    """A scan that can be read, with a warning; but for a window it fails."""

    def load(path, *, window, series_uid):
        warnings.warn("it is odd", ScanWarning, stacklevel=2)
        if window:
            raise ScanError("it cannot be read")
        return phantom((1, 16, 16)).ct

    monkeypatch.setattr(io, "load", load)


def test_the_lines_of_a_scan_are_told_once(doubtful):
    with noted() as notes:
        notes.load(SCAN, None)
        notes.add("masks are odd, too")
        assert notes.of(SCAN) == ["it is odd", "masks are odd, too"]
        assert notes.of(SCAN) == []
        assert not notes.by_scan


def test_a_scan_that_fails_while_it_is_read_has_its_lines(doubtful):
    with noted() as notes:
        with pytest.raises(ScanError):
            notes.load(SCAN, (0.0, 1.0))
        assert notes.of(SCAN) == ["it is odd"]


def test_a_scan_that_fails_before_it_is_read_has_none():
    with noted() as notes:
        assert notes.of(SCAN) == []
