"""The islands of one labels layer: its session, the one worker, brush strokes, and what is selected."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_kidnet.errors import KidnetError
from napari_kidnet.islands import Context
from napari_kidnet.labelling.correcting import (
    Correction,
    IslandsSession,
    labels_before,
    open_islands_steps,
    preview_steps,
    saved_elsewhere_steps,
)
from napari_kidnet.labelling.correcting.probabilities import log_probabilities_of
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.jobs import Job, start_job
from napari_kidnet.plugin.layers import scan_of, tag_of
from napari_kidnet.progress import Progress
from napari_kidnet.segmentation.uncertainty import uncertainty_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.labelling.correcting import IslandsView, Make, Steps
    from napari_kidnet.scans import Scan

__all__ = ["IslandsDesk"]

_BAR_AFTER_MS: Final = 500
_PAINT_S: Final = 0.1
"""The journal waits no longer than this for the window."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked(Correction):
    """The labels as they were, on their way to the window."""

    before: NDArray[Any] | None = None


class IslandsDesk:
    """Does one thing after the other to the islands of a labels layer, in a worker.

    Get it by `IslandsDesk.of`; a widget that is closed and opened again finds the same one. The layer's own
    undo and redo become the session's for as long as the desk is open, so that brush strokes and island edits
    are undone in the order in which they were done.
    """

    view_changed = Signal()
    """The session, its view, or ``busy`` is another."""
    told = Signal(str, bool)
    """A line for a person, and whether it is a failure."""
    shown = Signal()
    """An edit has been written to the labels; the worker waits until it is painted."""
    ghost = Signal(object)
    """The `Edit` that a preview would do."""
    before = Signal(object)
    """The labels as they were, (z, y, x)."""

    _of: ClassVar[weakref.WeakKeyDictionary[Any, IslandsDesk]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, viewer: Any, layer: Any) -> IslandsDesk:
        """Return the desk of a labels layer; the first call makes it and starts finding its islands."""
        viewer = getattr(viewer, "__wrapped__", viewer)
        if layer not in cls._of:
            cls._of[layer] = cls(viewer, layer)
        return cls._of[layer]

    def __init__(self, viewer: Any, layer: Any) -> None:
        self._viewer = weakref.ref(viewer)
        self._layer = weakref.ref(layer)
        self.session: IslandsSession | None = None
        self.refused = ""
        self._wish: Make | None = None
        self._saved_as: Path | None = None
        self._queue: deque[Callable[[], Steps]] = deque()
        self._job: Job | None = None
        self._starting = False
        self._painted = Event()
        self._machine_wrote = False
        self._closed = False
        self._of[layer] = self  # before a job lets the event loop turn, and somebody asks again
        viewer.layers.events.removed.connect(self._on_removed)
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)
        layer.undo, layer.redo = self.undo, self.redo
        self._controller = Controller.of(viewer)
        self._controller.labels_changed.connect(self._on_sheet)
        sheet = self._sheet()
        if sheet is not None:
            sheet.session.events.labels.connect(self._on_machine)
        self._open()

    @property
    def busy(self) -> bool:
        """Whether something is being done."""
        return self._job is not None or self._starting

    @property
    def view(self) -> IslandsView | None:
        """What there is to show; None until the islands are found."""
        return None if self.session is None else self.session.view

    # ------------------------------------------------------------------ what is done

    def do(self, make: Callable[[IslandsSession], Steps]) -> None:
        """Do something after all that waits: ``lambda s: s.undo_steps()``."""
        if self._closed:
            return
        self._queue.append(lambda: make(cast(IslandsSession, self.session)))
        self._next()

    def undo(self) -> None:
        """Undo the latest action, of whatever kind."""
        self.do(lambda session: session.undo_steps())

    def redo(self) -> None:
        """Do the undone action again."""
        self.do(lambda session: session.redo_steps())

    def preview(self, make: Make) -> None:
        """Work out what an edit would do, and tell by ``ghost``; of several wishes the newest counts."""
        waits, self._wish = self._wish is not None, make
        if not waits:
            self.do(self._preview_steps)

    def _preview_steps(self, session: IslandsSession) -> Steps:
        wish, self._wish = self._wish, None
        return preview_steps(session, cast("Make", wish))

    def show_before(self) -> None:
        """Tell how the labels were, by ``before``."""
        self.do(self._before_steps)

    def _before_steps(self, session: IslandsSession) -> Steps:
        yield Correction(Progress(0, 1, "Looking back"))
        # In the worker the copy is made; the signal is emitted when this report has arrived in the window.
        yield Looked(Progress(1, 1, "Looking back"), before=labels_before(session))
        return ""

    def close(self) -> None:
        """Let go of the layer; another session may open the labels."""
        if self._closed:
            return
        self._closed = True
        self._queue.clear()
        layer = self._layer()
        if layer is not None:
            layer.events.paint.disconnect(self._on_paint)
            layer.events.data.disconnect(self._on_data)
            layer.__dict__.pop("undo", None)
            layer.__dict__.pop("redo", None)
            self._of.pop(layer, None)
        if self.session is not None and self._job is None:
            self.session.close()

    # ------------------------------------------------------------------ one after the other

    def _open(self) -> None:
        layer = self._layer()
        if layer is None:
            return
        try:
            scan, path, context = _what_is_known(layer, self._sheet(), self._viewer())
        except KidnetError as error:
            self._refuse(str(error))
            return
        data = layer.data
        if not isinstance(data, np.ndarray):
            self._refuse("these labels are not in memory; save them and open them again.")
            return
        job = self._start(open_islands_steps(data, scan, path, context), "Finding islands")
        job.returned.connect(self._on_opened)

    def _refuse(self, why: str) -> None:
        self.refused = why
        self.view_changed.emit()

    def _on_opened(self, session: IslandsSession) -> None:
        self.session = session
        session.events.shown.connect(self._on_shown)
        session.events.ghost.connect(lambda edit: self.ghost.emit(edit))
        if self._closed:
            session.close()
            return
        # What was painted while the islands were being found; tiles that arrived then are no person's.
        self.do(lambda each: each.absorb_steps(by="model" if self._machine_wrote else "person"))
        self.told.emit(session.warning or f"{len(session.view.table)} islands", bool(session.warning))

    def _next(self) -> None:
        if self._job is not None or self._starting or self.session is None or not self._queue:
            return
        session = self.session
        warning = session.warning
        job = self._start(self._considerate(self._queue.popleft()()), "Correcting islands")
        job.reported.connect(self._on_report)
        job.returned.connect(lambda said: self._on_done(said, warning))

    def _considerate(self, steps: Steps) -> Steps:
        """Let the window paint an edit before table and journal want the interpreter, too."""
        try:
            while True:
                report = next(steps)
                self._painted.clear()
                yield report
                if report.edit is not None:
                    self._painted.wait(_PAINT_S)
        except StopIteration as stop:
            return str(stop.value)
        finally:
            steps.close()

    def _start(self, steps: Any, title: str) -> Job:
        self._starting = True  # napari's progress lets the event loop turn, in which more may be asked for
        job = start_job(steps, title, bar_after_ms=_BAR_AFTER_MS)
        self._job, self._starting = job, False
        job.failed.connect(self._on_failed)
        job.ended.connect(self._on_ended)
        self.view_changed.emit()
        return job

    def _on_report(self, report: Correction) -> None:
        session = self.session
        if session is None:
            return
        session.show(report)
        if isinstance(report, Looked):
            self.before.emit(report.before)
        sheet = self._sheet()
        if sheet is not None and report.edit is not None and report.forward and report.edit.by == "person":
            # The network must not fill again what a person has emptied or accepted.
            change = report.edit.states or report.edit.labels
            sheet.session.touch(change.flat)
        if report.edit is not None:
            self.shown.emit()
            # Twice: what has been asked to be painted is painted in the turn after this one.
            QTimer.singleShot(0, lambda: QTimer.singleShot(0, self._painted.set))

    def _on_done(self, said: str, warning: str) -> None:
        session = self.session
        if session is None:
            return
        session.changed()
        if session.warning and session.warning != warning:
            self.told.emit(session.warning, True)
        elif said:
            self.told.emit(said, False)

    def _on_failed(self, error: Exception) -> None:
        said = str(error) if isinstance(error, KidnetError) else f"{type(error).__name__}: {error}"
        if self.session is None:
            self._refuse(said)
        self.told.emit(said, True)

    def _on_ended(self) -> None:
        self._job = None
        if self._closed:
            if self.session is not None:
                self.session.close()
            return
        self._next()
        self.view_changed.emit()

    def _on_shown(self, box: Any) -> None:
        layer = self._layer()
        if layer is not None and layer.visible:
            layer.refresh(extent=False, thumbnail=False, highlight=False)

    # ------------------------------------------------------------------ what others write

    def _on_paint(self, event: Any) -> None:
        layer = self._layer()
        if self.session is None or layer is None:
            return
        flat = np.unique(np.concatenate([_voxels_of(atom, layer.data.shape) for atom in event.value]))
        # napari tells of `data_setitem` before it writes; after this turn of the event loop it has.
        QTimer.singleShot(0, lambda: self.do(lambda session: session.absorb_steps(flat)))

    def _on_machine(self, box: Any) -> None:
        self._machine_wrote = True

    def _on_sheet(self, sheet: Any) -> None:
        layer = self._layer()
        if sheet.labels is not layer or self._controller.running_on(sheet.image):
            return
        if self._machine_wrote:
            self._machine_wrote = False
            if self.session is not None:
                self.do(lambda session: self._absorb_run(session, sheet))
        if sheet.saved_as is not None and self._saved_as is None and self.session is not None:
            if sheet.saved_as == self.session.path:
                self.do(saved_elsewhere_steps)
        self._saved_as = sheet.saved_as

    def _absorb_run(self, session: IslandsSession, sheet: Any) -> Steps:
        log = log_probabilities_of(sheet.session.prediction)
        doubt = uncertainty_of(sheet.session.prediction)
        session.context = replace(session.context, log_probabilities=log, uncertainty=doubt)
        return session.absorb_steps(by="model")

    def _on_data(self, event: Any = None) -> None:
        layer = self._layer()
        if self.session is None or layer is None or layer.data is self.session.labels:
            return
        self.session.close()
        self.session = None
        self._queue.clear()
        self._open()

    def _on_removed(self, event: Any) -> None:
        if event.value is self._layer():
            self.close()
            self.view_changed.emit()

    def _sheet(self) -> Any:
        viewer, layer = self._viewer(), self._layer()
        for image in viewer.layers if viewer is not None else ():
            sheet = self._controller.known(image)
            if sheet is not None and sheet.labels is layer:
                return sheet
        return None


