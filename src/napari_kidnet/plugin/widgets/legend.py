"""What the colours mean, and how much there is of each class."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_kidnet.classes import VESSELS, VesselClass

__all__ = ["Legend"]


class Legend(QWidget):  # type: ignore[misc]
    """A row for each class: colour, name, volume in mL."""

    def __init__(self) -> None:
        super().__init__()
        # its word-wrapped neighbours would squeeze it
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        self._volumes: dict[str, QLabel] = {}
        for row, each in enumerate(VESSELS):
            volume = QLabel("–")
            volume.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            volume.setToolTip(f"Volume that is labelled {each.title.lower()}, in millilitres.")
            name = QLabel(each.title)
            name.setToolTip(f"Label {each.id}")
            grid.addWidget(_swatch(each), row, 0)
            grid.addWidget(name, row, 1)
            grid.addWidget(volume, row, 2)
            self._volumes[each.name] = volume

    def show_volumes(self, volumes_ml: dict[str, float] | None) -> None:
        """Show volumes by class name; None is a scan without labels."""
        for name, label in self._volumes.items():
            label.setText("–" if volumes_ml is None else f"{volumes_ml[name]:.1f} mL")


def _swatch(each: VesselClass) -> QLabel:
    red, green, blue = (round(255 * part) for part in each.colour[:3])
    square = QLabel()
    square.setFixedSize(14, 14)
    square.setToolTip(f"{each.title}: label {each.id}")
    square.setStyleSheet(f"background-color: rgb({red}, {green}, {blue}); border-radius: 3px;")
    return square
