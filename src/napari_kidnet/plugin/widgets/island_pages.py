"""The buttons of the Islands widget by page, each with its key and a tooltip, and the numbers they go by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QShortcut,
    QSlider,
    QSpinBox,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_kidnet.classes import VESSELS
from napari_kidnet.plugin.island_keys import ISLAND_KEYS, PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_kidnet.plugin.island_keys import IslandKey

__all__ = ["IslandPages", "add_shortcuts"]

_COLUMNS: Final = 2
"""So that every button can be read in a dock of 350 pixels."""
_OF_CLASS: Final = {"to_artery": VESSELS[0], "to_vein": VESSELS[1], "to_collecting": VESSELS[2]}
_PAGE_TIPS: Final = {
    "Judge": "One island after the other: right, wrong, or another class.",
    "Repair": "Merge, split, swap, grow, fill and paint.",
    "Gaps": "Join what is broken.",
    "Review": "Declare slices or a box reviewed.",
}


class IslandPages(QTabWidget):  # type: ignore[misc]
    """A page for each kind of work.

    Parameters
    ----------
    act : callable
        Called with the name of an action.
    """

    settings_changed = Signal()
    """What is painted, the probability, or the slices are others."""

    def __init__(self, act: Callable[[str], None]) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        for title, keys in PAGES.items():
            if not title:
                self.always = [self._button(key, act) for key in keys]
                continue
            page = QWidget()
            grid = QGridLayout()
            grid.setSpacing(3)
            for k, key in enumerate(keys):
                grid.addWidget(self._button(key, act), k // _COLUMNS, k % _COLUMNS)
            column = QVBoxLayout(page)
            column.setContentsMargins(1, 4, 1, 2)
            column.addLayout(grid)
            numbers = {"Repair": self._repair, "Gaps": self._gaps, "Review": self._review}
            for part in numbers.get(title, list)():
                column.addLayout(part)
            column.addStretch()
            self.setTabToolTip(self.addTab(page, title), _PAGE_TIPS[title])

    def _button(self, key: IslandKey, act: Callable[[str], None]) -> QPushButton:
        button = QPushButton(f"{key.title}  [{key.shown}]")
        button.setToolTip(f"{key.tip}\nKey: {key.shown}")
        button.clicked.connect(lambda *_: act(key.action))
        if key.action in _OF_CLASS:
            button.setIcon(_swatch(_OF_CLASS[key.action].colour))
        self.buttons[key.action] = button
        return button

    # ------------------------------------------------------------------ the numbers

    def _repair(self) -> list[QLayout]:
        self.paint_as = QComboBox()
        self.paint_as.setToolTip("What Fill branch and Vessel brush paint.")
        for each in VESSELS:
            self.paint_as.addItem(_swatch(each.colour), each.title, each.id)
        self.paint_as.addItem("nothing (erase)", 0)
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(1, 99)
        self.threshold.setValue(50)
        self.threshold.setToolTip("Grow, shrink: the least probability that still belongs to the island.")
        self.threshold_said = QLabel("0.50")
        self.paint_as.currentIndexChanged.connect(lambda _: self.settings_changed.emit())
        self.threshold.valueChanged.connect(lambda _: self.settings_changed.emit())
        return [_row("Paint", self.paint_as), _row("Probability", self.threshold, self.threshold_said)]

    def _gaps(self) -> list[QLayout]:
        self.sure = QDoubleSpinBox()
        self.sure.setRange(0, 1)
        self.sure.setSingleStep(0.05)
        self.sure.setValue(0.6)
        self.sure.setToolTip("How sure a proposal must be (0 to 1) to be joined with the others.")
        self.gap = QLabel()
        self.gap.setWordWrap(True)
        self.gap.setToolTip("The gap that is shown in green, and how sure the proposal is (0 to 1).")
        return [_row("Sure from", self.sure, None), _row(self.gap)]

    def _review(self) -> list[QLayout]:
        self.around = QSpinBox()
        self.around.setPrefix("± ")
        self.around.setToolTip("How many slices on each side of the one that is shown.")
        self.first, self.last = QSpinBox(), QSpinBox()
        self.first.setToolTip("The first slice that is reviewed.")
        self.last.setToolTip("The last slice that is reviewed.")
        for each in (self.first, self.last):
            each.valueChanged.connect(lambda _: self.settings_changed.emit())
        return [
            _row("This slice", self.around, None),
            _row("or from", self.first, "to", self.last),
        ]

    def follow(self, here: int, slices: int) -> None:
        """Let the slab be the shown slice and those around it."""
        n = self.around.value()
        for spin, value in ((self.first, here - n), (self.last, here + n)):
            spin.blockSignals(True)
            spin.setRange(0, max(slices - 1, 0))
            spin.setValue(min(max(value, 0), slices - 1))
            spin.blockSignals(False)
        self.settings_changed.emit()

    @property
    def slices(self) -> slice:
        """The slab, in whichever order it was written."""
        low, high = sorted((self.first.value(), self.last.value()))
        return slice(low, high + 1)

    # ------------------------------------------------------------------ what can be done

    def enable(self, *, labels: bool, island: bool, steps: tuple[int, int], gaps: int) -> None:
        """Enable what can be done; ``steps`` can be undone and redone."""
        there = {"labels": labels, "island": island, "gap": gaps > 0, "": labels}
        for key in ISLAND_KEYS:
            self.buttons[key.action].setEnabled(there[key.needs])
        self.buttons["undo"].setEnabled(steps[0] > 0)
        self.buttons["redo"].setEnabled(steps[1] > 0)

    def show_page(self, title: str) -> None:
        """Bring a page to the front."""
        self.setCurrentIndex(next(k for k in range(self.count()) if self.tabText(k) == title))

    def show_sure(self, joined: int) -> None:
        """Say how many gaps would be joined at once."""
        key = next(each for each in ISLAND_KEYS if each.action == "join_sure")
        self.buttons["join_sure"].setText(f"{key.title} ({joined})  [{key.shown}]")

    def show_threshold(self, threshold: float) -> None:
        """Show the probability that growing goes by."""
        self.threshold.blockSignals(True)
        self.threshold.setValue(round(100 * threshold))
        self.threshold.blockSignals(False)
        self.threshold_said.setText(f"{threshold:.2f}")

    def mark(self, armed: str) -> None:
        """Show which tool is in hand."""
        for action, button in self.buttons.items():
            button.setStyleSheet("border: 2px solid #e0a030;" if action == armed else "")


def add_shortcuts(widget: QWidget, act: Callable[[str], None]) -> None:
    """Let the keys work while the widget has the focus, too; text fields keep their letters."""
    pairs = [(each.shown, each.action) for each in ISLAND_KEYS]
    for keys, action in [*pairs, ("Ctrl+Z", "undo"), ("Ctrl+Shift+Z", "redo")]:
        shortcut = QShortcut(QKeySequence(keys), widget)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(_forward(act, action))


def _forward(act: Callable[[str], None], action: str) -> Callable[..., None]:
    return lambda *_: act(action)


def _swatch(colour: tuple[float, ...]) -> QIcon:
    square = QPixmap(12, 12)
    square.fill(QColor.fromRgbF(*colour[:3]))
    return QIcon(square)


def _row(*parts: Any) -> QHBoxLayout:
    row = QHBoxLayout()
    for each in parts:
        if each is None:
            row.addStretch(1)
        elif isinstance(each, str):
            row.addWidget(QLabel(each))
        else:
            row.addWidget(each, 1)
    return row
