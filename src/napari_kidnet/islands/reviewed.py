"""What a person has judged: predicted, edited or reviewed as it is, voxel by voxel.

It is saved beside the labels, and it is all that fine-tuning trusts. A re-prediction fills only what is
still predicted: human edits are sacred.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands.history import Change, Edit
from napari_kidnet.islands.sparse import coordinates, foreground

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from napari_kidnet.islands.table import IslandTable

__all__ = [
    "IslandState",
    "VoxelState",
    "accept_box",
    "accept_islands",
    "island_states",
    "mark_edited",
    "repredict",
    "reviewed_percent",
    "trusted",
]

Box = tuple[slice, slice, slice]

MARGIN_VOXELS: Final = 4
"""Accepting an island judges its surroundings too: nothing of it is missing there."""


class VoxelState(IntEnum):
    """How a voxel came by its label."""

    PREDICTED = 0
    EDITED = 1
    REVIEWED = 2


class IslandState(IntEnum):
    """How far the review of an island is."""

    NOT_STARTED = 0
    IN_WORK = 1
    DONE = 2
    FLAGGED = 3


def mark_edited(edit: Edit, states: NDArray[np.uint8]) -> Edit:
    """Return the edit with its voxels marked as edited; an edit by a model marks nothing.

    Examples
    --------
    >>> labels, states = np.array([[[1, 0]]], np.uint8), np.zeros((1, 1, 2), np.uint8)
    >>> edit = mark_edited(Edit.of(labels, [0], 0, "Deleted"), states)
    >>> edit.apply(labels, states)
    >>> states.tolist()
    [[[1, 0]]]
    """
    if edit.by == "model":
        return edit
    return edit.with_states(Change.of(states, edit.labels.flat, VoxelState.EDITED))


def accept_islands(
    table: IslandTable,
    islands: Iterable[int],
    states: NDArray[np.uint8],
    margin_voxels: int = MARGIN_VOXELS,
) -> Edit:
    """Declare islands and the background around them reviewed; voxels that were edited stay edited.

    Other islands that reach into the surroundings are not judged by it: one that is wrong would be trusted
    because it lies beside a right one.

    Parameters
    ----------
    table : IslandTable
    islands : iterable of int
        Ids.
    states : ndarray of uint8, (z, y, x)
        Of `VoxelState`.
    margin_voxels : int
        How far around each island, by the larger of the three axes' steps.
    """
    from scipy.ndimage import maximum_filter

    rows = [table.row_of(island) for island in islands]
    parts = [np.zeros(0, np.int64)]
    for row in rows:
        box = table.box_of(row, margin_voxels)
        around = maximum_filter(
            table.mask_of(row, margin_voxels).view(np.uint8), size=2 * margin_voxels + 1, mode="constant"
        ).view(np.bool_)
        _leave_out_others(around, box, table, rows)
        parts.append(_flat_of(around & (states[box] == VoxelState.PREDICTED), box, table.shape))
    plural = "" if len(rows) == 1 else "s"
    return _states_only(f"Accepted {len(rows)} island{plural}", states, np.concatenate(parts))


def _leave_out_others(around: NDArray[np.bool_], box: Box, table: IslandTable, rows: list[int]) -> None:
    low, high = np.array([(side.start, side.stop) for side in box]).T
    near = ((table.start < high) & (table.stop > low)).all(axis=1)
    near[rows] = False
    for row in np.flatnonzero(near).tolist():
        at = coordinates(table.voxels_of(row), table.shape) - low
        around[tuple(at[((at >= 0) & (at < high - low)).all(axis=1)].T)] = False


def accept_box(states: NDArray[np.uint8], box: Box) -> Edit:
    """Declare all of a box or slab reviewed; voxels that were edited stay edited."""
    shape = (states.shape[0], states.shape[1], states.shape[2])
    flat = _flat_of(states[box] == VoxelState.PREDICTED, box, shape)
    return _states_only(f"Accepted {flat.size} voxels", states, flat)


def trusted(states: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 where a person has judged the voxel: what ``NAME_reviewed.nii.gz`` holds."""
    return np.asarray(states != VoxelState.PREDICTED, np.uint8)


def reviewed_percent(states: NDArray[np.uint8], box: Box | None = None) -> float:
    """Return how much of the volume, or of a box such as the kidneys', has been judged, in percent."""
    part = states if box is None else states[box]
    return 100.0 * np.count_nonzero(part) / part.size if part.size else 0.0


def island_states(
    table: IslandTable, states: NDArray[np.uint8], flagged: Iterable[int] = ()
) -> NDArray[np.uint8]:
    """Return the `IslandState` of every row: done when all of its voxels are judged.

    Parameters
    ----------
    flagged : iterable of int
        Ids that a person wants to come back to.
    """
    judged = states.reshape(-1)[table.flat] != VoxelState.PREDICTED
    result = np.zeros(len(table), np.uint8)
    if len(table):
        count = np.add.reduceat(judged.astype(np.int64), table.offsets[:-1])
        result[count > 0] = IslandState.IN_WORK
        result[count == table.voxels] = IslandState.DONE
    result[np.isin(table.id, list(flagged))] = IslandState.FLAGGED
    return result


def repredict(
    labels: NDArray[np.integer],
    states: NDArray[np.uint8],
    prediction: ArrayLike,
    what: str = "Predicted again",
) -> Edit:
    """Return the edit that takes over a new prediction wherever nobody has edited or reviewed.

    Raises
    ------
    LabelsError
        The prediction lies on another grid.
    """
    new = np.asarray(prediction)
    if new.shape != labels.shape or states.shape != labels.shape:
        raise LabelsError(f"the prediction is of shape {new.shape} and the labels are of {labels.shape}.")
    flat = foreground(((labels != new) & (states == VoxelState.PREDICTED)).view(np.uint8))
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    change = Change.of(labels, flat, new.reshape(-1)[flat])
    return Edit(f"{what}: {change.flat.size} voxels", shape, change, by="model")


def _states_only(what: str, states: NDArray[np.uint8], flat: NDArray[np.int64]) -> Edit:
    nothing = Change(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint8))
    shape = (states.shape[0], states.shape[1], states.shape[2])
    return Edit(what, shape, nothing, Change.of(states, flat, VoxelState.REVIEWED))


def _flat_of(mask: NDArray[np.bool_], box: Box, shape: tuple[int, int, int]) -> NDArray[np.int64]:
    at = np.argwhere(mask) + [side.start or 0 for side in box]
    return np.asarray(np.ravel_multi_index(tuple(at.T), shape), np.int64)
