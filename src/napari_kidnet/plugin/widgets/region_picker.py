"""The whole scan, or a box that is drawn in the viewer."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from napari_kidnet.plugin.regions import add_region_layer, box_of_shapes, is_region_layer

__all__ = ["RegionPicker"]


class RegionPicker(QWidget):  # type: ignore[misc]
    """Chooses what to segment; the box is the extent of the rectangles in a shapes layer."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._what = QComboBox()
        self._what.addItems(["Whole scan", "Drawn box"])
        self._what.setToolTip(
            "Segment everything, or only a box. A rectangle on one slice bounds its two directions; "
            "a second one on another slice bounds the third."
        )
        self._draw = QPushButton("Draw")
        self._draw.setToolTip("Draw a rectangle about the kidneys in the viewer.")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._what, 1)
        row.addWidget(self._draw)

    @property
    def is_box(self) -> bool:
        """Whether a box was asked for."""
        return bool(self._what.currentIndex() == 1)

    def draw_on(self, image: Any) -> None:
        """Let the person draw on this image."""
        self._what.setCurrentIndex(1)
        add_region_layer(self._viewer, image)

    def on_draw(self, callback: Any) -> None:
        """Call back when the button is pressed."""
        self._draw.clicked.connect(lambda: callback())

    def box_on(self, image: Any) -> tuple[int, int, int, int, int, int] | None:
        """Return the voxels (z0, z1, y0, y1, x0, x1) to segment; None is the whole scan.

        Raises
        ------
        SettingsError
            A box was asked for and none is drawn, or it lies beside the scan.
        """
        if not self.is_box:
            return None
        drawn = [layer for layer in self._viewer.layers if is_region_layer(layer)]
        return box_of_shapes(drawn, image)
