"""Foreground voxels as sorted lists: what makes islands cheap in a volume that is 98 % background.

A voxel is its flat index in C order, ``(z * Y + y) * X + x``. A *run* is a stretch of one class along x.
Runs of neighbouring rows touch when their ends overlap by at least a corner::

    row y     . [1 1 1] . . .
    row y + 1 . . . . [1 1] .        26-connected: x from 1 to 3 and from 4 to 5 touch

Linking runs instead of voxels labels a 512×512×400 prediction in a tenth of a second, needs memory only for
the foreground, and serves one edited island as well as the whole volume. cc3d is the oracle of the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SURFACE_VOXELS", "coordinates", "connect", "distance_to_outside", "foreground", "in_sorted"]

Shape = tuple[int, int, int]

SURFACE_VOXELS: Final = 0.25
"""How far the surface of a vessel lies before the centre of the first voxel outside: between 0 and 1/2, by
how the vessel meets the grid. Painting adds what measuring takes off, so a tube keeps its measured radius."""
# The half of the 26 neighbours' rows that comes later in the volume; the row itself needs no link.
_LATER_ROWS = ((0, 1), (1, -1), (1, 0), (1, 1))


def foreground(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the flat indices of all voxels that are not 0, sorted.

    Examples
    --------
    >>> foreground(np.array([[[0, 3], [1, 0]]], np.uint8)).tolist()
    [1, 2]
    """
    flat = np.ascontiguousarray(labels).reshape(-1)
    per_word = 8 // flat.dtype.itemsize
    whole = flat.size // per_word * per_word
    # Eight bytes at a time: seven times faster than flatnonzero on bytes, since most words are 0.
    words = np.flatnonzero(flat[:whole].view(np.uint64))
    candidates = (words[:, None] * per_word + np.arange(per_word)).reshape(-1)
    rest = np.arange(whole, flat.size)
    found = np.concatenate([candidates, rest])
    return np.asarray(found[flat[found] != 0], np.int64)


def coordinates(flat: NDArray[np.int64], shape: Shape) -> NDArray[np.int32]:
    """Return the (n, 3) indices z, y, x of flat indices."""
    row, x = np.divmod(flat, shape[2])
    z, y = np.divmod(row, shape[1])
    return np.stack([z, y, x], axis=1).astype(np.int32)


def connect(
    flat: NDArray[np.int64], classes: NDArray[np.integer], shape: Shape
) -> tuple[NDArray[np.int32], int]:
    """Give numbers to the 26-connected pieces of a sorted list of voxels.

    Parameters
    ----------
    flat : ndarray of int64, (voxel,)
        Sorted, without repeats.
    classes : ndarray, (voxel,)
        Voxels of different classes never join.

    Returns
    -------
    piece : ndarray of int32, (voxel,)
        0…n - 1, in the order of each piece's first voxel.
    n : int

    Examples
    --------
    >>> piece, n = connect(np.array([0, 1, 5, 7]), np.array([1, 1, 1, 1]), (1, 2, 4))
    >>> piece.tolist(), n
    ([0, 0, 0, 1], 2)
    """
    if flat.size == 0:
        return np.zeros(0, np.int32), 0
    begins = np.ones(flat.size, bool)
    begins[1:] = (np.diff(flat) != 1) | (classes[1:] != classes[:-1]) | (flat[1:] % shape[2] == 0)
    at = np.flatnonzero(begins)
    first, last, value = flat[at], flat[np.append(at[1:], flat.size) - 1], classes[at]
    piece, n = _link(first, last, value, shape)
    return np.repeat(piece, np.diff(np.append(at, flat.size))), n


