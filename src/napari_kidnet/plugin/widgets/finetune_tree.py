"""The tree of checkpoints: which is in use, what each came from, a note on it, and putting one away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QMessageBox,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_kidnet.classes import VESSELS
from napari_kidnet.plugin.widgets.finetune_result import show_rows

if TYPE_CHECKING:
    from napari_kidnet.training.lineage import Node

__all__ = ["CheckpointTree"]


class CheckpointTree(QWidget):  # type: ignore[misc]
    """A tree, and buttons for what is selected; two that are selected are compared side by side."""

    use_asked = Signal(object)
    """The `Node` to use."""
    note_asked = Signal(object, str)
    """A `Node` and the note on it."""
    away_asked = Signal(object)
    """The `Node` to put away."""

    def __init__(self) -> None:
        super().__init__()
        self._nodes: list[Node] = []
        self.empty = QLabel("No checkpoints of your own yet; the shipped one is in use.")
        self.empty.setWordWrap(True)
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["Checkpoint", "Mean F1", "Note"])
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.tree.setToolTip("Each below the one that it was fine-tuned from. Select two to compare them.")
        self.tree.setMinimumHeight(110)
        self.tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.itemSelectionChanged.connect(self._on_selected)
        self.use = QPushButton("Use")
        self.use.setToolTip("Segment with this one from now on: going back changes no file.")
        self.note = QPushButton("Note …")
        self.note.setToolTip("Write a line about it.")
        self.away = QPushButton("Delete …")
        self.away.setToolTip("Move it to the folder “put away”, from where it can be fetched back.")
        self.use.clicked.connect(lambda: self.use_asked.emit(self._selected()[0]))
        self.note.clicked.connect(self._ask_note)
        self.away.clicked.connect(self._ask_away)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(14)
        buttons = QHBoxLayout()
        for each in (self.use, self.note, self.away):
            buttons.addWidget(each)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.empty)
        column.addWidget(self.tree)
        column.addLayout(buttons)
        column.addLayout(self._grid)
        self.show_nodes([], None)

    def show_nodes(self, nodes: list[Node], in_use: Any) -> None:
        """Show a folder's checkpoints, each parent before its children; ``in_use`` is a path."""
        self._nodes = nodes
        self.tree.clear()
        items: dict[str, QTreeWidgetItem] = {}
        for node in nodes:
            item = QTreeWidgetItem([_title(node), _scores(node), node.note])
            item.setData(0, Qt.ItemDataRole.UserRole, node.hash)
            item.setToolTip(0, _about(node))
            if node.path == in_use:
                item.setText(0, f"● {_title(node)}")
                font = item.font(0)
                font.setBold(True)
                item.setFont(0, font)
            parent = items.get(node.parent or "")
            parent.addChild(item) if parent is not None else self.tree.addTopLevelItem(item)
            items[node.hash] = item
        self.tree.expandAll()
        self.tree.setVisible(bool(nodes))
        self.empty.setVisible(not nodes)
        self._on_selected()

    def _selected(self) -> list[Node]:
        chosen = [str(each.data(0, Qt.ItemDataRole.UserRole)) for each in self.tree.selectedItems()]
        return [each for each in self._nodes if each.hash in chosen]

    def _on_selected(self) -> None:
        chosen = self._selected()
        one = len(chosen) == 1
        for button in (self.use, self.note, self.away):
            button.setEnabled(one)
            button.setVisible(bool(self._nodes))
        show_rows(self._grid, _side_by_side(chosen) if 1 <= len(chosen) <= 3 else [])

    def _ask_note(self) -> None:
        node = self._selected()[0]
        text, done = QInputDialog.getText(self, "Note", f"About {node.path.stem}:", text=node.note)
        if done:
            self.note_asked.emit(node, text)

    def _ask_away(self) -> None:
        from napari_kidnet.training.shelf import children_of

        node = self._selected()[0]
        children = children_of(node, self._nodes)
        words = f"Move {node.path.name} to the folder “put away”?"
        if children:
            words += f" {', '.join(each.path.stem for each in children)} came from it and will stand alone."
        buttons = QMessageBox.StandardButton
        if QMessageBox.question(self, "Delete a checkpoint", words) == buttons.Yes:
            self.away_asked.emit(node)


def _title(node: Node) -> str:
    return "Kid-Net, as shipped" if node.path.stem == "default" and not node.record else node.path.stem


def _scores(node: Node) -> str:
    before, after = (node.record.get(key) or {} for key in ("before", "after"))
    if "mean_f1" not in before or "mean_f1" not in after:
        return ""
    return f"{before['mean_f1']:.3f} → {after['mean_f1']:.3f}"


def _about(node: Node) -> str:
    scans = [f"{each['name']} ({each['role']})" for each in node.record.get("scans", ())]
    lines = [str(node.path), node.hash[:12]]
    if scans:
        lines.append(f"{node.record.get('steps')} steps; scans: {', '.join(scans)}")
    return "\n".join(lines)


def _side_by_side(nodes: list[Node]) -> list[tuple[str, ...]]:
    """Return the figures that each had when it was made, one column a checkpoint."""
    figures = [node.record.get("after") or {} for node in nodes]
    if not any(figures):
        return []
    rows: list[tuple[str, ...]] = [("when it was made", *(_title(node) for node in nodes))]
    for each in VESSELS:
        rows.append((f"F1 {each.title.lower()}", *(_figure(f.get("f1", {}).get(each.name)) for f in figures)))
    rows.append(("mean F1", *(_figure(each.get("mean_f1")) for each in figures)))
    rows.append(("… of earlier scans", *(_figure(each.get("old")) for each in figures)))
    rows.append(("islands to delete", *(str(each.get("islands_to_delete", "–")) for each in figures)))
    rows.append(("steps", *(str(node.record.get("steps", "–")) for node in nodes)))
    return rows


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "–"
