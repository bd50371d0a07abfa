"""Finding the islands of a volume, and keeping their table true after an edit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.islands.components import integer_labels
from napari_kidnet.islands.measures import measure
from napari_kidnet.islands.sparse import connect, coordinates, foreground, in_sorted
from napari_kidnet.islands.table import PER_ISLAND, Context, IslandTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_kidnet.islands.table import Shape

__all__ = ["find_islands", "update_islands"]

Box = tuple[slice, slice, slice]

TRUNK_SHARE: Final = 0.2
"""An island of this share of its class's largest, in voxels and length, is rooted too: there are two
collecting systems."""
_LOOK_UP_AT_ONCE: Final = 5_000
"""So few voxels are looked up faster than they are sieved."""


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
    flat, offsets = _group(foreground(values), values, shape)
    columns = measure(flat, offsets, values, about)
    ids = np.arange(1, len(offsets), dtype=np.int64)
    table = IslandTable(
        shape, about.spacing, id=ids, flat=flat, offsets=offsets, next_id=len(offsets), **columns
    )
    return _relate(table, np.ones(len(table), bool))


def update_islands(
    table: IslandTable, labels: NDArray[np.integer], box: Box, context: Context | None = None
) -> IslandTable:
    """Bring a table up to date after the labels changed within a box; the rest is neither read nor measured.

    Islands that have no voxel in the box or beside it keep their rows and ids. An island that lives on keeps
    the id of the old island that it has most voxels of.

    Parameters
    ----------
    table : IslandTable
        Of the labels before the change.
    labels : ndarray, (z, y, x)
        After the change.
    box : tuple of slice
        (z, y, x), holding every changed voxel.
    context : Context, optional
        As for :func:`find_islands`.
    """
    values = integer_labels(labels)
    about = context or Context(spacing=table.spacing)
    low = np.array([side.start for side in box])
    high = np.array([side.stop for side in box])
    if (high <= low).any():
        return table
    touched = _touched_rows(table, low - 1, high + 1)
    old = [table.voxels_of(row) for row in np.flatnonzero(touched).tolist()]
    outside = [voxels[~_within(voxels, table.shape, low, high)] for voxels in old]
    inside = foreground(values[box])
    if inside.size:
        sides = (int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2]))
        at = coordinates(inside, sides).astype(np.int64) + low
        inside = (at[:, 0] * table.shape[1] + at[:, 1]) * table.shape[2] + at[:, 2]
    flat, offsets = _group(np.sort(np.concatenate([inside, *outside])), values, table.shape)
    fresh = IslandTable(
        table.shape,
        table.spacing,
        id=np.zeros(len(offsets) - 1, np.int64),
        flat=flat,
        offsets=offsets,
        next_id=table.next_id,
        **measure(flat, offsets, values, about),
    )
    fresh = _inherit_ids(fresh, old, table.id[touched])
    merged, is_fresh = _splice(table, ~touched, fresh)
    return _relate(merged, is_fresh, before=table)


def _group(
    voxels: NDArray[np.int64], values: NDArray[np.integer], shape: Shape
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort foreground voxels by island; return them and where each island begins."""
    piece, n = connect(voxels, values.reshape(-1)[voxels], shape)
    order = np.argsort(piece, kind="stable")
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(piece, minlength=n), out=offsets[1:])
    return voxels[order], offsets


