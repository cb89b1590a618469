"""Which mask is the organ, which is the disease inside it, and what divides the organ."""

from collections.abc import Mapping

from lungmask_jax import tasks
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume


def organ(masks: Mapping[str, Volume]) -> Task | None:
    """The task of an outermost mask, one with sides if there is one."""
    outermost = [task for task in map(tasks.registry.__getitem__, masks) if not task.inside]
    return next((task for task in outermost if task.sides), next(iter(outermost), None))


def disease(masks: Mapping[str, Volume]) -> Task | None:
    """The task of a mask inside the organ, one with a severity if there is one."""
    around = organ(masks)
    inner = [
        task
        for task in map(tasks.registry.__getitem__, masks)
        if around is not None and task.inside == around.name
    ]
    return next((task for task in inner if task.severity), next(iter(inner), None))


def division(masks: Mapping[str, Volume]) -> Task | None:
    """The task whose labels divide the organ: lobes if there are some, else its sides."""
    around = organ(masks)
    filling = (task for task in map(tasks.registry.__getitem__, masks) if task.fills)
    return next(
        (task for task in filling if around and task.fills == around.name and _any(masks, task)),
        around,
    )


def _any(masks: Mapping[str, Volume], task: Task) -> bool:
    return bool(masks[task.name].array.any())
