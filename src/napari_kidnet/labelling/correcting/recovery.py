"""What an earlier session left unsaved, and what another part of the window has saved meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_kidnet.errors import KidnetError
from napari_kidnet.islands import Edit, find_islands, trusted
from napari_kidnet.labelling.correcting.comparing import count_of, differing
from napari_kidnet.labelling.correcting.files import labels_on_disk, reviewed_path
from napari_kidnet.labelling.correcting.view import Correction
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from napari_kidnet.labelling.correcting.session import IslandsSession, Steps

__all__ = ["discard_steps", "restore_steps", "saved_elsewhere_steps"]


def restore_steps(session: IslandsSession) -> Steps:
    """Go on with what an earlier session left unsaved."""
    found = session.recoverable
    if found is None:
        return "Nothing to restore"
    where = differing(found.labels.reshape(-1), session.known.reshape(-1))
    edit = Edit.of(session.known, where, found.labels.reshape(-1)[where], "Restored")
    session.known, session.states, session.history = found.labels, found.states, found.history
    session.unsaved, session.recoverable = found.actions, None
    yield Correction(Progress(0, 1, "Restoring"), edit=edit)
    session._count_anew()
    table = find_islands(session.known, session.context)
    session._flag_at(table, found.notes)
    session._look(table)
    return f"Restored {count_of(found.actions, 'action')} of an earlier session"


def discard_steps(session: IslandsSession) -> Steps:
    """Let go of what an earlier session left unsaved."""
    session.recoverable = None
    yield Correction(Progress(0, 1, "Starting anew"))
    base = labels_on_disk(session)
    session._write(lambda journal: journal.compact(session.known, session.states, base))
    return "Started from the labels as they are shown"


def saved_elsewhere_steps(session: IslandsSession) -> Steps:
    """Learn that the labels' file was written by someone else in this window: the journal starts from it.

    The reviewed mask is then written too, so that the journal is no longer needed for it.
    """
    from napari_kidnet.scans import write_labels

    if session.recoverable is not None or session.path is None:
        return ""  # the question still stands, and the journal answers it
    yield Correction(Progress(0, 1, f"Reading {session.path.name}"))
    base = labels_on_disk(session)
    same = not differing(base.reshape(-1), session.known.reshape(-1)).size
    if same and session.states.any():
        try:
            write_labels(reviewed_path(session.path), trusted(session.states), like=session.scan)
        except KidnetError as error:
            session.warning = str(error)
            same = False
    session._write(lambda journal: journal.compact(session.known, session.states, base))
    session.unsaved = 0 if same else max(session.unsaved, 1)
    session._look(session.view.table)
    return ""
