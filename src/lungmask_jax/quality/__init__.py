"""Checks of a result by named rules, each with its source: pass, look or fail.

A check never changes a mask. ``look`` means that a person must look at the picture before the
numbers are used, ``fail`` that they cannot be used.
"""

from lungmask_jax.quality._check import Check, Result, verdict
from lungmask_jax.quality._checks import basic_checks, place_checks

__all__ = ["Check", "Result", "basic_checks", "place_checks", "verdict"]
