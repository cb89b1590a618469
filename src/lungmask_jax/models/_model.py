"""`Model`: a network as two pure functions, and adapters that make one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

from lungmask_jax.errors import ShapeError

Params: TypeAlias = Any
State: TypeAlias = Any

_DEPTH = 16


class Init(Protocol):
    """``init(key) -> params, state``."""

    def __call__(self, key: jax.Array, /) -> tuple[Params, State]:
        """Fresh parameters and state, as pytrees of arrays."""
        ...


class Apply(Protocol):
    """``apply(params, state, images, *, train, key) -> logits, state``."""

    def __call__(
        self,
        params: Params,
        state: State,
        images: jax.Array,
        /,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        """Logits of a batch, and the state after it."""
        ...


@dataclass(frozen=True)
class Model:
    """A network as a pair of pure functions; all code above this module uses only these.

    Attributes:
        init: ``init(key) -> params, state``, two pytrees of arrays. ``state`` holds what training
            changes without a gradient (running means); it may be empty.
        apply: ``apply(params, state, images, *, train=False, key=None) -> logits, state`` with
            images ``(N, H, W, C)`` (``(N, D, H, W, C)`` if ``ndim`` is 3) and float32 logits of
            the same shape with `num_classes` channels. ``key`` feeds dropout.
        in_channels: C of the images.
        num_classes: Channels of the logits: 1 means one sigmoid, more a softmax whose first is the
            background.
        stride: H and W must be multiples of this.
        ndim: 2 for slices, 3 for volumes.
        depth_stride: D must be a multiple of this.
        heads: Number of outputs in training, for deep supervision. With 2 or more, logits with
            ``train=True`` have one more axis, ``(heads, N, H, W, num_classes)``, each at full
            size: first the output of ``train=False``, then those of coarser and coarser levels.
            With ``train=False`` there is never such an axis.

    The adapters check the images against these; your own pair must do so itself. A 2-D network
    without deep supervision keeps the defaults of the last three.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = Model(
        ...     init=lambda key: (jnp.ones(()), {}),
        ...     apply=lambda p, s, images, *, train=False, key=None: (images * p, s),
        ... )
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((1, 8, 8, 1)))[0].shape
        (1, 8, 8, 1)
    """

    init: Init
    apply: Apply
    in_channels: int = 1
    num_classes: int = 1
    stride: int = 1
    ndim: int = 2
    depth_stride: int = 1
    heads: int = 1

    @property
    def slices(self) -> int:
        """Slices in its input, C, or D for a 3-D network.

        A 3-D network takes 16 slices, or the next multiple of its `depth_stride`.
        """
        if self.ndim == 2:
            return self.in_channels
        return -(-_DEPTH // self.depth_stride) * self.depth_stride


def from_nnx(
    build: Callable[[nnx.Rngs], Any],
    *,
    in_channels: int = 1,
    num_classes: int = 1,
    stride: int = 1,
    ndim: int = 2,
    depth_stride: int = 1,
    heads: int = 1,
) -> Model:
    """A `Model` from a flax.nnx module.

    The module is called as ``module(images)``. Dropout and batch statistics follow
    ``module.train()`` and ``module.eval()``; its dropout streams are seeded from ``key``. A module
    with several heads has an attribute ``deterministic``, which these set, too, and returns its
    further outputs only if it is false.

    Args:
        build: Makes the module from ``nnx.Rngs``.
        in_channels: Channels of the images.
        num_classes: Channels of the logits.
        stride: H and W must be multiples of this.
        ndim: 2 for slices, 3 for volumes.
        depth_stride: D must be a multiple of this.
        heads: How many answers there are in training, see `Model`.

    Returns:
        The model; its parameters and state are nested dicts of arrays.

    Example:
        >>> import jax
        >>> from flax import nnx
        >>> model = from_nnx(lambda rngs: nnx.Conv(1, 1, (3, 3), rngs=rngs))
        >>> params, state = model.init(jax.random.key(0))
        >>> sorted(params)
        ['bias', 'kernel']
    """
    abstract = nnx.eval_shape(lambda: build(_rngs(jax.random.key(0))))
    graph, *templates = _split(abstract)
    strides = (depth_stride, stride, stride)[-ndim:]

    def init(key: jax.Array, /) -> tuple[Params, State]:
        _, params, _, state = _split(build(_rngs(key)))
        return nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    def apply(
        params: Params,
        state: State,
        images: jax.Array,
        /,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        _check_images(images, in_channels, strides)
        streams = _streams(templates[1], key)
        parts = [_filled(templates[0], params), streams, _filled(templates[2], state)]
        module = nnx.merge(graph, *parts, copy=True)
        module.train() if train else module.eval()
        logits = module(images).astype(jnp.float32)
        return logits, nnx.to_pure_dict(_split(module)[-1])

    return Model(init, apply, in_channels, num_classes, stride, ndim, depth_stride, heads)


def from_linen(
    module: Any,
    *,
    image_shape: tuple[int, ...] = (32, 32),
    in_channels: int = 1,
    num_classes: int = 1,
    stride: int = 1,
    depth_stride: int = 1,
    heads: int = 1,
) -> Model:
    """A `Model` from a flax.linen module.

    The module is called as ``module(images, train=...)``; dropout draws from the stream
    ``"dropout"``.

    Args:
        module: The module.
        image_shape: Spatial shape of the zeros it is initialised on.
        in_channels: Channels of the images.
        num_classes: Channels of the logits.
        stride: H and W must be multiples of this.
        depth_stride: D must be a multiple of this.
        heads: How many answers there are in training, see `Model`.

    Returns:
        The model; its state is every collection other than ``"params"``.

    Example:
        >>> import jax
        >>> from flax import linen
        >>> class Net(linen.Module):
        ...     @linen.compact
        ...     def __call__(self, images, *, train):
        ...         return linen.Conv(1, (3, 3))(images)
        >>> params, state = from_linen(Net()).init(jax.random.key(0))
        >>> sorted(params["Conv_0"]), state
        (['bias', 'kernel'], {})
    """
    ndim = len(image_shape)
    strides = (depth_stride, stride, stride)[-ndim:]

    def init(key: jax.Array, /) -> tuple[Params, State]:
        images = jnp.zeros((1, *image_shape, in_channels))
        state = dict(module.init({"params": key, "dropout": key}, images, train=False))
        return state.pop("params", {}), state

    def apply(
        params: Params,
        state: State,
        images: jax.Array,
        /,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, State]:
        _check_images(images, in_channels, strides)
        logits, after = module.apply(
            {"params": params, **state},
            images,
            train=train,
            rngs={} if key is None else {"dropout": key},
            mutable=list(state) if train else [],
        )
        return logits.astype(jnp.float32), {**state, **after}

    return Model(init, apply, in_channels, num_classes, stride, ndim, depth_stride, heads)


class _Stream(nnx.RngStream):
    """Counts its keys in Python, and gives those of ``nnx.RngStream``.

    Theirs counts in an array. To write it in a trace, flax asks for its sharding, and JAX makes the
    text of an error out of all operations so far: most of the time that a large network takes.
    """

    def __init__(self, key: jax.Array) -> None:
        super().__init__(key, tag="default")
        self.used = 0

    def __call__(self) -> jax.Array:
        key = jax.random.fold_in(self.key[...], self.used)
        self.used += 1
        return key

    def split(self, k: int | tuple[int, ...]) -> nnx.RngStream:
        return nnx.RngStream(jax.random.split(self(), k), tag=self.tag)

    def fork(self, *, split: int | tuple[int, ...] | None = None) -> nnx.RngStream:
        return nnx.RngStream(self(), tag=self.tag) if split is None else self.split(split)


def _rngs(key: jax.Array) -> nnx.Rngs:
    rngs = nnx.Rngs()
    rngs.default = _Stream(key)  # type: ignore[attr-defined]
    return rngs


def _split(module: Any) -> tuple[Any, Any, Any, Any]:
    """Graph, parameters, random streams, and the rest."""
    parts: Any = nnx.split(module, nnx.Param, nnx.RngState, ...)
    graph, params, streams, state = parts
    return graph, params, streams, state


def _filled(template: Any, values: Any) -> Any:
    """A copy of an abstract nnx state that holds `values`."""
    filled = jax.tree.map(lambda leaf: leaf, template)
    nnx.replace_by_pure_dict(filled, values)
    return filled


def _streams(template: Any, key: jax.Array | None) -> Any:
    """Random streams of a module, started anew from `key`."""
    key = jax.random.key(0) if key is None else key
    leaves, tree = jax.tree.flatten(template)
    keys = jax.random.split(key, max(len(leaves), 1))
    fresh = [
        one
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else jnp.zeros(leaf.shape, leaf.dtype)
        for leaf, one in zip(leaves, keys, strict=False)
    ]
    return jax.tree.unflatten(tree, fresh)


def _check_images(images: jax.Array, in_channels: int, strides: tuple[int, ...]) -> None:
    ndim, spatial = len(strides), images.shape[1:-1]
    if images.ndim != ndim + 2 or images.shape[-1] != in_channels:
        expected = "(N, D, H, W, C)" if ndim == 3 else "(N, H, W, C)"
        raise ShapeError(f"expected images {expected} with C = {in_channels}, found {images.shape}")
    if any(side % stride for side, stride in zip(spatial, strides, strict=True)):
        raise ShapeError(
            f"expected image sides that are multiples of {strides if ndim == 3 else strides[0]}, "
            f"found {spatial}: resize or pad the images"
        )
