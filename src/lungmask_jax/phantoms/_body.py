"""Everything that is not lung, painted into one slice."""

from dataclasses import replace

import numpy as np

from lungmask_jax.phantoms import _thorax as thorax
from lungmask_jax.phantoms._anatomy import Anatomy
from lungmask_jax.phantoms._bones import paint_skeleton
from lungmask_jax.phantoms._shapes import (
    Plane,
    at,
    ellipse,
    overlap,
    paint,
    rounded,
    tube,
    union,
)

AIR_HU, FAT_HU, MUSCLE_HU, BLOOD_HU, LIVER_HU = -1000, -100, 50, 42, 58
_BODY_MM = 128
_HOLLOW = (
    ((58, -26, 66), (46, 44, 46)),
    ((98, -30, 8), (24, 26, 40)),
)
_NECK_VESSELS = (
    (((-30, -16, 180), (-29, -14, 250), (-34, -22, 275)), 9),
    (((-29, -14, 250), (20, -22, 262)), 6),
    (((-12, -14, 232), (-20, -2, 275), (-36, 0, 330)), 6.5),
    (((4, -2, 234), (18, 2, 275), (34, 0, 330)), 4.5),
    (((16, 18, 232), (26, 18, 275), (46, 10, 300)), 5),
    (((-34, -22, 275), (-44, -8, 330)), 7),
    (((20, -22, 262), (42, -8, 330)), 7),
    (((4, 36, 330), (5, 37, 150), (18, 14, 95)), 6.5),
)
_LUNG_TRUNKS = (
    (((18, -30, 172), (24, -26, 196), (22, -6, 204)), 13),
    (((22, -6, 204), (-8, 2, 198), (-40, 12, 192)), 10),
    (((22, -6, 204), (42, 16, 200)), 10),
    (((36, 12, 172), (10, 8, 166), (-34, 12, 172)), 9),
)


def paint_body(plane: Plane, patient: Anatomy) -> np.ndarray:
    """HU of a slice with everything but the lungs, ``(H, W)`` float32."""
    hu = _paint_table(np.full((plane.y.size, plane.x.size), AIR_HU, np.float32), plane)
    near = np.abs(plane.y[:, 0]) < _BODY_MM
    hu[near] = _paint_patient(hu[near], replace(plane, y=plane.y[near]), patient)
    return hu


def _paint_patient(hu: np.ndarray, plane: Plane, patient: Anatomy) -> np.ndarray:
    edge = plane.edge_mm
    body, cage = outline(plane), thorax.cage(plane, patient)
    hu = paint(paint(hu, body, 20, edge), body + 2.2, FAT_HU, edge)
    for muscle in _muscles(plane, cage):
        inside = overlap(muscle, body + patient.fat_mm + 2, 6)
        hu = paint(paint(hu, inside - 1.6, FAT_HU, edge), inside, MUSCLE_HU, edge)
    hu = paint(hu, cage + 1, FAT_HU, edge)
    hu = _paint_belly(hu, plane, cage, patient)
    hu = _paint_mediastinum(hu, plane, patient)
    return paint_skeleton(hu, plane, cage, body, patient)


def outline(plane: Plane) -> np.ndarray:
    """The skin, ``(H, W)``: a boxy ellipse that widens to the shoulders and narrows to the neck."""
    z = plane.height_mm
    width = at(z, (0, 158), (60, 162), (150, 169), (220, 175), (270, 183), (305, 183), (330, 165))
    front = at(z, (0, 112), (100, 112), (160, 114), (220, 106), (260, 88), (295, 52), (330, 26))
    back = at(z, (0, 114), (150, 120), (240, 120), (280, 112), (330, 102))
    torso = ellipse(plane.x, plane.y, (0, 0), (width, np.where(plane.y < 0, front, back)), 2.3)
    groove = ellipse(plane.x, plane.y, (0, back + 16), (22, 20))
    neck = ellipse(plane.x, plane.y, (0, 0), (60, 64)) + at(z, (280, 60), (310, 0))
    return union(overlap(torso, -groove, 24), neck, 20)


