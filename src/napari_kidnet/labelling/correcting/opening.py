"""Opening an islands session: finding the islands, and what an earlier session left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.errors import KidnetError, LabelsError
from napari_kidnet.islands import Context, Review, find_islands
from napari_kidnet.labelling.correcting.files import kidneys_path, labels_on_disk, reviewed_on_disk
from napari_kidnet.labelling.correcting.session import IslandsSession
from napari_kidnet.labelling.correcting.view import Correction, IslandsView
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.islands.journal import Restored
    from napari_kidnet.scans import Scan

__all__ = ["open_islands", "open_islands_steps"]


def open_islands_steps(
    labels: NDArray[Any], scan: Scan, path: Path | None = None, context: Context | None = None
) -> Generator[Correction, None, IslandsSession]:
    """Find the islands of labels and open their journal; the generator's result is the session.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
        On the scan's grid; the session writes its edits to them.
    scan : Scan
    path : Path, optional
        The labels' file, which need not be there yet; its journal lies beside it. None keeps no journal.
    context : Context, optional
        What is known beside the labels; by default spacing and HU.

    Raises
    ------
    LabelsError
        The labels are not one volume of whole numbers on the scan's grid.
    """
    if labels.ndim != 3 or labels.dtype.kind not in "iu":
        raise LabelsError(
            f"islands are found in one volume (z, y, x) of whole numbers, and these labels are {labels.ndim}-"
            f"dimensional {labels.dtype}; choose another labels layer."
        )
    if labels.shape != scan.shape:
        raise LabelsError(
            f"the labels are of shape {labels.shape} and {scan.name} is of {scan.shape} (z, y, x); choose the"
            " labels that belong to this scan."
        )
    yield Correction(Progress(0, 3, "Looking for earlier work"))
    session = IslandsSession(labels, scan, context or Context(spacing=scan.spacing, hu=scan.hu), path)
    session.states = reviewed_on_disk(session)
    about_mask, session.warning = session.warning, ""
    base = labels_on_disk(session)
    found = None if session.warning else session._open_journal(base)
    session.warning = session.warning or about_mask
    _take_up(session, found, base)
    boxes = _read_kidneys(session)
    yield Correction(Progress(1, 3, "Finding islands"))
    table = find_islands(session.known, session.context)
    if found is not None and session.recoverable is None:
        session._flag_at(table, found.notes)
    yield Correction(Progress(2, 3, "Ordering islands"))
    session._count_anew(boxes)
    nothing = Review(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), ())
    session.view = IslandsView(table, nothing, np.zeros(len(table), np.uint8), (), 0.0, None)
    session._look(table)
    return session


def open_islands(
    labels: NDArray[Any], scan: Scan, path: Path | None = None, context: Context | None = None
) -> IslandsSession:
    """Run `open_islands_steps` to its end.

    Examples
    --------
    >>> from napari_kidnet.islands import delete
    >>> from napari_kidnet.scans import Scan
    >>> labels = np.array([[[2, 0, 1]]], np.uint8)
    >>> session = open_islands(labels, Scan.from_array(np.zeros((1, 1, 3)), (1.0, 1.0, 1.0)))
    >>> session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [1])))
    'Deleted 1 island of Vein (0.001 mL)'
    >>> labels.tolist(), session.run(session.undo_steps()), labels.tolist()
    ([[[0, 0, 1]]], 'Undone: Deleted 1 island of Vein (0.001 mL)', [[[2, 0, 1]]])
    """
    from napari_kidnet.progress import drain

    return drain(open_islands_steps(labels, scan, path, context))


def _read_kidneys(session: IslandsSession) -> list[tuple[slice, slice, slice]]:
    """Take up the kidneys that lie beside the labels; return their boxes."""
    from napari_kidnet.evaluation.regions import kidney_boxes
    from napari_kidnet.scans import read_labels

    kidneys = session.context.kidneys
    path = None if session.path is None else kidneys_path(session.path)
    try:
        if kidneys is None and path is not None:
            kidneys = read_labels(path, session.scan)
            session.context = replace(session.context, kidneys=kidneys)
        return [] if kidneys is None else kidney_boxes(kidneys)
    except KidnetError as error:
        session.warning = session.warning or str(error)
        return []


def _take_up(session: IslandsSession, found: Restored | None, base: NDArray[Any]) -> None:
    """Go on from a journal: offer what is unsaved, else take its reviewed mask."""
    if found is None:
        return
    if found.actions:
        session.recoverable = found
        return
    session.states = found.states
    if not np.array_equal(base, session.known):
        session._write(lambda journal: journal.compact(session.known, session.states, base))
        session.unsaved = 1
