"""What a worklist learns from an islands session: how many actions, and how much is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_kidnet.islands import Edit, History
    from napari_kidnet.labelling.correcting import IslandsSession

__all__ = ["ActionCounter", "review_of"]


class ActionCounter:
    """Counts what a person does: an edit, an acceptance, a stroke, an undo or a redo is one action.

    Call `look` after each step of the session (its ``events.view``). Runs of a network and what was restored
    after a crash are no actions.
    """

    def __init__(self, session: IslandsSession) -> None:
        self._session = session
        self._history: History = session.history
        self._ends: tuple[Edit | None, Edit | None] = _ends_of(session)

    def look(self) -> int:
        """Return the actions since the last look: 0 or 1, since a session does one thing at a time."""
        history, before = self._history, self._ends
        if self._session.history is not history:
            self._history, self._ends = self._session.history, _ends_of(self._session)
            return 0
        self._ends = _ends_of(self._session)
        done, undone = self._ends
        if done is before[0] and undone is before[1]:
            return 0
        moved = undone is before[0] or done is before[1]  # undo, redo
        latest = undone if moved and undone is before[0] and undone is not None else done
        return int(latest is not None and latest.by == "person")


def review_of(session: IslandsSession) -> tuple[float | None, int, int]:
    """Return the share of labelled voxels that are judged (None: there are none), islands, islands left."""
    view = session.view
    flat = view.table.flat
    share = float(np.count_nonzero(session.states.reshape(-1)[flat]) / flat.size) if flat.size else None
    return share, len(view.table), view.left


def _ends_of(session: IslandsSession) -> tuple[Edit | None, Edit | None]:
    history = session.history
    return (
        history.done[-1] if history.done else None,
        history.undone[-1] if history.undone else None,
    )
