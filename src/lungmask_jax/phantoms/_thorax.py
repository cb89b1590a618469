"""The cavities: rib cage, mediastinum, diaphragm, and the lungs between them."""

from dataclasses import replace

import numpy as np

from lungmask_jax.phantoms._anatomy import Anatomy
from lungmask_jax.phantoms._shapes import Plane, at, ellipse, overlap, rounded, tube, union

TRACHEA = ((0, -8, 330), (1, 10, 270), (2, 20, 206))
RIGHT_BRONCHUS = ((2, 20, 206), (-24, 21, 194), (-42, 24, 184), (-52, 30, 172))
LEFT_BRONCHUS = ((2, 20, 206), (26, 23, 192), (44, 30, 184), (54, 36, 172))
AORTA_ASCENDING = ((4, -22, 168), (-14, -26, 195), (-12, -22, 222), (-2, -6, 232))
AORTA_ARCH = ((-2, -6, 232), (12, 12, 235), (23, 32, 228), (25, 40, 210))
AORTA_DESCENDING = ((25, 40, 210), (24, 42, 150), (14, 38, 90), (4, 32, -20))
SPINE_MM = (0.0, 58.0)
_CAGE_MM = 100


def cage(plane: Plane, patient: Anatomy) -> np.ndarray:
    """The inside of the rib cage and, below it, of the belly: ``(H, W)``.

    Two boxy ellipses, one a side, whose inner halves reach over the midline.
    """
    z = plane.height_mm
    center = at(z, (0, 56), (60, 60), (150, 60), (220, 54), (270, 48), (300, 46))
    outer = at(z, (0, 74), (60, 81), (130, 85), (200, 76), (245, 57), (270, 44), (295, 32))
    inner = at(z, (0, 115), (150, 92), (220, 88), (270, 70), (300, 60))
    front = at(z, (0, 98), (80, 98), (150, 100), (200, 92), (240, 74), (270, 48), (300, 22))
    back = at(z, (0, 64), (80, 74), (180, 79), (240, 73), (275, 60), (300, 47))
    fold = np.abs(plane.x)
    lateral = outer * np.where(plane.x > 0, patient.left, 1).astype(np.float32)
    radii = (np.where(fold > center, lateral, inner), np.where(plane.y < 10, front, back))
    shape = ellipse(fold, plane.y, (center, 10), radii, power=2.2)
    return overlap(shape, _apices(plane, fold), 8)


def _apices(plane: Plane, fold: np.ndarray) -> np.ndarray:
    low = ((180, 160), (230, 92), (255, 62), (272, 45))
    radius = at(plane.height_mm, *low, (284, 33), (291, 22), (296, 5), (310, -20))
    round_part = max(radius, 0.1)
    shape = ellipse(fold, plane.y, (44, 16), (round_part, round_part * 1.1))
    return shape + (round_part - radius)


def heart(plane: Plane, patient: Anatomy) -> np.ndarray:
    """Ventricles, their long axis turned to the left and front, and atria: ``(H, W)``."""
    z = plane.height_mm
    lean = (145 - z) * 0.25
    cosine, sine = np.cos(np.deg2rad(30)), np.sin(np.deg2rad(30))
    x, y = plane.x - 20 - lean, plane.y + 26 + lean * 0.4
    turned = Plane(z, x * cosine - y * sine, x * sine + y * cosine, plane.edge_mm)
    size = patient.heart
    scale = max(1 - ((z - 146) / (56 * size)) ** 2, 0) ** 0.5
    radii = (60 * size * scale + 0.1, 41 * size * scale + 0.1)
    shape = ellipse(turned.x, turned.y, (0, 0), radii)
    right = rounded(plane, (-26, -20, 152), (23 * size, 34 * size, 40))
    left = rounded(plane, (2, 8, 166), (34 * size, 17 * size, 24))
    outflow = rounded(plane, (4, -50, 150), (34 * size, 24 * size, 42))
    return union(union(union(shape, right, 8), left, 6), outflow, 6)


def airways(plane: Plane) -> np.ndarray:
    """The air of trachea and main bronchi, ``(H, W)``."""
    bronchi = union(tube(plane, RIGHT_BRONCHUS, 6.5), tube(plane, LEFT_BRONCHUS, 5.5), 3)
    return union(tube(plane, TRACHEA, 8.5), bronchi, 4)


def aorta(plane: Plane) -> np.ndarray:
    """The aorta from heart to belly, ``(H, W)``."""
    ascending, arch = tube(plane, AORTA_ASCENDING, 16), tube(plane, AORTA_ARCH, 13)
    return union(union(ascending, arch, 6), tube(plane, AORTA_DESCENDING, 12), 6)


def diaphragm(plane: Plane, patient: Anatomy) -> np.ndarray:
    """All that lies below the two domes and the tendon between them, ``(H, W)``."""
    right, left = 122 + patient.dome_mm[0], 110 + patient.dome_mm[1]
    domes = union(_dome(plane, -60, right), _dome(plane, 60, left), 20)
    return union(domes, rounded(plane, (8, -40, 20), (80, 62, 84)), 16)


def _dome(plane: Plane, center_mm: float, top_mm: float) -> np.ndarray:
    low = max(plane.height_mm, top_mm - 118)
    middle = at(low, (20, -4), (100, -18))
    height = Plane(low, plane.x, plane.y, plane.edge_mm)
    return rounded(height, (center_mm, middle, top_mm - 118), (86, 106, 118))


def mediastinum(plane: Plane, patient: Anatomy) -> np.ndarray:
    """All between the lungs: heart, great vessels, hila, spine and the fat round them."""
    z = plane.height_mm
    width = at(z, (60, 30), (130, 26), (180, 33), (225, 31), (270, 30), (300, 36))
    front = at(z, (0, -30), (150, -22), (200, -20), (260, -6), (300, 10))
    core = ellipse(plane.x, plane.y, (at(z, (0, 0), (240, 2)), front), (width, 56), power=2.3)
    spine = ellipse(plane.x, plane.y, SPINE_MM, (25, 25))
    shape = union(union(core, spine, 14), heart(plane, patient) - 4, 10)
    shape = union(union(shape, aorta(plane) - 1.5, 6), airways(plane) - 2.5, 6)
    for side in (-1, 1):
        shape = union(shape, rounded(plane, (side * 38, 16, 188), (18, 22, 26)), 8)
    septum = np.broadcast_to(np.abs(plane.x) - 4, shape.shape)
    return union(shape, septum, 4)


def lung_depth(plane: Plane, patient: Anatomy) -> np.ndarray:
    """Depth below the lungs' outline in mm, ``(H, W)``: positive inside, -99 far outside."""
    depth = np.full((plane.y.size, plane.x.size), -99, np.float32)
    near = np.abs(plane.y[:, 0]) < _CAGE_MM
    depth[near] = -lungs(replace(plane, y=plane.y[near]), patient)
    return depth


def lungs(plane: Plane, patient: Anatomy) -> np.ndarray:
    """Both lungs, ``(H, W)``: the cage without mediastinum and diaphragm."""
    free = overlap(cage(plane, patient), -mediastinum(plane, patient), 6)
    return overlap(free, -diaphragm(plane, patient), 2)
