"""One annotator's session on one scan: prediction, edits, and what a machine may still change.

Nothing here knows napari or Qt: the plugin's layers and widgets show a session and forward to it,
and the same session works without a window.
"""

from __future__ import annotations

from napari_kidnet.labelling.cards import CheckpointCard, list_cards, read_card
from napari_kidnet.labelling.predicting import PredictRequest, decide_steps, predict_steps, save_steps
from napari_kidnet.labelling.session import LabellingSession, Tile

__all__ = [
    "CheckpointCard",
    "LabellingSession",
    "PredictRequest",
    "Tile",
    "decide_steps",
    "list_cards",
    "predict_steps",
    "read_card",
    "save_steps",
]
