"""Kid-Net, its checkpoints and the engines that run it (paper §2, Fig. 2).

The header of a checkpoint is read without PyTorch; everything else loads it when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from napari_kidnet.network.header import default_checkpoint_path, read_checkpoint_header

if TYPE_CHECKING:
    from napari_kidnet.network.checkpoint import Checkpoint, build_network, load_checkpoint, save_checkpoint
    from napari_kidnet.network.engines import Engine, available_devices, open_engine
    from napari_kidnet.network.kidnet import PRESETS, KidNet, KidNetSettings

__all__ = [
    "PRESETS",
    "Checkpoint",
    "Engine",
    "KidNet",
    "KidNetSettings",
    "available_devices",
    "build_network",
    "default_checkpoint_path",
    "load_checkpoint",
    "open_engine",
    "read_checkpoint_header",
    "save_checkpoint",
]

_MODULE_OF = {
    "PRESETS": "kidnet",
    "KidNet": "kidnet",
    "KidNetSettings": "kidnet",
    "Checkpoint": "checkpoint",
    "build_network": "checkpoint",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "Engine": "engines",
    "available_devices": "engines",
    "open_engine": "engines",
}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(f"napari_kidnet.network.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'napari_kidnet.network' has no attribute {name!r}")
