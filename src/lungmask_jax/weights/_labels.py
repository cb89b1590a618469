"""The labels of a data set of nnU-Net as those of a task here."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from lungmask_jax import tasks
from lungmask_jax.errors import SpecError, shown
from lungmask_jax.spec import SegmenterSpec
from lungmask_jax.tasks import Steps
from lungmask_jax.weights._plans import Planned

__all__ = ["spec_of"]

_LIKELIEST: Final[Steps] = (("most_likely", {}),)
_REGIONS: Final[Steps] = (("threshold", {"at": 0.5}),)


def spec_of(found: Planned, target: str, labels: Mapping[str, int] | None) -> SegmenterSpec:
    """The spec of a model of nnU-Net, with the labels of a task.

    Args:
        found: Its plans.
        target: The task; empty for the one whose labels have these names.
        labels: Labels of the task by the names in the data set; None for those of the same names.

    Returns:
        The spec, without a card.

    Raises:
        SpecError: No task has such labels.
    """
    target = target or _target(found.names)
    values = {0: 0} | _values(found.names, target, labels)
    volume = replace(found.volume, labels=tuple(values.get(n, 0) for n in found.volume.labels))
    steps = _REGIONS if volume.regions else _LIKELIEST
    if tasks.registry[target].inside:
        steps = (*steps, ("within", {}))
    return SegmenterSpec(
        target=target,
        model=found.model,
        predict=found.predict,
        volume=volume,
        postprocess=steps,
    )


def _plain(name: str) -> str:
    """A name without what is written in several ways."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _target(names: Mapping[int, str]) -> str:
    """The task of which a network has all labels; of several, the one that has the most."""
    there = {_plain(name) for name in names.values()}
    fits = {
        name: len(tasks.registry[name].labels)
        for name in tasks.targets()
        if {_plain(label) for label in tasks.registry[name].labels.values()} <= there
    }
    best = [name for name, count in fits.items() if count == max(fits.values())]
    if len(best) != 1:
        raise SpecError(
            f"expected the labels of one task among {', '.join(names.values())}, found those of "
            f"{', '.join(best) or 'none'}: say which with target, and the labels of the task by "
            f"these names with labels, in lungmask-jax import or read_nnunet; the tasks are "
            f"{', '.join(tasks.targets())}"
        )
    return best[0]


def _values(
    names: Mapping[int, str], target: str, labels: Mapping[str, int] | None
) -> dict[int, int]:
    """From the labels of the data set to those of the task."""
    task = tasks.registry[target]
    known = labels
    if known is None:
        own = {_plain(name): value for value, name in task.labels.items()}
        known = {name: own[_plain(name)] for name in names.values() if _plain(name) in own}
        if not known and len(names) == len(own) == 1:
            known = {next(iter(names.values())): next(iter(own.values()))}
    unknown = [name for name in known if name not in names.values()]
    wrong = [value for value in known.values() if value not in task.labels]
    if not known or unknown or wrong:
        raise SpecError(
            f"expected labels of the task {target!r}, {shown(dict(task.labels))}, by the names "
            f"{', '.join(names.values())}, found {shown(dict(known))}: give them with labels"
        )
    return {value: known[name] for value, name in names.items() if name in known}
