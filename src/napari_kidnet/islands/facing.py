"""Where two islands of a class come near each other as the ends of one broken vessel would.

An island is looked at within a few mm of the place of contact. The way from the middle of what lies there to
the contact tells where it points; how long that way is tells an end from a side::

    ═══════●→   the middle lies far behind the contact: an end        ════╤════
                                                                          ↓    hardly behind it: a side
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from napari_kidnet.islands.sparse import SURFACE_VOXELS, coordinates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_kidnet.islands.table import IslandTable

__all__ = ["Approach", "Side", "approaches"]

_LOOK_BACK_MM: Final = 8.0
"""How much of an island is looked at to tell where it points."""
_CONTACT_MM: Final = 1.5
"""Voxels so little further than the nearest belong to the contact: a flat cut has many."""
_WIDTH_WITHIN_MM: Final = 6.0


class Side(NamedTuple):
    """One island where it comes near the other.

    Attributes
    ----------
    voxel : ndarray of int32, (3,)
        Of the island, (z, y, x).
    facing : float
        Cosine between where the island points here and the way across, -1 … 1.
    tip : float
        0 a side … 0.5 the end of a tube, in parts of what was looked at.
    radius_mm : float
        Of the island here.
    """

    voxel: NDArray[np.int32]
    facing: float
    tip: float
    radius_mm: float


@dataclass(frozen=True, slots=True)
class Approach:
    """Two islands, row by row of the table, and where they come near each other."""

    rows: tuple[int, int]
    sides: tuple[Side, Side]
    gap_mm: float

    @property
    def ending(self) -> Side:
        """The side that is more of an end and faces the other more."""
        return max(self.sides, key=lambda side: side.tip * side.facing)

    @property
    def radius_ratio(self) -> float:
        """Of the wider to the thinner island here, from 1."""
        one, other = (side.radius_mm for side in self.sides)
        return float(max(one, other) / min(one, other))


class _Island:
    """One row's voxels in mm, searchable."""

    def __init__(self, table: IslandTable, row: int) -> None:
        from scipy.spatial import cKDTree

        self.row, self.table = row, table
        self.voxels = coordinates(table.voxels_of(row), table.shape)
        self.mm = self.voxels * np.asarray(table.spacing)
        self.tree: Any = cKDTree(self.mm, balanced_tree=False, compact_nodes=False)

    def side(self, at: NDArray[np.int64], way: NDArray[np.float64]) -> Side:
        """Look at the island behind some of its voxels, from which `way` in mm leads across."""
        spacing = self.table.spacing
        contact = self.mm[at].mean(axis=0)
        if not (about := self.tree.query_ball_point(contact, _LOOK_BACK_MM)):
            # Contacts on two sides of a hollow: their middle is far from all of the island.
            contact = self.mm[at[np.argmin(np.linalg.norm(self.mm[at] - contact, axis=1))]]
            about = self.tree.query_ball_point(contact, _LOOK_BACK_MM)
        near = self.mm[about]
        back = contact - near.mean(axis=0)
        seen = max(float(np.linalg.norm(near - contact, axis=1).max(initial=0)), min(spacing))
        length = float(np.linalg.norm(back) * np.linalg.norm(way))
        voxel = self.voxels[at[np.argmin(np.linalg.norm(self.mm[at] - contact, axis=1))]]
        facing = float(back @ way) / length if length > 0 else 0.0
        tip = float(np.linalg.norm(back)) / seen
        return Side(voxel, facing, tip, self._radius(voxel))

    def _radius(self, voxel: NDArray[np.int32]) -> float:
        """Return how wide the island is next to a voxel: the largest ball of the next mm."""
        from scipy.ndimage import distance_transform_edt

        spacing = np.asarray(self.table.spacing)
        near = self.voxels[self.tree.query_ball_point(voxel * spacing, _WIDTH_WITHIN_MM)]
        low = near.min(axis=0) - 1
        mask = np.zeros(near.max(axis=0) - low + 2, bool)
        mask[tuple((near - low).T)] = True
        inner = float(distance_transform_edt(mask, sampling=spacing).max())
        return float(max(inner - SURFACE_VOXELS * spacing.min(), spacing.min() / 2))


