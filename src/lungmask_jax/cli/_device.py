"""Where JAX computes."""

import os

from lungmask_jax.errors import SpecError


def choose(name: str) -> None:
    """Has JAX compute on ``"cpu"``, ``"gpu"`` or ``"tpu"``, or says that there is none."""
    os.environ.pop("JAX_PLATFORMS", None)
    if name != "gpu":  # JAX would want a GPU of every maker, but takes the one there is by itself
        os.environ["JAX_PLATFORMS"] = name
    import jax

    try:
        found = jax.default_backend()
    except RuntimeError as error:
        raise _missing(name) from error
    if found != name:
        raise _missing(name)


def _missing(name: str) -> SpecError:
    extra = {"gpu": ', install the extra "cuda"', "tpu": ', install the extra "tpu"'}.get(name, "")
    return SpecError(f"no {name} was found for --device {name}: leave it out{extra}")
