"""The Worklist widget: a folder of scans, how far each is, and which comes next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QEvent, QSortFilterProxyModel, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_kidnet.labelling.worklist import WorkState, curve_of
from napari_kidnet.plugin.widgets.run_bar import time_left
from napari_kidnet.plugin.widgets.worklist_model import SORT_ROLE, WorklistModel
from napari_kidnet.plugin.widgets.worklist_plot import WorklistPlot
from napari_kidnet.plugin.worklist_desk import WorklistDesk
from napari_kidnet.plugin.worklist_keys import DONE_AND_NEXT_SHOWN, bind_worklist_key

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_kidnet.labelling.worklist import Row
    from napari_kidnet.plugin.jobs import JobProgress

__all__ = ["WorklistWidget"]

_INVITATION: Final = (
    "No folder yet. Drop a folder with scans here, or choose one: its scans are listed with what is left "
    "to do in each, and the work goes on where it was left."
)
_NO_SCANS: Final = "{} holds no scans; put NIfTI files, TIFF stacks or folders with DICOM there."


class WorklistWidget(QWidget):  # type: ignore[misc]
    """Shows a viewer's `WorklistDesk` and forwards to it.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer that it is docked in.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer: Any = napari_viewer
        self.desk = WorklistDesk.of(napari_viewer)
        self.is_closed = False
        self.model = WorklistModel()
        self.setAcceptDrops(True)
        self._build()
        self._connect()
        self._show()

    def _build(self) -> None:
        self.folder = QLabel()
        self.folder.setToolTip("The folder whose scans are listed.")
        self.choose = QPushButton("Choose folder …")
        self.choose.setToolTip("List the scans of a folder; a folder can be dropped here, too.")
        self.reload = QPushButton("Refresh")
        self.reload.setToolTip("Look at the folder again: new scans, and what was done on other machines.")
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.done = QProgressBar()
        self.done.setToolTip("Scans that are done, of all in the folder.")
        self.table = _table(self.model)
        self.next = QPushButton("Open next")
        self.next.setToolTip("Save and close the open scan, and open the next one that is not done.")
        self.by = QComboBox()
        self.by.setToolTip("Which scan comes next.")
        self.by.addItem("most to gain", "benefit")
        self.by.addItem("in order", "order")
        self.finish = QPushButton(f"Done and next  [{DONE_AND_NEXT_SHOWN}]")
        self.finish.setToolTip(
            f"Save the open scan, call it done, and open the next one.\nKey: {DONE_AND_NEXT_SHOWN}"
        )
        self.open = QPushButton("Open")
        self.open.setToolTip("Open the selected scan (or double click it); the open one is saved and closed.")
        self.mark = QPushButton("Mark done")
        self.mark.setToolTip("Call the selected scans done, or take them back to work where all are done.")
        self.predict = QPushButton("Predict all new")
        self.predict.setToolTip("Segment every new scan in the background and save its labels beside it.")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop predicting after the current tile; finished scans stay.")
        self.progress = QProgressBar()
        self.progress.setToolTip("How far predicting is, and the estimated time left.")
        self.plot = WorklistPlot()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setToolTip("What was done last.")
        column = QVBoxLayout(self)
        column.setSpacing(4)
        column.addLayout(_row(self.folder, self.reload, self.choose, stretch=self.folder))
        column.addWidget(self.message)
        column.addWidget(self.done)
        column.addWidget(self.table, 1)
        column.addLayout(_row(self.finish, self.next, self.by))
        column.addLayout(_row(self.open, self.mark, self.predict, self.cancel))
        column.addWidget(self.progress)
        column.addWidget(self.plot)
        column.addWidget(self.status)
        column.addStretch(0)
        self.setMinimumWidth(430)

    def _connect(self) -> None:
        self.choose.clicked.connect(self._choose)
        self.reload.clicked.connect(lambda: self.desk.refresh())
        self.next.clicked.connect(lambda: self.desk.open_next(self.by.currentData()))
        self.finish.clicked.connect(lambda: self.done_and_next())
        self.open.clicked.connect(self._open)
        self.table.doubleClicked.connect(lambda _: self._open())
        self.mark.clicked.connect(self._mark)
        self.predict.clicked.connect(lambda: self.desk.predict_new())
        self.cancel.clicked.connect(lambda: self.desk.cancel())
        self.table.horizontalHeader().sortIndicatorChanged.connect(lambda *_: self._span())
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._enable())
        self.desk.changed.connect(self._show)
        self.desk.told.connect(self._tell)
        self.desk.progressed.connect(self._show_progress)
        # Not the method itself: Qt drops an object's own slots before it says that it is destroyed.
        self.destroyed.connect(lambda: self._disconnect())
        bind_worklist_key(self._viewer, self)

    def closeEvent(self, event: Any) -> None:
        """Leave the desk, which goes on."""
        self._disconnect()
        super().closeEvent(event)

    def changeEvent(self, event: Any) -> None:
        """Do the same when napari takes the widget out of its dock, which closes nothing."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._disconnect()
        super().changeEvent(event)

    def _disconnect(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self.desk.changed.disconnect(self._show, missing_ok=True)
        self.desk.told.disconnect(self._tell, missing_ok=True)
        self.desk.progressed.disconnect(self._show_progress, missing_ok=True)

    # ------------------------------------------------------------------ show

    def _show(self) -> None:
        if self.is_closed:
            return
        worklist = self.desk.worklist
        rows = () if worklist is None else worklist.rows
        if worklist is not None:
            self.folder.setText(worklist.folder.name or str(worklist.folder))
            self.folder.setToolTip(str(worklist.folder))
            self.plot.show_curve(curve_of(rows, worklist.tunings))
        text = _INVITATION if worklist is None else worklist.warning
        if worklist is not None and not rows:
            text = _NO_SCANS.format(worklist.folder)
        self.message.setText(text)
        self.message.setVisible(bool(text))
        self.model.show_rows(rows, self.desk.current)
        self._span()
        finished = sum(row.state is WorkState.DONE for row in rows)
        self.done.setRange(0, max(len(rows), 1))
        self.done.setValue(finished)
        self.done.setFormat(f"{finished} of {len(rows)} scans done")
        parts = (self.done, self.table, self.next, self.by, self.finish, self.open, self.mark, self.predict)
        for part in (*parts, self.cancel, self.plot):
            part.setVisible(bool(rows))
        self.reload.setVisible(worklist is not None)
        self._enable()

    def _span(self) -> None:
        """Let the sentence of a problem have the whole row."""
        self.table.clearSpans()
        proxy = self.table.model()
        for place in range(proxy.rowCount()):
            if self.model.rows[proxy.mapToSource(proxy.index(place, 0)).row()].problem:
                self.table.setSpan(place, 0, 1, self.model.columnCount())
        self.table.resizeRowsToContents()

    def _enable(self) -> None:
        rows, idle = self._selected(), not self.desk.busy_with
        every = self.model.rows
        batch = self.desk.batch is not None
        self.open.setEnabled(idle and len(rows) == 1 and not rows[0].blocked)
        self.mark.setEnabled(bool(rows))
        done = bool(rows) and all(row.state is WorkState.DONE for row in rows)
        self.mark.setText("Back to work" if done else "Mark done")
        self.finish.setEnabled(idle and self.desk.current is not None)
        self.next.setEnabled(idle and any(row.state is not WorkState.DONE for row in every))
        new = sum(row.state is WorkState.NEW and not row.blocked for row in every)
        self.predict.setText(f"Predict all new ({new})" if new else "Predict all new")
        self.predict.setEnabled(bool(new) and not batch)
        self.cancel.setEnabled(batch)
        self.progress.setVisible(batch)
        if not batch:
            self.progress.reset()

    def _show_progress(self, progress: JobProgress) -> None:
        step = progress.progress
        self.progress.setRange(0, step.total)  # 0 to 0 is "busy"
        self.progress.setValue(step.done)
        self.progress.setFormat(f"{step.what}{time_left(progress.seconds_left)}")

    def _tell(self, text: str, failed: bool) -> None:
        if not self.is_closed:
            self.status.setText(text)
            self.status.setStyleSheet("color: #e0604c;" if failed else "")

    # ------------------------------------------------------------------ forward

    def done_and_next(self) -> None:
        """Save the open scan, call it done, and open the next one."""
        if self.desk.current is None:
            self._tell("No scan of this list is open; choose Open next.", False)
        else:
            self.desk.finish(self.by.currentData())

    def _selected(self) -> list[Row]:
        proxy = self.table.model()
        chosen = self.table.selectionModel().selectedRows()
        return [self.model.rows[proxy.mapToSource(each).row()] for each in chosen]

    def _open(self) -> None:
        rows = self._selected()
        if rows:
            self.desk.open_scan(rows[-1].key)

    def _mark(self) -> None:
        rows = self._selected()
        done = all(row.state is WorkState.DONE for row in rows)
        for row in rows:
            self.desk.set_state(row.key, WorkState.IN_WORK if done else WorkState.DONE)

    def _choose(self) -> None:
        worklist = self.desk.worklist
        start = "" if worklist is None else str(worklist.folder)
        name = QFileDialog.getExistingDirectory(self, "Folder with scans", start)
        if name:
            self.desk.open_folder(Path(name))

    def dragEnterEvent(self, event: Any) -> None:
        """Take what is on the disk; whether it is a folder is said when it is dropped."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """Open the folder that was dropped here."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.desk.open_folder(paths[0])


def _table(model: WorklistModel) -> QTableView:
    proxy = QSortFilterProxyModel()
    proxy.setSourceModel(model)
    proxy.setSortRole(SORT_ROLE)
    table = QTableView()
    proxy.setParent(table)
    table.setModel(proxy)
    table.setToolTip("The scans; double click opens one.")
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
    table.setSortingEnabled(True)
    table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    table.setWordWrap(True)
    table.verticalHeader().hide()
    table.setMinimumHeight(160)
    header = table.horizontalHeader()
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    header.setMinimumSectionSize(30)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    for column, width in enumerate((74, 56, 38, 50, 42, 58), 1):
        table.setColumnWidth(column, width)
    return table


def _row(*widgets: QWidget, stretch: QWidget | None = None) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for each in widgets:
        row.addWidget(each, 1 if each is stretch else 0)
    return row
