"""Kid-Net in napari: from a contrast CT to artery, vein and collecting system, and back to a better model.

The names below are loaded when they are first used, so that importing the package costs neither
PyTorch nor Qt (menus stay fast).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_kidnet.evaluation import evaluate
    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.scans import Scan, read_labels, read_scan, write_labels
    from napari_kidnet.segmentation import segment
    from napari_kidnet.training.finetuning import finetune

__all__ = [
    "Scan",
    "__version__",
    "evaluate",
    "finetune",
    "load_checkpoint",
    "read_labels",
    "read_scan",
    "segment",
    "write_labels",
]

_ROOM_OF = {
    "Scan": "scans",
    "read_scan": "scans",
    "read_labels": "scans",
    "write_labels": "scans",
    "load_checkpoint": "network",
    "segment": "segmentation",
    "evaluate": "evaluation",
    "finetune": "training.finetuning",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-kidnet")
    if name in _ROOM_OF:
        return getattr(import_module(f"napari_kidnet.{_ROOM_OF[name]}"), name)
    raise AttributeError(f"module 'napari_kidnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
