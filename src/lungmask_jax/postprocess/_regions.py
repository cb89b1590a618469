"""Regions of several labels: small ones join a neighbor.

These are the rules of lungmask, with equal masks: Hofmanninger et al., European Radiology
Experimental 2020, 10.1186/s41747-020-00173-2, and its program, version 0.2.22.
"""

import numpy as np

from lungmask_jax.postprocess._components import (
    FULL,
    bounds,
    enclosed,
    holes,
    labelled,
    sizes,
)
from lungmask_jax.volume import Volume

_HOLE = 63
"""Pixels of the largest hole that is filled in a scan of one slice."""


def join_regions(mask: Volume, *, skip_below: int = 3) -> Volume:
    """Labels after small regions have joined their neighbors.

    A region is a connected part (26 neighbors) of one label. From the smallest up, each one except
    the largest of its label joins the region with most voxels beside it. Regions without neighbors
    and those of very few voxels do not change.

    Args:
        mask: Labels.
        skip_below: Regions of fewer voxels do not change.

    Returns:
        The labels.

    Example:
        >>> labels = Volume(np.array([[[2, 2, 2, 1, 1, 1, 2, 0]]], np.uint8))
        >>> join_regions(labels, skip_below=1).array.ravel().tolist()
        [2, 2, 2, 1, 1, 1, 1, 0]
    """
    return mask.with_array(_in_box(mask.array, skip_below))


def solid_regions(mask: Volume) -> Volume:
    """The largest region of each label, with its closed cavities filled, even of other labels.

    Of two labels for one voxel the higher one is kept.

    Args:
        mask: Labels. In a scan of one slice, holes of fewer than 64 pixels are filled.

    Returns:
        The labels.

    Example:
        >>> ring = np.ones((3, 3, 5), np.uint8)
        >>> ring[1, 1, 1], ring[:, :, 3] = 0, 0
        >>> solid_regions(Volume(ring)).array[1, 1].tolist()
        [1, 1, 1, 0, 0]
    """
    result = np.zeros_like(mask.array)
    for label in range(1, int(mask.array.max(initial=0)) + 1):
        found = mask.array == label
        if found.any():
            box = bounds(found)
            part = _largest(found[box])
            result[box][part | _holes(part, len(mask))] = label
    return mask.with_array(result)


def fill_outer(mask: Volume, *, fills: Volume | None = None, skip_below: int = 3) -> Volume:
    """Labels extended to the mask of the task that they divide, as lobes divide the lungs.

    Labels outside that mask are removed. Parts of it without a label join the region that they
    touch most, as do small regions; parts that touch none are removed. This is how lungmask fuses
    its lobes with its lungs. Without an outer mask the labels do not change.

    Args:
        mask: Labels.
        fills: The outer mask; values other than 0 count.
        skip_below: Regions of fewer voxels do not join others.

    Returns:
        The labels.

    Example:
        >>> lobes = Volume(np.array([[[1, 1, 0, 2, 2, 2, 2]]], np.uint8))
        >>> lungs = lobes.with_array(np.array([[[0, 1, 1, 1, 1, 1, 1]]], np.uint8))
        >>> fill_outer(lobes, fills=lungs, skip_below=1).array.ravel().tolist()
        [0, 1, 1, 2, 2, 2, 2]
    """
    if fills is None:
        return mask
    spare = int(mask.array.max(initial=0)) + 1
    inside = fills.array != 0
    labels = np.where(inside & (mask.array == 0), spare, mask.array * inside).astype(np.uint8)
    return solid_regions(mask.with_array(_in_box(labels, skip_below, spare)))


def _largest(found: np.ndarray) -> np.ndarray:
    """The largest connected part; of several as large the last."""
    parts, count = labelled(found, FULL)
    areas = sizes(parts, count)[1:]
    largest: np.ndarray = parts == count - areas[::-1].argmax()
    return largest


def _holes(part: np.ndarray, slices: int) -> np.ndarray:
    if slices > 1:
        return enclosed(part)
    return holes(part[0], largest=_HOLE)[None]


