"""How unsure a prediction is of each voxel: the entropy of its calibrated probabilities (science §2.6).

The network's probabilities are those of a world in which every class is equally frequent, and too sure of
themselves. Both are taken back: the class weights as far as the labels were decided by it (`decision`), and
a temperature T that is fitted on validation cases::

    q_c ∝ exp((log p_c − τ · log CW_c) / T),        u = −Σ q_c log q_c / log n
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np

from napari_kidnet.segmentation.decision import SLAB_VOXELS, log_odds_shift

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from napari_kidnet.segmentation.prediction import Prediction

__all__ = [
    "TEMPERATURE",
    "CandidateUncertainty",
    "calibration_error",
    "corrected",
    "entropy",
    "entropy_where_asked",
    "fit_temperature",
    "uncertainty_of",
]

TEMPERATURE: Final = 1.13
"""From validation phantoms; benchmarks/priority_fit.py finds 1.16, and no better order (docs/effort.md)."""

_RANGE: Final = (0.25, 8.0)
"""Where a temperature is looked for."""
_BINS: Final = 15


def entropy(
    log_probabilities: NDArray[np.floating],
    weights: ArrayLike | None = None,
    sensitivity: float = 1.0,
    temperature: float = TEMPERATURE,
) -> NDArray[np.float16]:
    """Return the entropy of calibrated probabilities, 0 sure … 1 all classes alike.

    Parameters
    ----------
    log_probabilities : ndarray of float, (class, z, y, x)
        Natural logarithms.
    weights : array of float, (class,), optional
        The class weights of training; without them nothing is taken back.
    sensitivity : float
        As the labels were decided, 0…1.
    temperature : float
        Above 1 where the network is too sure.

    Returns
    -------
    ndarray of float16, (z, y, x)

    Examples
    --------
    >>> log_p = np.log(np.array([[0.5, 0.999], [0.5, 0.001]])).reshape(2, 1, 1, 2)
    >>> entropy(log_p, temperature=1.0).round(2).tolist()
    [[[1.0, 0.010002136230468...]]]
    """
    shift = _shift(log_probabilities.shape[0], weights, sensitivity)
    result = np.empty(log_probabilities.shape[1:], np.float16)
    step = max(1, SLAB_VOXELS // max(1, result[0].size)) if len(result) else 1
    for first in range(0, len(result), step):
        part = slice(first, first + step)
        log_q = _calibrated(log_probabilities[:, part].astype(np.float32), shift, temperature)
        result[part] = _entropy(log_q)
    return result


class _KeptUncertainty:
    """The entropy of dense log-probabilities, read like a volume at single voxels."""

    def __init__(
        self,
        log_probabilities: NDArray[np.floating],
        weights: ArrayLike | None,
        sensitivity: float,
        temperature: float,
    ) -> None:
        self._log, self._temperature = log_probabilities, temperature
        self._shift = _shift(len(log_probabilities), weights, sensitivity)
        self.shape: tuple[int, ...] = log_probabilities.shape[1:]
        self.ndim = 3
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, place: tuple[NDArray[np.integer], ...]) -> NDArray[np.float32]:
        """Return the uncertainty at index arrays (z, y, x)."""
        log = np.stack([each[place] for each in self._log]).astype(np.float32)  # (class, voxel)
        return _entropy(_calibrated(log, self._shift, self._temperature))


def entropy_where_asked(
    log_probabilities: NDArray[np.floating],
    weights: ArrayLike | None = None,
    sensitivity: float = 1.0,
    temperature: float = TEMPERATURE,
) -> NDArray[np.floating]:
    """Return `entropy` for a `Context`: computed only at the voxels that are asked for."""
    kept = _KeptUncertainty(log_probabilities, weights, sensitivity, temperature)
    return cast("NDArray[np.floating]", kept)


class CandidateUncertainty:
    """The uncertainty of a prediction, read like a volume at single voxels.

    Where the network saw no vessel even at full sensitivity it is 0. Nothing is computed before it is asked
    for.

    Parameters
    ----------
    prediction : Prediction
    temperature : float
    """

    def __init__(self, prediction: Prediction, temperature: float = TEMPERATURE) -> None:
        self._prediction, self._temperature = prediction, temperature
        self.shape: tuple[int, int, int] = prediction.candidates.shape
        self.ndim = 3
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, place: tuple[NDArray[np.integer], ...]) -> NDArray[np.float32]:
        """Return the uncertainty at index arrays (z, y, x)."""
        kept = self._prediction.candidates
        flat = np.ravel_multi_index(place, self.shape)
        found = np.zeros(np.shape(flat), np.float32)
        if not len(kept.index):
            return found
        at = np.minimum(np.searchsorted(kept.index, flat.astype(kept.index.dtype)), len(kept.index) - 1)
        there = kept.index[at] == flat
        odds = kept.odds[:, at[there]]
        log = np.concatenate([np.zeros_like(odds[:1]), odds])
        weights, sensitivity = self._prediction.class_weights, self._prediction.sensitivity
        found[there] = _entropy(corrected(log, weights, sensitivity, self._temperature))
        return found


def uncertainty_of(
    prediction: Prediction | None, temperature: float = TEMPERATURE
) -> NDArray[np.floating] | None:
    """Return what a `Context` takes: each voxel's uncertainty (z, y, x), computed where it is asked for."""
    if prediction is None:
        return None
    # Read at the voxels of islands only, which is all that this can do, and all that the table asks for:
    # the entropy of a whole scan would take seconds.
    return cast("NDArray[np.floating]", CandidateUncertainty(prediction, temperature))


