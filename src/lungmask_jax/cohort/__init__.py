"""Many scans: found in folders, segmented in sequence, each with all its results or none."""

from lungmask_jax.cohort._outputs import Outputs, outputs
from lungmask_jax.cohort._pages import check_pages, write_pages
from lungmask_jax.cohort._scans import find_scans, left_out
from lungmask_jax.cohort._segment_all import Segmented, segment_all

__all__ = [
    "Outputs",
    "Segmented",
    "check_pages",
    "find_scans",
    "left_out",
    "outputs",
    "segment_all",
    "write_pages",
]
