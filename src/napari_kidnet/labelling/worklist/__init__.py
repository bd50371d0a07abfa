"""A folder of scans as a list of work: what comes next, how far it is, and what it cost.

Nothing here knows napari or Qt; ``kidnet worklist`` and the Worklist widget show the same.
"""

from napari_kidnet.labelling.worklist.activity import IDLE_S, LOG_FILE, WorkClock
from napari_kidnet.labelling.worklist.counting import ActionCounter, review_of
from napari_kidnet.labelling.worklist.curve import Curve, TuningMark, curve_of
from napari_kidnet.labelling.worklist.opening import (
    OpenedScan,
    note_steps,
    open_scan_steps,
    open_worklist_steps,
)
from napari_kidnet.labelling.worklist.predicting import (
    BatchReport,
    BatchResult,
    figures_of,
    predict_new_steps,
)
from napari_kidnet.labelling.worklist.records import WorkState
from napari_kidnet.labelling.worklist.rows import Row
from napari_kidnet.labelling.worklist.scans import find_scans, labels_path
from napari_kidnet.labelling.worklist.store import LIST_FILE
from napari_kidnet.labelling.worklist.worklist import Worklist

__all__ = [
    "IDLE_S",
    "LIST_FILE",
    "LOG_FILE",
    "ActionCounter",
    "BatchReport",
    "BatchResult",
    "Curve",
    "OpenedScan",
    "Row",
    "TuningMark",
    "WorkClock",
    "WorkState",
    "Worklist",
    "curve_of",
    "figures_of",
    "find_scans",
    "labels_path",
    "note_steps",
    "open_scan_steps",
    "open_worklist_steps",
    "predict_new_steps",
    "review_of",
]
