"""Keeping the table of islands true after an edit, without looking at what the edit did not touch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from napari_kidnet.islands.components import integer_labels
from napari_kidnet.islands.finding import group, relate
from napari_kidnet.islands.measures import measure, measure_class, surroundings
from napari_kidnet.islands.sparse import coordinates, foreground, in_sorted
from napari_kidnet.islands.table import PER_ISLAND, Context, IslandTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.islands.table import Shape

__all__ = ["update_islands"]

Box = tuple[slice, slice, slice]

_FACES: Final = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)])
_TOUCHING: Final = np.argwhere(np.ones((3, 3, 3))) - 1


def update_islands(
    table: IslandTable,
    labels: NDArray[np.integer],
    box: Box,
    context: Context | None = None,
    changed: NDArray[np.int64] | None = None,
) -> IslandTable:
    """Bring a table up to date after the labels changed within a box; the rest is neither read nor measured.

    Islands that neither lost nor gained a voxel keep their rows and ids. An island that lives on keeps the id
    of the old island that it has most voxels of.

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
    changed : ndarray of int64, (voxel,), optional
        The sorted flat indices of all changed voxels, as in ``edit.labels.flat``. Without it the box is
        searched for them, which takes long where an edit is spread over the volume.
    """
    values = integer_labels(labels)
    about = context or Context(spacing=table.spacing)
    flat = _differing(table, values, box) if changed is None else np.asarray(changed, np.int64)
    if not flat.size:
        return table
    reach = _reach(table, values, flat)
    touched = np.flatnonzero(reach.touched).tolist()
    old = [table.voxels_of(row) for row in touched]
    left = [voxels[in_sorted(flat, voxels) < 0] for voxels in old]
    gained = flat[values.reshape(-1)[flat] != 0]
    voxels, offsets = group(np.sort(np.concatenate([gained, *left])), values, table.shape)
    parts = _measured(table, touched, voxels, offsets, values, about)
    fresh = _inherit_ids(_join(parts), old, table.id[touched])
    kept = _taken(table, np.flatnonzero(~reach.touched))
    kept = _with_neighbours(kept, reach.beside[~reach.touched], values, about)
    merged = _join([replace(kept, next_id=fresh.next_id), fresh])
    return relate(merged, np.isin(merged.id, fresh.id), before=table)


class _Reach(NamedTuple):
    touched: NDArray[np.bool_]  # lost or gained a voxel, or were joined
    beside: NDArray[np.bool_]  # only got other neighbours


def _differing(table: IslandTable, values: NDArray[np.integer], box: Box) -> NDArray[np.int64]:
    """Return the sorted flat indices at which labels within a box are not those of the table."""
    low, high = np.array([side.start for side in box]), np.array([side.stop for side in box])
    if (high <= low).any():
        return np.zeros(0, np.int64)
    rows = np.flatnonzero(((table.start < high) & (table.stop > low)).all(axis=1)).tolist()
    was, classes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for row in rows:
        voxels = table.voxels_of(row)
        at = coordinates(voxels, table.shape)
        voxels = voxels[((at >= low) & (at < high)).all(axis=1)]
        was.append(voxels)
        classes.append(np.full(voxels.size, table.class_id[row]))
    old, old_class = np.concatenate(was), np.concatenate(classes)
    new = foreground(values[box])
    if new.size:
        sides = (int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2]))
        at = coordinates(new, sides).astype(np.int64) + low
        new = (at[:, 0] * table.shape[1] + at[:, 1]) * table.shape[2] + at[:, 2]
    other = old[values.reshape(-1)[old] != old_class]
    return np.unique(np.concatenate([other, new[in_sorted(np.sort(old), new) < 0]]))


def _reach(table: IslandTable, values: NDArray[np.integer], changed: NDArray[np.int64]) -> _Reach:
    """Return which islands an edit touched, and which only have other neighbours now."""
    touched, beside = np.zeros(len(table), bool), np.zeros(len(table), bool)
    now = values.reshape(-1)[changed]
    plane = table.shape[1] * table.shape[2]
    ends = np.searchsorted(changed, np.stack([table.start[:, 0] - 1, table.stop[:, 0] + 1]) * plane)
    at = coordinates(changed, table.shape)
    low, high = at.min(axis=0), at.max(axis=0) + 1
    for row in np.flatnonzero(((table.start <= high) & (table.stop >= low)).all(axis=1)).tolist():
        part = slice(int(ends[0, row]), int(ends[1, row]))
        near, is_now, voxels = changed[part], now[part], table.voxels_of(row)
        if near.size <= voxels.size:
            # A brush's dab on a long vessel: most of the changed voxels are far, and looking is by them.
            here = ((at[part] >= table.start[row] - 1) & (at[part] <= table.stop[row])).all(axis=1)
            near, is_now = near[here], is_now[here]
        if not near.size:
            continue
        gained = near[is_now == table.class_id[row]]
        few, many = sorted((near, voxels), key=len)
        touched[row] = (in_sorted(many, few) >= 0).any() or _touch(voxels, gained, _TOUCHING, table.shape)
        beside[row] = not touched[row] and _touch(voxels, near, _FACES, table.shape)
    return _Reach(touched, beside)


def _touch(one: NDArray[np.int64], other: NDArray[np.int64], ways: NDArray[np.int64], shape: Shape) -> bool:
    """Say whether a voxel of one sorted list has a neighbour in another; the ways come in opposite pairs."""
    few, many = sorted((one, other), key=len)
    if not few.size:
        return False
    at = coordinates(few, shape)
    for way in ways:
        there = at + way
        inside = ((there >= 0) & (there < shape)).all(axis=1)
        keys = np.ravel_multi_index(tuple(there[inside].T), shape)
        if (in_sorted(many, np.asarray(keys, np.int64)) >= 0).any():
            return True
    return False


def _measured(
    table: IslandTable,
    touched: list[int],
    flat: NDArray[np.int64],
    offsets: NDArray[np.int64],
    values: NDArray[np.integer],
    about: Context,
) -> list[IslandTable]:
    """Return the tables of new islands: those that an old one was voxel for voxel keep its shape."""
    shapes = {(int(table.voxels[row]), int(table.voxels_of(row)[0])): row for row in touched}
    same, twins = np.zeros(len(offsets) - 1, bool), []
    for k, (first, last) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        twin = shapes.get((last - first, int(flat[first])))
        if twin is not None and np.array_equal(table.voxels_of(twin), flat[first:last]):
            same[k] = True
            twins.append(twin)
    new, new_offsets = _stretches(flat, offsets, ~same)
    measured = IslandTable(
        table.shape,
        table.spacing,
        id=np.zeros(len(new_offsets) - 1, np.int64),
        flat=new,
        offsets=new_offsets,
        next_id=table.next_id,
        **measure(new, new_offsets, values, about),
    )
    if not twins:
        return [measured]
    renamed = _taken(table, np.array(twins))
    columns = measure_class(renamed.flat, renamed.offsets, values, about)
    return [measured, replace(renamed, id=np.zeros(len(twins), np.int64), **columns)]


def _stretches(
    flat: NDArray[np.int64], offsets: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the voxels of chosen islands, and where each begins."""
    sizes = np.diff(offsets)
    return flat[np.repeat(chosen, sizes)], np.append(0, np.cumsum(sizes[chosen])).astype(np.int64)