def _muscles(plane: Plane, cage: np.ndarray) -> tuple[np.ndarray, ...]:
    """Each muscle group, from the skin inwards, so that fat parts one from the next."""
    z, fold = plane.height_mm, np.abs(plane.x)
    folded = Plane(z, fold, plane.y, plane.edge_mm)
    erector = ellipse(fold, plane.y, (27, 92), (27, 18))
    lateral = rounded(folded, (128, 52, 215), (36, 52, 110))
    shoulder = rounded(folded, (118, 34, 305), (80, 70, 76))
    chest = rounded(folded, (74, -88 + 0.4 * max(z - 200, 0), 228), (68, 21, 78))
    neck = ellipse(plane.x, plane.y, (0, 28), (58, 58)) + at(z, (250, 70), (300, 0))
    blade = rounded(folded, (118, 44, 262), (34, 30, 70))
    return shoulder, lateral, chest, blade, neck, erector, cage - 13


def _paint_belly(hu: np.ndarray, plane: Plane, cage: np.ndarray, patient: Anatomy) -> np.ndarray:
    if plane.height_mm > 145:
        return hu
    edge = plane.edge_mm
    belly = overlap(thorax.diaphragm(plane, patient), cage + 1, 4)
    hu = paint(paint(hu, belly, MUSCLE_HU, edge), belly + 3.5, FAT_HU, edge)
    organs = belly + 2.5
    liver = overlap(organs, rounded(plane, (-60, -18, 20), (86, 96, 135)), 8)
    lobe = overlap(organs, rounded(plane, (10, -50, 60), (58, 32, 48)), 8)
    hu = paint(hu, union(liver, lobe, 10), LIVER_HU, edge)
    spleen = overlap(organs, rounded(plane, (92, 34, 62), (32, 44, 48)), 8)
    hu = paint(hu, spleen, 48, edge)
    for center, radii in _HOLLOW:
        hu = _paint_hollow(hu, overlap(organs + 1, rounded(plane, center, radii), 8), plane, center)
    for side in (-1, 1):
        bed = overlap(organs, rounded(plane, (side * 54, 44, -5), (38, 38, 50)), 8)
        hu = paint(hu, bed, FAT_HU, edge)
        hu = paint(hu, rounded(plane, (side * 54, 44, -5), (27, 25, 45)), 32, edge)
    vena_cava = tube(plane, ((-22, 22, -20), (-22, 14, 90), (-22, -2, 140)), 11)
    return paint(hu, vena_cava, BLOOD_HU, edge)


def _paint_hollow(
    hu: np.ndarray, wall: np.ndarray, plane: Plane, center: tuple[float, float, float]
) -> np.ndarray:
    """Stomach or bowel: a wall, fluid, and gas above the fluid's level."""
    edge, level = plane.edge_mm, plane.y - center[1] + 8
    hu = paint(paint(hu, wall, 40, edge), wall + 3.5, 20, edge)
    return paint(hu, overlap(wall + 3.5, np.broadcast_to(level, wall.shape)), -980, edge)


def _paint_mediastinum(hu: np.ndarray, plane: Plane, patient: Anatomy) -> np.ndarray:
    edge, heart = plane.edge_mm, thorax.heart(plane, patient)
    hu = paint(hu, heart, 44, edge)
    septum = np.abs(heart + 17) - 3
    hu = paint(hu, overlap(septum, heart + 12), 52, edge)
    for points, radius in _LUNG_TRUNKS + _NECK_VESSELS:
        hu = paint(hu, tube(plane, points, radius), BLOOD_HU, edge)
    hu = paint(hu, thorax.aorta(plane), BLOOD_HU, edge)
    thyroid = union(
        rounded(plane, (-19, 2, 306), (10, 14, 24)), rounded(plane, (20, 2, 306), (10, 14, 24))
    )
    hu = paint(hu, thyroid, 95, edge)
    air = thorax.airways(plane)
    return paint(paint(hu, air - 1.8, 30, edge), air, AIR_HU, edge)


def _paint_table(hu: np.ndarray, plane: Plane) -> np.ndarray:
    ends = np.abs(plane.x) - 176
    for top_mm, radius_mm, thickness_mm, value in ((132, 520, 1.6, -60), (158, 900, 1.2, -250)):
        arc = np.abs(np.hypot(plane.x, plane.y - top_mm + radius_mm) - radius_mm) - thickness_mm
        hu = paint(hu, overlap(arc, ends + 0 * arc), value, plane.edge_mm)
    return hu
