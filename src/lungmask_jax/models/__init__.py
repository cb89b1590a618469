"""Networks: the `Model` interface, the built-in U-Nets, and the registry that plugins join.

A network is a `Model`, a pair of pure functions. Images are ``(N, H, W, C)`` float32, volumes
``(N, D, H, W, C)``, roughly in [0, 1]; logits are float32 of the same spatial shape.
"""

import inspect
from collections.abc import Callable
from typing import Any

from lungmask_jax.errors import PluginError, SpecError, nearest, shown
from lungmask_jax.models._attention_unet import attention_unet
from lungmask_jax.models._efficient_unet import efficient_unet
from lungmask_jax.models._ensemble import ensemble
from lungmask_jax.models._lungmask_unet import lungmask_unet
from lungmask_jax.models._model import Model, from_linen, from_nnx
from lungmask_jax.models._multires_unet import multires_unet
from lungmask_jax.models._nnunet import plain_conv_unet, residual_encoder_unet
from lungmask_jax.models._residual_unet import residual_unet
from lungmask_jax.models._unet import unet, unet_3d
from lungmask_jax.models._unet_plus_plus import unet_plus_plus
from lungmask_jax.registry import Registry

__all__ = [
    "Model",
    "attention_unet",
    "create",
    "efficient_unet",
    "ensemble",
    "from_linen",
    "from_nnx",
    "lungmask_unet",
    "multires_unet",
    "plain_conv_unet",
    "registry",
    "residual_encoder_unet",
    "residual_unet",
    "unet",
    "unet_3d",
    "unet_plus_plus",
]

registry: Registry[Callable[..., Model]] = Registry(
    "lungmask_jax.models",
    {
        "attention_unet": "lungmask_jax.models:attention_unet",
        "efficient_unet": "lungmask_jax.models:efficient_unet",
        "lungmask_unet": "lungmask_jax.models:lungmask_unet",
        "multires_unet": "lungmask_jax.models:multires_unet",
        "plain_conv_unet": "lungmask_jax.models:plain_conv_unet",
        "residual_encoder_unet": "lungmask_jax.models:residual_encoder_unet",
        "residual_unet": "lungmask_jax.models:residual_unet",
        "unet": "lungmask_jax.models:unet",
        "unet_3d": "lungmask_jax.models:unet_3d",
        "unet_plus_plus": "lungmask_jax.models:unet_plus_plus",
    },
)
"""Names of networks to functions that make a `Model` from keyword-only options."""


def create(name: str, **options: Any) -> Model:
    """A model by the name of its network.

    Args:
        name: A name in `registry`.
        **options: Options of the network; the others have defaults.

    Returns:
        The model.

    Raises:
        UnknownNameError: No network has that name.
        SpecError: The network does not take one of the options.
        PluginError: The network is from a package, and cannot be imported, fails, or is not a
            `Model`.

    Example:
        >>> create("unet", channels=(8, 16), stem=1).stride
        2
    """
    build = registry[name]
    with registry.plugin_errors(name, "has no options that can be read"):
        signature = inspect.signature(build)
    try:
        signature.bind(**options)
    except TypeError as error:
        unknown = [option for option in options if option not in signature.parameters]
        known = nearest(unknown[0], signature.parameters) if unknown else "give them by name"
        raise SpecError(
            f"the options {shown(options)} do not fit the model {name!r}: {error}, {known}"
        ) from error
    with registry.plugin_errors(name, f"cannot be made with the options {shown(options)}"):
        model = build(**options)
    if not isinstance(model, Model):
        raise PluginError(
            f"expected a Model from {name!r} of {registry.owner(name)}, found {shown(model)}"
        )
    return model
