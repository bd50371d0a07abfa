"""Tubes: a vessel's stretch as a tapered chain of balls, and drawing it into a volume of structures.

A stretch is sampled so densely that its balls overlap, and every sample also sets the voxel that it lies in::

    points   o-----o-----o          radius shrinks along the path
    balls   ( ( ( ( ( ( ( ) ) ) )   thick: union of balls
    voxels   # # # # # # #          thin (radius under half a voxel): still one unbroken line of voxels
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import PchipInterpolator

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

__all__ = ["Segment", "draw_segments", "path_through"]

_ROUND = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of a vessel between two branchings.

    Attributes
    ----------
    points_mm : float array (k, 3)
        Path (z, y, x) in mm; voxel (0, 0, 0) has its centre at the origin.
    radius_mm : float array (k,)
        Radius at each point, in mm.
    """

    points_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]


def path_through(
    points_mm: NDArray[np.float64], radius_mm: NDArray[np.float64] | float, step_mm: float = 2.0
) -> Segment:
    """Lay a smooth path through waypoints, without overshooting them.

    Parameters
    ----------
    points_mm : float array (k, 3)
        Waypoints (z, y, x) in mm.
    radius_mm : float array (k,) or float
        Radius at each waypoint, in mm.
    step_mm : float
        Distance of the path's points, in mm.
    """
    waypoints = np.asarray(points_mm, np.float64)
    radii = np.broadcast_to(np.asarray(radius_mm, np.float64), len(waypoints))
    gaps = np.linalg.norm(np.diff(waypoints, axis=0), axis=1)
    kept = np.r_[True, gaps > 1e-6]  # a waypoint given twice would stop the interpolation
    waypoints, radii = waypoints[kept], radii[kept]
    if len(waypoints) < 2:
        return Segment(waypoints, radii.copy())
    along = np.r_[0.0, np.cumsum(gaps[gaps > 1e-6])]
    at = np.linspace(0.0, along[-1], max(2, int(np.ceil(along[-1] / step_mm)) + 1))
    points = PchipInterpolator(along, waypoints)(at)
    points[0], points[-1] = waypoints[0], waypoints[-1]
    return Segment(points, np.interp(at, along, radii))


def draw_segments(
    structures: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    segments: Iterable[Segment],
    structure: int,
    *,
    over: Collection[int] | None = None,
    flatten: tuple[float, float, float] = _ROUND,
) -> None:
    """Draw tubes into a volume, in place.

    Parameters
    ----------
    structures : uint8 array (z, y, x)
        Volume of ``Structure`` ids; changed in place.
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    segments : iterable of Segment
        What to draw.
    structure : int
        The id to write.
    over : collection of int, optional
        Ids that may be overwritten; all where it is not given.
    flatten : tuple of float
        Factor on the radius along (z, y, x): ``(1, .5, 1)`` is a vessel flattened from front to back.
    """
    voxel = np.asarray(spacing, np.float64)
    allowed = np.ones(256, bool)
    if over is not None:
        allowed[:] = False
        allowed[list(over)] = True
    for segment in segments:
        centres, radii = _sampled(segment, float(voxel.min()))
        where = _covered(centres, radii, voxel, np.asarray(flatten, np.float64))
        inside = np.all((where >= 0) & (where < structures.shape), axis=1)
        index = tuple(where[inside].T)
        free = allowed[structures[index]]
        structures[tuple(axis[free] for axis in index)] = structure


def _sampled(segment: Segment, least_voxel: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centres (n, 3) and radii (n,) at steps of at most half the smallest voxel edge."""
    points = np.asarray(segment.points_mm, np.float64)
    radii = np.asarray(segment.radius_mm, np.float64)
    if len(points) < 2:
        return points, radii
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.r_[0.0, np.cumsum(lengths)]
    at = np.linspace(0.0, along[-1], int(along[-1] / (0.5 * least_voxel)) + 2)
    at = np.union1d(at, along)  # corners too, or a cut corner could leave a path's own point undrawn
    centres = np.stack([np.interp(at, along, points[:, axis]) for axis in range(3)], axis=1)
    return centres, np.interp(at, along, radii)


def _covered(
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    voxel: NDArray[np.float64],
    flat: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Return the voxels (n, 3) within the balls, and those that the centres lie in."""
    nearest = np.rint(centres / voxel).astype(np.intp)
    found = [nearest]
    thick = radii * flat.max() >= 0.5 * voxel.min()
    # Balls need not be as dense as the line of voxels: at a quarter of the radius the bumps are r/128.
    keep = np.zeros(len(radii), bool)
    last = None
    for i in np.flatnonzero(thick):
        if (
            last is None
            or np.linalg.norm(centres[i] - centres[last]) >= 0.25 * radii[i]
            or i == len(radii) - 1
        ):
            keep[i] = True
            last = i
    if not keep.any():
        return np.unique(nearest, axis=0)
    reach = np.ceil(radii[keep].max() * flat / voxel).astype(int) + 1
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    at_once = max(1, 2_000_000 // len(offsets))
    chosen = np.flatnonzero(keep)
    for start in range(0, len(chosen), at_once):
        part = chosen[start : start + at_once]
        candidates = nearest[part, None] + offsets  # (balls, offsets, 3)
        away = (candidates * voxel - centres[part, None]) / flat
        hit = np.einsum("bok,bok->bo", away, away) <= radii[part, None] ** 2
        found.append(candidates[hit])
    return np.concatenate(found)
