"""Checks of tasks, and of the steps that make their masks."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lungmask_jax import postprocess, tasks
from lungmask_jax.phantoms import phantom
from lungmask_jax.postprocess import Scan
from lungmask_jax.spec import PreprocessSpec, TrainSpec
from lungmask_jax.tasks import Task
from lungmask_jax.testing._expect import expect, plain_options, tried
from lungmask_jax.volume import Volume


def check_task(task: Task) -> None:
    """Checks that a task can be trained, measured and drawn.

    Its name is valid for file names and columns, every label has a color, its outer mask is a task,
    and the library knows its settings and the steps of its masks.

    Args:
        task: The task; steps and tasks that it names must be installed or registered.

    Raises:
        ConformanceError: At the first failure.

    Example:
        >>> check_task(Task(name="effusion", inside="lungs"))
        >>> check_task(Task(name="effusion", inside="lung"))
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ConformanceError: expected a task to lie inside, found 'lung': ...
    """
    __tracebackhide__ = True
    fits = task.name.isidentifier()
    expect(fits, "a name of letters, digits and _", repr(task.name), "it begins file names")
    for name in filter(None, (task.inside, task.types)):
        advice = f"name one of {', '.join(tasks.registry)}"
        expect(name in tasks.registry, "a task to lie inside", repr(name), advice)
    for label, name in task.labels.items():
        color = np.array(task.colors.get(label, ()))
        good = color.shape == (3,) and bool(np.all((color >= 0) & (color <= 255)))
        advice = "give red, green and blue from 0 to 255"
        expect(good, f"a color of {label} ({name})", task.colors.get(label), advice)
    for what, use in (
        ("preprocess", partial(PreprocessSpec, **task.preprocess)),
        ("training", partial(TrainSpec, **task.training)),
        ("postprocess", partial(postprocess.complete, task.postprocess)),
    ):
        tried(f"{what} that the library can use", "correct what it says", use)


def check_step(step: Callable[..., Volume]) -> None:
    """Checks that a post-processing step works in bundles.

    ``step(mask, *, numbers) -> mask`` of the same shape, also for empty masks; labels are
    integers, the given mask does not change, and the same mask gives the same result. Parameters
    have names, and defaults that JSON can hold. Arguments with the name of a field of
    `lungmask_jax.postprocess.Scan` receive it.

    Args:
        step: The function.

    Raises:
        ConformanceError: At the first failure.

    Example:
        >>> check_step(postprocess.fill_holes)
        >>> check_step(lambda mask: mask.array)
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ConformanceError: expected a mask of shape (4, 48, 48), found ndarray...
    """
    __tracebackhide__ = True
    made = phantom((4, 48, 48), disease=0.2)
    scan = Scan(made.ct, made.lungs, midline=23.5, middle_row=23.5)
    fields = {*Scan._fields} & {*inspect.signature(step).parameters}
    bound = partial(step, **{name: getattr(scan, name) for name in fields})
    plain_options(step, positional=1, others=fields)
    for array in (made.lungs.array, 0 * made.lungs.array):
        first, again = (_answer(bound, made.lungs.with_array(array)) for _ in range(2))
        same = np.array_equal(first, again)
        expect(same, "the same mask again", "another", "draw no random numbers")


def _answer(step: Callable[..., Any], mask: Volume) -> np.ndarray:
    __tracebackhide__ = True
    kept, shape = mask.array.copy(), mask.shape
    advice = "return mask.with_array(...) of the labels that are left"
    found = tried(f"a mask of shape {shape}", advice, step, mask)
    made = found.shape if isinstance(found, Volume) else type(found).__name__
    expect(made == shape, f"a mask of shape {shape}", made, advice)
    labels = np.asarray(found.array, np.uint8)
    whole = bool((labels == found.array).all())
    expect(whole, "labels from 0 to 255", found.array.dtype, "keep the labels of the mask")
    same = np.array_equal(kept, mask.array)
    expect(same, "a mask that is left as it is", "another after the call", "work on a copy")
    return labels
