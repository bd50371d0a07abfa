"""Edits as sparse differences, and the one history that undoes and redoes all of them.

A brush stroke, a deleted island, an accepted bridge and a model run are the same thing: some voxels had one
value and have another now.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands.sparse import coordinates

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_kidnet.islands.table import Shape

__all__ = ["Change", "Edit", "History"]

Author = Literal["person", "model"]
Box = tuple[slice, slice, slice]

_HISTORY_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Change:
    """Voxels of one volume that got another value.

    Attributes
    ----------
    flat : ndarray of int64, (voxel,)
        Sorted flat indices, without repeats.
    before, after : ndarray, (voxel,)
        Values, in the dtype of the volume.
    """

    flat: NDArray[np.int64]
    before: NDArray[np.integer]
    after: NDArray[np.integer]

    @classmethod
    def of(cls, volume: NDArray[np.integer], flat: ArrayLike, after: ArrayLike) -> Change:
        """Describe setting voxels to values; voxels that have the value already are left out.

        Examples
        --------
        >>> change = Change.of(np.array([[[0, 1, 2]]]), [2, 1], 1)
        >>> change.flat.tolist(), change.before.tolist(), change.after.tolist()
        ([2], [2], [1])
        """
        where, first = np.unique(np.asarray(flat, np.int64), return_index=True)
        values = np.broadcast_to(np.asarray(after), np.shape(flat))[first].astype(volume.dtype)
        old = volume[np.unravel_index(where, volume.shape)]
        differs = old != values
        return cls(where[differs], old[differs], values[differs])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.flat.nbytes + self.before.nbytes + self.after.nbytes

    def put(self, volume: NDArray[np.integer], *, forward: bool) -> None:
        """Write the values after (or before) into the volume.

        Raises
        ------
        LabelsError
            The volume is not in the state that the change starts from.
        """
        where = np.unravel_index(self.flat, volume.shape)
        old, new = (self.before, self.after) if forward else (self.after, self.before)
        if not np.array_equal(volume[where], old):
            raise LabelsError(
                "the labels were changed without the history's knowledge, so this step cannot be applied;"
                " save the labels and open them again."
            )
        volume[where] = new


@dataclass(frozen=True, slots=True)
class Edit:
    """One action of an annotator or of a model: one undo step.

    Attributes
    ----------
    what : str
        What was done, for a person: "Deleted 1 island of Vein (0.12 mL)".
    shape : tuple of int
        Of the volume, (z, y, x).
    labels : Change
    states : Change or None
        Of the reviewed mask, where the action says something about it.
    by : {"person", "model"}
    """

    what: str
    shape: Shape
    labels: Change
    states: Change | None = None
    by: Author = "person"

    @classmethod
    def of(cls, labels: NDArray[np.integer], flat: ArrayLike, after: ArrayLike, what: str) -> Edit:
        """Describe setting voxels of the labels to values."""
        shape = (labels.shape[0], labels.shape[1], labels.shape[2])
        return cls(what, shape, Change.of(labels, flat, after))

    @property
    def voxels(self) -> int:
        """How many voxels of the labels change."""
        return int(self.labels.flat.size)

    @property
    def box(self) -> Box:
        """The box that holds every changed voxel of the labels; empty where none changes."""
        if not self.voxels:
            return (slice(0, 0), slice(0, 0), slice(0, 0))
        at = coordinates(self.labels.flat, self.shape)
        low, high = at.min(axis=0).tolist(), (at.max(axis=0) + 1).tolist()
        return (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.labels.nbytes + (0 if self.states is None else self.states.nbytes)

    def with_states(self, states: Change) -> Edit:
        """Return the same action with its effect on the reviewed mask."""
        return replace(self, states=states)

    def apply(self, labels: NDArray[np.integer], states: NDArray[np.uint8] | None = None) -> None:
        """Do the edit, in place."""
        self._put(labels, states, forward=True)

    def undo(self, labels: NDArray[np.integer], states: NDArray[np.uint8] | None = None) -> None:
        """Undo the edit, in place."""
        self._put(labels, states, forward=False)

    def _put(self, labels: NDArray[np.integer], states: NDArray[np.uint8] | None, *, forward: bool) -> None:
        if labels.shape != self.shape:
            raise LabelsError(
                f"the edit is for labels of shape {self.shape}, and these are of {labels.shape}."
            )
        self.labels.put(labels, forward=forward)
        if self.states is not None and states is not None:
            self.states.put(states, forward=forward)


class History:
    """The undo and redo steps of one scan, oldest first, within a bound of memory.

    Parameters
    ----------
    max_bytes : int
        Beyond it the oldest steps can no longer be undone; the latest always can.

    Examples
    --------
    >>> labels = np.array([[[0, 1]]])
    >>> history = History()
    >>> history.do(Edit.of(labels, [0], 2, "Painted"), labels)
    >>> labels.tolist(), history.undo(labels).what, labels.tolist()
    ([[[2, 1]]], 'Painted', [[[0, 1]]])
    """

    def __init__(self, max_bytes: int = _HISTORY_BYTES) -> None:
        self.max_bytes = max_bytes
        self.done: list[Edit] = []
        self.undone: list[Edit] = []

    @property
    def nbytes(self) -> int:
        """Bytes held by all steps."""
        return sum(edit.nbytes for edit in (*self.done, *self.undone))

    def do(self, edit: Edit, labels: NDArray[np.integer], states: NDArray[np.uint8] | None = None) -> None:
        """Apply an edit and remember it."""
        edit.apply(labels, states)
        self.record(edit)

    def record(self, edit: Edit) -> None:
        """Remember an edit that has been applied already, such as a brush stroke in a viewer."""
        self.undone.clear()
        self.done.append(edit)
        held = self.nbytes
        while held > self.max_bytes and len(self.done) > 1:
            held -= self.done.pop(0).nbytes

    def undo(self, labels: NDArray[np.integer], states: NDArray[np.uint8] | None = None) -> Edit | None:
        """Undo the latest step and return it; None where there is none."""
        if not self.done:
            return None
        self.done[-1].undo(labels, states)
        self.undone.append(self.done.pop())
        return self.undone[-1]

    def redo(self, labels: NDArray[np.integer], states: NDArray[np.uint8] | None = None) -> Edit | None:
        """Do the latest undone step again and return it; None where there is none."""
        if not self.undone:
            return None
        self.undone[-1].apply(labels, states)
        self.done.append(self.undone.pop())
        return self.done[-1]
