"""The Jaccard loss of sets of pixels, extended to real numbers by Lovász's construction.

Pixels are ordered by their errors, the largest first. Each error counts by how much the Jaccard
loss rises when its pixel joins the wrong ones; the sum is convex in the errors.
"""

import jax
import jax.numpy as jnp

from lungmask_jax.losses._inputs import checked, checked_classes, ratio


def lovasz_hinge(logits: jax.Array, targets: jax.Array) -> jax.Array:
    r"""Lovász extension of the Jaccard loss at hinge errors, the mean over channels.

    .. math::
        \sum_k \max(0, m_{\pi_k}) \, [J_k - J_{k-1}], \quad m_i = 1 - (2 t_i - 1) x_i

    The permutation sorts m downwards; J_k is the Jaccard loss of a prediction that is wrong in the
    first k pixels and right elsewhere. Without a target it is the largest error. Logits beyond 1 on
    their side cost nothing; wrong ones cost without bound.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape; above 1/2 is target.

    Returns:
        ``(N,)`` float32, not negative.

    Raises:
        ShapeError: The shapes differ.

    References:
        Berman et al., The Lovász-Softmax loss, CVPR 2018, arXiv:1705.08790; Yu and Blaschko,
        Learning submodular losses with the Lovász hinge, ICML 2015.

    Example:
        >>> import jax.numpy as jnp
        >>> lovasz_hinge(jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))).tolist()
        [1.0]
    """
    logits, targets = checked(logits, targets)
    inside = targets > 0.5
    errors = jax.nn.relu(1 - jnp.where(inside, logits, -logits))
    return _extension(errors, inside).mean(axis=-1)


def lovasz_softmax(logits: jax.Array, targets: jax.Array) -> jax.Array:
    r"""Lovász extension of the Jaccard loss at softmax errors, the mean over the classes present.

    .. math::
        \frac{1}{|P|} \sum_{c \in P} \sum_k m_{c \pi_k} [J_{ck} - J_{c(k-1)}],
        \quad m_{ci} = |t_{ci} - p_{ci}|

    P are the classes that the target of the image has; J and the permutation are those of
    `lovasz_hinge`. An image without any class has loss 0.

    Args:
        logits: ``(N, ..., C)``, a channel for each class.
        targets: Same shape, one-hot; above 1/2 is target.

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        ShapeError: The shapes differ, or there is a single channel.

    References:
        Berman et al., The Lovász-Softmax loss, CVPR 2018, arXiv:1705.08790.

    Example:
        >>> import jax
        >>> targets = jax.nn.one_hot(jax.numpy.zeros((1, 4, 4), int), 2)
        >>> lovasz_softmax(0 * targets, targets).tolist()
        [0.5]
    """
    logits, targets = checked_classes(logits, targets)
    inside, found = targets > 0.5, jax.nn.softmax(logits)
    each = _extension(jnp.where(inside, 1 - found, found), inside)
    present = inside.any(axis=tuple(range(1, inside.ndim - 1))).astype(jnp.float32)
    return ratio((each * present).sum(axis=-1), present.sum(axis=-1))


def _extension(errors: jax.Array, inside: jax.Array) -> jax.Array:
    """Errors ``(N, ..., C)`` of pixels inside and outside the target: ``(N, C)``."""
    flat = (errors.shape[0], -1, errors.shape[-1])
    errors, inside = errors.reshape(flat), inside.reshape(flat)
    # the order is constant between ties, so no gradient goes through it
    order = jnp.argsort(-jax.lax.stop_gradient(errors), axis=1)
    rises = _rises(jnp.take_along_axis(inside, order, axis=1))
    # sorting the order gives each pixel its place back; far quicker than a scatter
    rises = jnp.take_along_axis(rises, jnp.argsort(order, axis=1), axis=1)
    return (errors * rises).sum(axis=1)


def _rises(inside: jax.Array) -> jax.Array:
    """How much the Jaccard loss rises with each pixel that turns wrong, ``(N, pixels, C)``.

    A difference of two neighboring losses would cancel to nothing in large images. Written out, a
    pixel of the target takes one from the intersection I, any other adds one to the union U: the
    loss rises by 1 / U or by I / (U (U - 1)), with U as it is afterwards.
    """
    missed = jnp.cumsum(inside, axis=1, dtype=jnp.int32)
    size = missed[:, -1:]
    intersection = (size - missed).astype(jnp.float32)
    wrong = jnp.arange(1, inside.shape[1] + 1, dtype=jnp.int32)[None, :, None]
    union = (size + wrong - missed).astype(jnp.float32)
    outside = intersection / (union * jnp.maximum(union - 1, 1))
    first_of_none = (size == 0) & (wrong == 1)
    return jnp.where(inside, 1 / union, jnp.where(first_of_none, 1.0, outside))