def _in_box(labels: np.ndarray, skip_below: int, spare: int = 0) -> np.ndarray:
    """The labels after joining, worked on where there are any."""
    result = np.zeros(labels.shape, np.uint8)
    if labels.any():
        box = bounds(labels)
        result[box] = _joined(labels[box], skip_below, spare)
    return result


def _joined(labels: np.ndarray, skip_below: int, spare: int) -> np.ndarray:
    """The labels of all regions, each with what joined it; a spare label is none."""
    regions, label_of = _regions(np.pad(labels, 1))
    flat = regions.reshape(-1)
    areas = np.bincount(flat)
    order = 1 + np.argsort(areas[1:], kind="stable")
    kept, largest = _record_setters(order, areas, label_of)
    is_spare = (label_of == spare) & (spare > 0)
    walked = areas >= skip_below
    voxels = _voxels(flat, walked & ((areas < largest[label_of]) | is_spare))
    for region in order[walked[order]].tolist():
        if areas[region] >= largest[label_of[region]] and not is_spare[region]:
            continue
        own = _all(voxels.pop(region, []), flat, region)
        target = _most_adjoining(regions, own, is_spare)
        if target:
            flat[own] = target
            if areas[target] == largest[label_of[target]]:
                largest[label_of[target]] += areas[region]
            areas[target] += areas[region]
            if target in voxels:
                voxels[target].append(own)
    kept[is_spare] = 0
    return kept[regions[1:-1, 1:-1, 1:-1]]


def _all(groups: list[np.ndarray], flat: np.ndarray, region: int) -> np.ndarray:
    """The voxels of a region, which nobody has noted of one that was once the largest."""
    return np.concatenate(groups) if groups else np.flatnonzero(flat == region)


def _voxels(flat: np.ndarray, chosen: np.ndarray) -> dict[int, list[np.ndarray]]:
    """Where the voxels of some regions are."""
    chosen[0] = False
    places = np.flatnonzero(chosen[flat])
    numbers = flat[places]
    order = np.argsort(numbers, kind="stable")
    there, starts = np.unique(numbers[order], return_index=True)
    groups = np.split(places[order], starts[1:])
    return {number: [group] for number, group in zip(there.tolist(), groups, strict=False)}


def _regions(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regions numbered in the order of their first voxels, and the label of each number."""
    regions, label_of = np.zeros(labels.shape, np.int32), [0]
    for label in range(1, int(labels.max()) + 1):
        parts, count = labelled(labels == label, FULL)
        np.add(parts, len(label_of) - 1, out=regions, where=parts != 0, casting="unsafe")
        label_of += [label] * count
    first = np.zeros(len(label_of), np.int64)
    for number in range(len(regions) - 1, -1, -1):  # the last slice first, and so its voxels
        plane = regions[number].ravel()
        first[plane[::-1]] = np.arange((number + 1) * plane.size - 1, number * plane.size - 1, -1)
    first[0] = -1
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    return rank[regions], np.array(label_of)[order]


def _record_setters(
    order: np.ndarray, areas: np.ndarray, label_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The label of each region that is larger than all before it, and the largest of each label."""
    kept, largest = np.zeros(len(areas), np.uint8), np.zeros(label_of.max() + 1, np.int64)
    for region in order.tolist():
        label = label_of[region]
        if areas[region] > largest[label]:
            largest[label] = areas[region]
            kept[region] = label
    return kept, largest


def _most_adjoining(regions: np.ndarray, own: np.ndarray, is_spare: np.ndarray) -> int:
    """The region with most voxels beside some, but no spare one; 0 if there is none."""
    steps = np.array(regions.strides) // regions.itemsize
    flat = regions.reshape(-1)
    beside = (own[:, None] + np.concatenate([-steps, steps])).ravel()
    numbers = flat[beside]
    other = (numbers != flat[own[0]]) & (numbers != 0) & ~is_spare[numbers]
    if not other.any():
        return 0
    there, counts = np.unique(flat[np.unique(beside[other])], return_counts=True)
    return int(there[counts.argmax()])
