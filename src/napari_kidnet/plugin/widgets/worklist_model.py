"""The rows of a worklist as a Qt model; a proxy of Qt's own sorts them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor, QFont

from napari_kidnet.labelling.worklist import WorkState
from napari_kidnet.scans.scan import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_kidnet.labelling.worklist import Row

__all__ = ["COLUMNS", "SORT_ROLE", "WorklistModel"]

COLUMNS: Final = (
    ("Scan", "The scan's path in the folder; the open one is bold."),
    ("State", "new, predicted, in work or done."),
    ("Judged", "How much of what is labelled a person has judged, when it was last saved."),
    ("Left", "Islands that nobody has judged wholly."),
    ("Doubt", "The wrong volume to be expected in the prediction, in mL: by this “Open next” chooses."),
    ("min", "Minutes with input; pauses of more than 60 s do not count."),
    ("Actions", "Edits, acceptances, brush strokes, undos and redos."),
)
SORT_ROLE: Final = int(Qt.ItemDataRole.UserRole) + 1
_ORDER: Final = {state: index for index, state in enumerate(WorkState)}
_COLOURS: Final = {WorkState.DONE: "#5fb37a", WorkState.IN_WORK: "#e0b050"}
_FAILED: Final = "#e0604c"


class WorklistModel(QAbstractTableModel):  # type: ignore[misc]
    """Rows of a `Worklist`, and which of them is open."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[Row, ...] = ()
        self.current: str | None = None

    def show_rows(self, rows: Sequence[Row], current: str | None) -> None:
        """Show other rows; where the scans are the same, selection and place stay."""
        same = [row.key for row in rows] == [row.key for row in self.rows]
        if not same:
            self.beginResetModel()
        self.rows, self.current = tuple(rows), current
        if not same:
            self.endResetModel()
        elif rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(COLUMNS) - 1))

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many scans there are."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many columns there are."""
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        """Return a column's title or tooltip."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(COLUMNS):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section][0]
        return COLUMNS[section][1] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what one cell shows, or is sorted by."""
        if not index.isValid():
            return None
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(row, column)
        if role == SORT_ROLE:
            return _key(row, column, index.row())
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.problem or _details(row)
        if role == Qt.ItemDataRole.FontRole and row.key == self.current:
            font = QFont()
            font.setBold(True)
            return font
        if role == Qt.ItemDataRole.ForegroundRole and column <= 1:
            colour = _FAILED if row.problem else _COLOURS.get(row.state)
            return None if colour is None or (column == 0 and not row.problem) else QColor(colour)
        if role == Qt.ItemDataRole.TextAlignmentRole and column > 1:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None


def _details(row: Row) -> str:
    left = "" if row.islands is None else f"\n{row.islands_left} of {row.islands} islands left"
    return f"{row.key}{left}"


def _text(row: Row, column: int) -> str:
    if column == 0:
        path = PurePosixPath(row.key)
        name = str(path.with_name(name_of(path).removesuffix("_ct") or path.name))
        return f"{name}\n{row.problem}" if row.problem else name
    if column == 1:
        return row.state.value
    shown = (
        None if row.reviewed is None else f"{100 * row.reviewed:.0f} %",
        None if row.islands_left is None else str(row.islands_left),
        None if row.benefit_ml is None else f"{row.benefit_ml:.1f}",
        f"{row.minutes:.1f}" if row.minutes else None,
        str(row.actions) if row.actions else None,
    )
    return shown[column - 2] or "–"


def _key(row: Row, column: int, place: int) -> float:
    values = (
        place,
        _ORDER[row.state],
        row.reviewed,
        row.islands_left,
        row.benefit_ml,
        row.minutes,
        row.actions,
    )
    value = values[column]
    return -1.0 if value is None else float(value)
