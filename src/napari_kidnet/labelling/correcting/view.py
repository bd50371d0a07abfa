"""What an islands session tells those who show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal, SignalGroup

from napari_kidnet.islands import Bridge, Edit, IslandState, IslandTable, Review
from napari_kidnet.labelling.predicting import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Correction", "IslandsEvents", "IslandsView"]


@dataclass(frozen=True, slots=True, eq=False)
class Correction(Report):
    """One step of a session's work; the edit that `IslandsSession.show` shall write, or the ghost of one."""

    edit: Edit | None = None
    forward: bool = True
    ghost: Edit | None = None


@dataclass(frozen=True, slots=True, eq=False)
class IslandsView:
    """All that a window shows of a session, at one moment.

    Attributes
    ----------
    table : IslandTable
    review : Review
        The order, and why.
    states : ndarray of uint8, (row,)
        Of `IslandState`.
    bridges : tuple of Bridge
        Proposals that nobody has answered yet, the most confident first.
    reviewed_percent : float
        Of the voxels of the volume.
    kidney_percent : float or None
        Of the kidneys' boxes; None where they are not known.
    """

    table: IslandTable
    review: Review
    states: NDArray[np.uint8]
    bridges: tuple[Bridge, ...]
    reviewed_percent: float
    kidney_percent: float | None

    @property
    def left(self) -> int:
        """How many islands nobody has judged wholly."""
        return int((self.states != IslandState.DONE).sum())

    def next_unreviewed(self, island: int | None, step: int = 1, skip: Iterable[int] = ()) -> int | None:
        """Return the id of the next island in the order that is not done, None where there is none.

        Parameters
        ----------
        island : int or None
            Where to go on from; None is the start.
        step : {1, -1}
            Forwards or backwards; the end meets the start.
        skip : iterable of int
            Ids to leave out.
        """
        rows = self.review.rows
        waiting = (self.states[rows] != IslandState.DONE) & ~np.isin(self.table.id[rows], list(skip))
        if not waiting.any():
            return None
        at = np.flatnonzero(self.table.id[rows] == island) if island is not None else rows[:0]
        here = int(at[0]) if at.size else (-1 if step > 0 else 0)
        order = (here + step * np.arange(1, len(rows) + 1)) % len(rows)
        return int(self.table.id[rows[order[np.argmax(waiting[order])]]])


class IslandsEvents(SignalGroup):
    """What a session tells those who show it; emitted where `show` and `changed` are called."""

    shown = Signal(object)
    """The labels in this box (slices z, y, x) were written."""
    ghost = Signal(object)
    """An `Edit` that would be done, but is not; see `preview_steps`."""
    view = Signal(object)
    """The `IslandsView` is a new one."""
