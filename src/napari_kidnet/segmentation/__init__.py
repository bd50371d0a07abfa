"""From a scan to labels: tiles are planned, predicted, stitched and decided (paper §2, "stitching")."""

from __future__ import annotations

from napari_kidnet.segmentation.decision import class_weights, decide
from napari_kidnet.segmentation.prediction import Candidates, Prediction
from napari_kidnet.segmentation.settings import SegmentSettings
from napari_kidnet.segmentation.steps import SegmentProgress, segment, segment_steps

__all__ = [
    "Candidates",
    "Prediction",
    "SegmentProgress",
    "SegmentSettings",
    "class_weights",
    "decide",
    "segment",
    "segment_steps",
]
