"""A network as a program that needs only JAX."""

import os

import jax
import jax.export
import numpy as np

from lungmask_jax.errors import WeightsError
from lungmask_jax.files import atomic
from lungmask_jax.weights._bundle import Bundle


def export(bundle: Bundle, path: str | os.PathLike[str]) -> None:
    """Writes the network with its weights as one program that needs only JAX.

    The program is StableHLO, compiled where it is called: on CPU, CUDA or TPU, for any number of
    images. It is only the network; preprocessing and post-processing are in the bundle's spec.

        >>> program = jax.export.deserialize(Path("mine.jaxexport").read_bytes())  # doctest: +SKIP
        >>> logits = program.call(images)  # doctest: +SKIP

    Args:
        bundle: The model. Its images are ``(N, *size, in_channels)`` float32 in [0, 1], volumes
            ``(N, D, *size, in_channels)`` with `Model.slices` as D.
        path: The file; its folder must exist.

    Raises:
        WeightsError: The package flatbuffers, from the extra ``export``, is missing.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from lungmask_jax.weights import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(load("lungs"), f"{folder}/lungs.jaxexport")
        ...     data = Path(folder, "lungs.jaxexport").read_bytes()
        >>> jax.export.deserialize(data).platforms
        ('cpu', 'cuda', 'tpu')
    """
    model, numbers = bundle.model, (bundle.params, bundle.state)
    depth = (model.slices,) if model.ndim == 3 else ()
    (count,) = jax.export.symbolic_shape("n")
    shape = (count, *depth, *bundle.spec.preprocess.size, model.in_channels)
    program = jax.export.export(
        jax.jit(lambda images: model.apply(*numbers, images)[0]), platforms=("cpu", "cuda", "tpu")
    )(jax.ShapeDtypeStruct(shape, np.float32))  # type: ignore[no-untyped-call]
    try:
        data = bytes(program.serialize())
    except ImportError as error:
        raise WeightsError(
            f"expected the package flatbuffers to write {path}, found none: "
            'pip install "lungmask-jax[export]"'
        ) from error
    with atomic(path) as temporary:
        temporary.write_bytes(data)
