"""The least distance of many islands to one, exactly, without looking most voxels up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.islands.sparse import coordinates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands.table import Shape, Spacing

__all__ = ["least_distances"]

_LOOK_UP_AT_ONCE: Final = 5_000
"""So few points are looked up faster than they are sieved."""
_BLOCK_VOXELS: Final = 4
_ROUNDS: Final = 16
"""Later rounds find little."""
_ROUNDING_MM: Final = 1e-4
"""Of sums in float32 over the width of a scan."""


def least_distances(
    islands: Sequence[NDArray[np.int64]], target: NDArray[np.int64], shape: Shape, spacing: Spacing
) -> NDArray[np.float64]:
    """Return the least distance in mm between the voxel centres of each island and those of a target.

    A point cannot be nearer to the target than the distance of another point less the way between the two. So
    blocks of 4³ voxels are sieved first, then the voxels of the blocks that are left, and only what passes is
    looked up.

    Parameters
    ----------
    islands : sequence of ndarray of int64, (voxel,)
        Flat indices; none is empty.
    target : ndarray of int64, (voxel,)
        Flat indices, not empty.

    Examples
    --------
    >>> least_distances([np.array([0, 1]), np.array([7])], np.array([4]), (1, 1, 8), (1.0, 1.0, 0.5)).tolist()
    [1.5, 1.5]
    """
    from scipy.spatial import cKDTree

    best = np.full(len(islands), np.inf)
    if not len(islands):
        return best
    pace = np.asarray(spacing, np.float32)
    tree = cKDTree(coordinates(target, shape) * pace, balanced_tree=False, compact_nodes=False)
    flat = np.concatenate(list(islands))
    owner = np.repeat(np.arange(len(islands)), [each.size for each in islands])
    if flat.size > 3 * _LOOK_UP_AT_ONCE:
        near = _in_near_blocks(flat, owner, shape, pace, tree)
        flat, owner = flat[near], owner[near]
    _sieve(coordinates(flat, shape) * pace, owner, tree, best, 0.0)
    return best


def _in_near_blocks(
    flat: NDArray[np.int64], owner: NDArray[np.int64], shape: Shape, pace: NDArray[np.float32], tree: Any
) -> NDArray[np.bool_]:
    """Return which voxels lie in a block that may hold the nearest voxel of its island."""
    # Stretches along x within one block first: a fifth as many as there are voxels.
    begins = np.ones(flat.size, bool)
    begins[1:] = (np.diff(flat) != 1) | (owner[1:] != owner[:-1]) | (flat[1:] % shape[2] % _BLOCK_VOXELS == 0)
    starts = np.flatnonzero(begins)
    block = coordinates(flat[starts], shape) // _BLOCK_VOXELS
    sides = [-(-size // _BLOCK_VOXELS) for size in shape]
    keys = ((owner[starts] * sides[0] + block[:, 0]) * sides[1] + block[:, 1]) * sides[2] + block[:, 2]
    distinct = np.unique(keys)
    island, place = np.divmod(distinct, sides[0] * sides[1] * sides[2])
    middle = (_BLOCK_VOXELS - 1) / 2
    corner = coordinates(place, (sides[0], sides[1], sides[2])) * _BLOCK_VOXELS
    centres = ((corner + middle) * pace).astype(np.float32)
    slack = middle * float(np.linalg.norm(pace))
    keep = np.zeros(len(distinct), bool)
    keep[_sieve(centres, island, tree, np.full(int(owner[-1]) + 1, np.inf), slack)] = True
    return np.repeat(keep[np.searchsorted(distinct, keys)], np.diff(np.append(starts, flat.size)))


def _sieve(
    mm: NDArray[np.float32], owner: NDArray[np.int64], tree: Any, best: NDArray[np.float64], slack: float
) -> NDArray[np.int64]:
    """Return which points may be their owner's nearest, after rounds of one look-up per owner.

    Parameters
    ----------
    mm : ndarray of float32, (point, 3)
        Sorted by owner.
    best : ndarray of float64, (owner,)
        The least distance known; lowered in place.
    slack : float
        How far the voxels that a point stands for may lie from it.
    """
    left, bound, points = np.arange(len(mm)), np.zeros(len(mm), np.float32), mm
    at_once = 3 * _LOOK_UP_AT_ONCE
    looked: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    for _ in range(_ROUNDS):
        if left.size <= at_once:
            break
        first = np.flatnonzero(np.append(True, owner[left[1:]] != owner[left[:-1]]))
        which = np.repeat(np.arange(len(first)), np.diff(np.append(first, left.size)))
        candidates = np.flatnonzero(bound == np.minimum.reduceat(bound, first)[which])
        chosen = candidates[np.searchsorted(which[candidates], np.arange(len(first)))]
        reached = np.asarray(tree.query(points[chosen])[0])
        looked.append((left[chosen], reached))
        island = owner[left[first]]
        best[island] = np.minimum(best[island], reached + slack)
        way = points - points[chosen][which]
        away = np.sqrt(np.einsum("ij,ij->i", way, way))
        bound = np.maximum(bound, reached[which].astype(np.float32) - away - np.float32(slack))
        promising = bound < best[owner[left]] + _ROUNDING_MM
        promising[chosen] = False
        left, bound, points = left[promising], bound[promising], points[promising]
    if left.size:
        reached = np.asarray(tree.query(points)[0])
        np.minimum.at(best, owner[left], reached + slack)
        looked.append((left, reached))
    seen = np.concatenate([each for each, _ in looked])
    reached = np.concatenate([each for _, each in looked])
    return np.asarray(seen[reached - slack <= best[owner[seen]] + _ROUNDING_MM])
