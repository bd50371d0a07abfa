"""Training: the paper's schema (dynamic weighting, random sampling), its patches, the loop (paper §2–3).

The names are loaded when they are first used: a list of checkpoints (`lineage`) does not wait for PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_kidnet.training.augmentation import Augmentation
    from napari_kidnet.training.loop import TrainInputs, TrainProgress, train, train_steps
    from napari_kidnet.training.patches import PatchStore
    from napari_kidnet.training.schema import SCHEMAS, Schema
    from napari_kidnet.training.settings import TrainSettings
    from napari_kidnet.training.validation import Validation, Validator
    from napari_kidnet.training.weighting import DynamicWeighting

__all__ = [
    "SCHEMAS",
    "Augmentation",
    "DynamicWeighting",
    "PatchStore",
    "Schema",
    "TrainInputs",
    "TrainProgress",
    "TrainSettings",
    "Validation",
    "Validator",
    "train",
    "train_steps",
]

_MODULE_OF = {
    "SCHEMAS": "schema",
    "Augmentation": "augmentation",
    "DynamicWeighting": "weighting",
    "PatchStore": "patches",
    "Schema": "schema",
    "TrainInputs": "loop",
    "TrainProgress": "loop",
    "TrainSettings": "settings",
    "Validation": "validation",
    "Validator": "validation",
    "train": "loop",
    "train_steps": "loop",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
