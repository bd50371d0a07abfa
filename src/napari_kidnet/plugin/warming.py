"""Get libraries ready early and in other threads than the window's, which would stand still meanwhile.

Importing PyTorch and checking a checkpoint takes 2.6 s of CPU, which is longer than the first tile
(measured with the lite network), and napari itself imports SciPy, pandas and its table of units when
the first layer is made, another 1.2 s. In threads beside the window they cost the person nothing:
the first labels are there that much sooner.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
from functools import cache
from importlib import util
from pathlib import Path

from napari_kidnet.errors import KidnetError

__all__ = ["import_for_layers", "warm_up"]

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


@cache
def import_for_layers() -> None:
    """Import here and now what napari imports when it makes its first image and its first labels.

    Two small layers that no viewer ever sees import exactly that, whatever the version of napari needs.
    """
    import numpy as np
    from napari.layers import Image, Labels

    from napari_kidnet.plugin.layers import class_look, placement

    place = placement((1.0, 1.0, 1.0), None)
    Image(np.zeros((2, 2, 2), np.int16), contrast_limits=(0, 1), **place)
    Labels(np.zeros((2, 2, 2), np.uint8), **place, **class_look())


def _import(checkpoint: Path | None) -> None:
    try:
        _load_without_the_lock()
        import napari_kidnet.network.engines
        import napari_kidnet.segmentation.steps  # noqa: F401
        from napari_kidnet.network import load_checkpoint

        load_checkpoint(checkpoint)  # read once more by the job: it is in the system's cache then
        import openvino  # noqa: F401
    except (ImportError, KidnetError):  # said where it matters: by the job that needs it
        _log.debug("warming up failed", exc_info=True)


def _load_without_the_lock() -> None:
    """Load PyTorch's largest library by the system's own call, for which ctypes lets other threads run.

    The import would do it with Python's lock held, and the window stood still for .45 s (.13 s this way,
    measured on a loaded machine). With CUDA PyTorch has an order of its own to load things in.
    """
    found = util.find_spec("torch") if sys.platform == "linux" else None
    if found is None or found.origin is None:
        return
    libraries = Path(found.origin).with_name("lib")
    library = libraries / "libtorch_cpu.so"
    if not library.is_file() or any(libraries.glob("libtorch_cuda*")):
        return
    system = ctypes.CDLL(None)
    system.dlopen.restype = ctypes.c_void_p
    system.dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    system.dlopen(os.fsencode(library), os.RTLD_NOW)
