"""The skeleton, painted into one slice."""

import numpy as np

from lungmask_jax.phantoms._anatomy import Anatomy
from lungmask_jax.phantoms._shapes import (
    Plane,
    at,
    ellipse,
    overlap,
    paint,
    paint_bone,
    rounded,
    segment,
    tube,
    union,
)
from lungmask_jax.phantoms._thorax import SPINE_MM

_RIB_STEP_MM = 25.0
_RIB_SLOPE, _RIB_DROP = 0.55, 0.28


def paint_skeleton(
    hu: np.ndarray, plane: Plane, cage: np.ndarray, body: np.ndarray, patient: Anatomy
) -> np.ndarray:
    """The slice with ribs, sternum, spine, scapulae, clavicles and humeral heads, ``(H, W)``."""
    hu = _paint_ribs(hu, plane, overlap(cage, body + 12), patient.rib_mm)
    hu = _paint_spine(hu, plane, patient.disc_mm)
    return _paint_shoulders(_paint_sternum(hu, plane), plane)


def _paint_ribs(hu: np.ndarray, plane: Plane, cage: np.ndarray, phase_mm: float) -> np.ndarray:
    """Ribs lie in tilted planes, highest at the spine, so a slice cuts several of them."""
    if plane.height_mm > 292:
        return hu
    height = plane.height_mm - _RIB_SLOPE * plane.y + _RIB_DROP * np.abs(plane.x) + phase_mm
    along = np.abs(height % _RIB_STEP_MM - _RIB_STEP_MM / 2)
    ribs = ellipse(along, cage, (0, 5.5), (6.5, 4.2))
    front = overlap(np.abs(plane.x) - 62, plane.y + 62)
    hu = paint(hu, overlap(ribs, front), 110, plane.edge_mm)
    spared = np.maximum(-front, 24 - np.abs(plane.x))
    return paint_bone(hu, overlap(ribs, spared), plane.edge_mm)


def _paint_spine(hu: np.ndarray, plane: Plane, phase_mm: float) -> np.ndarray:
    edge, y = plane.edge_mm, SPINE_MM[1]
    level = abs((plane.height_mm + phase_mm) % 24 - 12)
    body = ellipse(plane.x, plane.y, SPINE_MM, (17.5, 15), 2.4)
    hu = paint(hu, body, 85, edge) if level > 10 else paint_bone(hu, body, edge)
    arch = ellipse(plane.x, plane.y, (0, y + 23), (15, 13))
    fold = Plane(plane.height_mm, np.abs(plane.x), plane.y, edge)
    z, drop = plane.height_mm, at(plane.height_mm, (0, 20), (240, 22), (330, 15))
    spinous = segment(fold, (0, y + 30, z), (0, y + 24 + drop * (1 - level / 40), z)) - 3.5
    bones = union(arch, spinous, 6)
    if level < 7:
        process = segment(fold, (13, y + 20, z), (36, y + 30, z)) - 6 + 0.4 * level
        bones = union(bones, process, 6)
    hu = paint_bone(hu, bones, edge)
    canal = ellipse(plane.x, plane.y, (0, y + 22), (9.5, 8.5))
    return paint(paint(hu, canal, -20, edge), canal + 2, 30, edge)


def _paint_sternum(hu: np.ndarray, plane: Plane) -> np.ndarray:
    z = plane.height_mm
    front = at(z, (100, -95), (180, -94), (240, -77), (280, -58))
    width = at(z, (105, 5), (130, 16), (220, 18), (250, 30), (275, 26))
    if not 104 < z < 272:
        return hu
    return paint_bone(hu, ellipse(plane.x, plane.y, (0, front), (width, 6.5), 2.5), plane.edge_mm)


def _paint_shoulders(hu: np.ndarray, plane: Plane) -> np.ndarray:
    edge, z = plane.edge_mm, plane.height_mm
    fold = Plane(z, np.abs(plane.x), plane.y, edge)
    hu = paint_bone(hu, rounded(fold, (152, 20, 312), (21, 21, 36)), edge)
    hu = paint_bone(
        hu, tube(fold, ((18, -52, 266), (60, -42, 284), (100, -16, 302), (132, 6, 312)), 6), edge
    )
    return paint_bone(hu, _scapula(fold), edge) if 165 < z < 306 else hu


def _scapula(fold: Plane) -> np.ndarray:
    z = fold.height_mm
    inner = at(z, (165, 112), (230, 98), (300, 86))
    reach = at(z, (165, 4), (200, 26), (260, 46), (306, 40))
    start, end = (inner, 90 - 0.1 * (z - 165), z), (inner + reach, 90 - reach * 1.2, z)
    middle = (inner + reach * 0.45, 80 - reach * 0.35 - 0.1 * (z - 165), z)
    blade = union(segment(fold, start, middle) - 2.4, segment(fold, middle, end) - 3, 8)
    blade = union(blade, np.sqrt((fold.x - end[0]) ** 2 + (fold.y - end[1]) ** 2) - 6, 8)
    if z < 255:
        return blade
    crest = (inner + reach * 0.9, 84 - 0.2 * (z - 255), z)
    return union(blade, segment(fold, middle, crest) - 2.6, 6)
