"""Looking without doing: what an edit would change, how the labels were before, where the kidneys are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_kidnet.islands import accept_bridges
from napari_kidnet.labelling.correcting.view import Correction
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands import Bridge, Edit
    from napari_kidnet.labelling.correcting.session import IslandsSession, Make, Steps

__all__ = ["above", "accept_above", "kidneys_steps", "labels_before", "preview_steps"]


def preview_steps(session: IslandsSession, make: Make) -> Steps:
    """Work out an edit and tell of it by ``events.ghost``; nothing is done."""
    yield Correction(Progress(0, 1, "Previewing"))
    yield Correction(Progress(1, 1, "Previewing"), ghost=make(session))
    return ""


def labels_before(session: IslandsSession) -> NDArray[Any]:
    """Return the labels as they were opened, or as the network's latest run left them.

    The steps that a person has done since are taken back in a copy; steps that the history no longer holds
    stay done.
    """
    before = session.known.copy()
    flat = before.reshape(-1)
    for edit in reversed(session.history.done):
        if edit.by == "model":
            break
        flat[edit.labels.flat] = edit.labels.before
    return before


def kidneys_steps(session: IslandsSession, boxes: Sequence[tuple[slice, slice, slice]]) -> Steps:
    """Count the reviewed share of these boxes (z, y, x), too: a person has drawn where the kidneys are."""
    yield Correction(Progress(0, 1, "Counting"))
    session._count_anew(boxes)
    session._look(session.view.table)
    return f"{session.view.kidney_percent or 0:.1f} % of the kidneys' box is reviewed"


def above(bridges: Sequence[Bridge], confidence: float) -> list[Bridge]:
    """Return the proposals that are at least so sure."""
    return [each for each in bridges if each.confidence >= confidence]


def accept_above(session: IslandsSession, confidence: float) -> Edit:
    """Bridge all gaps of at least this confidence: one step."""
    bridges = above(session.view.bridges, confidence)
    return accept_bridges(session.known, bridges, session.context.spacing)
