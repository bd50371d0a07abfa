"""Solid organs and their neighbours: liver, spleen, stomach, pancreas, gallbladder and adrenals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.phantom.field import smooth_noise
from napari_kidnet.phantom.structures import Structure

if TYPE_CHECKING:
    from napari_kidnet.phantom.field import Canvas
    from napari_kidnet.phantom.torso import Build

__all__ = ["draw_adrenals", "draw_nodes", "draw_organs"]

_S = Structure
_FAT = (_S.VISCERAL_FAT,)


def draw_organs(canvas: Canvas, build: Build) -> None:
    """Draw the upper abdomen's organs into the cavity's fat."""
    rng = canvas.rng
    low = rng.uniform(-45.0, 5.0)  # the liver's lower tip
    top = build.diaphragm_mm + 5.0
    size = 0.5 * (top - low)
    front = build.middle_y_mm
    wall = build.half_width_mm - build.fat_mm - build.wall_mm
    for centre, radii in (
        ((0.5 * (top + low), front + 8, -0.52 * wall), (size, 95.0, 0.55 * wall)),
        ((top - 38, front - 25, -25.0), (rng.uniform(32, 50), 70.0, rng.uniform(60, 90))),
        ((low + 25, front + 15, -0.72 * wall), (30.0, rng.uniform(35, 60), 0.22 * wall)),
    ):
        canvas.ellipsoid(centre, radii, _S.LIVER, _FAT, rough=0.05)
    _clear_spine(canvas, build)
    big = rng.uniform(0.8, 1.25)
    middle = (top - rng.uniform(50, 75), rng.uniform(10, 40), wall - 24.0)
    canvas.ellipsoid(middle, (48 * big, 40 * big, 25 * big), _S.SPLEEN, (*_FAT, _S.LUNG), rough=0.07)
    canvas.ellipsoid(
        (rng.uniform(-5, 20), front - rng.uniform(5, 40), rng.uniform(-70, -45)),
        (rng.uniform(14, 32), rng.uniform(12, 20), rng.uniform(11, 18)),
        _S.GALLBLADDER, (*_FAT, _S.LIVER),
    )  # fmt: skip
    canvas.ellipsoid(
        (top + 28, front - 12, 32), (34, 48, 58), _S.MUSCLE, (*_FAT, _S.LUNG), rough=0.04
    )  # heart
    canvas.ellipsoid((top + 28, front - 12, 32), (25, 36, 44), _S.OTHER_VEIN, (_S.MUSCLE,), rough=0.06)
    _draw_stomach(canvas, front)
    _draw_pancreas(canvas, build)


def _clear_spine(canvas: Canvas, build: Build) -> None:
    """Take the liver away from the spine's sides, where psoas, crura and fat lie."""
    rng = canvas.rng
    y_mm, x_mm = build.spine_y_mm + rng.uniform(10, 24), build.spine_x_mm + rng.uniform(12, 24)
    box = canvas.box((-400, -y_mm, -x_mm), (400, 60, x_mm))
    if box is not None:
        _, y, x = canvas.coordinates(box)
        canvas.paint(np.hypot(np.minimum(y, 0.0) / y_mm, x / x_mm) < 1.0, box, _S.VISCERAL_FAT, (_S.LIVER,))


def _draw_stomach(canvas: Canvas, front: float) -> None:
    """Draw the stomach: wall, contents, and gas in front of them."""
    rng = canvas.rng
    course = [(100, 15, 45), (70, 0, 62), (35, -30, 52), (8, -48, 20), (10, -42, -28)]
    points = [(z, front + 10 + y, x + rng.normal(0, 8)) for z, y, x in course]
    big = rng.uniform(0.6, 1.25)
    stomach = canvas.path(points, [24 * big, 34 * big, 30 * big, 19 * big, 12], 4.0)
    canvas.draw([stomach], _S.BOWEL_WALL, (*_FAT, _S.PANCREAS))
    inside = canvas.path(points, [24 * big - 4, 34 * big - 4, 30 * big - 4, 19 * big - 4, 8])
    inside = type(stomach)(stomach.points_mm, np.maximum(stomach.radius_mm - rng.uniform(2.5, 5.5), 2.0))
    content = int(
        rng.choice(
            [_S.BOWEL_FLUID, _S.BOWEL_CHYME, _S.BOWEL_STOOL, _S.BOWEL_CONTRAST], p=[0.4, 0.4, 0.1, 0.1]
        )
    )
    canvas.draw([inside], content, (_S.BOWEL_WALL,))
    if rng.random() < 0.7:
        shape = canvas.structures.shape
        level = int((inside.points_mm[:, 1].mean() - rng.uniform(-12, 30)) / canvas.spacing[1])
        part = canvas.structures[:, : int(np.clip(level, 0, shape[1]))]
        part[part == content] = _S.BOWEL_GAS


def _draw_pancreas(canvas: Canvas, build: Build) -> None:
    """Draw the pancreas from its head beside the duodenum to its tail at the spleen."""
    rng = canvas.rng
    front = -build.spine_y_mm
    course = [(-22, -28, -36), (0, -34, -28), (14, -40, 0), (22, -34, 35), (34, -12, 72)]
    up = rng.uniform(-8, 10)
    points = [(z + up, front + y + rng.normal(0, 3), x) for z, y, x in course]
    thick = rng.uniform(0.75, 1.2)
    gland = canvas.path(points, np.array([10, 14, 9, 10, 8]) * thick, 2.0)
    canvas.draw([gland], _S.PANCREAS, _FAT)
    part = canvas.around([gland])
    clefts = smooth_noise(part.shape, canvas.spacing, 5.0, rng) > rng.uniform(0.7, 2.5)
    part[(part == _S.PANCREAS) & clefts] = _S.VISCERAL_FAT


def draw_nodes(canvas: Canvas, build: Build) -> None:
    """Draw lymph nodes and ganglia near the great vessels and in the mesentery."""
    rng = canvas.rng
    for _ in range(int(rng.integers(4, 20))):
        place = rng.normal((-15, -build.spine_y_mm - 14, 0), (45, 16, 32))
        canvas.ellipsoid(place, rng.uniform(1.5, 4.5, 3), _S.MUSCLE, _FAT)


def draw_adrenals(canvas: Canvas) -> None:
    """Draw both adrenals above the kidneys: a body and two thin limbs."""
    rng = canvas.rng
    for side in (-1.0, 1.0):
        z, y, x = rng.uniform(38, 52), rng.uniform(-12, 2), side * rng.uniform(30, 40)
        apex = (z + 6, y - 8, x - side * 3)
        limbs = [[apex, (z, y + 6, x - side * 6)], [apex, (z - 4, y + 6, x + side * 10)]]
        for limb in limbs:
            middle = tuple(0.5 * (p + q) for p, q in zip(*limb, strict=True))
            plate = canvas.path([limb[0], middle, limb[1]], rng.uniform(1.6, 3.2), 1.0)
            canvas.draw([plate], _S.ADRENAL, _FAT, (4.0, 1.0, 1.0))
