"""The Islands widget: which island is next, why, and one key for what to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QEvent, QItemSelectionModel, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_kidnet.classes import VESSELS
from napari_kidnet.islands import (
    Edit,
    IslandState,
    accept_bridges,
    accept_islands,
    delete,
    keep_largest,
    relabel,
)
from napari_kidnet.labelling.correcting import discard_steps, restore_steps
from napari_kidnet.plugin.island_canvas import IslandCanvas
from napari_kidnet.plugin.island_keys import bind_island_keys
from napari_kidnet.plugin.islands_desk import IslandsDesk
from napari_kidnet.plugin.widgets.island_actions import IslandActions, add_shortcuts
from napari_kidnet.plugin.widgets.island_thumbnail import island_picture
from napari_kidnet.plugin.widgets.islands_model import STATE_TITLES, IslandsModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from napari_kidnet.islands import Bridge
    from napari_kidnet.labelling.correcting import IslandsSession, IslandsView

__all__ = ["IslandsWidget"]

_INVITATION: Final = (
    "No labels yet. Segment a scan with the Segment widget, or drop a label file here: "
    "its islands are then listed, the most doubtful first."
)
_NO_ISLANDS: Final = (
    "These labels are empty: there is nothing to correct. Segment the scan, or paint a vessel."
)
_PREVIEW_PIXELS: Final = 132


class IslandsWidget(QWidget):  # type: ignore[misc]
    """Shows the islands of a labels layer, and forwards to its `IslandsDesk`.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer that it is docked in.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer: Any = napari_viewer
        self._desk: IslandsDesk | None = None
        self._canvas: IslandCanvas | None = None
        self._selected: int | None = None
        self._answered: set[int] = set()  # acted on, but the worker has not come to it yet
        self._outlined: tuple[int | None, int] | None = None
        self._bridge: Bridge | None = None
        self.is_closed = False
        self.model = IslandsModel()
        self._build()
        self._connect()
        self._list_layers()

    # ------------------------------------------------------------------ build

    def _build(self) -> None:
        self.layers = QComboBox()
        self.layers.setToolTip("The labels whose islands are shown.")
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.restore = QPushButton("Restore")
        self.restore.setToolTip("Go on with the edits that were not saved.")
        self.discard = QPushButton("Discard")
        self.discard.setToolTip("Forget the edits that were not saved, and start from the labels as shown.")
        self.progress = QProgressBar()
        self.progress.setToolTip("Islands that are reviewed or corrected, of all that there are.")
        self.of_class = QComboBox()
        self.of_class.setToolTip("Show islands of this class only.")
        self.of_class.addItem("All classes", None)
        for each in VESSELS:
            self.of_class.addItem(each.title, each.id)
        self.in_state = QComboBox()
        self.in_state.setToolTip("Show islands in this state only.")
        self.in_state.addItem("All states", None)
        waiting = frozenset({IslandState.NOT_STARTED, IslandState.IN_WORK, IslandState.FLAGGED})
        self.in_state.addItem("not done", waiting)
        for state, title in STATE_TITLES.items():
            self.in_state.addItem(title, frozenset({state}))
        self.words = QLineEdit()
        self.words.setPlaceholderText("why, e.g. aorta")
        self.words.setToolTip("Show islands whose reasons hold these words.")
        self.words.setClearButtonEnabled(True)
        self.table = _table(self.model)
        self.preview = QLabel()
        self.preview.setFixedSize(_PREVIEW_PIXELS, _PREVIEW_PIXELS)
        self.preview.setToolTip("The island and its neighbours, as seen from the front.")
        self.details = QLabel()
        self.details.setWordWrap(True)
        self.details.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.actions_box = IslandActions(self)
        self.save = QPushButton("Save")
        self.save.setToolTip("Save labels and reviewed mask beside the scan.")
        self.status = QLabel()
        self.status.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setSpacing(4)
        column.addWidget(self.layers)
        column.addWidget(self.message)
        column.addLayout(_row(self.restore, self.discard))
        column.addWidget(self.progress)
        column.addLayout(_row(self.of_class, self.in_state, self.words))
        column.addWidget(self.table, 1)
        column.addLayout(_row(self.preview, self.details))
        column.addWidget(self.actions_box)
        column.addLayout(_row(self.status, self.save))
        self.setMinimumWidth(430)

    def _connect(self) -> None:
        self.layers.currentIndexChanged.connect(self._choose_layer)
        self.restore.clicked.connect(lambda: self._do(restore_steps))
        self.discard.clicked.connect(lambda: self._do(discard_steps))
        self.save.clicked.connect(self._save)
        for combo in (self.of_class, self.in_state):
            combo.currentIndexChanged.connect(self._filter)
        self.words.textChanged.connect(self._filter)
        self.table.selectionModel().selectionChanged.connect(self._on_table)
        self.table.doubleClicked.connect(lambda _: self.where())
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self._list_layers)
        # Not the method itself: Qt drops an object's own slots before it says that it is destroyed.
        self.destroyed.connect(lambda: self._disconnect())
        bind_island_keys(self._viewer, self)
        add_shortcuts(self, self)

    def closeEvent(self, event: Any) -> None:
        """Take the outlines off the canvas; the session goes on."""
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
        events = self._viewer.layers.events
        for each in (events.inserted, events.removed):
            each.disconnect(self._list_layers)
        self._leave()

    # ------------------------------------------------------------------ which labels

    def _list_layers(self, event: Any = None) -> None:
        found = [layer for layer in self._viewer.layers if _may_hold_islands(layer)]
        if [self.layers.itemData(i) for i in range(self.layers.count())] == found and self.layers.count():
            return
        before = self.layers.currentData()
        self.layers.blockSignals(True)
        self.layers.clear()
        for layer in found:
            self.layers.addItem(layer.name, layer)
        if before in found:
            self.layers.setCurrentIndex(found.index(before))
        self.layers.blockSignals(False)
        self.layers.setVisible(len(found) > 1)
        # A layer that is on its way in or out: after the event loop has turned.
        QTimer.singleShot(0, self._choose_layer)

    def _choose_layer(self) -> None:
        if self.is_closed:
            return
        layer = self.layers.currentData()
        if self._canvas is not None and self._canvas.layer is layer:
            return
        self._leave()
        if layer is not None:
            self._desk = IslandsDesk.of(self._viewer, layer)
            self._desk.view_changed.connect(self._show)
            self._desk.told.connect(self._tell)
            self._canvas = IslandCanvas(self._viewer, layer, self._on_canvas)
        self._show()

    def _leave(self) -> None:
        if self._desk is not None:
            self._desk.view_changed.disconnect(self._show, missing_ok=True)
            self._desk.told.disconnect(self._tell, missing_ok=True)
        if self._canvas is not None:
            self._canvas.close()
        self._desk = self._canvas = self._selected = self._bridge = self._outlined = None
        self._answered.clear()

    # ------------------------------------------------------------------ show

    @property
    def view(self) -> IslandsView | None:
        """What is shown."""
        return None if self._desk is None else self._desk.view

    def _show(self) -> None:
        if self.is_closed:
            return
        view, session = self.view, None if self._desk is None else self._desk.session
        waits = session is not None and session.recoverable is not None
        self.restore.setVisible(waits)
        self.discard.setVisible(waits)
        text = self._message(session)
        self.message.setText(text)
        self.message.setVisible(bool(text))
        if self._desk is None or not self._desk.busy:
            self._answered.clear()
        if view is not self.model.view:
            self.model.show_view(view)
            self._keep_selection(view)
            self._show_bridge(view)
        islands = 0 if view is None else len(view.table)
        for part in (self.table, self.progress, self.of_class, self.in_state, self.words, self.actions_box):
            part.setVisible(islands > 0)
        if view is not None:
            self.progress.setRange(0, max(islands, 1))
            self.progress.setValue(islands - view.left)
            self.progress.setFormat(
                f"{view.left} of {islands} islands left · {view.reviewed_percent:.1f} % of the scan reviewed"
            )
        steps = (0, 0) if session is None else (len(session.history.done), len(session.history.undone))
        self.actions_box.enable(
            any_island=islands > 0 and not waits,
            selected=self._selected is not None and not waits,
            steps=(0, 0) if waits else steps,
            gaps=self._bridge is not None and not waits,
        )
        self.save.setVisible(session is not None)
        self.save.setEnabled(not waits)
        self.save.setText("Save *" if session is not None and session.unsaved else "Save")

    def _message(self, session: IslandsSession | None) -> str:
        if self._desk is None:
            return _INVITATION
        if session is None:
            return "Finding the islands …" if self._desk.busy else ""
        if session.recoverable is not None:
            n = session.recoverable.actions
            return f"An earlier session ended without saving {n} action{'' if n == 1 else 's'}. Restore?"
        return _NO_ISLANDS if len(session.view.table) == 0 else session.warning

    def _tell(self, text: str, failed: bool) -> None:
        if self.is_closed:
            return
        self.status.setText(text)
        self.status.setStyleSheet("color: #e0604c;" if failed else "")

    def _filter(self) -> None:
        self.model.set_filter(
            self.of_class.currentData(), self.in_state.currentData(), self.words.text().strip()
        )
        self._select_row()

    # ------------------------------------------------------------------ select

    def _keep_selection(self, view: IslandsView | None) -> None:
        if view is None or self._selected is None or self._selected in view.table.id:
            self.select(self._selected if view is not None else None, go=False)
        else:
            self.select(view.next_unreviewed(None), go=True)

    def select(self, island: int | None, go: bool = True) -> None:
        """Select an island; go to it on the canvas, too."""
        view = self.view
        there = view is not None and island is not None and island in view.table.id
        self._selected = island if there else None
        if view is None or self._canvas is None:
            return
        row = view.table.row_of(island) if there and island is not None else None
        if row is not None and go:
            self._canvas.go_to(view.table, row)
        self._show_details(view, row)
        self._select_row()
        shape = None if row is None else (island, int(view.table.voxels[row]))
        if shape != self._outlined:  # to draw it costs more than all the rest
            self._outlined = shape
            self._canvas.outline(view.table, row)

    def _select_row(self) -> None:
        row = None if self._selected is None else self.model.row_of(self._selected)
        selection = self.table.selectionModel()
        selection.blockSignals(True)
        if row is None:
            selection.clear()
        elif row not in {each.row() for each in selection.selectedRows()}:
            index = self.model.index(row, 0)
            flags = QItemSelectionModel.SelectionFlag
            selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            self.table.scrollTo(index)
        selection.blockSignals(False)
        self.table.viewport().update()

    def _on_table(self, *_: Any) -> None:
        chosen = self._chosen()
        if chosen and chosen[-1] != self._selected:
            self.select(chosen[-1])
            self._show()

    def _on_canvas(self, voxel: tuple[int, ...]) -> None:
        view = self.view
        row = None if view is None else view.table.at(voxel)
        if view is not None and row is not None:
            self.table.clearSelection()
            self.select(int(view.table.id[row]), go=False)
            self._show()

    def _chosen(self) -> list[int]:
        """Return the ids of the selected rows, else the selected island that the filter hides."""
        rows = [each.row() for each in self.table.selectionModel().selectedRows()]
        ids = [self.model.island_at(row) for row in rows if row < self.model.rowCount()]
        return ids if ids or self._selected is None else [self._selected]

    def _show_details(self, view: IslandsView, row: int | None) -> None:
        self.preview.setVisible(row is not None)
        self.details.setText("" if row is None else self.model.details(row))
        session = None if self._desk is None else self._desk.session
        if row is not None and session is not None:
            self.preview.setPixmap(island_picture(view.table, row, _PREVIEW_PIXELS, session.labels))

    # ------------------------------------------------------------------ actions (see `island_keys`)

    def next(self) -> None:
        """Go to the next island that is not reviewed."""
        self._step(1)

    def previous(self) -> None:
        """Go to the one before."""
        self._step(-1)

    def where(self) -> None:
        """Go to the selected island."""
        self.select(self._selected)

    def accept(self) -> None:
        """Review the selected islands as they are."""
        self._answer(lambda s, ids: accept_islands(s.view.table, ids, s.states))

    def delete(self) -> None:
        """Make the selected islands background."""
        self._answer(lambda s, ids: delete(s.known, s.view.table, ids))

    def flag(self) -> None:
        """Flag the selected islands, or take the flag off."""
        ids = self._chosen()
        if ids:
            self._do(lambda session: session.flag_steps(ids))

    def to_artery(self) -> None:
        """Relabel to artery."""
        self._relabel(1)

    def to_vein(self) -> None:
        """Relabel to vein."""
        self._relabel(2)

    def to_collecting(self) -> None:
        """Relabel to collecting system."""
        self._relabel(3)

    def keep_largest(self) -> None:
        """Keep the largest island of the selected one's class."""
        view = self.view
        if view is None or self._selected is None:
            return
        class_id = int(view.table.class_id[view.table.row_of(self._selected)])
        self._edit(lambda s: keep_largest(s.known, s.view.table, class_id))

    def undo(self) -> None:
        """Undo the latest action."""
        if self._desk is not None and self._desk.session is not None:
            self._desk.undo()

    def redo(self) -> None:
        """Do the undone action again."""
        if self._desk is not None and self._desk.session is not None:
            self._desk.redo()

    def find_gaps(self) -> None:
        """Look for broken vessels."""
        self._do(lambda session: session.propose_steps())

    def join(self) -> None:
        """Bridge the gap that is shown."""
        bridge = self._bridge
        if bridge is not None:
            self._edit(lambda s: accept_bridges(s.known, [bridge], s.context.spacing))

    def refuse(self) -> None:
        """Do not bridge the gap that is shown."""
        bridge = self._bridge
        if bridge is not None:
            self._do(lambda session: session.refuse_steps(bridge))

    def _relabel(self, class_id: int) -> None:
        self._answer(lambda s, ids: relabel(s.known, s.view.table, ids, class_id))

    def _step(self, step: int) -> None:
        view = self.view
        if view is not None:
            self.select(view.next_unreviewed(self._selected, step, self._answered))
            self._show()

    def _answer(self, make: Callable[[IslandsSession, list[int]], Edit]) -> None:
        """Do something to the selected islands and go on to the next, without waiting for the worker."""
        view, ids = self.view, self._chosen()
        if view is None or not ids:
            return
        self._answered.update(ids)
        # First the view, while no worker wants the interpreter, too: it then takes half as long.
        self.select(view.next_unreviewed(ids[-1], 1, self._answered))
        self._edit(lambda session: make(session, ids))

    def _edit(self, make: Callable[[IslandsSession], Edit]) -> None:
        self._do(lambda session: session.edit_steps(make))

    def _do(self, make: Callable[[IslandsSession], Any]) -> None:
        if self._desk is not None and self._desk.session is not None:
            self._desk.do(make)

    # ------------------------------------------------------------------ bridges, saving

    def _show_bridge(self, view: IslandsView | None) -> None:
        before = self._bridge
        self._bridge = view.bridges[0] if view is not None and view.bridges else None
        gap = self.actions_box.gap
        gap.setVisible(self._bridge is not None)
        if view is None or self._canvas is None:
            return
        self._canvas.ghost(self._bridge, view.table)
        if self._bridge is not None:
            title = next((each.title for each in VESSELS if each.id == self._bridge.class_id), "Class")
            gap.setText(
                f"Gap 1 of {len(view.bridges)}: {title}, {self._bridge.gap_mm:.1f} mm,"
                f" confidence {self._bridge.confidence:.2f}"
            )
            if self._bridge is not before:
                self._canvas.go_to_bridge(self._bridge)

    def _save(self) -> None:
        session = None if self._desk is None else self._desk.session
        if session is None:
            return
        path = session.path
        if path is None:
            name, _ = QFileDialog.getSaveFileName(
                self, "Save labels", "labels.nii.gz", "NIfTI (*.nii.gz *.nii)"
            )
            if not name:
                return
            path = Path(name if ".nii" in name else f"{name}.nii.gz")
        self._do(lambda each: each.save_steps(path))


def _table(model: IslandsModel) -> QTableView:
    table = QTableView()
    table.setModel(model)
    table.setToolTip("The islands; double click centres the view on one.")
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
    table.setSortingEnabled(True)
    table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    table.setIconSize(QSize(34, 34))
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(38)
    table.setMinimumHeight(160)
    header = table.horizontalHeader()
    header.setSectionResizeMode(3, QHeaderView.ResizeMode.Stretch)
    for column, width in ((0, 34), (1, 120), (2, 52), (4, 56)):
        table.setColumnWidth(column, width)
    return table


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for each in widgets:
        row.addWidget(each)
    return row


def _may_hold_islands(layer: Any) -> bool:
    return (
        layer._type_string == "labels"
        and layer.ndim == 3
        and not layer.multiscale
        and layer.name not in ("Selected island", "Proposed bridge")
    )