def approaches(table: IslandTable, rows: NDArray[np.int64], reach_mm: float) -> Iterator[list[Approach]]:
    """Yield for each two islands within reach where they come near each other: nearest, and from each end.

    Parameters
    ----------
    table : IslandTable
        With skeletons.
    rows : ndarray of int64
        Of one class.
    reach_mm : float
        From voxel centre to voxel centre.
    """
    islands: dict[int, _Island] = {}
    spacing = np.asarray(table.spacing)
    for k, row in enumerate(rows.tolist()):
        others = rows[k + 1 :]
        between = np.maximum(table.start[row] - table.stop[others], table.start[others] - table.stop[row]) + 1
        apart = np.linalg.norm(np.maximum(between, 0) * spacing, axis=1)
        for other in others[apart <= reach_mm].tolist():
            for each in {row, other} - set(islands):
                islands[each] = _Island(table, each)
            small, large = sorted((islands[row], islands[other]), key=lambda each: len(each.mm))
            found = _nearest(small, large, reach_mm)
            if found is not None:
                yield [found, *_from_ends(small, large, reach_mm), *_from_ends(large, small, reach_mm)]


def _nearest(small: _Island, large: _Island, reach_mm: float) -> Approach | None:
    low, high = large.mm.min(axis=0) - reach_mm, large.mm.max(axis=0) + reach_mm
    inside = np.flatnonzero(((small.mm >= low) & (small.mm <= high)).all(axis=1))
    distance, there = large.tree.query(small.mm[inside], distance_upper_bound=reach_mm)
    if not np.isfinite(distance).any():
        return None
    least = int(np.argmin(distance))
    contact = (distance <= distance[least] + _CONTACT_MM) & (
        np.linalg.norm(small.mm[inside] - small.mm[inside[least]], axis=1) <= _WIDTH_WITHIN_MM
    )
    return _approach((small, large), inside[contact], np.unique(there[contact]), float(distance[least]))


def _from_ends(one: _Island, other: _Island, reach_mm: float) -> Iterator[Approach]:
    """Yield the approaches of one island's free ends to what of the other lies in front of them."""
    spacing = np.asarray(one.table.spacing)
    for end, direction in zip(one.table.end_points[one.row], one.table.directions[one.row], strict=True):
        # The centre line stops about one radius before the surface.
        from_mm = end * spacing
        near = np.asarray(
            other.tree.query_ball_point(from_mm, reach_mm + one.table.max_radius_mm[one.row]), np.int64
        )
        if not near.size:
            continue
        way = other.mm[near] - from_mm
        distance = np.linalg.norm(way, axis=1)
        ahead = way @ direction / np.maximum(distance, 1e-6)
        if ahead.max() < 0.5:
            continue
        # Straight ahead counts more than near: a step aside costs as a detour would.
        goal = int(near[np.argmin(np.where(ahead >= 0.5, distance * (2 - ahead), np.inf))])
        front = np.asarray(one.tree.query_ball_point(from_mm, 2 * max(spacing)), np.int64)
        gap = float(np.linalg.norm(one.mm[front] - other.mm[goal], axis=1).min(initial=np.inf))
        if not front.size or gap > reach_mm:
            continue
        yield _approach((one, other), front, np.array([goal]), gap)


def _approach(
    pair: tuple[_Island, _Island], at: NDArray[np.int64], there: NDArray[np.int64], gap_mm: float
) -> Approach:
    one, other = pair
    way = other.mm[there].mean(axis=0) - one.mm[at].mean(axis=0)
    return Approach((one.row, other.row), (one.side(at, way), other.side(there, -way)), gap_mm)
