"""Checks for what a package of yours can bring: does it do what the library relies on?

One line makes a test::

    def test_it():
        check_model(my_net)

A check says nothing if all is well, and raises `ConformanceError` at the first thing that is not:
what was expected, what was found, what to do. Inputs are small and made up; nothing is downloaded.
Where there are several devices, images are also divided among them.
"""

from lungmask_jax.testing._loss import check_loss
from lungmask_jax.testing._model import check_model
from lungmask_jax.testing._task import check_step, check_task

__all__ = ["check_loss", "check_model", "check_step", "check_task"]
