"""Open a folder, or one scan of it with its labels, without a window waiting for the disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.labelling.predicting import Report
from napari_kidnet.labelling.session import LabellingSession
from napari_kidnet.labelling.worklist.worklist import Worklist
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_kidnet.scans import Scan
    from napari_kidnet.scans.cases import Case

__all__ = ["OpenedScan", "note_steps", "open_scan_steps", "open_worklist_steps"]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedScan:
    """A scan in memory.

    Attributes
    ----------
    case : Case
        Where it came from.
    scan : Scan
    session : LabellingSession or None
        Its labels, of which a machine may change what nobody has judged; None where it has none yet.
    """

    case: Case
    scan: Scan
    session: LabellingSession | None


def open_worklist_steps(folder: Path) -> Generator[Report, None, Worklist]:
    """Open a worklist, and find out whether it can be written."""
    yield Report(Progress(0, 0, f"Reading {folder.name}"))
    worklist = Worklist(folder)
    worklist.check_writable()
    return worklist


def open_scan_steps(case: Case) -> Generator[Report, None, OpenedScan]:
    """Read a scan, its labels and its reviewed mask.

    Raises
    ------
    ScanError, LabelsError
        A file cannot be read, or does not belong to the others.
    """
    from napari_kidnet.scans import read_labels, read_scan

    yield Report(Progress(0, 2, f"Reading {case.name}"))
    scan = read_scan(case.ct)
    if case.labels is None:
        return OpenedScan(case, scan, None)
    yield Report(Progress(1, 2, f"Reading {case.labels.name}"))
    labels = np.require(read_labels(case.labels, scan), requirements=["C", "W", "O"])
    session = LabellingSession(scan, labels)
    if case.reviewed is not None:
        # What nobody has judged is the machine's, and a later run may write there.
        np.copyto(session.predicted, labels, casting="unsafe")
        session.touched[...] = read_labels(case.reviewed, scan) != 0
    return OpenedScan(case, scan, session)


def note_steps(what: str, note: Callable[[], None]) -> Generator[Report, None, None]:
    """Write something down: a generator, so that the disk is waited for elsewhere."""
    yield Report(Progress(0, 1, what))
    note()