def fit_temperature(samples: Iterable[tuple[NDArray[np.floating], NDArray[np.integer]]]) -> float:
    """Return the temperature under which the truth is most likely; for one number no gradient is needed.

    Parameters
    ----------
    samples : iterable of (log-probabilities (class, voxel), truth (voxel,))
        Of validation cases; with the class weights taken back as for the labels, see `corrected`.
    """
    from scipy.optimize import minimize_scalar

    kept = [(np.asarray(log, np.float32), np.asarray(truth, np.intp)) for log, truth in samples]

    def loss(log_temperature: float) -> float:
        total, count = 0.0, 0
        for log, truth in kept:
            log_q = _calibrated(log, np.zeros(len(log), np.float32), float(np.exp(log_temperature)))
            total -= float(log_q[truth, np.arange(truth.size)].sum())
            count += truth.size
        return total / max(count, 1)

    low, high = np.log(_RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded")
    return float(np.exp(found.x))


def calibration_error(log_probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Return the expected calibration error: by how much confidence and hits differ, in 15 bins.

    Parameters
    ----------
    log_probabilities : ndarray of float, (class, voxel)
    truth : ndarray of int, (voxel,)

    Examples
    --------
    >>> log_p = np.log(np.array([[0.75] * 4, [0.25] * 4]))
    >>> calibration_error(log_p, np.array([0, 0, 0, 1])), calibration_error(log_p, np.array([1, 1, 1, 1]))
    (0.0, 0.75)
    """
    sure = np.exp(log_probabilities.max(axis=0))
    hit = log_probabilities.argmax(axis=0) == truth
    which = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gap = np.bincount(which, weights=sure - hit, minlength=_BINS)
    return float(np.abs(gap).sum() / max(truth.size, 1))


def corrected(
    log_probabilities: NDArray[np.floating], weights: ArrayLike, sensitivity: float, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Return calibrated log-probabilities (class, …): class weights taken back, then the temperature."""
    shift = _shift(len(log_probabilities), weights, sensitivity)
    return _calibrated(np.asarray(log_probabilities, np.float32), shift, temperature)


def _entropy(log_q: NDArray[np.float32]) -> NDArray[np.float32]:
    # q log q of a class that is out of the question is 0, and never 0 times -inf
    total = -(np.exp(log_q) * np.maximum(log_q, -60.0)).sum(axis=0)
    return np.asarray(total / np.log(len(log_q)), np.float32)


def _shift(classes: int, weights: ArrayLike | None, sensitivity: float) -> NDArray[np.float32]:
    return np.zeros(classes, np.float32) if weights is None else log_odds_shift(weights, sensitivity)


def _calibrated(
    log: NDArray[np.float32], shift: NDArray[np.float32], temperature: float
) -> NDArray[np.float32]:
    scaled = (log - shift.reshape(-1, *[1] * (log.ndim - 1))) / np.float32(temperature)
    scaled -= scaled.max(axis=0)
    scaled -= np.log(np.exp(scaled).sum(axis=0))
    return np.asarray(scaled, np.float32)
