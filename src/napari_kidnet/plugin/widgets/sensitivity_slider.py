"""How sure the network must be."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

__all__ = ["SensitivitySlider"]


class SensitivitySlider(QWidget):  # type: ignore[misc]
    """A slider from "only what is sure" to "everything that may be a vessel"."""

    changed = Signal(float)
    """The person moved it: 0…1."""

    def __init__(self) -> None:
        super().__init__()
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, 100)
        self._slider.setToolTip(
            "Left: only what is surely a vessel. Right: everything that may be one.\n"
            "After a run the labels follow at once; what you have edited stays."
        )
        self._value = QLabel()
        self._value.setMinimumWidth(self.fontMetrics().horizontalAdvance("0.00"))
        row = QHBoxLayout()
        row.addWidget(self._slider, 1)
        row.addWidget(self._value)
        ends = QHBoxLayout()
        ends.addWidget(QLabel("surer"))
        ends.addStretch()
        ends.addWidget(QLabel("more"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(row)
        column.addLayout(ends)
        self._slider.valueChanged.connect(self._on_moved)
        self.set_value(0.5)

    @property
    def value(self) -> float:
        """0…1."""
        return int(self._slider.value()) / 100

    def set_value(self, value: float) -> None:
        """Show a value without telling that the person moved it."""
        self._slider.blockSignals(True)
        self._slider.setValue(round(100 * value))
        self._slider.blockSignals(False)
        self._value.setText(f"{self.value:.2f}")

    def _on_moved(self) -> None:
        self._value.setText(f"{self.value:.2f}")
        self.changed.emit(self.value)
