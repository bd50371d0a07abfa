"""One annotator's work on the islands of one scan: table, edits, undo, review, journal, saving.

Everything that takes time is a generator, and only one of them may run at a time; whoever drives it hands
each `Correction` to `IslandsSession.show`, which writes the edit to the labels that are on the screen. So a
window shows an edit at once, while journal and table are still being brought up to date in a worker::

    edit_steps ── worker: edit ─┬─ journal ── table ── review order ──▶ view
                                └─ Correction ▶ show: labels, repaint

Two volumes hold the labels. ``labels`` is the caller's, which a person may paint on at any time; ``known`` is
what history, journal and table describe. `absorb_steps` takes over what they differ by.
"""

from napari_kidnet.labelling.correcting.files import journal_path, kidneys_path, reviewed_path
from napari_kidnet.labelling.correcting.looking import (
    above,
    accept_above,
    kidneys_steps,
    labels_before,
    preview_steps,
)
from napari_kidnet.labelling.correcting.opening import open_islands, open_islands_steps
from napari_kidnet.labelling.correcting.recovery import discard_steps, restore_steps, saved_elsewhere_steps
from napari_kidnet.labelling.correcting.session import IslandsSession, Make, Steps
from napari_kidnet.labelling.correcting.view import Correction, IslandsView

__all__ = [
    "Correction",
    "IslandsSession",
    "IslandsView",
    "Make",
    "Steps",
    "above",
    "accept_above",
    "discard_steps",
    "journal_path",
    "kidneys_path",
    "kidneys_steps",
    "labels_before",
    "open_islands",
    "open_islands_steps",
    "preview_steps",
    "restore_steps",
    "reviewed_path",
    "saved_elsewhere_steps",
]
