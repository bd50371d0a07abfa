"""How much of a scan, and of its kidneys' boxes, a person has judged; counted along with the edits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.islands.sparse import coordinates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands import Change

__all__ = ["Judged"]

Box = tuple[slice, slice, slice]


class Judged:
    """Counts of judged voxels.

    Parameters
    ----------
    states : ndarray of uint8, (z, y, x)
        Of `VoxelState`.
    kidneys : sequence of tuple of slice
        The kidneys' boxes, (z, y, x), at most two; empty where they are not known.

    Examples
    --------
    >>> states = np.zeros((2, 2, 2), np.uint8)
    >>> states[0, 0] = 1
    >>> judged = Judged(states, [(slice(0, 1), slice(0, 2), slice(0, 1))])
    >>> judged.percent, judged.kidney_percent
    (25.0, 50.0)
    """

    def __init__(self, states: NDArray[np.uint8], kidneys: Sequence[Box] = ()) -> None:
        self.kidneys = tuple(kidneys)
        self.voxels = int(np.count_nonzero(states))
        self._shape = (states.shape[0], states.shape[1], states.shape[2])
        self._of_all = states.size
        self._both = _common(self.kidneys)
        self._in_kidneys = self._over_boxes(lambda box: np.count_nonzero(states[box]))
        self._of_kidneys = self._over_boxes(_size)

    def add(self, change: Change, *, forward: bool) -> None:
        """Count a change of the states; backwards where it is undone."""
        more = (change.after != 0).astype(np.int8) - (change.before != 0).astype(np.int8)
        sign = 1 if forward else -1
        self.voxels += sign * int(more.sum())
        if self.kidneys:
            at = coordinates(change.flat, self._shape)
            self._in_kidneys += sign * self._over_boxes(lambda box: more[_inside(at, box)].sum())

    @property
    def percent(self) -> float:
        """Of the volume."""
        return 100 * self.voxels / max(self._of_all, 1)

    @property
    def kidney_percent(self) -> float | None:
        """Of the kidneys' boxes together; None where they are not known."""
        return 100 * self._in_kidneys / self._of_kidneys if self._of_kidneys else None

    def _over_boxes(self, count: Any) -> int:
        """Sum a count over the boxes; what two of them share counts once."""
        shared = 0 if self._both is None else int(count(self._both))
        return sum(int(count(box)) for box in self.kidneys) - shared


def _common(boxes: tuple[Box, ...]) -> Box | None:
    if len(boxes) != 2:
        return None
    z, y, x = (
        slice(max(one.start, other.start), max(one.start, other.start, min(one.stop, other.stop)))
        for one, other in zip(*boxes, strict=True)
    )
    return (z, y, x)


def _size(box: Box) -> int:
    return int(np.prod([side.stop - side.start for side in box]))


def _inside(at: NDArray[np.int32], box: Box) -> NDArray[np.bool_]:
    low, high = [side.start for side in box], [side.stop for side in box]
    return np.asarray(((at >= low) & (at < high)).all(axis=1), bool)
