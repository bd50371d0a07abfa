"""From probabilities to labels, with the prior correction as a sensitivity (science: §3.3 of the report).

Dynamic weighting (Algorithm 1) teaches the network with class weights ``CW_c = 1 / (n V_c)``, so its
probabilities are those of a world in which every class is equally frequent, and it over-segments. The
true frequencies are known, they are ``V``: the decision is

    argmax over c of  log p_c − τ · log CW_c,        τ = 1 − sensitivity.

Sensitivity 1 is the paper's argmax; 0 takes the weights back completely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["class_weights", "decide", "decide_odds", "log_odds_shift", "log_softmax"]

SMALLEST_VOLUME = 1e-6
"""Below one voxel of a 96³ patch a moving-average volume says "never seen", not "infinitely rare"."""

SLAB_VOXELS = 1 << 22
"""Work is done on slabs of so many voxels, so that temporaries stay in tens of megabytes."""


def class_weights(volumes: ArrayLike) -> NDArray[np.float64]:
    """Return ``CW_c = 1 / (n V_c)`` of the moving-average volumes ``V`` (paper, Algorithm 1).

    Examples
    --------
    >>> class_weights([0.25, 0.25, 0.25, 0.25]).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    volume = np.maximum(np.asarray(volumes, dtype=np.float64), SMALLEST_VOLUME)
    weights: NDArray[np.float64] = 1.0 / (volume.size * volume)
    return weights


def log_odds_shift(weights: ArrayLike, sensitivity: float) -> NDArray[np.float32]:
    """Return what is taken off each class's log-odds against background, float32 (class,), first one 0.

    A class that was more frequent in training than background would be *helped* by a low sensitivity;
    its shift is held at 0, so that the foreground can only grow with the sensitivity.
    """
    if not 0.0 <= sensitivity <= 1.0:
        raise ValueError(f"sensitivity must be within 0 to 1, not {sensitivity}")
    log_weights = np.log(np.asarray(weights, dtype=np.float64))
    shift = (1.0 - sensitivity) * np.maximum(log_weights - log_weights[0], 0.0)
    result: NDArray[np.float32] = shift.astype(np.float32)
    return result


def decide(
    log_probabilities: NDArray[np.floating], weights: ArrayLike, sensitivity: float
) -> NDArray[np.uint8]:
    """Return the labels of log-probabilities (or logits: a constant per voxel changes nothing).

    Parameters
    ----------
    log_probabilities : array of float16 or float32, (class, …)
        Natural logarithms; for one voxel, a slice or a volume.
    weights : array of float, (class,)
        The class weights of training, see `class_weights`.
    sensitivity : float
        0 to 1; τ = 1 − sensitivity.

    Returns
    -------
    array of uint8, (…)
        The class of each voxel; ties go to the lower class.

    Examples
    --------
    >>> log_p = np.log([[0.4], [0.6]])
    >>> decide(log_p, [0.5, 10.0], sensitivity=1.0), decide(log_p, [0.5, 10.0], sensitivity=0.0)
    (array([1], dtype=uint8), array([0], dtype=uint8))
    """
    shift = log_odds_shift(weights, sensitivity)
    labels = np.empty(log_probabilities.shape[1:], dtype=np.uint8)
    if labels.ndim < 2:
        return _decide_block(log_probabilities[0], list(log_probabilities[1:]), shift)
    step = max(1, SLAB_VOXELS // max(1, labels[0].size))
    for first in range(0, len(labels), step):
        part = slice(first, first + step)
        block = log_probabilities[:, part].astype(np.float32, copy=False)
        labels[part] = _decide_block(block[0], list(block[1:]), shift)
    return labels


def decide_odds(odds: NDArray[np.float32], shift: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return labels of log-odds against background (vessel class, voxel); the shift is `log_odds_shift`'s."""
    return _decide_block(np.zeros(odds.shape[1:], np.float32), list(odds), shift)


def _decide_block(
    background: NDArray[np.floating], vessels: Sequence[NDArray[np.floating]], shift: NDArray[np.float32]
) -> NDArray[np.uint8]:
    best = background.astype(np.float32)
    labels = np.zeros(best.shape, dtype=np.uint8)
    for label, (vessel, off) in enumerate(zip(vessels, shift[1:], strict=True), start=1):
        score = vessel - off if off else vessel
        np.putmask(labels, score > best, label)
        np.maximum(best, score, out=best)
    return labels


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log-probabilities of logits, float32 (class, …)."""
    shifted = logits - logits.max(axis=0)
    shifted -= np.log(np.exp(shifted).sum(axis=0))
    result: NDArray[np.float32] = shifted
    return result
