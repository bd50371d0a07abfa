"""The centre line of one island: its length, its free ends, and where each end points.

::

    end ●────────┬────────● end        a spur (shorter than the vessel is thick) is no end
                 │  ╵spur
                 ● end
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.islands.sparse import in_sorted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Skeleton", "skeleton_of"]

Spacing = tuple[float, float, float]

_FULL_RESOLUTION_VOXELS: Final = 300_000
"""Larger boxes are thinned at every second voxel: thinning costs 0.1 µs a voxel of the box."""
_TINY_VOXELS: Final = 20
"""Smaller islands have no shape worth thinning: their ends are the two ends of the longest axis."""
_LOOK_BACK_MM: Final = 6.0
"""How far behind an end its direction is taken from."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A centre line in the grid of the mask it was made from.

    Attributes
    ----------
    points : ndarray of int32, (point, 3)
        Voxels of the island, (z, y, x).
    length_mm : float
        Of the minimum spanning tree of the points.
    ends : ndarray of int32, (end, 3)
        Free ends, spurs left out.
    directions : ndarray of float32, (end, 3)
        The unit vector in mm that points out of the island at each end; 0 where the island is one point.
    """

    points: NDArray[np.int32]
    length_mm: float
    ends: NDArray[np.int32]
    directions: NDArray[np.float32]


def skeleton_of(mask: NDArray[np.bool_], spacing: Spacing) -> Skeleton:
    """Thin one island to its centre line.

    Parameters
    ----------
    mask : ndarray of bool, (z, y, x)
        The island, in its box; not empty.
    spacing : tuple of float
        (z, y, x) in mm.

    Examples
    --------
    >>> line = skeleton_of(np.ones((1, 1, 9), bool), (1.0, 1.0, 1.0))
    >>> line.length_mm, line.ends[:, 2].tolist(), line.directions[:, 2].tolist()
    (8.0, [0, 8], [-1.0, 1.0])
    """
    if np.count_nonzero(mask) <= _TINY_VOXELS:
        return _tiny(np.argwhere(mask).astype(np.int32), spacing)
    points = _thin(mask)
    if len(points) == 1:
        return _tiny(np.argwhere(mask).astype(np.int32), spacing)
    return _trace(points, spacing, 1 if mask.size <= _FULL_RESOLUTION_VOXELS else 2)


def _tiny(voxels: NDArray[np.int32], spacing: Spacing) -> Skeleton:
    axis = int(np.argmax(np.ptp(voxels, axis=0) * np.asarray(spacing)))
    order = np.argsort(voxels[:, axis], kind="stable")
    pair = voxels[order[[0, -1]]]
    along = (pair[1] - pair[0]) * np.asarray(spacing)
    length = float(np.linalg.norm(along))
    if length == 0:
        return Skeleton(pair[:1], 0.0, pair[:1], np.zeros((1, 3), np.float32))
    return Skeleton(pair, length, pair, np.stack([-along, along]).astype(np.float32) / np.float32(length))


def _thin(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the voxels of the centre line; of a large box at every second, moved back into the mask."""
    if mask.size <= _FULL_RESOLUTION_VOXELS:
        return _centre_line(mask)
    even = np.pad(mask, [(0, size % 2) for size in mask.shape])
    z, y, x = (size // 2 for size in even.shape)
    blocks = even.reshape(z, 2, y, 2, x, 2).transpose(0, 2, 4, 1, 3, 5).reshape(z, y, x, 8)
    coarse = _centre_line(np.asarray(blocks.any(axis=3), bool))
    corner = blocks[tuple(coarse.T)].argmax(axis=1)
    return np.asarray(coarse * 2 + np.stack([corner >> 2, corner >> 1 & 1, corner & 1], axis=1), np.int32)


def _centre_line(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    line = skeletonize(np.pad(mask, 1))
    if line.any():
        return np.argwhere(line).astype(np.int32) - 1
    # scikit-image thins a bar of even width (4 by 4 by 31) to nothing; one voxel more on one side helps.
    wider = np.pad(mask, [(1, 2)] * 3)
    for axis in range(3):
        wider |= np.roll(wider, 1, axis)
    points = np.argwhere(skeletonize(wider)) - 1
    if not len(points):
        points = np.argwhere(mask)[:1]
    inside = np.minimum(points, np.array(mask.shape) - 1)
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return np.unique(np.asarray(nearest)[(slice(None), *inside.T)].T, axis=0).astype(np.int32)


def _trace(points: NDArray[np.int32], spacing: Spacing, step: int) -> Skeleton:
    """Join neighbouring points to a tree and follow its free ends inwards."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    mm = points * np.asarray(spacing)
    i, j = _neighbours(points // step)
    weight = np.linalg.norm(mm[i] - mm[j], axis=1)
    tree = minimum_spanning_tree(
        coo_array((np.maximum(weight, 1e-6), (i, j)), shape=(len(points),) * 2).tocsr()
    )
    around: list[list[int]] = [[] for _ in range(len(points))]
    one, other = tree.nonzero()
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        around[a].append(b)
        around[b].append(a)
    ends, directions = [], []
    tips = [k for k, near in enumerate(around) if len(near) == 1]
    for tip in tips:
        path, forked = _walk_back(tip, around, mm)
        # A branch that forks off within one thickness of the vessel is a wrinkle of its surface.
        if forked and len(tips) > 2 and np.linalg.norm(mm[path[-1]] - mm[tip]) < 2.5 * max(spacing) * step:
            continue
        out = mm[tip] - mm[path[-1]]
        ends.append(points[tip])
        directions.append(out / max(float(np.linalg.norm(out)), 1e-6))
    return Skeleton(
        points,
        float(tree.sum()),
        np.asarray(ends, np.int32).reshape(-1, 3),
        np.asarray(directions, np.float32).reshape(-1, 3),
    )


def _walk_back(tip: int, around: list[list[int]], mm: NDArray[np.float64]) -> tuple[list[int], bool]:
    """Follow the branch of a tip for a few mm, or to its fork; say whether it was a fork."""
    path, before = [tip], -1
    while True:
        onward = [k for k in around[path[-1]] if k != before]
        if len(onward) != 1:
            return path, len(onward) > 1
        before = path[-1]
        path.append(onward[0])
        if np.linalg.norm(mm[path[-1]] - mm[tip]) >= _LOOK_BACK_MM:
            return path, False


def _neighbours(points: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of points that touch by face, edge or corner."""
    # One voxel of room on both sides of each axis, so that no neighbour wraps into the next row.
    size = points.max(axis=0).astype(np.int64) + 3
    strides = np.array([size[1] * size[2], size[2], 1])
    keys = (points.astype(np.int64) + 1) @ strides
    order = np.argsort(keys)
    keys = keys[order]
    offsets = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1], indexing="ij"), -1).reshape(-1, 3)[14:]
    found = in_sorted(keys, keys[None, :] + (offsets @ strides)[:, None])
    which, place = np.nonzero(found >= 0)
    return order[place], order[found[which, place]]