def _touched_rows(table: IslandTable, low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which islands have a voxel in a box."""
    touched = np.asarray(((table.start < high) & (table.stop > low)).all(axis=1), bool)
    for row in np.flatnonzero(touched).tolist():
        whole = (table.start[row] >= low).all() and (table.stop[row] <= high).all()
        touched[row] = whole or _within(table.voxels_of(row), table.shape, low, high).any()
    return touched


def _within(
    flat: NDArray[np.int64], shape: Shape, low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.bool_]:
    at = coordinates(flat, shape)
    return np.asarray(((at >= low) & (at < high)).all(axis=1))


def _inherit_ids(fresh: IslandTable, old: list[NDArray[np.int64]], old_ids: NDArray[np.int64]) -> IslandTable:
    """Give each old id to the island that holds most of the old island's voxels; the rest get new ids."""
    ids = np.zeros(len(fresh), np.int64)
    owner = np.repeat(np.arange(len(fresh)), fresh.voxels)
    order = np.argsort(fresh.flat)
    claims = []
    for voxels, island in zip(old, old_ids.tolist(), strict=True):
        found = in_sorted(fresh.flat[order], voxels)
        shares = np.bincount(owner[order[found[found >= 0]]], minlength=len(fresh))
        claims += [(-int(shares[row]), island, int(row)) for row in np.flatnonzero(shares)]
    given: set[int] = set()
    for _, island, row in sorted(claims):
        if ids[row] == 0 and island not in given:
            ids[row] = island
            given.add(island)
    new = np.flatnonzero(ids == 0)
    ids[new] = fresh.next_id + np.arange(new.size)
    return replace(fresh, id=ids, next_id=fresh.next_id + int(new.size))


def _splice(
    table: IslandTable, kept: NDArray[np.bool_], fresh: IslandTable
) -> tuple[IslandTable, NDArray[np.bool_]]:
    """Join the kept rows and the fresh ones in the order of their first voxels; say which are fresh."""
    rows = np.flatnonzero(kept)
    firsts = np.concatenate([table.flat[table.offsets[:-1][rows]], fresh.flat[fresh.offsets[:-1]]])
    order = np.argsort(firsts)
    columns: dict[str, Any] = {}
    for name in PER_ISLAND:
        old, new = getattr(table, name), getattr(fresh, name)
        if isinstance(old, tuple):
            both = [old[row] for row in rows.tolist()] + list(new)
            columns[name] = tuple(both[i] for i in order.tolist())
        else:
            columns[name] = np.concatenate([old[rows], new])[order]
    pieces = [table.voxels_of(row) for row in rows.tolist()] + [
        fresh.voxels_of(row) for row in range(len(fresh))
    ]
    flat = np.concatenate([pieces[i] for i in order.tolist()]) if pieces else np.zeros(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(columns["voxels"])]).astype(np.int64)
    merged = IslandTable(
        table.shape, table.spacing, flat=flat, offsets=offsets, next_id=fresh.next_id, **columns
    )
    return merged, order >= rows.size


def _relate(
    table: IslandTable, is_fresh: NDArray[np.bool_], before: IslandTable | None = None
) -> IslandTable:
    """Fill the columns that depend on the largest island of each class.

    Distances of islands that did not change are kept for as long as the largest island did not either.
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
        same = not is_fresh[trunk] and _trunk_id(before, class_id) == table.id[trunk]
        stale = rows[is_fresh[rows]] if same else rows
        distance[stale] = _distances(table, stale, trunk)
        distance[trunk] = 0.0
    return replace(table, distance_mm=distance, rooted=rooted)


def _trunk_id(table: IslandTable | None, class_id: int) -> int | None:
    row = None if table is None else table.largest_of(class_id)
    return None if table is None or row is None else int(table.id[row])


def _distances(table: IslandTable, rows: NDArray[np.int64], trunk: int) -> NDArray[np.float64]:
    """Return the least distance in mm between voxel centres of each island and the trunk of its class.

    Exact, but far voxels are never looked up: a voxel v cannot be nearer to the trunk than the distance of
    another voxel w less |v - w|. Each round looks up the most promising voxel of every island.
    """
    from scipy.spatial import cKDTree

    others = rows[rows != trunk]
    result = np.zeros(len(rows))
    if not others.size:
        return result
    spacing = np.asarray(table.spacing, np.float32)
    tree = cKDTree(
        coordinates(table.voxels_of(trunk), table.shape) * spacing, balanced_tree=False, compact_nodes=False
    )
    at = np.concatenate([coordinates(table.voxels_of(row), table.shape) for row in others.tolist()]) * spacing
    owner = np.repeat(np.arange(len(others)), table.voxels[others])
    best, bound = np.full(len(others), np.inf), np.zeros(len(at), np.float32)
    while at.size > 3 * _LOOK_UP_AT_ONCE:
        first = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
        island = owner[first]
        low = np.repeat(np.minimum.reduceat(bound, first), np.diff(np.append(first, len(at))))
        candidates = np.flatnonzero(bound == low)
        chosen = candidates[np.searchsorted(owner[candidates], island)]
        reached = np.asarray(tree.query(at[chosen])[0])
        best[island] = np.minimum(best[island], reached)
        which = np.repeat(np.arange(len(island)), np.diff(np.append(first, len(at))))
        away = np.sqrt(((at - at[chosen][which]) ** 2).sum(axis=1))
        bound = np.maximum(bound, reached[which].astype(np.float32) - away)
        promising = bound < best[owner] + 1e-4  # float32 rounding
        promising[chosen] = False
        at, owner, bound = at[promising], owner[promising], bound[promising]
    if at.size:
        reached = np.asarray(tree.query(at)[0])
        np.minimum.at(best, owner, reached)
    result[rows != trunk] = best
    return result
