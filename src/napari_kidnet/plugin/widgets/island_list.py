"""The list of islands: what may be filtered, the table, and which rows are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QItemSelectionModel, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_kidnet.classes import VESSELS
from napari_kidnet.islands import IslandState
from napari_kidnet.plugin.widgets.islands_model import STATE_TITLES, IslandsModel

if TYPE_CHECKING:
    from napari_kidnet.labelling.correcting import IslandsView

__all__ = ["IslandList"]


class IslandList(QWidget):  # type: ignore[misc]
    """A filtered table of islands."""

    picked = Signal(int)
    """The id of the island whose row a person has chosen."""
    wanted = Signal()
    """A row was double-clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.model = IslandsModel()
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
        for combo in (self.of_class, self.in_state):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(6)
        self.table = _table(self.model)
        row = QHBoxLayout()
        for part in (self.of_class, self.in_state, self.words):
            row.addWidget(part)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self.table, 1)
        for combo in (self.of_class, self.in_state):
            combo.currentIndexChanged.connect(self._filter)
        self.words.textChanged.connect(self._filter)
        self.table.selectionModel().selectionChanged.connect(self._on_table)
        self.table.doubleClicked.connect(lambda _: self.wanted.emit())
        self._selected: int | None = None

    def show_view(self, view: IslandsView | None) -> None:
        """Show another view."""
        self.model.show_view(view)

    def select(self, island: int | None) -> None:
        """Show which island is selected; other chosen rows stay chosen where it is one of them."""
        self._selected = island
        row = None if island is None else self.model.row_of(island)
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

    def choose(self, island: int) -> None:
        """Select one island and no other."""
        selection = self.table.selectionModel()
        selection.blockSignals(True)
        selection.clear()
        selection.blockSignals(False)
        self.select(island)

    def chosen(self) -> list[int]:
        """Return the ids of the chosen rows, else the selected island that the filter hides."""
        rows = [each.row() for each in self.table.selectionModel().selectedRows()]
        ids = [self.model.island_at(row) for row in rows if row < self.model.rowCount()]
        return ids if ids or self._selected is None else [self._selected]

    def _on_table(self, *_: Any) -> None:
        chosen = self.chosen()
        if chosen and chosen[-1] != self._selected:
            self.picked.emit(chosen[-1])

    def _filter(self) -> None:
        self.model.set_filter(
            self.of_class.currentData(), self.in_state.currentData(), self.words.text().strip()
        )
        self.select(self._selected)


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
    for column, width in ((0, 28), (1, 113), (2, 44), (4, 52)):
        table.setColumnWidth(column, width)
    return table
