"""Checks for your own parts: do they meet the requirements of the library?

One line makes a test::

    def test_it():
        check_model(my_net)

A check returns nothing if it passes, and raises `ConformanceError` at the first failure:
what was expected, what was found, what to do. Inputs are small and synthetic, without downloads.
With several devices, images are also divided among them.
"""

from lungmask_jax.testing._loss import check_loss
from lungmask_jax.testing._model import check_model
from lungmask_jax.testing._task import check_step, check_task

__all__ = ["check_loss", "check_model", "check_step", "check_task"]
