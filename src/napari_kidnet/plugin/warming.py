"""Get the network's libraries ready early and aside, while napari is still drawing its window.

Importing PyTorch and checking a checkpoint takes 2.6 s of CPU, which is longer than the first tile
(measured with the lite network). In a thread of its own, beside the window, it costs the person
nothing: the first labels are there that much sooner.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from napari_kidnet.errors import KidnetError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["warm_up"]

_started = threading.Event()
_log = logging.getLogger(__name__)


def warm_up(checkpoint: Path | None) -> None:
    """Start importing what a segmentation with this checkpoint needs; once in a process.

    Parameters
    ----------
    checkpoint : Path or None
        As in `PredictRequest`.
    """
    if _started.is_set():
        return
    _started.set()
    threading.Thread(target=_import, args=(checkpoint,), name="kidnet-warm-up", daemon=True).start()


def _import(checkpoint: Path | None) -> None:
    try:
        import napari_kidnet.network.engines
        import napari_kidnet.segmentation.steps  # noqa: F401
        from napari_kidnet.network import load_checkpoint

        load_checkpoint(checkpoint)  # read once more by the job: it is in the system's cache then
        import openvino  # noqa: F401
    except (ImportError, KidnetError):  # said where it matters: by the job that needs it
        _log.debug("warming up failed", exc_info=True)
