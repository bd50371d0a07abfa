"""How a run goes: loss, validation F1, and the class weights of Algorithm 1 as they move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_kidnet.classes import CLASSES

if TYPE_CHECKING:
    from napari_kidnet.plugin.finetune_desk import FinetuneDesk

__all__ = ["FinetunePlot"]

_INK: Final = "#9aa0a8"  # readable on napari's dark and light theme
_LOSS: Final = "#7a828c"
_F1: Final = "#4fb3bf"
_SMOOTH: Final = 0.1
"""Part of the newest step in the thick curve: single patches differ far more than the run moves."""
_LEAST_STEPS: Final = 10
_LEAST_F1: Final = 0.04
"""Span of the F1 axis: twice the drop that the guard forbids, so that a change of .001 looks like none."""


class FinetunePlot(QWidget):  # type: ignore[misc]
    """Three small plots over the steps."""

    def __init__(self) -> None:
        super().__init__()
        import pyqtgraph as pg

        self._pg = pg
        self.canvas = pg.GraphicsLayoutWidget()
        self.canvas.setBackground(None)
        self.canvas.setFixedHeight(250)
        self.canvas.setToolTip(
            "Loss of each step (thin) and its trend (thick); mean F1 on scans that nothing is learned from; "
            "the weight of each class in the loss (logarithmic; grey is background)."
        )
        self._plots = [self._plot(row, title) for row, title in enumerate(("loss", "F1", "weights"))]
        self._plots[2].setLogMode(y=True)
        self._plots[2].setLabel("bottom", "step", color=_INK)
        for each in self._plots[1:]:
            each.setXLink(self._plots[0])
        for each in self._plots[:2]:
            each.getAxis("bottom").setStyle(showValues=False)
        loss, f1, weights = self._plots
        self.loss = loss.plot(pen=pg.mkPen(_LOSS, width=1))
        self.trend = loss.plot(pen=pg.mkPen(_F1, width=2))
        self.f1 = f1.plot(
            pen=pg.mkPen(_F1, width=2), symbol="o", symbolSize=7, symbolBrush=_F1, symbolPen=None
        )
        self.weights = [
            weights.plot(
                pen=pg.mkPen(_LOSS if not each.id else [int(255 * c) for c in each.colour[:3]], width=2)
            )
            for each in CLASSES
        ]
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.canvas)

    def _plot(self, row: int, title: str) -> Any:
        plot = self.canvas.addPlot(row=row, col=0, enableMenu=False)
        plot.setLabel("left", title, color=_INK)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.showGrid(y=True, alpha=0.2)
        for side in ("left", "bottom"):
            plot.getAxis(side).setPen(_INK)
            plot.getAxis(side).setTextPen(_INK)
        plot.getAxis("left").setWidth(70)  # 0.775 and a title beside it
        plot.getAxis("left").enableAutoSIPrefix(False)
        return plot

    def show_run(self, desk: FinetuneDesk) -> None:
        """Draw what the run has shown so far."""
        steps = [at for at, _ in desk.losses]
        losses = [loss for _, loss in desk.losses]
        self.loss.setData(steps, losses)
        self._plots[0].setXRange(0, max([*steps, _LEAST_STEPS]), padding=0.02)
        trend: list[float] = []
        for each in losses:
            trend.append(each if not trend else trend[-1] + _SMOOTH * (each - trend[-1]))
        self.trend.setData(steps, trend)
        scores = [score for _, score in desk.scores]
        self.f1.setData([at for at, _ in desk.scores], scores)
        if scores:
            low, high = min(scores), max(scores)
            spare = max(0.0, _LEAST_F1 - (high - low)) / 2
            self._plots[1].setYRange(low - spare, high + spare, padding=0.08)
        for number, curve in enumerate(self.weights):
            known = [(at, each[number]) for at, each in desk.weights if len(each) > number]
            curve.setData([at for at, _ in known], [max(value, 1e-3) for _, value in known])
