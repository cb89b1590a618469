"""Measures for radiology: volumes, shares, severity, lobes, signs of pneumonia."""

from lungmask_jax.quantify._measures import (
    Signs,
    in_percent,
    is_at_odds,
    measures,
    of_slices,
    severity,
    signs,
    slice_shares,
)
from lungmask_jax.quantify._parts import lobe_score

__all__ = [
    "Signs",
    "in_percent",
    "is_at_odds",
    "lobe_score",
    "measures",
    "of_slices",
    "severity",
    "signs",
    "slice_shares",
]
