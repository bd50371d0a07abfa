"""What to learn from: open scans and cases of a folder, how much is reviewed, and which are ticked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_kidnet.classes import VESSELS

if TYPE_CHECKING:
    from napari_kidnet.labelling.tuning import Lesson

__all__ = ["CasesList"]

_INVITATION: Final = (
    "Nothing to learn from yet. Segment a scan, correct and accept islands with the Islands widget; it is "
    "then listed here. Or add a folder of corrected cases."
)
_COLUMNS: Final = ("Scan", "Reviewed", "Artery", "Vein", "Collecting")


class CasesList(QWidget):  # type: ignore[misc]
    """A table with one row a scan."""

    changed = Signal()
    folder_asked = Signal(object)
    """The ``Path`` of a folder whose cases are wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.invitation = QLabel(_INVITATION)
        self.invitation.setWordWrap(True)
        self.table = QTreeWidget()
        self.table.setRootIsDecorated(False)
        self.table.setHeaderLabels(_COLUMNS)
        self.table.setToolTip("Reviewed voxels of each class: only they are learned from.")
        self.table.setMinimumHeight(96)
        self.table.setMaximumHeight(150)
        header = self.table.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.itemChanged.connect(lambda *_: self.changed.emit())
        self.folder = QPushButton("Add a folder …")
        self.folder.setToolTip(
            "Cases on the disk: NAME_ct, NAME_labels and, if not all was judged, NAME_reviewed."
        )
        self.folder.clicked.connect(self._ask)
        self.words = QLabel()
        self.words.setWordWrap(True)
        below = QHBoxLayout()
        below.addWidget(self.words, 1)
        below.addWidget(self.folder)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.invitation)
        column.addWidget(self.table)
        column.addLayout(below)
        self._lessons: dict[str, Lesson] = {}
        self._unticked: set[str] = set()

    def show_lessons(self, lessons: dict[str, Lesson], worklist: str = "") -> None:
        """Show rows by their keys; what a person has unticked stays so.

        Parameters
        ----------
        lessons : dict of Lesson
        worklist : str
            The worklist that some of them come from; empty where none do.
        """
        self._unticked |= {
            key
            for key, item in self._items()
            if item.checkState(0) != Qt.CheckState.Checked and self._may(key)
        }
        self._unticked -= {key for key, item in self._items() if item.checkState(0) == Qt.CheckState.Checked}
        self._lessons = dict(lessons)
        self.table.blockSignals(True)
        self.table.clear()
        for key, lesson in lessons.items():
            item = QTreeWidgetItem(_texts(lesson))
            item.setData(0, Qt.ItemDataRole.UserRole, key)
            for column in range(1, len(_COLUMNS)):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            item.setToolTip(0, lesson.problem or lesson.name)
            on = lesson.teaches and key not in self._unticked
            item.setCheckState(0, Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            if not lesson.teaches:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsUserCheckable)
                item.setToolTip(0, lesson.problem or "No vessel of it is reviewed yet: accept an island.")
            self.table.addTopLevelItem(item)
        self.table.blockSignals(False)
        self.table.setVisible(bool(lessons))
        self.invitation.setVisible(not lessons)
        self._say(worklist)
        self.changed.emit()

    @property
    def chosen(self) -> list[Lesson]:
        """The ticked lessons."""
        return [
            self._lessons[key]
            for key, item in self._items()
            if item.checkState(0) == Qt.CheckState.Checked and self._may(key)
        ]

    def _may(self, key: str) -> bool:
        return key in self._lessons and self._lessons[key].teaches

    def _items(self) -> list[tuple[str, Any]]:
        items = [self.table.topLevelItem(row) for row in range(self.table.topLevelItemCount())]
        return [(str(each.data(0, Qt.ItemDataRole.UserRole)), each) for each in items]

    def _say(self, worklist: str) -> None:
        ready = sum(each.teaches for each in self._lessons.values())
        said = f"{ready} of {len(self._lessons)} have reviewed vessels." if self._lessons else ""
        self.words.setText(f"{said} With the worklist {worklist}." if worklist else said)

    def _ask(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder of corrected cases")
        if name:
            self.folder_asked.emit(Path(name))


def _texts(lesson: Lesson) -> list[str]:
    tally = lesson.tally
    if tally is None:
        return [lesson.name, "…" if not lesson.problem else "–", "", "", ""]
    percent = f"{tally.percent:.1f} %" if tally.percent >= 0.1 or not tally.percent else "< 0.1 %"
    return [lesson.name, percent, *(f"{tally.reviewed[each.id]:,}" for each in VESSELS)]
