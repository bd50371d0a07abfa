"""What is wrong with labels, seen by somebody who knows the truth.

A voxel is wrong where its label is not the truth and no tolerance excuses it: it is called a class that the
truth does not have within two voxels, or it is of a class that the labels do not have within two voxels. Two
voxels are the paper's own margin, in which training never judges either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_kidnet.islands.sparse import connect

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box = tuple[slice, slice, slice]

MARGIN_VOXELS = 2.0
CLASSES = (1, 2, 3)


class Judge:
    """Compares labels with one truth.

    Parameters
    ----------
    truth : ndarray of uint8, (z, y, x)
    """

    def __init__(self, truth: NDArray[np.uint8]) -> None:
        self.truth = truth

    def wrong(self, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return the wrong voxels outside of the margin, (z, y, x)."""
        return _wrong(labels, self.truth)

    def after(self, labels: NDArray[np.integer], before: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
        """Return the wrong voxels after an edit within a box; beyond the margin nothing changes."""
        reach = int(MARGIN_VOXELS) + 1
        inner, outer = _grown(box, reach, labels.shape), _grown(box, 2 * reach, labels.shape)
        part = _wrong(labels[outer], self.truth[outer])
        result = before.copy()
        within = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
        result[inner] = part[within]
        return result


def _wrong(labels: NDArray[np.integer], truth: NDArray[np.uint8]) -> NDArray[np.bool_]:
    result = np.zeros(labels.shape, bool)
    differ = np.argwhere(labels != truth)
    said, true = labels[tuple(differ.T)], truth[tuple(differ.T)]
    for each in CLASSES:
        for points, other in ((differ[said == each], truth), (differ[true == each], labels)):
            if len(points):
                tree = _tree(other == each)
                far = points if tree is None else points[_further(tree, points)]
                result[tuple(far.T)] = True
    return result


def _grown(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    z, y, x = (
        slice(max(side.start - margin, 0), min(side.stop + margin, n))
        for side, n in zip(box, shape, strict=True)
    )
    return z, y, x


@dataclass(frozen=True, slots=True)
class Piece:
    """Wrong voxels that hang together and want the same: from one class to another.

    Attributes
    ----------
    said, true : int
        What the labels call it and what it is.
    voxels : ndarray of int, (voxel, 3)
        (z, y, x).
    """

    said: int
    true: int
    voxels: NDArray[np.intp]

    @property
    def size(self) -> int:
        """How many voxels it has."""
        return len(self.voxels)


def pieces_of(
    wrong: NDArray[np.bool_], labels: NDArray[np.integer], truth: NDArray[np.uint8], least: int
) -> list[Piece]:
    """Return the pieces of at least so many wrong voxels, the largest first."""
    flat = np.flatnonzero(wrong)
    code = labels.reshape(-1)[flat].astype(np.int64) * 4 + truth.reshape(-1)[flat]
    numbers, n = connect(flat, code, wrong.shape)
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=n))
    found = []
    for members in np.split(order, ends[:-1]) if n else ():
        if len(members) >= least:
            said, true = divmod(int(code[members[0]]), 4)
            at = np.stack(np.unravel_index(flat[members], wrong.shape), axis=1)
            found.append(Piece(said, true, at))
    found.sort(key=lambda piece: -piece.size)
    return found


def _tree(mask: NDArray[np.bool_]) -> cKDTree | None:
    points = np.argwhere(mask)
    return cKDTree(points) if len(points) else None


def _further(tree: cKDTree, points: NDArray[np.intp]) -> NDArray[np.bool_]:
    if not len(points):
        return np.zeros(0, bool)
    distance, _ = tree.query(points, distance_upper_bound=MARGIN_VOXELS + 1e-6)
    return np.asarray(distance > MARGIN_VOXELS + 1e-9)