def _with_neighbours(
    kept: IslandTable, stale: NDArray[np.bool_], values: NDArray[np.integer], about: Context
) -> IslandTable:
    """Return the table with the neighbours of some islands looked up again."""
    if not stale.any():
        return kept
    neighbours = list(kept.neighbours)
    for row in np.flatnonzero(stale).tolist():
        voxels = kept.voxels_of(row)
        at = coordinates(voxels, kept.shape)
        found = surroundings(voxels, at, np.zeros(voxels.size, np.int64), values, about)
        neighbours[row] = found["neighbours"][0]
    return replace(kept, neighbours=tuple(neighbours))


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


def _taken(table: IslandTable, rows: NDArray[np.int64]) -> IslandTable:
    """Return a table of some rows."""
    columns: dict[str, Any] = {}
    for name in PER_ISLAND:
        column = getattr(table, name)
        columns[name] = (
            tuple(column[row] for row in rows.tolist()) if isinstance(column, tuple) else column[rows]
        )
    chosen = np.zeros(len(table), bool)
    chosen[rows] = True
    if (np.diff(rows) > 0).all():
        flat, offsets = _stretches(table.flat, table.offsets, chosen)
    else:
        flat = np.concatenate([table.voxels_of(row) for row in rows.tolist()])
        offsets = np.append(0, np.cumsum(table.voxels[rows])).astype(np.int64)
    return replace(table, flat=flat, offsets=offsets, **columns)


def _join(tables: list[IslandTable]) -> IslandTable:
    """Join tables to one, in the order of the islands' first voxels."""
    if len(tables) == 1:
        return tables[0]
    firsts = np.concatenate([each.flat[each.offsets[:-1]] for each in tables])
    order = np.argsort(firsts)
    columns: dict[str, Any] = {}
    for name in PER_ISLAND:
        parts = [getattr(each, name) for each in tables]
        if isinstance(parts[0], tuple):
            both = [value for part in parts for value in part]
            columns[name] = tuple(both[i] for i in order.tolist())
        else:
            columns[name] = np.concatenate(parts)[order]
    pieces = [each.voxels_of(row) for each in tables for row in range(len(each))]
    flat = np.concatenate([pieces[i] for i in order.tolist()]) if pieces else np.zeros(0, np.int64)
    offsets = np.append(0, np.cumsum(columns["voxels"])).astype(np.int64)
    return replace(tables[-1], flat=flat, offsets=offsets, **columns)
