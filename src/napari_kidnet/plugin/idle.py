"""Short pieces of work for the GUI thread itself: between its events, and never for long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["IdleRunner", "Refresher"]

# One turn of the event loop may take this long; a tenth of what a person notices as a delay.
_BUDGET_S: Final = 0.010
# Repainting costs 25-40 ms in 2D and seconds in 3D without a GPU (measured with Mesa's llvmpipe),
# so labels that arrive tile by tile are painted at most this often.
_PAUSE_MS: Final = {2: 250, 3: 2000}


class IdleRunner(QObject):  # type: ignore[misc]
    """Runs one generator a little at a time in the event loop; a new one replaces the old."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._turn)
        self._steps: Iterator[Any] | None = None
        self._done: Callable[[], None] | None = None

    def run(self, steps: Iterator[Any], done: Callable[[], None] | None = None) -> None:
        """Start running; ``done`` is called in the end, unless another run comes first."""
        self._steps, self._done = steps, done
        self._timer.start()

    def stop(self) -> None:
        """Drop what is left of the work."""
        self._timer.stop()
        self._steps = self._done = None

    def _turn(self) -> None:
        end = time.monotonic() + _BUDGET_S
        while self._steps is not None and time.monotonic() < end:
            try:
                next(self._steps)
            except StopIteration:
                done = self._done
                self.stop()
                if done is not None:
                    done()
                return


class Refresher(QObject):  # type: ignore[misc]
    """Repaints a layer after its data were written to directly, but not too often."""

    def __init__(self, layer: Any, ndisplay: Callable[[], int], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layer = layer
        self._ndisplay = ndisplay
        self._painted = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.now)

    def request(self) -> None:
        """Repaint soon; many requests become one."""
        if self._timer.isActive():
            return
        since_ms = (time.monotonic() - self._painted) * 1000
        self._timer.start(max(0, int(_PAUSE_MS[self._ndisplay()] - since_ms)))

    def now(self) -> None:
        """Repaint at once (nothing, while the layer is hidden: showing it repaints anyway)."""
        self._timer.stop()
        self._painted = time.monotonic()
        if self._layer.visible:
            self._layer.refresh(extent=False, thumbnail=False, highlight=False)

    def stop(self) -> None:
        """Forget what was requested."""
        self._timer.stop()