def _what_is_known(layer: Any, sheet: Any, viewer: Any) -> tuple[Scan, Path | None, Context]:
    """Return the scan of labels, the file that they are kept in, and what helps to judge them."""
    if sheet is not None:
        scan = sheet.session.scan
        path = sheet.saved_as or (sheet.proposed_path if scan.path is not None else None)
        log = log_probabilities_of(sheet.session.prediction)
        doubt = uncertainty_of(sheet.session.prediction)
        known = Context(spacing=scan.spacing, hu=scan.hu, log_probabilities=log, uncertainty=doubt)
        return scan, path, known
    from napari_kidnet.errors import LabelsError

    scan = scan_of(layer)
    if scan is None:
        raise LabelsError(f"{layer.name} is not one volume (z, y, x); choose another labels layer.")
    path = scan.path if tag_of(layer) is not None else None
    hu = None
    for other in viewer.layers:
        tag = tag_of(other) if other._type_string == "image" else None
        if tag is not None and tag.scan.shape == scan.shape:
            hu = tag.scan.hu
    return scan, path, Context(spacing=scan.spacing, hu=hu)


def _voxels_of(atom: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the flat indices of one atom of `events.paint`: a masked box, or (indices, before, after)."""
    if hasattr(atom, "slice_key"):
        ranges = [np.arange(*each.indices(n)) for each, n in zip(atom.slice_key, shape, strict=True)]
        flat = np.ravel_multi_index(tuple(np.meshgrid(*ranges, indexing="ij", sparse=True)), shape)
        return np.asarray(flat.reshape(-1) if atom.mask is None else flat[atom.mask], np.int64)
    where = np.broadcast_arrays(*(np.asarray(each, np.int64).reshape(-1) for each in atom[0]))
    return np.asarray(np.ravel_multi_index(tuple(where), shape), np.int64)
