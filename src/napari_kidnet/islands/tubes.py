"""Paths through a scan, and the tubes that are painted along them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.islands.sparse import SURFACE_VOXELS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_kidnet.islands.table import Shape, Spacing

__all__ = ["least_cost_path", "radius_at", "reach_of", "straight_line", "tube"]

_WIDEST_MM: Final = 12.0
"""No renal vessel is wider; the vena cava is 8–12 mm in radius (science §3.1)."""


def least_cost_path(
    cost: NDArray[np.floating], starts: ArrayLike, ends: ArrayLike, spacing: Spacing
) -> tuple[NDArray[np.int32], float]:
    """Return the voxels from a start to an end for which cost times mm is least, and that sum.

    Parameters
    ----------
    cost : ndarray, (z, y, x)
        Per mm, above 0; infinite where the path must not go.
    starts, ends : array of int, (point, 3)
        The path begins at one of the starts and stops at the end that is cheapest to reach.

    Returns
    -------
    path : ndarray of int32, (point, 3)
        Empty where no end can be reached.
    total : float
    """
    from skimage.graph import MCP_Geometric

    finish = [tuple(each) for each in np.asarray(ends).tolist()]
    walls = np.where(np.isfinite(cost), cost, -1.0)  # MCP takes negative costs for walls
    search = MCP_Geometric(walls, sampling=spacing)
    reached, _ = search.find_costs(
        [tuple(each) for each in np.asarray(starts).tolist()], finish, find_all_ends=False
    )
    totals = [float(reached[each]) for each in finish]
    best = int(np.argmin(totals))
    if not np.isfinite(totals[best]):
        return np.zeros((0, 3), np.int32), float("inf")
    return np.asarray(search.traceback(finish[best]), np.int32), totals[best]


def straight_line(start: ArrayLike, end: ArrayLike) -> NDArray[np.int32]:
    """Return the voxels of a straight line, both ends included.

    Examples
    --------
    >>> straight_line((0, 0, 0), (0, 2, 2)).tolist()
    [[0, 0, 0], [0, 1, 1], [0, 2, 2]]
    """
    first, last = np.asarray(start), np.asarray(end)
    steps = int(np.abs(last - first).max())
    share = np.linspace(0, 1, steps + 1)[:, None]
    return np.asarray(np.rint(first + share * (last - first)), np.int32)


def tube(points: ArrayLike, radii_mm: ArrayLike, shape: Shape, spacing: Spacing) -> NDArray[np.int64]:
    """Return the flat indices of the voxels within the radius of each point; the points always belong.

    A voxel belongs when its centre is nearer than the radius and `SURFACE_VOXELS`.

    Examples
    --------
    >>> tube([(0, 0, 2)], 1.0, (1, 1, 5), (1.0, 1.0, 1.0)).tolist()
    [1, 2, 3]
    """
    centres = np.asarray(points, np.int64).reshape(-1, 3)
    radii = np.broadcast_to(np.asarray(radii_mm, float), len(centres))
    found = [centres]
    for radius in np.unique(np.round(radii, 2)).tolist():
        within = radius + SURFACE_VOXELS * min(spacing)
        reach = [int(within / pace) for pace in spacing]
        offsets = np.stack(np.meshgrid(*[np.arange(-k, k + 1) for k in reach], indexing="ij"), -1).reshape(
            -1, 3
        )
        offsets = offsets[((offsets * np.asarray(spacing)) ** 2).sum(axis=1) <= within**2 - 1e-6]
        here = centres[np.round(radii, 2) == radius]
        found.append((here[:, None, :] + offsets[None, :, :]).reshape(-1, 3))
    voxels = np.concatenate(found)
    inside = ((voxels >= 0) & (voxels < shape)).all(axis=1)
    return np.unique(np.ravel_multi_index(tuple(voxels[inside].T), shape)).astype(np.int64)


def radius_at(
    strength: NDArray[np.floating], point: ArrayLike, spacing: Spacing, widest_mm: float = _WIDEST_MM
) -> float:
    """Return the radius in mm of the vessel at a voxel: of the widest ball inside of it that holds the voxel.

    Its wall is where the strength has halved. So it does not matter how far from the middle the voxel is, nor
    that the vessel goes on where the volume ends::

        ══════════════
          (   ·   )  ×      × in a wide vessel: the ball about · is the widest that holds it
        ══════════════

    Parameters
    ----------
    strength : ndarray, (z, y, x)
        High inside of vessels and near 0 outside: a probability. It should reach `reach_of` voxels to each
        side of the point, or to the end of the scan: what lies beyond it is taken for more of the same.
    point : array of int
        (z, y, x).

    Returns
    -------
    float
        At least half a voxel.
    """
    from scipy.ndimage import distance_transform_edt, label

    at = np.asarray(point)
    pace = np.asarray(spacing)
    reach = reach_of(spacing, widest_mm)
    low = np.maximum(at - reach, 0)
    high = np.minimum(at + reach + 1, strength.shape)
    near = strength[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    centre = tuple(at - low)
    level = near[centre] / 2
    if not level > 0:
        return min(spacing) / 2
    pieces, _ = label(near >= level)
    inside = pieces == pieces[centre]
    if inside.all():
        return widest_mm
    inner = distance_transform_edt(inside, sampling=spacing)
    # Only balls whose middle is less than the widest radius away can hold the voxel.
    close = tuple(
        slice(max(c - int(k), 0), c + int(k) + 1)
        for c, k in zip(centre, np.ceil(widest_mm / pace), strict=True)
    )
    offsets = [
        ((np.arange(side.start, min(side.stop, n)) - c) * step) ** 2
        for side, n, c, step in zip(close, inner.shape, centre, pace, strict=True)
    ]
    away = np.sqrt(offsets[0][:, None, None] + offsets[1][:, None] + offsets[2])
    # A click on a rough wall is still one on the vessel, so the next voxels' balls count too.
    holding = inner[close][away < np.maximum(inner[close], 1.01 * max(spacing))]
    return float(np.clip(holding.max() - SURFACE_VOXELS * min(spacing), min(spacing) / 2, widest_mm))


def reach_of(spacing: Spacing, widest_mm: float = _WIDEST_MM) -> NDArray[np.int64]:
    """Return how many voxels (z, y, x) `radius_at` looks to each side, up to the widest vessel's far wall."""
    return np.asarray(np.ceil(2 * widest_mm / np.asarray(spacing)), np.int64)
