"""The buttons of the Islands widget, each with its key and a tooltip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QWidget

from napari_kidnet.classes import VESSELS
from napari_kidnet.plugin.island_keys import ISLAND_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["IslandActions", "add_shortcuts"]

_ROWS: Final = (
    ("previous", "next", "where"),
    ("accept", "delete", "flag"),
    ("to_artery", "to_vein", "to_collecting"),
    ("keep_largest", "undo", "redo"),
    ("find_gaps", "join", "refuse"),
)
_OF_CLASS: Final = {"to_artery": VESSELS[0], "to_vein": VESSELS[1], "to_collecting": VESSELS[2]}
_ON_ONE: Final = (
    "where",
    "accept",
    "delete",
    "flag",
    "to_artery",
    "to_vein",
    "to_collecting",
    "keep_largest",
)


class IslandActions(QWidget):  # type: ignore[misc]
    """A grid of buttons; each calls the method of its name.

    Parameters
    ----------
    target : object
        Has a method for every action of `ISLAND_KEYS`.
    """

    def __init__(self, target: Any) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        known = {each.action: each for each in ISLAND_KEYS}
        for row, actions in enumerate(_ROWS):
            for column, action in enumerate(actions):
                key = known[action]
                button = QPushButton(f"{key.title}  [{key.shown}]")
                button.setToolTip(f"{key.tip}\nKey: {key.shown}")
                button.clicked.connect(_forward(target, action))
                if action in _OF_CLASS:
                    button.setIcon(_swatch(_OF_CLASS[action].colour))
                grid.addWidget(button, row, column)
                self.buttons[action] = button
        self.gap = QLabel()
        self.gap.setWordWrap(True)
        self.gap.setToolTip("The gap that is shown in green, and how sure the proposal is (0 to 1).")
        self.gap.hide()
        grid.addWidget(self.gap, len(_ROWS), 0, 1, 3)

    def enable(self, *, any_island: bool, selected: bool, steps: tuple[int, int], gaps: bool) -> None:
        """Enable what can be done; ``steps`` can be undone and redone."""
        for action, button in self.buttons.items():
            if action in _ON_ONE:
                button.setEnabled(selected)
            else:
                button.setEnabled(any_island)
        self.buttons["undo"].setEnabled(steps[0] > 0)
        self.buttons["redo"].setEnabled(steps[1] > 0)
        self.buttons["join"].setEnabled(gaps)
        self.buttons["refuse"].setEnabled(gaps)


def add_shortcuts(widget: QWidget, target: Any) -> None:
    """Let the keys work while the widget has the focus, too; text fields keep their letters."""
    from qtpy.QtWidgets import QShortcut

    pairs = [(each.shown, each.action) for each in ISLAND_KEYS]
    for keys, action in [*pairs, ("Ctrl+Z", "undo"), ("Ctrl+Shift+Z", "redo")]:
        shortcut = QShortcut(QKeySequence(keys), widget)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(_forward(target, action))


def _forward(target: Any, action: str) -> Callable[..., None]:
    return lambda *_: getattr(target, action)()


def _swatch(colour: tuple[float, ...]) -> QIcon:
    square = QPixmap(12, 12)
    square.fill(QColor.fromRgbF(*colour[:3]))
    return QIcon(square)
