"""Import the networks' libraries early and aside, while napari is still drawing its window.

The first labels are then there a few seconds sooner: importing PyTorch takes longer than the first
tile. It happens in a thread of its own, once in a process.
"""

from __future__ import annotations

import logging
import threading

__all__ = ["warm_up"]

_started = threading.Event()
_log = logging.getLogger(__name__)


def warm_up() -> None:
    """Start importing what a segmentation needs, if that has not been started yet."""
    if _started.is_set():
        return
    _started.set()
    threading.Thread(target=_import, name="kidnet-warm-up", daemon=True).start()


def _import() -> None:
    try:
        import napari_kidnet.network
        import napari_kidnet.segmentation  # noqa: F401
    except ImportError:  # said where it matters: by the job that needs it
        _log.exception("the networks' libraries cannot be imported")
