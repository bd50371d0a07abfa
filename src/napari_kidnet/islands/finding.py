"""Finding the islands of a volume, and how each lies to the largest of its class."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.islands.components import integer_labels
from napari_kidnet.islands.distances import least_distances
from napari_kidnet.islands.measures import measure
from napari_kidnet.islands.sparse import connect, coordinates, foreground, in_sorted
from napari_kidnet.islands.table import Context, IslandTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_kidnet.islands.table import Shape

__all__ = ["find_islands", "group", "relate"]

TRUNK_SHARE: Final = 0.2
"""An island of this share of its class's largest, in voxels and length, is rooted too: there are two
collecting systems."""


def find_islands(labels: ArrayLike, context: Context | None = None) -> IslandTable:
    """Find and measure all islands of a label volume.

    Parameters
    ----------
    labels : array of whole numbers, (z, y, x)
        Class ids; 0 is background.
    context : Context, optional
        Spacing, probabilities, kidneys; spacing 1 mm and nothing else by default.

    Examples
    --------
    >>> table = find_islands(np.array([[[1, 1, 0, 1, 2]]]))
    >>> table.class_id.tolist(), table.voxels.tolist(), table.distance_mm.tolist()
    ([1, 1, 2], [2, 1, 1], [0.0, 2.0, 0.0])
    """
    values = integer_labels(labels)
    about = context or Context()
    shape = (values.shape[0], values.shape[1], values.shape[2])
    about.check(shape)
    flat, offsets = group(foreground(values), values, shape)
    columns = measure(flat, offsets, values, about)
    ids = np.arange(1, len(offsets), dtype=np.int64)
    table = IslandTable(
        shape, about.spacing, id=ids, flat=flat, offsets=offsets, next_id=len(offsets), **columns
    )
    return relate(table, np.ones(len(table), bool))


def group(
    voxels: NDArray[np.int64], values: NDArray[np.integer], shape: Shape
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort foreground voxels by island; return them and where each island begins."""
    piece, n = connect(voxels, values.reshape(-1)[voxels], shape)
    order = np.argsort(piece, kind="stable")
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(piece, minlength=n), out=offsets[1:])
    return voxels[order], offsets


def relate(table: IslandTable, is_fresh: NDArray[np.bool_], before: IslandTable | None = None) -> IslandTable:
    """Fill the columns that depend on the largest island of each class.

    A distance is kept for as long as neither the island nor that part of the largest changed to which it is
    the distance.

    Parameters
    ----------
    table : IslandTable
    is_fresh : ndarray of bool, (row,)
        Which islands are not those of `before`, voxel for voxel.
    before : IslandTable, optional
        Before the edit.
    """
    distance, rooted = table.distance_mm.copy(), np.zeros(len(table), bool)
    for class_id in np.unique(table.class_id).tolist():
        rows = np.flatnonzero(table.class_id == class_id)
        trunk = table.largest_of(class_id)
        if trunk is None:
            continue
        large = table.voxels[rows] >= TRUNK_SHARE * table.voxels[trunk]
        short = table.length_mm[rows] < TRUNK_SHARE * table.length_mm[trunk]
        rooted[rows] = large & ~short
        others = rows[rows != trunk]
        stale = is_fresh[others] | _moved(table, others, trunk, before, distance)
        distance[others[stale]] = _distances(table, others[stale], table.voxels_of(trunk))
        distance[trunk] = 0.0
    return replace(table, distance_mm=distance, rooted=rooted)


def _moved(
    table: IslandTable,
    rows: NDArray[np.int64],
    trunk: int,
    before: IslandTable | None,
    distance: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return of which rows the old distance tells nothing; lower it where the trunk came nearer."""
    old = None if before is None else before.largest_of(int(table.class_id[trunk]))
    if before is None or old is None or before.id[old] != table.id[trunk]:
        return np.ones(len(rows), bool)
    was, now = before.voxels_of(old), table.voxels_of(trunk)
    lost, gained = was[in_sorted(now, was) < 0], now[in_sorted(was, now) < 0]
    if 2 * (lost.size + gained.size) > now.size:
        return np.ones(len(rows), bool)
    near = _within_reach(table, rows, lost, distance)
    moved = np.zeros(len(rows), bool)
    moved[near] = _distances(table, rows[near], lost) <= distance[rows[near]]
    near = _within_reach(table, rows, gained, distance)
    distance[rows[near]] = np.minimum(distance[rows[near]], _distances(table, rows[near], gained))
    return moved


def _within_reach(
    table: IslandTable, rows: NDArray[np.int64], voxels: NDArray[np.int64], distance: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the places in `rows` of islands whose box is as near to voxels as their distance, or nearer."""
    if not voxels.size:
        return np.zeros(0, np.int64)
    at = coordinates(voxels, table.shape)
    low, high = at.min(axis=0), at.max(axis=0)
    apart = np.maximum(np.maximum(table.start[rows] - high, low - (table.stop[rows] - 1)), 0)
    # A fresh island's distance is NaN, which is nowhere near.
    return np.flatnonzero(np.linalg.norm(apart * np.asarray(table.spacing), axis=1) <= distance[rows] + 1e-3)


def _distances(table: IslandTable, rows: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.float64]:
    return least_distances(
        [table.voxels_of(row) for row in rows.tolist()], target, table.shape, table.spacing
    )
