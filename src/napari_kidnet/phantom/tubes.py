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
from scipy.ndimage import gaussian_filter1d

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
    # Smoothed a little: a vessel bends about a corner, it has none.
    points = gaussian_filter1d(PchipInterpolator(along, waypoints)(at), 1.5, axis=0, mode="nearest")
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
        reach = radii[:, None] * np.asarray(flatten) + 2.0 * voxel
        near = np.all((centres > -reach) & (centres < np.asarray(structures.shape) * voxel + reach), axis=1)
        if not near.any():
            continue
        centres, radii = centres[near], radii[near]
        _draw_line(structures, np.rint(centres / voxel).astype(np.intp), structure, allowed)
        chosen = _ball_places(centres, radii, 0.5 * float(voxel.min()) / max(flatten))
        for centre, radius in zip(centres[chosen], radii[chosen], strict=True):
            _draw_ball(structures, centre / voxel, radius * np.asarray(flatten) / voxel, structure, allowed)


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


def _ball_places(
    centres: NDArray[np.float64], radii: NDArray[np.float64], least_mm: float
) -> NDArray[np.intp]:
    """Choose the samples that get a ball: at a third of the radius the bumps between balls are r/72."""
    if len(radii) > 1:
        steps = np.r_[0.0, np.linalg.norm(np.diff(centres, axis=0), axis=1)]
        count = np.floor(np.cumsum(steps / np.maximum(radii / 3.0, least_mm)))
        places = np.flatnonzero(np.r_[True, np.diff(count) > 0] | (np.arange(len(radii)) == len(radii) - 1))
    else:
        places = np.arange(len(radii))
    return places[radii[places] >= least_mm]


def _draw_line(
    structures: NDArray[np.uint8], index: NDArray[np.intp], structure: int, allowed: NDArray[np.bool_]
) -> None:
    """Set the voxels (n, 3) that a path runs through."""
    inside = np.all((index >= 0) & (index < structures.shape), axis=1)
    z, y, x = index[inside].T
    free = allowed[structures[z, y, x]]
    structures[z[free], y[free], x[free]] = structure


def _draw_ball(
    structures: NDArray[np.uint8],
    centre: NDArray[np.float64],
    reach: NDArray[np.float64],
    structure: int,
    allowed: NDArray[np.bool_],
) -> None:
    """Set the voxels of an ellipsoid given in voxels."""
    start = [max(0, int(np.ceil(c - r))) for c, r in zip(centre, reach, strict=True)]
    stop = [min(n, int(np.floor(c + r)) + 1) for n, c, r in zip(structures.shape, centre, reach, strict=True)]
    if any(b <= a for a, b in zip(start, stop, strict=True)):
        return
    z, y, x = (
        ((np.arange(a, b) - c) / r) ** 2 for a, b, c, r in zip(start, stop, centre, reach, strict=True)
    )
    part = structures[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    inside = z[:, None, None] + (y[:, None] + x) <= 1.0
    inside &= allowed[part]
    part[inside] = structure
