"""The table of islands as a Qt model over arrays: sorting and filtering are one NumPy call each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt

from napari_kidnet.islands import IslandState
from napari_kidnet.islands.table import class_title
from napari_kidnet.plugin.widgets.island_thumbnail import island_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QPixmap

    from napari_kidnet.labelling.correcting import IslandsView

__all__ = ["COLUMNS", "IslandsModel", "STATE_TITLES", "details_of", "millilitres"]

COLUMNS: Final = (
    ("#", "The order of review: where the most wrong volume is to be expected first."),
    ("Island", "Its shape from the front, and its class."),
    ("mL", "Its volume in millilitres."),
    ("Why look", "What speaks against this island."),
    ("State", "How far its review is."),
)
STATE_TITLES: Final = {
    IslandState.NOT_STARTED: "to do",
    IslandState.IN_WORK: "in work",
    IslandState.DONE: "done",
    IslandState.FLAGGED: "flagged",
}
_ICON_PIXELS: Final = 34


class IslandsModel(QAbstractTableModel):  # type: ignore[misc]
    """Rows of an `IslandsView`: those that pass the filter, in the order asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.view: IslandsView | None = None
        self._rank: NDArray[np.int64] = np.zeros(0, np.int64)
        self._rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._by = (0, Qt.SortOrder.AscendingOrder)
        self._filter: tuple[int | None, frozenset[int] | None, str] = (None, None, "")
        self._icons: dict[tuple[int, int, int], QPixmap] = {}

    def show_view(self, view: IslandsView | None) -> None:
        """Show another view; filter and order stay."""
        self.view = view
        n = 0 if view is None else len(view.table)
        self._rank = np.zeros(n, np.int64)
        if view is not None:
            self._rank[view.review.rows] = np.arange(1, n + 1)
        self._arrange()

    def set_filter(self, class_id: int | None, states: frozenset[int] | None, words: str) -> None:
        """Show islands of one class, in some states, whose reasons hold all of these words."""
        self._filter = (class_id, states, words.lower())
        self._arrange()

    def island_at(self, row: int) -> int:
        """Return the id of the island in a row of the screen."""
        assert self.view is not None
        return int(self.view.table.id[self._rows[row]])

    def row_of(self, island: int) -> int | None:
        """Return the row of the screen in which an island is; None where it is filtered out or gone."""
        if self.view is None:
            return None
        found = np.flatnonzero(self.view.table.id[self._rows] == island)
        return int(found[0]) if found.size else None

    def _arrange(self) -> None:
        self.beginResetModel()
        view = self.view
        if view is None:
            self._rows = np.zeros(0, np.int64)
        else:
            class_id, states, words = self._filter
            keep = np.ones(len(view.table), bool)
            if class_id is not None:
                keep &= view.table.class_id == class_id
            if states is not None:
                keep &= np.isin(view.states, list(states))
            for word in words.split():
                keep &= np.array([word in each.lower() for each in view.review.reasons], bool)
            rows = np.flatnonzero(keep)
            column, order = self._by
            keys = self._keys(view, column)[rows]
            rank = self._rank[rows]
            ordered = np.lexsort((rank, keys if order == Qt.SortOrder.AscendingOrder else -keys))
            self._rows = rows[ordered]
        self.endResetModel()

    def _keys(self, view: IslandsView, column: int) -> NDArray[Any]:
        if column == 1:
            return view.table.class_id
        if column == 2:
            return view.table.volume_ml
        if column == 3:
            return view.review.chance_wrong
        return view.states.astype(np.int64) if column == 4 else self._rank

    # ------------------------------------------------------------------ what Qt asks

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many islands pass the filter."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

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

    def sort(self, column: int, order: Any = Qt.SortOrder.AscendingOrder) -> None:
        """Order the rows by a column; equals stay in the order of review."""
        self._by = (column if 0 <= column < len(COLUMNS) else 0, order)
        self._arrange()

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what one cell shows."""
        view = self.view
        if view is None or not index.isValid():
            return None
        row, column = int(self._rows[index.row()]), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(view, row, column)
        if role == Qt.ItemDataRole.DecorationRole and column == 1:
            return self._icon(view, row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return details_of(view, row)
        if role == Qt.ItemDataRole.TextAlignmentRole and column in (0, 2):
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def _text(self, view: IslandsView, row: int, column: int) -> str:
        if column == 0:
            return str(self._rank[row])
        if column == 1:
            return class_title(int(view.table.class_id[row]))
        if column == 2:
            return millilitres(float(view.table.volume_ml[row]))
        if column == 3:
            return view.review.reasons[row]
        return STATE_TITLES[IslandState(int(view.states[row]))]

    def _icon(self, view: IslandsView, row: int) -> QPixmap:
        table = view.table
        key = (int(table.id[row]), int(table.voxels[row]), int(table.class_id[row]))
        if key not in self._icons:
            self._icons[key] = island_picture(table, row, _ICON_PIXELS)
        return self._icons[key]


def millilitres(volume_ml: float) -> str:
    """Return a volume in at most five characters.

    Examples
    --------
    >>> [millilitres(each) for each in (43.71, 1.667, 0.0917, 0.0004)]
    ['43.7', '1.67', '0.092', '<.001']
    """
    if volume_ml < 0.001:
        return "<.001"
    return f"{volume_ml:.3f}" if volume_ml < 1 else f"{volume_ml:.3g}"


def details_of(view: IslandsView, row: int) -> str:
    """Return what is known of an island, one thing a line."""
    table = view.table
    volume = millilitres(float(table.volume_ml[row]))
    lines = [
        f"{class_title(int(table.class_id[row]))}, {volume} mL, {table.voxels[row]} voxels",
        f"radius {table.mean_radius_mm[row]:.1f} mm, {table.distance_mm[row]:.0f} mm from its trunk",
    ]
    if np.isfinite(table.length_mm[row]):
        lines.append(f"length {table.length_mm[row]:.0f} mm")
    if np.isfinite(table.mean_probability[row]):
        lines.append(f"mean probability {table.mean_probability[row]:.2f}")
    return "\n".join([*lines, view.review.reasons[row]])
