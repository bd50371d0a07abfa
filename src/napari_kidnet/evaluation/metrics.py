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

__all__ = [
    "RADIUS_BINS_MM",
    "Centreline",
    "Overlap",
    "centreline_points",
    "cldice",
    "confusion",
    "overlap",
    "radii_mm",
    "under_islands_rule",
]

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


def confusion(
    labels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    known: NDArray[np.bool_],
    within: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Count, in one pass, how often each label meets each truth.

    Parameters
    ----------
    labels, truth : array of uint8, (z, y, x)
        Classes 0 to 3.
    known : array of bool, (z, y, x)
        Voxels of predicted islands that touch the truth.
    within : array of bool, (z, y, x), optional
        The kidney boxes.

    Returns
    -------
    array of int, (outside or within, unknown or known, truth, label)
        Numbers of voxels.
    """
    counts = np.zeros(64, np.int64)
    for plane in range(len(labels)):  # slice by slice: bincount needs eight bytes a voxel
        code = labels[plane] | truth[plane] << 2 | known[plane].astype(np.uint8) << 4
        if within is not None:
            code |= within[plane].astype(np.uint8) << 5
        counts += np.bincount(code.ravel(), minlength=64)
    return counts.reshape(2, 2, 4, 4)


def overlap(counts: NDArray[np.int64], vessel: int) -> Overlap:
    """Return a class's overlap from counts (unknown or known, truth, label) in which unknown islands count.

    Examples
    --------
    >>> counts = np.zeros((2, 4, 4), int)
    >>> counts[1, 1, 1], counts[0, 0, 1], counts[0, 1, 0] = 1, 1, 1
    >>> overlap(counts, 1).f1, overlap(under_islands_rule(counts), 1).f1
    (0.5, 0.6666666666666666)
    """
    both = counts.sum(axis=0)
    hit = int(both[vessel, vessel])
    return Overlap(hit, int(both[:, vessel].sum()) - hit, int(both[vessel].sum()) - hit)


def under_islands_rule(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the counts when every label of an unknown island is background (R34)."""
    kept = counts.copy()
    kept[0, :, 0] += kept[0, :, 1:].sum(axis=-1)
    kept[0, :, 1:] = 0
    return kept


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

    It is the distance to the nearest voxel outside, less half a voxel: a vessel's face lies between the two.
    That voxel always shares a face with the vessel, so only those are searched; a distance transform of
    the whole volume takes a hundred times as long.
    """
    from scipy.spatial import KDTree

    if points[0].size == 0:
        return np.zeros(0)
    # What lies beyond the volume is not outside of the vessel: one that leaves the scan is not thin there.
    padded = np.pad(mask, 1, mode="edge")
    vessel = np.flatnonzero(padded)
    steps = (padded.shape[1] * padded.shape[2], padded.shape[2], 1)
    shell = []
    for step in (*steps, *(-each for each in steps)):
        beside = vessel + step
        beside = beside[(beside >= 0) & (beside < padded.size)]
        shell.append(beside[~padded.ravel()[beside]])
    outside = np.stack(np.unravel_index(np.unique(np.concatenate(shell)), padded.shape), axis=1)
    outside = outside[np.all((outside > 0) & (outside < np.array(padded.shape) - 1), axis=1)]
    if not len(outside):
        return np.full(points[0].size, np.inf)
    size_mm = np.array(spacing)
    tree = KDTree((outside - 1) * size_mm)
    distance = np.asarray(tree.query(np.stack(points, axis=1) * size_mm)[0], np.float64)
    radius: NDArray[np.float64] = distance - 0.5 * min(spacing)
    return radius


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
