"""Where the result is, and saving it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QWidget

if TYPE_CHECKING:
    from napari_kidnet.plugin.controller import Worksheet

__all__ = ["ResultBox"]


class ResultBox(QWidget):  # type: ignore[misc]
    """One line that says where the labels are, and a button that saves them."""

    save_asked = Signal(object)
    """The ``Path`` to save to."""

    def __init__(self) -> None:
        super().__init__()
        self._where = QLabel("No labels yet.")
        self._where.setWordWrap(True)
        self._where.setMinimumHeight(3 * self.fontMetrics().height())
        self.save = QPushButton("Save …")
        self.save.setToolTip(
            "Save the labels as NIfTI on the scan's own grid, for ITK-SNAP, 3D Slicer and others."
        )
        self.save.setEnabled(False)
        self.save.clicked.connect(self._ask)
        self._proposed = Path("labels.nii.gz")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._where, 1)
        row.addWidget(self.save)

    def show_sheet(self, sheet: Worksheet | None) -> None:
        """Say where the labels of this scan are."""
        labels = sheet.labels if sheet is not None else None
        self.save.setEnabled(labels is not None)
        if sheet is None or labels is None:
            self._where.setText("No labels yet.")
            return
        self._proposed = sheet.proposed_path
        saved = f"saved as {sheet.saved_as.name}" if sheet.saved_as else "not saved"
        self._where.setText(f"In the layer “{labels.name}”, {saved}.")
        self._where.setToolTip(str(sheet.saved_as or ""))

    def _ask(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Save labels", str(self._proposed), "NIfTI (*.nii.gz *.nii)"
        )
        if name:
            self.save_asked.emit(Path(name if ".nii" in name else f"{name}.nii.gz"))
