"""How much of a prediction is likely to be wrong: what a person gains by opening that scan next.

The network's probabilities are those of a world in which every class is as frequent as the others; with
the training's weights taken back wholly (sensitivity 0, see `segmentation.decision`) they are of this one.
A voxel that is labelled c is wrong with the chance 1 - p(c), and the sum of these chances over all voxels
that may be vessel is the wrong volume to be expected, missed vessels included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.segmentation.decision import log_odds_shift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.segmentation import Prediction

__all__ = ["expected_wrong_ml", "mean_entropy"]

_AT_ONCE: Final = 1 << 20
"""Voxels in a piece: temporaries stay in tens of megabytes."""


def expected_wrong_ml(prediction: Prediction, spacing: tuple[float, float, float]) -> float:
    """Return the volume that is likely to be labelled wrongly, in mL.

    Parameters
    ----------
    prediction : Prediction
        Of the whole scan.
    spacing : tuple of float
        (z, y, x) in mm.
    """
    flat = prediction.labels.reshape(-1)
    index, odds = prediction.candidates.index, prediction.candidates.odds
    wrong = 0.0
    for low in range(0, len(index), _AT_ONCE):
        part = slice(low, low + _AT_ONCE)
        chances = _chances(odds[:, part], prediction.class_weights)  # (class, voxel)
        given = flat[index[part]]
        wrong += float((1.0 - chances[given, np.arange(given.size)]).sum())
    return wrong * float(np.prod(spacing)) / 1000.0


def mean_entropy(prediction: Prediction) -> float:
    """Return the mean entropy of the labelled voxels, 0 (sure) to 1 (all classes alike)."""
    flat = prediction.labels.reshape(-1)
    index, odds = prediction.candidates.index, prediction.candidates.odds
    total, count = 0.0, 0
    for low in range(0, len(index), _AT_ONCE):
        part = slice(low, low + _AT_ONCE)
        labelled = flat[index[part]] != 0
        chances = _chances(odds[:, part][:, labelled], prediction.class_weights)
        total -= float((chances * np.log(np.maximum(chances, 1e-12))).sum())
        count += int(labelled.sum())
    return total / count / float(np.log(len(odds) + 1)) if count else 0.0


def _chances(odds: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of every class, float64 (class, voxel), of log-odds (vessel class, voxel)."""
    shifted = odds.astype(np.float64) - log_odds_shift(weights, 0.0)[1:, None]
    scores = np.concatenate([np.zeros((1, odds.shape[1])), shifted])
    scores -= scores.max(axis=0)
    chances = np.exp(scores)
    chances /= chances.sum(axis=0)
    return np.asarray(chances, np.float64)
