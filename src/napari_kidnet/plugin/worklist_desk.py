"""The worklist of one viewer: a folder, the scan that is open, and the work that goes on behind it."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import replace
from os import cpu_count
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from psygnal import Signal
from qtpy.QtCore import QCoreApplication

from napari_kidnet.errors import KidnetError
from napari_kidnet.labelling import PredictRequest
from napari_kidnet.labelling.worklist import (
    WorkState,
    figures_of,
    note_steps,
    open_scan_steps,
    open_worklist_steps,
    predict_new_steps,
    review_of,
)
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.jobs import Job, start_job
from napari_kidnet.plugin.layers import scan_keywords
from napari_kidnet.plugin.settings import preferences
from napari_kidnet.plugin.worklist_watch import InputWatch, ScanWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_kidnet.labelling.worklist import BatchReport, BatchResult, OpenedScan, Worklist

__all__ = ["WorklistDesk"]

By = Literal["benefit", "order"]


class WorklistDesk:
    """Opens, saves and closes the scans of a folder in one viewer, and keeps its worklist.

    Get it by `WorklistDesk.of`; a widget that is closed and opened again finds the same one. Nothing here
    waits for the disk: folders, scans and notes are read and written by workers.
    """

    changed = Signal()
    """The rows, the open scan, or what is being done, are others."""
    told = Signal(str, bool)
    """A line for a person, and whether it is a failure."""
    progressed = Signal(object)
    """A `JobProgress` of the batch."""

    _of: ClassVar[weakref.WeakKeyDictionary[Any, WorklistDesk]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, viewer: Any) -> WorklistDesk:
        """Return the desk of this viewer; the first call makes it."""
        viewer = getattr(viewer, "__wrapped__", viewer)
        if viewer not in cls._of:
            cls._of[viewer] = cls(viewer)
        return cls._of[viewer]

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(viewer)
        self._controller = Controller.of(viewer)
        self.worklist: Worklist | None = None
        self.current: str | None = None
        self.busy_with = ""
        self.batch: Job | None = None
        self._batch_scan = ""
        self._visited: set[str] = set()
        self._watch: ScanWatch | None = None
        self._inputs = InputWatch(viewer.window._qt_window)
        self._inputs.timer.timeout.connect(self._count)
        self._actions = 0
        self._moving: str | None = None
        self._ready: OpenedScan | None = None
        self._left = False
        self._notes: deque[Callable[[], None]] = deque()
        self._noting: Job | None = None
        self._is_starting = False
        self._waiting: list[Callable[[], None]] = []
        viewer.layers.events.removed.connect(self._on_removed)
        QCoreApplication.instance().aboutToQuit.connect(self._on_quit)

    # ------------------------------------------------------------------ the folder

    def open_folder(self, folder: Path) -> None:
        """Open a folder as a worklist; the scan that is open is saved and closed."""
        if self._moving is not None:
            return
        if self.current is not None:
            self._leave(lambda: self._open_folder(folder))
        else:
            self._open_folder(folder)

    def _open_folder(self, folder: Path) -> None:
        self._close_scan()
        if self.batch is not None:
            self.batch.cancel()
        self._work(open_worklist_steps(folder), f"Reading {folder.name}", self._on_folder)

    def _on_folder(self, worklist: Worklist) -> None:
        self.worklist = worklist
        self._visited.clear()
        self.told.emit("", False)

    def refresh(self) -> None:
        """Look at the folder again: new scans, and what others did."""
        if self.worklist is not None:
            self._note(self.worklist.refresh)

    # ------------------------------------------------------------------ one scan after the other

    def open_scan(self, key: str) -> None:
        """Open a scan with its labels; the one before is saved and closed."""
        if self.worklist is None or self._moving is not None or key == self.current:
            return
        row = self.worklist.row(key)
        if row.blocked or row.case is None:
            self.told.emit(row.problem, True)
            return
        if self.batch is not None and key == self._batch_scan:
            self.told.emit(f"{key} is being predicted; open it when that is finished.", True)
            return
        self._moving, self._ready, self._left = key, None, False
        # Read the next one while the one before is written.
        self._work(open_scan_steps(row.case), f"Opening {key}", self._on_read, self._on_not_read)
        self._leave(self._on_left)

    def open_next(self, by: By) -> None:
        """Open the scan that comes next, by expected benefit or by the order of the list."""
        if self.worklist is None:
            return
        key = self.worklist.next_scan(by, self.current, self._visited)
        if key is None:
            self.told.emit("No other scan waits: all are done.", False)
        else:
            self.open_scan(key)

    def finish(self, by: By | None = None) -> None:
        """Save the open scan and call it done; then open the next one, if an order is given."""
        key, worklist = self.current, self.worklist
        if key is None or worklist is None or self._moving is not None:
            return
        session = None if self._watch is None else self._watch.session
        if session is None:
            self.told.emit(f"{key} has no labels yet; segment it before it is done.", True)
            return
        if session.recoverable is not None:
            self.told.emit(
                f"{key} has work that was not saved; choose Restore or Discard in the Islands widget.", True
            )
            return

        def done() -> None:
            self._note(lambda: worklist.set_state(key, WorkState.DONE))
            self.told.emit(f"{key} is done.", False)
            if by is not None:
                self.open_next(by)

        self._leave(done)

    def set_state(self, key: str, state: WorkState) -> None:
        """Say how far a scan is; the open one is saved before it is done."""
        worklist = self.worklist
        if worklist is None:
            return
        if state is WorkState.DONE and key == self.current:
            self.finish()
        else:
            self._note(lambda: worklist.set_state(key, state))

    # ------------------------------------------------------------------ leaving and arriving

    def _leave(self, then: Callable[[], None]) -> None:
        """Save what is unsaved of the open scan, then go on; where that fails, the scan stays open."""
        watch = self._watch
        if watch is None:
            then()
            return
        if self._controller.running_on(watch.image):
            self._controller.cancel()
        if watch.is_busy:
            self._waiting.append(lambda: self._leave(then))
            return
        session = watch.session
        if session is None or session.unsaved == 0 or watch.islands is None:
            then()
            return
        self._waiting.append(lambda: self._on_saving_over(then))
        watch.islands.do(lambda each: each.save_steps())

    def _on_saving_over(self, then: Callable[[], None]) -> None:
        session = None if self._watch is None else self._watch.session
        if session is None or session.unsaved == 0:
            then()
            return
        self._moving = self._ready = None  # the reason was told by the islands desk
        self.changed.emit()

    def _on_settled(self) -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def _on_left(self) -> None:
        self._left = True
        self._arrive()

    def _on_read(self, opened: OpenedScan) -> None:
        if self._moving is not None:
            self._ready = opened
            self._arrive()

    def _on_not_read(self) -> None:
        self._moving = self._ready = None

    def _arrive(self) -> None:
        viewer, opened, key = self._viewer(), self._ready, self._moving
        if not self._left or opened is None or viewer is None or key is None:
            return
        self._close_scan()
        self._moving = self._ready = None
        self.current = key
        self._visited.add(key)
        image = viewer.add_image(opened.scan.hu, **scan_keywords(opened.scan, segment_on_arrival=False))
        if opened.session is not None:
            self._controller.take(image, opened.session, opened.case.labels)
        elif preferences().auto_segment != "never":
            self._controller.segment(image)
        watch = self._watch = ScanWatch(viewer, image)
        watch.acted.connect(self._on_acted)
        watch.saved.connect(self._on_saved)
        watch.predicted.connect(self._on_predicted)
        watch.told.connect(self._on_islands_told)
        watch.settled.connect(self._on_settled)
        watch.start()
        viewer.dims.set_point(0, image.data_to_world([(n - 1) / 2 for n in opened.scan.shape])[0])
        viewer.reset_view()
        self._inputs.start()
        self.told.emit(f"{key} is open.", False)
        self.changed.emit()

    def _close_scan(self) -> None:
        """Take the open scan out of the viewer; what is unsaved is in its journal."""
        watch, viewer = self._watch, self._viewer()
        if watch is None:
            return
        self._count()
        self._inputs.stop()
        self._watch, self.current = None, None
        self._waiting.clear()
        labels = watch.labels
        watch.close()
        for layer in (labels, watch.image):
            if viewer is not None and layer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)

    def _on_removed(self, event: Any) -> None:
        if self._watch is not None and event.value is self._watch.image:
            self._close_scan()
            self.changed.emit()

    # ------------------------------------------------------------------ what is counted and noted

    def _on_acted(self, actions: int) -> None:
        self._actions += actions
        key, worklist = self.current, self.worklist
        if worklist is None or key is None:
            return
        if worklist.row(key).state in (WorkState.NEW, WorkState.PREDICTED):
            self._note(lambda: worklist.set_state(key, WorkState.IN_WORK))

    def note_finetuning(self, checkpoint: str, activated: bool) -> None:
        """Note that a network learned, where a worklist is open: its plot shows when the network changed."""
        worklist = self.worklist
        if worklist is not None:
            self._note(lambda: worklist.note_finetuning(checkpoint, activated))

    def _on_saved(self, session: Any) -> None:
        key, worklist, figures = self.current, self.worklist, review_of(session)
        if worklist is not None and key is not None:
            self._note(lambda: worklist.note_review(key, *figures))

    def _on_predicted(self, prediction: Any) -> None:
        key, worklist, watch = self.current, self.worklist, self._watch
        if worklist is None or watch is None:
            return
        if key is None:
            return
        scan, checkpoint = self._controller.sheet_of(watch.image).session.scan, preferences().checkpoint
        self._note(lambda: worklist.note_prediction(key, **figures_of(prediction, scan, checkpoint)))

    def _on_islands_told(self, text: str, failed: bool) -> None:
        if failed:
            self.told.emit(text, True)

    def _count(self) -> None:
        key, worklist = self.current, self.worklist
        seconds, actions = self._inputs.clock.take(), self._actions
        self._actions = 0
        if worklist is not None and key is not None and (seconds > 0 or actions):
            self._note(lambda: worklist.add_work(key, seconds, actions))

    def _note(self, note: Callable[[], None]) -> None:
        self._notes.append(note)
        self._next_note()

    def _next_note(self) -> None:
        """Write one thing after the other: the last word must be the last."""
        if self._noting is not None or self._is_starting or not self._notes:
            return
        self._is_starting = True  # napari's progress lets the event loop turn, in which more may be noted
        job = start_job(note_steps("Keeping the worklist", self._notes.popleft()), "Worklist")
        self._noting, self._is_starting = job, False
        job.failed.connect(self._on_failed)
        job.ended.connect(self._on_noted)

    def _on_noted(self) -> None:
        self._noting = None
        self.changed.emit()
        self._next_note()

    def _on_quit(self) -> None:
        key, worklist = self.current, self.worklist
        seconds, actions = self._inputs.clock.take(), self._actions
        while self._notes:  # no worker will come any more
            self._notes.popleft()()
        if worklist is not None and key is not None:
            worklist.add_work(key, seconds, actions)

    # ------------------------------------------------------------------ predicting

    def predict_new(self) -> None:
        """Predict every new scan in the background."""
        worklist = self.worklist
        if worklist is None or self.batch is not None:
            return
        chosen = preferences()
        request = PredictRequest(chosen.checkpoint, chosen.device, chosen.engine, chosen.sensitivity)
        request = replace(request, threads=max(1, (cpu_count() or 2) - 1))  # one core is left to the window
        steps = predict_new_steps(worklist, request, lambda key: key in (self.current, self._moving))
        job = self.batch = start_job(steps, "Predicting new scans")
        job.reported.connect(self._on_batch)
        # not `self.progressed.emit` itself: psygnal would call it to find out its arguments
        job.progressed.connect(lambda progress: self.progressed.emit(progress))
        job.returned.connect(self._on_batch_over)
        job.failed.connect(self._on_failed)
        job.cancelled.connect(lambda: self.told.emit("Cancelled; what was predicted is kept.", False))
        job.ended.connect(self._on_batch_ended)
        self.changed.emit()

    def cancel(self) -> None:
        """Stop predicting after the tile that it is at."""
        if self.batch is not None:
            self.told.emit("Cancelling after the current tile …", False)
            self.batch.cancel()

    def _on_batch(self, report: BatchReport) -> None:
        self._batch_scan = "" if report.is_over else report.scan
        if report.is_over:
            self.changed.emit()

    def _on_batch_over(self, result: BatchResult) -> None:
        self.told.emit(result.in_words, bool(result.failed))

    def _on_batch_ended(self) -> None:
        self.batch, self._batch_scan = None, ""
        self.changed.emit()

    # ------------------------------------------------------------------ work

    def _work(
        self,
        steps: Any,
        title: str,
        then: Callable[[Any], None],
        otherwise: Callable[[], None] = lambda: None,
    ) -> None:
        self.busy_with = title
        self.told.emit(f"{title} …", False)
        job = start_job(steps, title)
        job.returned.connect(then)
        job.failed.connect(self._on_failed)
        job.failed.connect(lambda _: otherwise())
        job.cancelled.connect(otherwise)
        job.ended.connect(self._on_ended)
        self.changed.emit()

    def _on_ended(self) -> None:
        self.busy_with = ""
        self.changed.emit()

    def _on_failed(self, error: Exception) -> None:
        known = isinstance(error, KidnetError)
        self.told.emit(str(error) if known else f"{type(error).__name__}: {error}", True)
