"""The base of all specs: types and ranges are checked at creation."""

from typing import Final, get_type_hints

from lungmask_jax.errors import SpecError, shown
from lungmask_jax.spec._json import coerced

MOST: Final = 1e9
"""The limit of numbers without another one: no setting makes sense beyond it."""

MILLIMETRES: Final = 10_000.0
"""No scanner's table is longer."""


class Checked:
    """A base that checks types and turns lists into tuples, so values from JSON compare equal."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = coerced(getattr(self, name), kind, f"{type(self).__name__}.{name}")
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Ranges, in the classes that have any."""


def within(name: str, value: float | tuple[float, ...], least: float, most: float) -> None:
    values = value if isinstance(value, tuple) else (value,)
    if not all(least <= one <= most for one in values):
        raise SpecError(f"expected {name} from {least:,.10g} to {most:,.10g}, found {shown(value)}")
