"""What a worklist counts while a scan is open: time with input, actions, saves, and runs of the network."""

from __future__ import annotations

import contextlib
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QWidget

from napari_kidnet.labelling.worklist import ActionCounter, WorkClock
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.islands_desk import IslandsDesk

if TYPE_CHECKING:
    from napari_kidnet.labelling.correcting import IslandsSession

__all__ = ["InputWatch", "ScanWatch"]

_INPUTS: Final = frozenset(
    (
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseMove,
        QEvent.Type.Wheel,
        QEvent.Type.KeyPress,
        QEvent.Type.TabletMove,
        QEvent.Type.TouchUpdate,
    )
)
_FLUSH_MS: Final = 60_000
"""A crash costs at most so much of the time that is counted."""
_FINEST_S: Final = 0.5
"""Inputs that follow each other faster are one."""


class InputWatch(QObject):  # type: ignore[misc]
    """Adds up the time in which a person does something in one window; it goes when the window goes."""

    def __init__(self, window: Any) -> None:
        super().__init__(window)
        self._last = 0.0
        self.clock = WorkClock()
        self.timer = QTimer(self)
        self.timer.setInterval(_FLUSH_MS)

    def start(self) -> None:
        """Begin to count."""
        self.clock.pause()
        self.clock.take()
        self.clock.touch(time.monotonic())
        QApplication.instance().installEventFilter(self)
        self.timer.start()

    def stop(self) -> None:
        """Count nothing until the next start."""
        with contextlib.suppress(RuntimeError):  # the window has taken this object with it
            QApplication.instance().removeEventFilter(self)
            self.timer.stop()

    def eventFilter(self, receiver: Any, event: Any) -> bool:
        """Look at an event and let it pass."""
        if event.type() in _INPUTS and isinstance(receiver, QWidget):
            now = time.monotonic()
            if now - self._last > _FINEST_S and self._is_ours(receiver):
                self._last = now
                self.clock.touch(now)
        return False

    def _is_ours(self, widget: Any) -> bool:
        window = self.parent()
        while widget is not None and widget is not window:
            widget = widget.parentWidget()  # a dock that floats is another window, and still a child
        return widget is not None


class ScanWatch:
    """Follows one open scan: finds its labels layer and islands session, and tells what happens to them.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    image : napari.layers.Image
    """

    acted = Signal(int)
    """So many actions of a person."""
    saved = Signal(object)
    """The `IslandsSession`, which has nothing unsaved any more."""
    predicted = Signal(object)
    """The `Prediction` of a run in the window."""
    told = Signal(str, bool)
    """A line of the islands desk, and whether it is a failure."""
    settled = Signal()
    """Nothing is being done to the islands."""

    def __init__(self, viewer: Any, image: Any) -> None:
        self._viewer, self.image = weakref.ref(viewer), image
        self._controller = Controller.of(viewer)
        self.islands: IslandsDesk | None = None
        self._session: IslandsSession | None = None
        self._counter: ActionCounter | None = None
        self._unsaved = 0
        self._prediction: Any = None
        self._controller.labels_changed.connect(self._on_sheet)

    def start(self) -> None:
        """Look at what is there already; connect to the signals first."""
        self._on_sheet()

    @property
    def labels(self) -> Any:
        """The labels layer; None before there is one."""
        sheet = self._controller.known(self.image)
        return None if sheet is None else sheet.labels

    @property
    def session(self) -> IslandsSession | None:
        """The islands session, once the islands are found."""
        return None if self.islands is None else self.islands.session

    @property
    def is_busy(self) -> bool:
        """Whether something is being done to the islands, or waits to be."""
        return self.islands is not None and (self.islands.busy or bool(self.islands._queue))

    def close(self) -> None:
        """Let go of the scan."""
        self._controller.labels_changed.disconnect(self._on_sheet, missing_ok=True)
        if self.islands is not None:
            self.islands.view_changed.disconnect(self._on_desk, missing_ok=True)
            self.islands.told.disconnect(self._on_told, missing_ok=True)
        self._follow(None)

    def _on_sheet(self, _: Any = None) -> None:
        viewer = self._viewer()
        if self.islands is None and self.labels is not None and viewer is not None:
            self.islands = IslandsDesk.of(viewer, self.labels)
            self.islands.view_changed.connect(self._on_desk)
            self.islands.told.connect(self._on_told)
            self._on_desk()
        sheet = self._controller.known(self.image)
        prediction = None if sheet is None or sheet.box is not None else sheet.session.prediction
        if prediction is not None and prediction is not self._prediction:
            self._prediction = prediction
            self.predicted.emit(prediction)

    def _on_desk(self) -> None:
        if self.session is not self._session:
            self._follow(self.session)
        if not self.is_busy:
            self.settled.emit()

    def _follow(self, session: IslandsSession | None) -> None:
        if self._session is not None:
            self._session.events.view.disconnect(self._on_view, missing_ok=True)
        self._session = session
        self._counter = None if session is None else ActionCounter(session)
        self._unsaved = 0 if session is None else session.unsaved
        if session is not None:
            session.events.view.connect(self._on_view)

    def _on_view(self, _: Any) -> None:
        session = self._session
        if session is None or self._counter is None:
            return
        actions = self._counter.look()
        if actions:
            self.acted.emit(actions)
        was_saved = self._unsaved > 0 and session.unsaved == 0 and session.recoverable is None
        self._unsaved = session.unsaved
        if was_saved:
            self.saved.emit(session)

    def _on_told(self, text: str, failed: bool) -> None:
        self.told.emit(text, failed)
