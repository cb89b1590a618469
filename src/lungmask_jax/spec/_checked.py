"""What all specs have in common: types and ranges are checked when they are made."""

from typing import Final, get_type_hints

from lungmask_jax.errors import SpecError, shown
from lungmask_jax.spec._json import coerced

MOST: Final = 1e9
"""Where nothing else ends a number: beyond, no setting means anything."""

MILLIMETRES: Final = 10_000.0
"""No scanner's table is longer."""


class Checked:
    """Types are checked and lists become tuples, so that values from JSON compare equal."""

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
