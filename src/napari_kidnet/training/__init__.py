"""Training: the paper's schema (dynamic weighting, random sampling), its patches, the loop (paper §2–3)."""

from __future__ import annotations

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
