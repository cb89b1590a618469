"""Many scans: found in folders and lists, segmented once each, with all their results or none."""

from lungmask_jax.cohort._attempt import Outcome
from lungmask_jax.cohort._cluster import connected
from lungmask_jax.cohort._left_out import left_out
from lungmask_jax.cohort._outputs import Outputs, outputs
from lungmask_jax.cohort._pages import check_pages, write_pages
from lungmask_jax.cohort._scan import Scan, load
from lungmask_jax.cohort._scans import (
    Candidate,
    candidates,
    find_scans,
    part,
    used,
)
from lungmask_jax.cohort._segment_many import segment_many
from lungmask_jax.cohort._tables import collect

__all__ = [
    "Candidate",
    "Outcome",
    "Outputs",
    "Scan",
    "candidates",
    "check_pages",
    "collect",
    "connected",
    "find_scans",
    "left_out",
    "load",
    "outputs",
    "part",
    "segment_many",
    "used",
    "write_pages",
]
