"""Minutes and actions of each finished scan: whether the loop gets cheaper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_kidnet.labelling.worklist import Curve

__all__ = ["WorklistPlot"]

_INK: Final = "#9aa0a8"  # readable on napari's dark and light theme
_LINES: Final = (("minutes", "#4fb3bf"), ("actions", "#c792d9"))
_TUNED: Final = "#e0b050"


class WorklistPlot(QWidget):  # type: ignore[misc]
    """Two curves over the scans in the order of finishing, fine-tunings as dashed lines, and a sentence."""

    def __init__(self) -> None:
        super().__init__()
        import pyqtgraph as pg

        self._pg = pg
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setToolTip("Minutes with input and actions; fine-tunings are counted when they are noted.")
        self.canvas = pg.GraphicsLayoutWidget()
        self.canvas.setBackground(None)
        self.canvas.setFixedHeight(190)
        self.canvas.setToolTip("Minutes and actions of each finished scan; a dashed line is a fine-tuning.")
        self.plots: list[Any] = []
        for row, (title, _) in enumerate(_LINES):
            plot = self.canvas.addPlot(row=row, col=0)
            plot.setLabel("left", title, color=_INK)
            plot.setMouseEnabled(x=False, y=False)
            plot.hideButtons()
            plot.setMenuEnabled(False)
            plot.showGrid(y=True, alpha=0.2)
            for side in ("left", "bottom"):
                plot.getAxis(side).setPen(_INK)
                plot.getAxis(side).setTextPen(_INK)
            plot.getAxis("left").setWidth(52)
            self.plots.append(plot)
        self.plots[1].setXLink(self.plots[0])
        self.plots[0].getAxis("bottom").setStyle(showValues=False)
        self.plots[1].setLabel("bottom", "scans done", color=_INK)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.canvas)
        column.addWidget(self.words)

    def show_curve(self, curve: Curve) -> None:
        """Show another curve."""
        self.words.setText(_words(curve))
        self.canvas.setVisible(bool(curve.scans))
        places = list(range(1, len(curve.scans) + 1))
        for plot, (_, colour), values in zip(self.plots, _LINES, (curve.minutes, curve.actions), strict=True):
            plot.clear()
            plot.plot(
                places,
                list(values),
                pen=self._pg.mkPen(colour, width=2),
                symbol="o",
                symbolSize=7,
                symbolBrush=colour,
                symbolPen=None,
            )
            for mark in curve.tunings:
                pen = self._pg.mkPen(_TUNED if mark.activated else _INK, width=1.5, style=_dashes())
                plot.addItem(self._pg.InfiniteLine(mark.after + 0.5, angle=90, pen=pen))
            plot.setXRange(0.5, max(2, len(places)) + 0.5, padding=0)
            plot.setYRange(0, 1.1 * max([*values, 1]), padding=0)
        ticks = [(place, str(place)) for place in places if len(places) <= 12 or place % 5 == 0]
        self.plots[1].getAxis("bottom").setTicks([ticks])


def _dashes() -> Any:
    from qtpy.QtCore import Qt

    return Qt.PenStyle.DashLine


def _words(curve: Curve) -> str:
    names = [mark.checkpoint for mark in curve.tunings]
    return f"{curve.in_words} Fine-tuned: {', '.join(names)}." if names else curve.in_words
