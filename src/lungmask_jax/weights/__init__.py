"""Weights bundles: one ``.npz`` with a network's arrays and the spec of their use.

Readable without this library: ``numpy.load`` gives arrays under ``/``-joined names (``params/...``,
``state/...``) and ``__spec__``, a JSON text. Nothing in a bundle or a PyTorch file is
executed.
"""

from lungmask_jax.weights._bundle import Bundle, create_model, registry, save
from lungmask_jax.weights._converted import converted
from lungmask_jax.weights._ensemble import by_target, ensemble, seen_in_training
from lungmask_jax.weights._export import export
from lungmask_jax.weights._load import import_file, load
from lungmask_jax.weights._nnunet import read_nnunet
from lungmask_jax.weights._pth import read_pth

__all__ = [
    "Bundle",
    "by_target",
    "converted",
    "create_model",
    "ensemble",
    "export",
    "import_file",
    "load",
    "read_nnunet",
    "read_pth",
    "registry",
    "save",
    "seen_in_training",
]
