"""What is measured: overlap of voxels, overlap of centrelines, islands (R31, science report §3.2).

A figure that has no meaning is None, never 1.0: a class that is neither in the truth nor in the
prediction has no F1 (A23).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RADIUS_BINS_MM", "Centreline", "Overlap", "centreline_points", "cldice", "overlap", "radii_mm"]

RADIUS_BINS_MM = (
    ("under_1_mm", 0.0, 1.0),
    ("1_to_2_mm", 1.0, 2.0),
    ("2_to_4_mm", 2.0, 4.0),
    ("over_4_mm", 4.0, np.inf),
)
"""Name, lowest and highest radius of a vessel, in mm."""

Points = tuple["NDArray[np.intp]", "NDArray[np.intp]", "NDArray[np.intp]"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Voxels of one class.

    Attributes
    ----------
    hit, false, missed : int
        Predicted rightly, predicted wrongly, not predicted.
    """

    hit: int
    false: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Share of the prediction that is right; None if nothing was predicted."""
        return _ratio(self.hit, self.hit + self.false)

    @property
    def recall(self) -> float | None:
        """Share of the truth that was found; None if there is none."""
        return _ratio(self.hit, self.hit + self.missed)

    @property
    def f1(self) -> float | None:
        """F1, which is Dice; None if the class is neither in the truth nor predicted."""
        return _ratio(2 * self.hit, 2 * self.hit + self.false + self.missed)


def overlap(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Overlap:
    """Count the voxels of two masks of one shape.

    Examples
    --------
    >>> overlap(np.array([True, True, False]), np.array([True, False, True])).f1
    0.5
    """
    hit = int(np.count_nonzero(predicted & truth))
    return Overlap(hit, int(np.count_nonzero(predicted)) - hit, int(np.count_nonzero(truth)) - hit)


@dataclass(frozen=True, slots=True)
class Centreline:
    """How many points of a centreline there are, and how many lie in the other mask."""

    points: int
    inside: int

    @property
    def share(self) -> float | None:
        """Share of the points that lie in the other mask; None if there are none."""
        return _ratio(self.inside, self.points)


def cldice(predicted: Centreline, truth: Centreline) -> float | None:
    """Return clDice: the harmonic mean of the shares of both centrelines that lie in the other mask.

    One centreline missing makes it 0, both missing None.
    """
    precision, sensitivity = predicted.share, truth.share
    if precision is None and sensitivity is None:
        return None
    if not precision or not sensitivity:
        return 0.0
    return 2.0 * precision * sensitivity / (precision + sensitivity)


def centreline_points(ids: NDArray[np.integer], which: NDArray[np.bool_]) -> Points:
    """Return the centreline (skeleton) of islands as indices (z, y, x).

    Parameters
    ----------
    ids : array of int, (z, y, x)
        Each voxel's island, 0 for none.
    which : array of bool, (id,)
        The islands that are wanted.

    Notes
    -----
    Each island is thinned in its own box: hundreds of specks cost nothing, and only the large tree is large.
    """
    from scipy import ndimage
    from skimage.morphology import skeletonize

    found: list[list[NDArray[np.intp]]] = [[], [], []]
    for island, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is None or not which[island]:
            continue
        mask = ids[box] == island
        thin = mask if mask.sum() <= 2 else skeletonize(mask)
        # Thinning can erase a speck; an island without a centreline would not count at all.
        points = np.nonzero(thin if thin.any() else mask)
        for axis, part in enumerate(box):
            found[axis].append(points[axis] + part.start)
    z, y, x = (np.concatenate(each) if each else np.zeros(0, np.intp) for each in found)
    return z, y, x


def radii_mm(
    mask: NDArray[np.bool_], points: Points, spacing: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return the radius in mm of a vessel mask (z, y, x) at points of its centreline.

    A vessel's face lies half a voxel beyond its outermost voxels' centres.
    """
    from scipy import ndimage

    if points[0].size == 0:
        return np.zeros(0)
    low = [max(0, int(each.min()) - 64) for each in points]
    high = [int(each.max()) + 65 for each in points]
    part = mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    # One voxel of background around: a vessel that leaves the volume is not thinner for it elsewhere.
    distance = ndimage.distance_transform_edt(np.pad(part, 1, mode="edge"), sampling=spacing)
    at = tuple(each - first + 1 for each, first in zip(points, low, strict=True))
    result: NDArray[np.float64] = distance[at] - 0.5 * min(spacing)
    return result


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
