"""Run, Cancel, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_kidnet.plugin.controller import Status
    from napari_kidnet.plugin.jobs import JobProgress

__all__ = ["RunBar", "time_left"]


class RunBar(QWidget):  # type: ignore[misc]
    """Two buttons, a progress bar with the time left, and one line of status."""

    def __init__(self) -> None:
        super().__init__()
        self.run = QPushButton("Segment")
        self.run.setToolTip("Find arteries, veins and collecting system in this scan.")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop after the current tile; the labels so far are kept.")
        self.cancel.setEnabled(False)
        self._bar = QProgressBar()
        self._bar.setToolTip("Tiles that are done, and the estimated time left.")
        self._bar.hide()
        self.status = QLabel()
        self.status.setWordWrap(True)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run, 2)
        buttons.addWidget(self.cancel, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(buttons)
        column.addWidget(self._bar)
        column.addWidget(self.status)

    def show_status(self, status: Status) -> None:
        """Show what goes on."""
        self.status.setText(status.text)
        # napari's own warning colour, readable in both of its themes
        self.status.setStyleSheet("color: #e0604c;" if status.failed else "")
        self.cancel.setEnabled(status.running)
        if not status.running:
            self._bar.hide()

    def show_progress(self, progress: JobProgress) -> None:
        """Show how far it is."""
        step = progress.progress
        self._bar.setRange(0, step.total)  # 0 to 0 is "busy"
        self._bar.setValue(step.done)
        self._bar.setFormat(
            f"{step.done} of {step.total}{time_left(progress.seconds_left)}" if step.total else step.what
        )
        self._bar.setTextVisible(True)
        self._bar.show()


def time_left(seconds: float | None) -> str:
    """Return an estimate as a person says it.

    Examples
    --------
    >>> time_left(200.0), time_left(3.0), time_left(None)
    (' · 3 min 20 s left', ' · 3 s left', '')
    """
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f" · {minutes} min {rest} s left" if minutes else f" · {rest} s left"
