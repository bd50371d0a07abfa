"""Start, pause, stop, cancel, and how far a fine-tuning is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_kidnet.plugin.widgets.run_bar import time_left

if TYPE_CHECKING:
    from napari_kidnet.plugin.finetune_desk import State

__all__ = ["FinetuneBar"]


class FinetuneBar(QWidget):  # type: ignore[misc]
    """Four buttons, a progress bar with the time left, and one line of status."""

    def __init__(self) -> None:
        super().__init__()
        self.start = QPushButton("Start")
        self.start.setToolTip(
            "Learn from the ticked scans; the checkpoint in use is not touched before the end."
        )
        self.pause = QPushButton("Pause")
        self.pause.setToolTip("Wait after this step; the time of a pause is not counted.")
        self.stop = QPushButton("Stop and keep the best")
        self.stop.setToolTip("End after this step, measure, and keep the best so far.")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("End without a new checkpoint. The same run can be continued later.")
        self.bar = QProgressBar()
        self.bar.setToolTip("Steps that are done, and the estimated time left, the last measuring included.")
        self.status = QLabel()
        self.status.setWordWrap(True)
        grid = QGridLayout()
        for number, each in enumerate((self.start, self.pause, self.stop, self.cancel)):
            grid.addWidget(each, number // 2, number % 2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(grid)
        column.addWidget(self.bar)
        column.addWidget(self.status)

    def show_state(self, state: State, waits: bool, may_start: bool, tuning: bool) -> None:
        """Show where a run is; ``waits``: it is asked to pause; ``tuning``: it does not only compare."""
        self.start.setEnabled(may_start and not state.running)
        self.pause.setEnabled(state.running and tuning and state.learning)
        self.pause.setText("Resume" if waits else "Pause")
        self.stop.setEnabled(state.running and tuning and state.learning)
        self.cancel.setEnabled(state.running)
        self.bar.setVisible(state.running)
        busy = not state.total or (tuning and not state.learning)
        self.bar.setRange(0, 0 if busy else state.total)
        if not busy:
            self.bar.setValue(state.done)
            self.bar.setFormat(f"{state.done} of {state.total}{time_left(state.seconds_left)}")
        self.status.setText(state.text)
        self.status.setStyleSheet("color: #e0604c;" if state.failed else "")
