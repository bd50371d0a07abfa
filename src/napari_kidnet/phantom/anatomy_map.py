"""Anatomy from a real person's label map: deformed at random, and completed with what such maps lack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.label_map import DEPTH_STEP_MM, HULL_SPACING_MM, LabelMap, load_label_map
from napari_kidnet.phantom.splines import expand, linear_matrix, spline_matrix
from napari_kidnet.phantom.structures import Anatomy, Structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelMap", "PulledMap", "deformed_anatomy", "load_label_map"]

_S = Structure

_CROP_MM: Final = (100.0, 116.0)
_FULL_Z_MM: Final = (160.0, 215.0)
_BEYOND_MM: Final = (20.0, 25.0, 45.0)
"""Drawn around a crop (z, y, x) and cut off again: a kidney's vessels come from outside of its crop."""


@dataclass(frozen=True, slots=True)
class PulledMap:
    """A label map pulled onto a case's grid, before it is completed.

    Attributes
    ----------
    structures : uint8 array (z, y, x)
        The map's structures; 0 where it has none.
    sides : uint8 array (z, y, x)
        The kidney a voxel lies in: 1 left, 2 right.
    depth : float32 array (z, y, x)
        Depth under the surface of the voxel's own kidney, bone or bowel, mm.
    hull : float32 array (z, y, x)
        Signed distance to the hull of all structures, mm, negative inside.
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    """

    structures: NDArray[np.uint8]
    sides: NDArray[np.uint8]
    depth: NDArray[np.float32]
    hull: NDArray[np.float32]
    spacing: tuple[float, float, float]


def deformed_anatomy(
    label_map: LabelMap,
    rng: np.random.Generator,
    field: Literal["crop", "full"],
    spacing: tuple[float, float, float],
) -> Anatomy:
    """Deform a label map at random and complete it to a body.

    Rotation up to 10 degrees, scale .85–1.2 with a little of it per axis, elastic displacement of 4–8 mm;
    then outline, fat, muscle wall, bowel content, kidneys' parts, vessels that are missing and vessels that
    are not the kidneys'. Never mirrored: the liver stays on the right, and the left renal vein stays the long
    one.

    Parameters
    ----------
    label_map : LabelMap
        From ``load_label_map``.
    rng : numpy.random.Generator
        Source of all randomness.
    field : "crop" or "full"
        About 110 mm around one kidney, or the whole width of the body.
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    """
    if field not in ("crop", "full"):
        raise SettingsError(f'The field of view is {field!r}; it must be "crop" or "full".')
    from napari_kidnet.phantom.map_kidneys import complete_kidneys
    from napari_kidnet.phantom.surroundings import add_body, add_bowel, add_small_vessels, add_wall_findings

    fat_mm = float(np.clip(rng.lognormal(np.log(15), 0.5), 4, 38))
    pulled = pull(label_map, rng, field, spacing, fat_mm)
    structures = pulled.structures
    add_body(structures, pulled, fat_mm, rng)
    complete_kidneys(structures, pulled, rng)
    add_bowel(structures, pulled, rng)
    add_small_vessels(structures, pulled, rng)
    add_wall_findings(structures, pulled, rng)
    if field == "crop":
        inner = tuple(
            slice(round(m / s), n - round(m / s))
            for m, s, n in zip(_BEYOND_MM, spacing, structures.shape, strict=True)
        )
        structures = np.ascontiguousarray(structures[inner])
    return Anatomy(structures, spacing, label_map.name)


