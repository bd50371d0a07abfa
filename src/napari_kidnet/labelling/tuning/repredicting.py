"""A new opinion of a network about what nobody has judged, as one edit that can be undone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.islands import Change, Edit
from napari_kidnet.labelling.correcting.probabilities import log_probabilities_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.labelling.correcting import IslandsSession, Steps
    from napari_kidnet.segmentation import Prediction

__all__ = ["relabel_unjudged", "repredict_steps"]

_AT_ONCE: Final = 2**22


def relabel_unjudged(
    labels: NDArray[np.integer], states: NDArray[np.integer], predicted: NDArray[np.integer]
) -> Edit:
    """Return the edit, by a model, that takes over a prediction where the state is 0.

    Parameters
    ----------
    labels, states, predicted : ndarray of integers, (z, y, x)
        Classes as they are, where a person has judged them (not 0), and what a network says.

    Examples
    --------
    >>> labels, states = np.array([[[1, 1, 0]]]), np.array([[[2, 0, 0]]])
    >>> edit = relabel_unjudged(labels, states, np.array([[[0, 0, 3]]]))
    >>> edit.labels.flat.tolist(), edit.labels.after.tolist(), edit.by
    ([1, 2], [0, 3], 'model')
    """
    flat, judged, new = (each.reshape(-1) for each in (labels, states, predicted))
    parts = [np.zeros(0, np.int64)]
    for low in range(0, flat.size, _AT_ONCE):  # without a volume in between
        piece = slice(low, low + _AT_ONCE)
        parts.append(np.flatnonzero((flat[piece] != new[piece]) & (judged[piece] == 0)) + low)
    where = np.concatenate(parts)
    change = Change.of(labels, where, new[where])
    return Edit(f"Prediction of {change.flat.size:,} voxels", labels.shape, change, by="model")


def repredict_steps(session: IslandsSession, prediction: Prediction) -> Steps:
    """Let a prediction label what is not judged by now; undo takes it back.

    Raises
    ------
    LabelsError
        An earlier session left unsaved work, and nobody has said what becomes of it.
    """
    from napari_kidnet.segmentation.uncertainty import uncertainty_of

    def make(of: IslandsSession) -> Edit:
        log, doubt = log_probabilities_of(prediction), uncertainty_of(prediction)
        of.context = replace(of.context, log_probabilities=log, uncertainty=doubt)
        return relabel_unjudged(of.known, of.states, prediction.labels)

    return (yield from session.edit_steps(make))
