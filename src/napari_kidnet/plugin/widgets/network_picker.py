"""Which checkpoint, with what its card says, and on which device."""

from __future__ import annotations

from pathlib import Path

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from napari_kidnet.labelling import CheckpointCard, list_cards
from napari_kidnet.labelling.in_use import own_folder

__all__ = ["DevicePicker", "NetworkPicker"]

_DEVICES = {
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "NVIDIA GPU (CUDA)",
    "mps": "Apple GPU (MPS)",
}


class NetworkPicker(QWidget):  # type: ignore[misc]
    """A list of checkpoints, a button for another file, and the facts of the chosen one."""

    changed = Signal()

    def __init__(self, chosen: Path | None) -> None:
        super().__init__()
        self._list = QComboBox()
        self._list.setToolTip("The trained network (checkpoint) that finds the vessels.")
        self._list.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._list.setMinimumContentsLength(12)
        browse = QToolButton()
        browse.setText("…")
        browse.setToolTip("Choose a checkpoint file (.safetensors), for example a fine-tuned one.")
        browse.clicked.connect(self._browse)
        self._facts = QLabel()
        self._facts.setWordWrap(True)
        self._facts.setToolTip("What the checkpoint says about itself.")
        row = QHBoxLayout()
        row.addWidget(self._list, 1)
        row.addWidget(browse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self._facts)
        self._cards: list[CheckpointCard] = []
        self._list.currentIndexChanged.connect(self._on_chosen)
        self.show_cards(chosen)

    def show_cards(self, chosen: Path | None) -> None:
        """List what there is, and choose this file (None: the shipped one)."""
        own = sorted(own_folder().glob("*.safetensors"))
        self._cards = list_cards(*own, *([chosen] if chosen else []))
        self._list.clear()
        self._list.addItems([card.title for card in self._cards])
        paths = [card.path for card in self._cards]
        self._list.setCurrentIndex(paths.index(chosen) if chosen in paths else 0)

    @property
    def card(self) -> CheckpointCard:
        """The chosen checkpoint's card."""
        return self._cards[max(0, int(self._list.currentIndex()))]

    @property
    def path(self) -> Path | None:
        """The chosen checkpoint's file; None is the shipped one."""
        return self.card.path if self._list.currentIndex() > 0 else None

    def _on_chosen(self) -> None:
        card = self.card
        self._facts.setText(card.problem or " · ".join(card.facts))
        self._facts.setVisible(bool(self._facts.text()))
        self.changed.emit()

    def _browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Checkpoint", "", "Checkpoints (*.safetensors)")
        if name:
            self.show_cards(Path(name))


class DevicePicker(QComboBox):  # type: ignore[misc]
    """Where the network runs."""

    def __init__(self, chosen: str) -> None:
        super().__init__()
        for key, title in _DEVICES.items():
            self.addItem(title, key)
        self.setCurrentIndex(max(0, self.findData(chosen)))
        self.setToolTip("Where the network runs. Automatic takes a GPU where there is one.")

    @property
    def device(self) -> str:
        """The key that the settings use."""
        return str(self.currentData())
