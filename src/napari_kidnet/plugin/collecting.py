"""Holding Python's garbage collector off while somebody waits for a key to be answered.

A full collection looks at everything that napari has made and takes 150 ms in the middle of whatever runs.
"""

from __future__ import annotations

import gc
from typing import Final

from qtpy.QtCore import QObject, QTimer

__all__ = ["CollectorPause"]

_QUIET_MS: Final = 700


class CollectorPause:
    """Lets the collector rest from `hold` until nothing was held for a while.

    Parameters
    ----------
    owner : QObject
        With it, the timer ends.
    """

    def __init__(self, owner: QObject) -> None:
        self._held = False
        self._timer = QTimer(owner)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_QUIET_MS)
        self._timer.timeout.connect(lambda: self.release())

    def hold(self) -> None:
        """Begin, or go on; where somebody else has switched the collector off it stays off."""
        if gc.isenabled():
            gc.disable()
            self._held = True
        if self._held:
            self._timer.start()

    def release(self) -> None:
        """End at once."""
        if self._held:
            self._held = False
            gc.enable()
