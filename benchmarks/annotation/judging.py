"""What is wrong with labels, seen by somebody who knows the truth.

A voxel is wrong where its label is not the truth and no tolerance excuses it: it is called a class that the
truth does not have within two voxels, or it is of a class that the labels do not have within two voxels. Two
voxels are the paper's own margin, in which training never judges either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        self._of_truth = {each: _tree(truth == each) for each in CLASSES}

    def wrong(self, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return the wrong voxels outside of the margin, (z, y, x)."""
        result = np.zeros(labels.shape, bool)
        differ = np.argwhere(labels != self.truth)
        said, true = labels[tuple(differ.T)], self.truth[tuple(differ.T)]
        for each in CLASSES:
            for points, tree in (
                (differ[said == each], self._of_truth[each]),
                (differ[true == each], _tree(labels == each) if (true == each).any() else None),
            ):
                far = points if tree is None else points[_further(tree, points)]
                result[tuple(far.T)] = True
        return result


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
    found = []
    code = np.where(wrong, 1 + labels.astype(np.int16) * 4 + truth, 0)
    for each in np.unique(code[code > 0]).tolist():
        ids, _ = ndimage.label(code == each, np.ones((3, 3, 3)))
        sizes = np.bincount(ids.ravel())
        boxes = ndimage.find_objects(ids)
        for piece in np.flatnonzero(sizes[1:] >= least) + 1:
            box = boxes[piece - 1]
            at = np.argwhere(ids[box] == piece) + [side.start for side in box]
            found.append(Piece((each - 1) // 4, (each - 1) % 4, at))
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
