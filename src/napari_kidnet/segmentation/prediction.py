"""What a segmentation leaves: labels, and enough of the probabilities to move the sensitivity at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.segmentation.decision import decide_odds, log_odds_shift, log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answer", "Candidates", "Prediction"]

Triple = tuple[int, int, int]
Slices = tuple[slice, slice, slice]

FAR = -16.0
"""Log-probability of a vessel in air, which the network never looked at."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The voxels that are vessel at full sensitivity; at any other one, the vessels are among them.

    A few per cent of a scan: so a slider moves the labels of 512×512×400 voxels in a fraction of a second,
    and neither the time nor the memory of dense probabilities is needed.

    Attributes
    ----------
    shape : tuple of int
        The scan's, (z, y, x).
    index : array of int, (voxel,)
        Flat indices, rising.
    odds : array of float32, (vessel class, voxel)
        Logarithm of the probability of each vessel class over that of background.
    """

    shape: Triple
    index: NDArray[np.integer]
    odds: NDArray[np.float32]

    def labels(
        self, weights: NDArray[np.float64], sensitivity: float, box: Slices | None = None
    ) -> NDArray[np.uint8]:
        """Return the labels of the scan or of a box of it, uint8 (z, y, x)."""
        shift = log_odds_shift(weights, sensitivity)
        if box is None:
            labels = np.zeros(self.shape, np.uint8)
            labels.reshape(-1)[self.index] = decide_odds(self.odds, shift)
            return labels
        starts, stops = zip(
            *(part.indices(n)[:2] for part, n in zip(box, self.shape, strict=True)), strict=True
        )
        plane = self.shape[1] * self.shape[2]
        ends = np.array([starts[0] * plane, stops[0] * plane]).astype(self.index.dtype)
        low, high = np.searchsorted(self.index, ends)
        z, y, x = np.unravel_index(self.index[low:high], self.shape)
        inside = (y >= starts[1]) & (y < stops[1]) & (x >= starts[2]) & (x < stops[2])
        labels = np.zeros([max(0, b - a) for a, b in zip(starts, stops, strict=True)], np.uint8)
        at = (z[inside] - starts[0], y[inside] - starts[1], x[inside] - starts[2])
        labels[at] = decide_odds(self.odds[:, low:high][:, inside], shift)
        return labels


@dataclass(frozen=True, slots=True)
class Prediction:
    """The result of `segment_steps`.

    Attributes
    ----------
    labels : array of uint8, (z, y, x)
        Classes on the scan's own grid.
    sensitivity : float
        The sensitivity of these labels.
    class_weights : array of float, (class,)
        The training's weights, which the sensitivity takes back in part.
    candidates : Candidates
        What `at` decides from.
    log_probabilities : array of float16, (class, z, y, x), optional
        All of them, where the settings asked to keep them.
    where : str
        Device and engine, and what had to be changed on the way.
    """

    labels: NDArray[np.uint8]
    sensitivity: float
    class_weights: NDArray[np.float64]
    candidates: Candidates
    log_probabilities: NDArray[np.float16] | None = None
    where: str = ""

    @property
    def prior(self) -> NDArray[np.float64]:
        """The class weights, under the name that `decide` gives them."""
        return self.class_weights

    def at(self, sensitivity: float, box: Slices | None = None) -> NDArray[np.uint8]:
        """Return the labels at another sensitivity, of the whole scan or of a box (slices z, y, x)."""
        return self.candidates.labels(self.class_weights, sensitivity, box)


@dataclass(slots=True)
class Answer:
    """Takes finished logits from the stitcher and grows into a `Prediction`.

    Attributes
    ----------
    shape : tuple of int
        The scan's, (z, y, x).
    class_weights : array of float, (class,)
        The training's weights.
    sensitivity, temperature : float
        How the labels are decided.
    keep : bool
        Whether dense log-probabilities are kept.
    """

    shape: Triple
    class_weights: NDArray[np.float64]
    sensitivity: float
    temperature: float
    keep: bool
    labels: NDArray[np.uint8] = field(init=False)
    log_probabilities: NDArray[np.float16] | None = field(init=False, default=None)
    _index: list[NDArray[np.integer]] = field(init=False, default_factory=list)
    _odds: list[NDArray[np.float32]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.labels = np.zeros(self.shape, np.uint8)
        if self.keep:
            kept = np.empty((len(self.class_weights), *self.shape), np.float16)
            kept[0], kept[1:] = 0.0, FAR
            self.log_probabilities = kept

    def take(self, box: Slices, logits: NDArray[np.float32]) -> None:
        """Decide a box (slices z, y, x) by its final logits, float32 (class, z, y, x)."""
        vessel = logits[1] > logits[0]
        for each in logits[2:]:
            vessel |= each > logits[0]
        at = np.nonzero(vessel)
        odds = np.stack([each[at] for each in logits[1:]]) - logits[0][at]
        odds /= np.float32(self.temperature)
        self.labels[box][at] = decide_odds(odds, log_odds_shift(self.class_weights, self.sensitivity))
        kind = np.uint32 if self.labels.size < 2**32 else np.int64
        index = np.ravel_multi_index(
            tuple(each + part.start for each, part in zip(at, box, strict=True)), self.shape
        )
        self._index.append(index.astype(kind))
        self._odds.append(odds)
        if self.log_probabilities is not None:
            self.log_probabilities[(slice(None), *box)] = log_softmax(logits / np.float32(self.temperature))

    def finish(self, where: str) -> Prediction:
        """Return the prediction; nothing more can be taken."""
        vessels = len(self.class_weights) - 1
        index = np.concatenate(self._index) if self._index else np.zeros(0, np.uint32)
        odds = np.concatenate(self._odds, axis=1) if self._odds else np.zeros((vessels, 0), np.float32)
        self._index.clear()
        self._odds.clear()
        order = np.argsort(index)
        candidates = Candidates(self.shape, index[order], odds[:, order])
        return Prediction(
            self.labels, self.sensitivity, self.class_weights, candidates, self.log_probabilities, where
        )
