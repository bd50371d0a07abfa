"""Anatomy drawn from nothing but random numbers: an abdomen, or a field about one kidney (science §3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.bowel import draw_bowel
from napari_kidnet.phantom.field import Canvas
from napari_kidnet.phantom.kidney import (
    Bean,
    clear_hilum,
    draw_kidney,
    draw_stone,
    kidney_outside,
    random_bean,
)
from napari_kidnet.phantom.organs import draw_adrenals, draw_nodes, draw_organs
from napari_kidnet.phantom.structures import Anatomy, Structure
from napari_kidnet.phantom.torso import draw_bed, draw_bones, draw_muscles, draw_wall, random_build
from napari_kidnet.phantom.trunks import draw_great_vessels, draw_other_vessels, draw_plaques
from napari_kidnet.phantom.vessels import grow_renal_vessels

if TYPE_CHECKING:
    from napari_kidnet.phantom.torso import Build

__all__ = ["FieldOfView", "procedural_anatomy"]

FieldOfView = Literal["crop", "full"]

_S = Structure
_LEAST_INSIDE = 0.5  # a kidney with less of it inside the field gets its vessels from outside


def procedural_anatomy(
    rng: np.random.Generator, field: FieldOfView, spacing: tuple[float, float, float]
) -> Anatomy:
    """Draw a random anatomy.

    Parameters
    ----------
    rng : numpy Generator
        Source of all randomness: the same state gives the same anatomy.
    field : {"crop", "full"}
        ``crop``: some 110 mm about one kidney, with aorta and vena cava; ``full``: the abdomen and the bed.
    spacing : tuple of float
        Voxel size (z, y, x) in mm, .2 to 10.

    Returns
    -------
    Anatomy
        Structures (z, y, x): increasing towards head, back and the patient's left.
    """
    if len(spacing) != 3 or not all(0.2 <= s <= 10.0 for s in spacing):
        raise SettingsError(
            f"spacing is {spacing}; a phantom needs three voxel sizes (z, y, x) of .2 to 10 mm."
        )
    if field not in ("crop", "full"):
        raise SettingsError(f"field is {field!r}; a phantom's field is 'crop' or 'full'.")
    build = random_build(rng)
    beans = [random_bean("left", rng, build.spine_x_mm), random_bean("right", rng, build.spine_x_mm)]
    canvas = _crop(beans, spacing, rng) if field == "crop" else _full(build, spacing, rng)
    draw_wall(canvas, build)
    draw_muscles(canvas, build)
    draw_bones(canvas, build)
    draw_organs(canvas, build)
    draw_bowel(canvas, build)
    for bean in beans:
        draw_kidney(canvas, bean)
        clear_hilum(canvas, bean)
    draw_adrenals(canvas)
    draw_nodes(canvas, build)
    great = draw_great_vessels(canvas, build)
    for bean in beans:
        inside = _share_inside(canvas, bean)
        outside = None if inside >= _LEAST_INSIDE else kidney_outside(bean, canvas)
        grow_renal_vessels(canvas.structures, spacing, bean.side, rng, kidney=outside)
        if rng.random() < 0.05:
            draw_stone(canvas, _S.COLLECTING_LEFT if bean.side == "left" else _S.COLLECTING_RIGHT)
    draw_other_vessels(canvas, build, great)
    draw_plaques(canvas)
    if field == "full":
        draw_bed(canvas)
    return Anatomy(canvas.structures, spacing, "procedural")


def _full(build: Build, spacing: tuple[float, float, float], rng: np.random.Generator) -> Canvas:
    """Return a canvas for the whole abdomen."""
    depth, width = 2 * build.half_depth_mm, 2 * build.half_width_mm
    below = rng.uniform(15.0, 60.0)  # room for the bed
    extent = (rng.uniform(190.0, 260.0), 1.1 * depth + 15 + below, 1.1 * width + rng.uniform(15.0, 50.0))
    middle = (rng.uniform(-25.0, 15.0), build.middle_y_mm + 0.4 * below, 0.0)
    return Canvas(_voxels(extent, spacing), spacing, middle, rng)


def _crop(beans: list[Bean], spacing: tuple[float, float, float], rng: np.random.Generator) -> Canvas:
    """Return a canvas about one kidney that reaches over the great vessels."""
    bean = beans[int(rng.integers(2))]
    out = 1.0 if bean.side == "left" else -1.0
    outer = abs(bean.centre_mm[2]) + bean.radii_mm[2] + rng.uniform(-2.0, 10.0)
    inner = -rng.uniform(30.0, 40.0) if bean.side == "left" else -rng.uniform(20.0, 32.0)
    front, back = -rng.uniform(58.0, 72.0), rng.uniform(45.0, 56.0)
    high = 2 * bean.radii_mm[0] * rng.uniform(0.95, 1.1)
    middle = (bean.centre_mm[0] + rng.normal(0.0, 4.0), 0.5 * (front + back), out * 0.5 * (outer + inner))
    return Canvas(_voxels((high, back - front, outer - inner), spacing), spacing, middle, rng)


def _voxels(
    extent_mm: tuple[float, float, float], spacing: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Return the number of voxels (z, y, x) of an extent."""
    z, y, x = (max(8, round(e / s)) for e, s in zip(extent_mm, spacing, strict=True))
    return z, y, x


def _share_inside(canvas: Canvas, bean: Bean) -> float:
    """Return how much of a kidney's ellipsoid lies within the canvas."""
    steps = np.linspace(-0.9, 0.9, 7)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    grid = grid[np.linalg.norm(grid, axis=1) < 1]
    index = canvas.to_scan(bean.centre_mm + (grid * bean.radii_mm) @ bean.axes) / np.asarray(canvas.spacing)
    return float(np.all((index >= 0) & (index < canvas.structures.shape), axis=1).mean())
