"""What came of a run: figures before and after, the reason, and what to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_kidnet.classes import VESSELS

if TYPE_CHECKING:
    from napari_kidnet.labelling.tuning import Comparison
    from napari_kidnet.plugin.finetune_desk import FinetuneDesk
    from napari_kidnet.training.finetune_run import FinetuneResult

__all__ = ["FEW_STEPS", "ResultPart", "figure_rows", "steps_in_words"]

FEW_STEPS: Final = 50
"""With fewer, the network has seen fewer than 100 small parts of scans, the earlier ones included."""

_WARNING: Final = "color: #e0a040;"


class ResultPart(QWidget):  # type: ignore[misc]
    """A small table, a sentence, and buttons."""

    compare_asked = Signal()
    look_asked = Signal(str)
    """ "before", "after" or "neither"."""
    use_asked = Signal(bool)
    """Whether the new checkpoint shall be used; False goes back to the old one."""
    again_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.verdict = QLabel()
        self.verdict.setWordWrap(True)
        self.steps = QLabel()
        self.steps.setWordWrap(True)
        self.steps.setToolTip("Steps of learning; each looks at two small parts of scans.")
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(14)
        self.use = QPushButton("Use the new one")
        self.use.setToolTip("Segment with the new checkpoint from now on, whatever the guard says.")
        self.back = QPushButton("Go back to the old one")
        self.back.setToolTip("Segment with the old checkpoint again; its file has not changed.")
        self.compare = QPushButton("Before | after")
        self.compare.setToolTip("Segment the scan by both checkpoints, and count islands.")
        self.again = QPushButton("Re-predict the rest")
        self.again.setToolTip(
            "Segment what is not reviewed with the checkpoint in use. What you have reviewed or edited does "
            "not change by a voxel. Labels from a file: choose them in the Islands widget first."
        )
        self.use.clicked.connect(lambda: self.use_asked.emit(True))
        self.back.clicked.connect(lambda: self.use_asked.emit(False))
        self.compare.clicked.connect(lambda: self.compare_asked.emit())
        self.again.clicked.connect(lambda: self.again_asked.emit())
        self.looks = QWidget()
        row = QHBoxLayout(self.looks)
        row.setContentsMargins(0, 0, 0, 0)
        self._group = QButtonGroup(self)
        self.look_buttons: dict[str, QPushButton] = {}
        for name in ("before", "after", "neither"):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setToolTip("Which of the two the canvas shows.")
            button.clicked.connect(lambda _=False, name=name: self.look_asked.emit(name))
            self._group.addButton(button)
            row.addWidget(button)
            self.look_buttons[name] = button
        self.islands = QLabel()
        self.islands.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.verdict)
        column.addWidget(self.steps)
        column.addLayout(self._grid)
        for pair in ((self.use, self.back), (self.compare, self.again)):
            line = QHBoxLayout()
            for each in pair:
                line.addWidget(each)
            column.addLayout(line)
        column.addWidget(self.looks)
        column.addWidget(self.islands)

    def show_desk(self, desk: FinetuneDesk, used: bool, can_compare: bool, can_repeat: bool) -> None:
        """Show what a desk has; ``used`` says whether the new checkpoint is in use."""
        result = desk.result
        self.setVisible(result is not None)
        if result is None:
            return
        self.verdict.setText(result.reason)
        self.verdict.setStyleSheet("" if result.activated else _WARNING)
        self.steps.setText(steps_in_words(desk.steps_done, desk.steps_kept))
        self.steps.setStyleSheet(_WARNING if desk.steps_kept < FEW_STEPS else "")
        show_rows(self._grid, figure_rows(result))
        self.use.setEnabled(not used and not desk.busy)
        self.back.setEnabled(used and not desk.busy)
        self.compare.setEnabled(can_compare and not desk.busy)
        self.again.setEnabled(can_repeat and not desk.busy)
        found = desk.comparison
        self.looks.setVisible(found is not None)
        self.islands.setVisible(found is not None)
        if found is not None:
            self.islands.setText(_islands_in_words(found))
            if self._group.checkedButton() is None:
                self.look_buttons["after"].setChecked(True)


def steps_in_words(done: int, kept: int) -> str:
    """Say how long a network has learned, and that it is little, where it is.

    Examples
    --------
    >>> steps_in_words(120, 60)
    '120 steps were done; the best was after 60 and is kept.'
    >>> steps_in_words(8, 8)
    '8 steps were done: so few are likely to change little. More minutes let it learn more.'
    """
    said = f"{done} step{' was' if done == 1 else 's were'} done"
    if kept < done:
        said += f"; the best was after {kept} and is kept"
    if kept < FEW_STEPS:
        said += ": so few are likely to change little. More minutes let it learn more"
    return f"{said}."


def figure_rows(result: FinetuneResult) -> list[tuple[str, ...]]:
    """Return name, before and after of each figure, the head first."""
    before, after = result.before, result.after
    rows: list[tuple[str, ...]] = [("", "before", "after")]
    for each in VESSELS:
        if each.name in after.f1:
            rows.append(
                (f"F1 {each.title.lower()}", _text(before.f1.get(each.name)), _text(after.f1[each.name]))
            )
    rows.append(("mean F1", _text(before.mean_f1), _text(after.mean_f1)))
    rows.append(("… of earlier scans", _text(before.old), _text(after.old)))
    if after.new is not None:
        rows.append(("… of corrected scans", _text(before.new), _text(after.new)))
    rows.append(("islands to delete", str(before.islands_to_delete), str(after.islands_to_delete)))
    return rows


def show_rows(grid: Any, rows: list[tuple[str, ...]]) -> None:
    """Fill a grid with text, in the place of what it held."""
    while grid.count():
        old = grid.takeAt(0).widget()
        old.hide()
        old.deleteLater()
    for at, row in enumerate(rows):
        for column, text in enumerate(row):
            label = QLabel(text)
            if column:
                label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            grid.addWidget(label, at, column)
    grid.setColumnStretch(0, 1)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _islands_in_words(found: Comparison) -> str:
    parts = [
        f"{each.title.lower()} {found.islands_before[each.name]} → {found.islands_after[each.name]}"
        for each in VESSELS
    ]
    was, now = found.reviewed_wrong
    return f"Islands on this scan: {', '.join(parts)}. Reviewed voxels labelled otherwise: {was:,} → {now:,}."