def _link(
    first: NDArray[np.int64], last: NDArray[np.int64], value: NDArray[np.integer], shape: Shape
) -> tuple[NDArray[np.int32], int]:
    """Join runs of one value that touch; ``first`` and ``last`` are the flat indices of their ends."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    width = shape[2]
    row = first // width
    y, z = row % shape[1], row // shape[1]
    ones: list[NDArray[np.int64]] = []
    others: list[NDArray[np.int64]] = []
    for dz, dy in _LATER_ROWS:
        inside = np.flatnonzero((y + dy >= 0) & (y + dy < shape[1]) & (z + dz < shape[0]))
        shift = (dz * shape[1] + dy) * width
        begin = row[inside] * width
        low = np.maximum(first[inside] - 1, begin) + shift
        high = np.minimum(last[inside] + 1, begin + width - 1) + shift
        start = np.searchsorted(last, low)
        count = np.searchsorted(first, high, side="right") - start
        one = np.repeat(inside, count)
        other = np.arange(one.size) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
        same = value[one] == value[other]
        ones.append(one[same])
        others.append(other[same])
    i, j = np.concatenate(ones), np.concatenate(others)
    graph = coo_array((np.ones(i.size, bool), (i, j)), shape=(first.size, first.size))
    n, piece = connected_components(graph, directed=False)
    return np.asarray(piece, np.int32), int(n)


def in_sorted(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each wanted value is in the sorted keys, and -1 where it is not."""
    if keys.size == 0:
        return np.full(wanted.shape, -1, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return np.asarray(np.where(keys[at] == wanted, at, -1), np.int64)


def distance_to_outside(
    flat: NDArray[np.int64], owner: NDArray[np.integer], shape: Shape, spacing: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return each voxel's exact distance in mm to the nearest voxel centre outside of its island.

    What lies beyond the border of the volume is outside. Separable, as in Felzenszwalb and Huttenlocher:
    along x from the ends of the runs, then along y and z by walking from neighbour to neighbour for as long
    as a nearer outside is possible.

    Parameters
    ----------
    flat, owner : ndarray, (voxel,)
        Sorted by owner, then by flat index.
    spacing : tuple of float
        (z, y, x) in mm.
    """
    if flat.size == 0:
        return np.zeros(0, np.float32)
    volume = shape[0] * shape[1] * shape[2]
    keys = owner.astype(np.int64) * volume + flat
    begins = np.ones(flat.size, bool)
    begins[1:] = (np.diff(keys) != 1) | (flat[1:] % shape[2] == 0)
    run = np.cumsum(begins) - 1
    at = np.flatnonzero(begins)
    end = np.append(at[1:], flat.size) - 1
    here = np.arange(flat.size)
    steps = np.minimum(here - at[run], end[run] - here) + 1
    squared = (steps * spacing[2]).astype(np.float32) ** 2
    row = flat // shape[2]
    y, z = row % shape[1], row // shape[1]
    for step, place, size, pace in (
        (shape[2], y, shape[1], spacing[1]),
        (shape[1] * shape[2], z, shape[0], spacing[0]),
    ):
        after = np.where(place + 1 < size, in_sorted(keys, keys + step), -1)
        before = np.full(flat.size, -1, np.int64)
        before[after[after >= 0]] = np.flatnonzero(after >= 0)
        squared = _sweep(squared, (before, after), pace)
    return np.asarray(np.sqrt(squared), np.float32)


def _sweep(
    squared: NDArray[np.float32], neighbours: tuple[NDArray[np.int64], NDArray[np.int64]], pace: float
) -> NDArray[np.float32]:
    """Lower the squared distances by what is reached along one axis, in both directions."""
    best = squared.copy()
    for neighbour in neighbours:
        active = np.arange(squared.size)
        place = active
        travelled = 0.0
        while active.size:
            travelled += pace
            place = neighbour[place]
            out = place < 0
            reached = np.where(out, 0, squared[place]) + np.float32(travelled**2)
            best[active] = np.minimum(best[active], reached)
            go_on = ~out & ((travelled + pace) ** 2 < best[active])
            active, place = active[go_on], place[go_on]
    return best
