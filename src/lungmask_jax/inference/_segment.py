"""From a scan to its masks, task after task."""

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lungmask_jax import io, postprocess, preprocess, quality, quantify, tasks, weights
from lungmask_jax.errors import SpecError
from lungmask_jax.inference._network import Found, Progress, find
from lungmask_jax.inference._segmentation import Segmentation
from lungmask_jax.postprocess import Scan
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle


def segment(
    scan: object,
    *,
    spacing: Sequence[float] | None = None,
    weights: Sequence[str | os.PathLike[str] | Bundle] = ("lungs", "infection"),
    window: tuple[float, float] | None = None,
    uncertainty: bool = False,
    progress: Progress | None = None,
    begin: Callable[[str], None] | None = None,
) -> Segmentation:
    """Segments the lungs of a chest CT and the infection in them, or the tasks of other bundles.

    Args:
        scan: A path that `lungmask_jax.io.load` reads, a `Volume`, an array ``(slices, rows,
            columns)``, a nibabel or a SimpleITK image: all that `lungmask_jax.io.as_volume` takes.
        spacing: For an array: distance between voxel centers in mm, ``(slices, rows, columns)``.
        weights: Names, paths or loaded bundles, for any tasks; a task inside another needs a model
            of that, as infection needs one of the lungs. Several for one task, such as the
            folds of a cross-validation, form an ensemble.
        window: For images and windowed scans: HU of black and white.
        uncertainty: Whether to map the uncertainty of the last model inside another mask.
        progress: Called as ``progress(task, slices_done, slices)``.
        begin: Called with the name of each stage as it begins: ``"read"``, and for each task as in
            ``"lung network"`` and ``"lung masks"``, to measure the time of each.

    Returns:
        The masks on the grid of the scan.

    Raises:
        ScanError: The scan cannot be read, is not a CT in HU, or a given volume does not lie as
            `lungmask_jax.volume.Volume` says.
        ShapeError: An array is not 3-D, or has its slices last.
        SpecError: An array has no spacing, a model of a task is missing, uncertainty is requested
            without such a model, or models of one task cannot form an ensemble.
        UnknownNameError: No bundle has such a name.
        WeightsError: A bundle is damaged.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> result = segment(phantom((4, 96, 96)).ct)
        >>> result.lungs.shape
        (4, 96, 96)
    """
    bundles = _models(weights)
    unsure = _unsure(bundles) if uncertainty else ""
    begin = begin or _unseen
    begin("read")
    ct = io.as_volume(scan, spacing=spacing, window=window)
    masks: dict[str, Volume] = {}
    doubt: Volume | None = None
    for name, bundle in bundles.items():
        noun, around = tasks.registry[name].noun, masks.get(bundle.spec.needs)
        begin(f"{noun} network")
        found = find(ct, bundle, around, progress, unsure=name == unsure)
        if around is not None and found.doubt is not None:
            doubt = ct.with_array(found.doubt.array * (around.array != 0))
        begin(f"{noun} masks")
        masks |= _cleaned(found, ct, bundle, masks)
        del found  # as large as the scan
    models = {name: f"{one.name} {one.checksum[:12]}" for name, one in bundles.items()}
    noise = preprocess.noise_hu(ct)
    basic, signs = quality.basic_checks(ct, masks, noise), _signs(bundles, masks)
    notes, checks = tuple(one.note for one in basic if one.note), quality.place_checks(ct, masks)
    return Segmentation(ct, masks, models, doubt, noise, notes, signs, (*basic, *checks))


def _models(chosen: Sequence[str | os.PathLike[str] | Bundle]) -> dict[str, Bundle]:
    if isinstance(chosen, str | os.PathLike | Bundle):
        chosen = [chosen]
    return ordered(weights.by_target(chosen))


def ordered(models: Mapping[str, Bundle]) -> dict[str, Bundle]:
    """Models by task, sorted so that each follows the one whose mask it needs.

    Args:
        models: As `lungmask_jax.weights.by_target` gives them.

    Returns:
        The same in the order of segmentation.

    Raises:
        SpecError: There is none, or one that another needs is missing.

    Example:
        >>> list(ordered(weights.by_target(["infection", "lungs"])))
        ['lungs', 'infection']
    """
    if not models:
        raise SpecError("expected weights of a model, found none: name a bundle")
    left, done = {**models}, dict[str, Bundle]()
    while left:
        there = tasks.mask_names(done)
        ready = [name for name in left if left[name].spec.needs in ("", *there)]
        if not ready:
            raise _missing(left)
        ready = [name for name in ready if tasks.registry[name].fills not in left] or ready
        done |= {name: left.pop(name) for name in ready}
    return done


def _missing(left: Mapping[str, Bundle]) -> SpecError:
    """The error for a missing model that another needs."""
    name, bundle = next(iter(left.items()))
    need, task = tasks.registry[bundle.spec.needs], tasks.registry[name]
    return SpecError(
        f"expected a {need.noun} model, inside whose mask {task.name} is segmented, found "
        f"{[*left]}: add one"
    )


def _unsure(bundles: Mapping[str, Bundle]) -> str:
    """The task whose uncertainty is mapped."""
    inner = [name for name, bundle in bundles.items() if bundle.spec.needs]
    if not inner:
        raise SpecError(
            f"expected an infection model for the uncertainty, or one of another task inside a "
            f"mask, found only {[*bundles]}"
        )
    return inner[-1]


def _signs(bundles: Mapping[str, Bundle], masks: Mapping[str, Volume]) -> quantify.Signs | None:
    """Signs of pneumonia, from the first bundle with their calibration."""
    for name, bundle in bundles.items():
        if bundle.spec.signs is not None:
            return quantify.signs(masks[bundle.spec.needs], masks[name], bundle.spec.signs)
    return None


def _unseen(_stage: str) -> None:
    """Nobody looks."""


def _cleaned(
    found: Found, ct: Volume, bundle: Bundle, masks: Mapping[str, Volume]
) -> dict[str, Volume]:
    """The mask of a bundle after its steps, and that of its types, if any."""
    task = tasks.registry[bundle.spec.target]
    body = preprocess.body_box(ct)
    scan = Scan(
        ct,
        inside=masks.get(task.inside),
        fills=masks.get(task.fills),
        on_scan=found.on_scan,
        midline=(body.left + body.right - 1) / 2,
        middle_row=(body.top + body.bottom - 1) / 2,
        typed=bundle.model.num_classes > 2,
    )
    mask = postprocess.applied(bundle.spec.postprocess, found.labels, scan)
    if not task.types:
        return {task.name: mask}
    return {task.name: mask.with_array((mask.array != 0).view(np.uint8)), task.types: mask}