def pull(
    label_map: LabelMap,
    rng: np.random.Generator,
    field: Literal["crop", "full"],
    spacing: tuple[float, float, float],
    fat_mm: float,
) -> PulledMap:
    """Pull a label map through a random deformation onto a case's grid.

    The affine part is written into the control points of the elastic part (cubic B-splines reproduce linear
    functions), so that all coordinates come from one product of small matrices.
    """
    voxels = label_map.voxels
    fine = label_map.spacing
    scale = np.clip(rng.normal(1.0, 0.07), 0.88, 1.14) * np.clip(rng.normal(1.0, 0.04, 3), 0.93, 1.07)
    rotation = Rotation.from_euler("zyx", np.clip(rng.normal(0, 4.0, 3), -10, 10), degrees=True).as_matrix()
    size_mm, centre = _field_of_view(label_map, rng, field, scale, fat_mm)
    shape = tuple(round(extent / step) for extent, step in zip(size_mm, spacing, strict=True))

    knot = float(rng.uniform(25, 55))
    amplitude = float(rng.uniform(2.5, 6.0)) * knot / 40
    weights = [spline_matrix(n, step, knot) for n, step in zip(shape, spacing, strict=True)]
    grids = np.meshgrid(*[(np.arange(w.shape[1]) - 1) * knot for w in weights], indexing="ij")
    half = (np.asarray(shape) - 1) * np.asarray(spacing) / 2
    relative = (np.stack(grids, -1) - half) / scale
    # Standard deviation 1 at the controls is about .55 between them in 3-D; z moves less, or slices would
    # fold.
    noise = rng.standard_normal(relative.shape) * amplitude * (0.7, 1.0, 1.0) / 0.55
    control = relative @ rotation.T + centre + noise

    coords = [
        expand(np.ascontiguousarray(control[..., axis], np.float32), (weights[0], weights[1], weights[2]))
        for axis in range(3)
    ]
    flat = np.zeros(shape, np.int32)
    for axis, (values, n) in enumerate(zip(coords, voxels.shape, strict=True)):
        values *= 1 / fine
        np.clip(values, 0, n - 1, out=values)  # z: the last slice goes on; y and x: the empty rim
        flat *= n
        flat += (
            (values + np.float32(0.5)).astype(np.int32).clip(max=n - 1) if axis else values.astype(np.int32)
        )
    found = voxels.ravel()[flat.ravel()].reshape(shape)
    del coords, flat

    hull = _pulled_hull(label_map, control, weights, shape, spacing)
    return PulledMap(
        (found & 63).astype(np.uint8),
        (found >> 6 & 3).astype(np.uint8),
        (found >> 8).astype(np.float32) * np.float32(DEPTH_STEP_MM),
        hull,
        spacing,
    )


def _pulled_hull(
    label_map: LabelMap,
    control: NDArray[np.float64],
    weights: list[NDArray[np.float32]],
    shape: tuple[int, ...],
    spacing: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Return the hull's signed distance on the case's grid: exact every 3 mm, linear in between."""
    stride = [max(1, int(HULL_SPACING_MM / step)) for step in spacing]
    rows = [np.unique(np.r_[np.arange(0, n, s), n - 1]) for n, s in zip(shape, stride, strict=True)]
    few = [w[r] for w, r in zip(weights, rows, strict=True)]
    at = [
        expand(np.ascontiguousarray(control[..., axis], np.float32), (few[0], few[1], few[2]))
        / HULL_SPACING_MM
        - 0.5
        for axis in range(3)
    ]
    coarse = map_coordinates(label_map.hull, at, order=1, mode="nearest")
    # Beyond the stored hull the distance goes on growing.
    for axis in (1, 2):
        beyond = np.maximum(np.maximum(-at[axis], at[axis] - (label_map.hull.shape[axis] - 1)), 0)
        coarse += beyond * HULL_SPACING_MM
    back = [
        linear_matrix(np.interp(np.arange(n), r, np.arange(len(r))), len(r))
        for n, r in zip(shape, rows, strict=True)
    ]
    return expand(coarse.astype(np.float32), (back[0], back[1], back[2]))


def _field_of_view(
    label_map: LabelMap,
    rng: np.random.Generator,
    field: Literal["crop", "full"],
    scale: NDArray[np.float64],
    fat_mm: float,
) -> tuple[tuple[float, float, float], NDArray[np.float64]]:
    """Return the field's size (z, y, x) in mm, and the map's point in mm that lies at its middle."""
    sides = (label_map.voxels[::3, ::3, ::3] >> 6) & 3
    step = 3 * label_map.spacing
    present = [side for side in (1, 2) if (sides == side).any()]
    if field == "crop":
        side = int(rng.choice(present))
        centre = np.argwhere(sides == side).mean(0) * step
        # Towards the midline, so that aorta or vena cava is often in the field.
        centre += rng.normal(0, 6, 3)
        centre[2] += rng.uniform(0, 22) * (-1 if side == 1 else 1)
        extent = rng.uniform(*_CROP_MM, 3) + 2 * np.asarray(_BEYOND_MM)
        return (float(extent[0]), float(extent[1]), float(extent[2])), centre
    kidneys = np.argwhere(sides > 0).mean(0) * step
    inside = label_map.hull < 0
    y, x = np.flatnonzero(inside.any((0, 2))), np.flatnonzero(inside.any((0, 1)))
    middle = np.array([y.min() + y.max(), x.min() + x.max()]) / 2 * HULL_SPACING_MM
    body = np.array([np.ptp(y), np.ptp(x)]) * HULL_SPACING_MM * scale[1:]
    around = 2 * (1.25 * fat_mm + 8) + rng.uniform(8, 50, 2)
    extent = body + around
    behind = float(rng.uniform(5, 20))  # the table
    z_mm = float(rng.uniform(*_FULL_Z_MM))
    centre = np.array([kidneys[0] + rng.normal(0, 12), middle[0] + behind / 2, middle[1]])
    return (z_mm, float(extent[0]) + behind, float(extent[1])), centre
