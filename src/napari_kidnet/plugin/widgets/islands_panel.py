"""What the Islands widget consists of, and how it shows a session; it decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_kidnet.islands.table import class_title
from napari_kidnet.labelling.correcting import above
from napari_kidnet.plugin.widgets.island_closeup import IslandCloseUp
from napari_kidnet.plugin.widgets.island_list import IslandList
from napari_kidnet.plugin.widgets.island_pages import IslandPages
from napari_kidnet.plugin.widgets.islands_model import details_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from napari_kidnet.islands import IslandTable
    from napari_kidnet.labelling.correcting import IslandsSession, IslandsView
    from napari_kidnet.plugin.island_tools import ToolBelt

__all__ = ["IslandsPanel"]

_INVITATION: Final = (
    "No labels yet. Segment a scan with the Segment widget, or drop a label file on the canvas: "
    "its islands are then listed, the most doubtful first."
)
_NO_ISLANDS: Final = (
    "These labels are empty: there is nothing to correct. Segment the scan, or paint a vessel."
)
_WIDTH: Final = 430
_LEAST_WIDTH: Final = 360
"""What the widest page needs, so that the dock does not jump from page to page."""


class IslandsPanel(QWidget):  # type: ignore[misc]
    """The parts of the widget, from top to bottom.

    Parameters
    ----------
    act : callable
        Called with the name of an action.
    """

    def __init__(self, act: Callable[[str], None]) -> None:
        super().__init__()
        self.layers = QComboBox()
        self.layers.setToolTip("The labels whose islands are shown.")
        self.message = _words()
        self.restore = QPushButton("Restore")
        self.restore.setToolTip("Go on with the edits that were not saved.")
        self.discard = QPushButton("Discard")
        self.discard.setToolTip("Forget the edits that were not saved, and start from the labels as shown.")
        self.progress = QProgressBar()
        self.progress.setToolTip(
            "Islands that are neither reviewed nor corrected yet, of all; how much of the scan, and of the"
            " kidneys' box, is reviewed."
        )
        self.listing = IslandList()
        self.close_up = IslandCloseUp()
        self.details = _words()
        self.details.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.tool_said = _words()
        self.tool_said.setStyleSheet("background: #e0a030; color: black; padding: 4px;")
        self.pages = IslandPages(act)
        self.save = self.pages.buttons["save"]
        self.status = _words()
        column = QVBoxLayout(self)
        column.setContentsMargins(2, 8, 2, 4)
        column.setSpacing(4)
        column.addWidget(self.layers)
        column.addWidget(self.message)
        column.addLayout(_row(self.restore, self.discard))
        column.addWidget(self.progress)
        column.addWidget(self.listing, 1)
        column.addLayout(_row(self.close_up, self.details))
        column.addWidget(self.tool_said)
        column.addWidget(self.pages)
        column.addLayout(_row(*self.pages.always))
        column.addWidget(self.status)
        column.addStretch()  # without the table, what there is to say stands at the top
        self.tool_said.hide()
        self.close_up.hide()
        self.details.hide()
        self.setMinimumWidth(_LEAST_WIDTH)
        # Else napari fills the dock with empty space, and the table stays at its least.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Ask for the width in which the reasons of an island can be read."""
        return QSize(_WIDTH, super().sizeHint().height())

    def list_layers(self, found: list[Any]) -> bool:
        """Offer labels layers; return whether they are others than before."""
        if [self.layers.itemData(i) for i in range(self.layers.count())] == found and found:
            return False
        before = self.layers.currentData()
        self.layers.blockSignals(True)
        self.layers.clear()
        for layer in found:
            self.layers.addItem(layer.name, layer)
        if before in found:
            self.layers.setCurrentIndex(found.index(before))
        self.layers.blockSignals(False)
        self.layers.setVisible(len(found) > 1)
        return True

    def show_session(self, session: IslandsSession | None, waiting: str | None, selected: int | None) -> None:
        """Show where the work stands.

        Parameters
        ----------
        session : IslandsSession or None
        waiting : str or None
            Why there is no session; None where there are no labels.
        selected : int or None
            The id of an island.
        """
        view = None if session is None else session.view
        asks = session is not None and session.recoverable is not None
        self.restore.setVisible(asks)
        self.discard.setVisible(asks)
        text = _INVITATION if waiting is None else waiting if session is None else _message(session)
        self.message.setText(text)
        self.message.setVisible(bool(text))
        islands = 0 if view is None else len(view.table)
        for part in (self.listing, self.progress):
            part.setVisible(islands > 0)
        for part in (self.pages, *self.pages.always):
            part.setVisible(view is not None)
        if view is not None:
            self._show_progress(view)
        ready = session is not None and not asks
        steps = (0, 0) if session is None else (len(session.history.done), len(session.history.undone))
        self.pages.enable(
            labels=ready,
            island=ready and selected is not None,
            steps=steps if ready else (0, 0),
            gaps=len(view.bridges) if ready and view is not None else 0,
        )
        star = " *" if session is not None and session.unsaved else ""
        self.save.setText(f"Save{star}  [Ctrl+K]")

    def _show_progress(self, view: IslandsView) -> None:
        islands = len(view.table)
        self.progress.setRange(0, max(islands, 1))
        self.progress.setValue(islands - view.left)
        kidneys = "" if view.kidney_percent is None else f", kidneys {view.kidney_percent:.1f} %"
        self.progress.setFormat(
            f"{view.left} of {islands} left · reviewed {view.reviewed_percent:.1f} %{kidneys}"
        )

    def show_details(self, view: IslandsView, row: int | None) -> None:
        """Say what is known of an island; None says nothing."""
        self.details.setText("" if row is None else details_of(view, row))
        self.details.setVisible(row is not None)

    def show_close_up(self, table: IslandTable, row: int | None, labels: NDArray[np.integer]) -> None:
        """Show one island from near; None shows none."""
        self.close_up.setVisible(row is not None)
        if row is not None:
            self.close_up.show_island(table, row, labels)
        else:
            self.close_up.clear()

    def show_gaps(self, view: IslandsView | None) -> None:
        """Say which gap is shown, and how many would be joined at once."""
        bridges = () if view is None else view.bridges
        self.pages.show_sure(len(above(bridges, self.pages.sure.value())))
        if not bridges:
            self.pages.gap.setText("No gap is proposed." if view is not None else "")
            return
        gap = bridges[0]
        self.pages.gap.setText(
            f"Gap 1 of {len(bridges)}: {class_title(gap.class_id)}, {gap.gap_mm:.1f} mm,"
            f" confidence {gap.confidence:.2f}"
        )

    def show_tool(self, tools: ToolBelt) -> None:
        """Say which tool is in hand, and what it waits for."""
        said = tools.sentence
        self.tool_said.setText(said)
        self.tool_said.setVisible(bool(said))
        self.pages.mark(tools.armed)
        self.pages.show_threshold(tools.threshold)

    def tell(self, text: str, failed: bool) -> None:
        """Say something in the last line."""
        self.status.setText(text)
        self.status.setStyleSheet("color: #e0604c;" if failed else "")


def _message(session: IslandsSession) -> str:
    if session.recoverable is not None:
        n = session.recoverable.actions
        return f"An earlier session ended without saving {n} action{'' if n == 1 else 's'}. Restore?"
    empty = "" if len(session.view.table) else _NO_ISLANDS
    return "\n".join(each for each in (empty, session.warning) if each)


def _words() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    return label


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for each in widgets:
        row.addWidget(each)
    return row
