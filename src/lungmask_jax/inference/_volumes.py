"""Networks of nnU-Net: a scan in, labels or probabilities out, on the grid of the scan."""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import entr

from lungmask_jax import preprocess
from lungmask_jax.errors import SpecError
from lungmask_jax.prediction import Predictor, predict_volume
from lungmask_jax.spec import VolumeSpec
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["answers"]


def answers(
    bundle: Bundle,
    ct: Volume,
    around: Volume | None,
    progress: Callable[[int, int], None],
    dtypes: tuple[type, ...],
    *,
    give: str,
) -> tuple[np.ndarray, ...]:
    """What is asked for of all voxels of a scan, one array for each dtype.

    `around` is the mask that the region of the bundle is named for, or that of the previous stage.
    """
    spec, place = _volume_spec(bundle, around), bundle.spec.preprocess
    region = around if place.around else None
    frame = preprocess.Frame.of(ct, spec, around=region, margin_mm=place.margin_mm)
    scan, spacing = frame.scan(ct)
    results: tuple[np.ndarray, ...] = tuple(np.zeros(ct.shape, dtype) for dtype in dtypes)
    views = [frame.view(result) for result in results]
    same = scan.shape == views[0].shape
    grids = views if same else [np.zeros(scan.shape, dtype) for dtype in dtypes]
    previous = frame.view(around.array) if spec.previous and around is not None else None
    box = preprocess.nonzero_box(scan)
    part, before = scan[box], None if previous is None else previous[box]
    for number, arrays in enumerate(_slices(bundle, spec, part, spacing, before, give)):
        for grid, array in zip(grids, arrays, strict=True):
            grid[box][number] = array
        progress(number + 1, len(part))
    if not same:
        for view, grid in zip(views, grids, strict=True):
            view[...] = frame.restored(grid, view.shape)
    return results


def _slices(
    bundle: Bundle,
    spec: VolumeSpec,
    part: np.ndarray,
    spacing: tuple[float, ...],
    before: np.ndarray | None,
    give: str,
) -> Iterator[tuple[np.ndarray, ...]]:
    """What is asked for of each slice of a part of the scan."""
    volume = preprocess.network_volume(part, spacing, spec, previous=before)
    own = spec.spacing if len(spec.spacing) == 3 else (spacing[0], *spec.spacing)
    coarse = preprocess.coarse_axis(
        own, spacing, when=spec.separate_logits, anisotropy=spec.anisotropy
    )
    logits = bundle.spec.predict.average == "logits"
    finish = functools.partial(_of_slice, spec=spec, give=give, logits=logits)
    predictor = Predictor(bundle.model, bundle.params, bundle.state, bundle.spec.predict)
    return predict_volume(predictor, volume, part.shape, finish=finish, coarse=coarse)


def _volume_spec(bundle: Bundle, around: Volume | None) -> VolumeSpec:
    spec = bundle.spec.volume
    if spec is None:
        raise SpecError(f"expected a network of nnU-Net, {bundle.name} is none")
    if around is None and (spec.previous or bundle.spec.preprocess.around):
        need = bundle.spec.preprocess.around or "previous stage"
        raise SpecError(
            f"{bundle.name} needs the mask of the {need}: give it, or for a cascade the folder or "
            "zip of both stages"
        )
    return spec


@functools.partial(jax.jit, static_argnames=("spec", "give", "logits"))
def _of_slice(
    answers: jax.Array, *, spec: VolumeSpec, give: str, logits: bool
) -> tuple[jax.Array, ...]:
    """What is asked for, of the logits of a slice ``(H, W, L)``, or of its probabilities.

    Of these the background has none: it is what is left.
    """
    if not logits:
        rest = jnp.maximum(1 - answers.sum(axis=-1, keepdims=True), 1e-9)
        answers = jnp.log(jnp.concatenate([rest, jnp.maximum(answers, 1e-9)], axis=-1))
    return _asked(answers, spec, give)


def _asked(logits: jax.Array, spec: VolumeSpec, give: str) -> tuple[jax.Array, ...]:
    if give == "labels":
        return (_labels(logits, spec),)
    values = jnp.array([label > 0 for label in spec.labels], jnp.float32)[None, None]
    if spec.regions:
        likely = (jax.nn.sigmoid(logits) * values).max(axis=-1)
    else:
        likely = jnp.minimum((jax.nn.softmax(logits) * values).sum(axis=-1), 1.0)
    if give == "probabilities":
        return (likely,)
    bits = (entr(likely) + entr(1 - likely)) / jnp.log(2.0)
    return _labels(logits, spec), jnp.round(100 * bits).astype(jnp.uint8)


def _labels(logits: jax.Array, spec: VolumeSpec) -> jax.Array:
    """Those of the likeliest channels, or of the regions, painted in their order."""
    if not spec.regions:
        return jnp.array(spec.labels, jnp.uint8)[logits.argmax(axis=-1)]
    labels = jnp.zeros(logits.shape[:-1], jnp.uint8)
    for channel, label in enumerate(spec.labels):
        labels = jnp.where(logits[..., channel] > 0, jnp.uint8(label), labels)
    return labels
