"""Depthwise convolutions as sums of shifted images: on a CPU many times as fast as those of XLA."""

import functools
import itertools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(features: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """A convolution of each channel with a kernel of its own, padded with zeros ("SAME").

    Args:
        features: ``(N, H, W, C)``, sides multiples of the stride.
        kernel: ``(K, K, C)``, K odd.
        stride: 1 or 2.

    Returns:
        ``(N, H / stride, W / stride, C)``.
    """
    return _slid(_padded(features, _margins(kernel, stride)), kernel, stride)


def _forward(
    features: jax.Array, kernel: jax.Array, stride: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return depthwise(features, kernel, stride), (features, kernel)


def _backward(
    stride: int, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    features, kernel = kept
    before, after = _margins(kernel, stride)
    reach = len(kernel) - 1
    spread = _spread(gradient, stride)
    margins = (reach - before, reach - after - (stride - 1))
    to_features = _slid(_padded(spread, margins), kernel[::-1, ::-1], 1)
    parts = _shifted(_padded(features, (before, after)), len(kernel), stride)
    to_kernel = jnp.stack([(part * gradient).sum(axis=(0, 1, 2)) for part in parts])
    return to_features, to_kernel.reshape(kernel.shape)


depthwise.defvjp(_forward, _backward)


def _slid(padded: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    size = len(kernel)
    weights = kernel.reshape(size * size, 1, 1, 1, -1)
    terms = [p * w for p, w in zip(_shifted(padded, size, stride), weights, strict=True)]
    return functools.reduce(jnp.add, terms)


def _shifted(padded: jax.Array, size: int, stride: int) -> list[jax.Array]:
    """The shifted features for each weight of the kernel, row by row."""
    rows, columns = (side - size + 1 for side in padded.shape[1:3])
    return [
        padded[:, down : down + rows : stride, across : across + columns : stride]
        for down, across in itertools.product(range(size), repeat=2)
    ]


def _spread(gradient: jax.Array, stride: int) -> jax.Array:
    """Zeros after each pixel."""
    if stride == 1:
        return gradient
    n, h, w, c = gradient.shape
    wide = jnp.zeros((n, h, stride, w, stride, c), gradient.dtype)
    return wide.at[:, :, 0, :, 0].set(gradient).reshape(n, h * stride, w * stride, c)


def _margins(kernel: jax.Array, stride: int) -> tuple[int, int]:
    total = len(kernel) - stride
    return total // 2, total - total // 2


def _padded(features: jax.Array, margins: tuple[int, int]) -> jax.Array:
    return jnp.pad(features, [(0, 0), margins, margins, (0, 0)])
