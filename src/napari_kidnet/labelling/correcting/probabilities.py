"""The probabilities that a prediction keeps, read like a dense volume: only where they are asked for.

Dense logarithms of four classes at 512×512×512 are 1 GB; the candidates are a few per cent of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_kidnet.islands.sparse import in_sorted
from napari_kidnet.segmentation.decision import log_odds_shift
from napari_kidnet.segmentation.prediction import FAR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.segmentation.prediction import Prediction

__all__ = ["CandidateLogs", "log_probabilities_of"]


class CandidateLogs:
    """Logarithms of probabilities, indexed as (class, z, y, x) by a class and a box, or by index arrays.

    Where the network saw no vessel even at full sensitivity, a vessel's is `FAR`.

    Parameters
    ----------
    prediction : Prediction
        Its probabilities at its own sensitivity, so that what is labelled is the most probable class.

    Examples
    --------
    >>> from napari_kidnet.segmentation.prediction import Candidates, Prediction
    >>> odds = np.array([[2.0]], np.float32)
    >>> kept = Candidates((1, 1, 3), np.array([1]), odds)
    >>> logs = CandidateLogs(Prediction(np.zeros((1, 1, 3), np.uint8), 1.0, np.ones(2), kept))
    >>> np.exp(logs[1, 0:1, 0:1, 0:3]).round(2).tolist()
    [[[0.0, 0.8799999952316284, 0.0]]]
    """

    def __init__(self, prediction: Prediction) -> None:
        kept = prediction.candidates
        shift = log_odds_shift(prediction.class_weights, prediction.sensitivity)[1:, None]
        odds = kept.odds - shift
        background = -np.logaddexp.reduce(np.concatenate([np.zeros_like(odds[:1]), odds]), axis=0)
        self._index = kept.index
        self._logs = np.concatenate([background[None], odds + background]).astype(np.float32)
        self.shape: tuple[int, int, int, int] = (len(self._logs), *kept.shape)
        self.ndim = 4
        self.dtype = self._logs.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: tuple[Any, Any, Any, Any]) -> NDArray[np.float32]:
        which, *place = key
        if all(isinstance(each, slice) for each in place):
            return self._box(int(which), cast("list[slice]", place))
        return self._points(which, place)

    def _points(self, which: Any, place: list[Any]) -> NDArray[np.float32]:
        classes, *where = np.broadcast_arrays(which, *place)
        flat = np.ravel_multi_index(tuple(where), self.shape[1:])
        at = in_sorted(self._index.astype(np.int64, copy=False), np.asarray(flat, np.int64))
        absent = np.where(classes == 0, 0.0, FAR).astype(np.float32)
        return np.where(at >= 0, self._logs[classes, np.maximum(at, 0)] if len(self._index) else 0, absent)

    def _box(self, which: int, box: list[slice]) -> NDArray[np.float32]:
        (z0, z1, _), (y0, y1, _), (x0, x1, _) = (
            side.indices(n) for side, n in zip(box, self.shape[1:], strict=True)
        )
        dense = np.full((z1 - z0, y1 - y0, x1 - x0), 0.0 if which == 0 else FAR, np.float32)
        plane = self.shape[2] * self.shape[3]
        low, high = np.searchsorted(self._index, np.array([z0 * plane, z1 * plane], self._index.dtype))
        z, y, x = np.unravel_index(self._index[low:high], self.shape[1:])
        inside = (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
        dense[z[inside] - z0, y[inside] - y0, x[inside] - x0] = self._logs[which, low:high][inside]
        return dense


def log_probabilities_of(prediction: Prediction | None) -> NDArray[np.floating] | None:
    """Return what a `Context` takes: dense logarithms where they were kept, else those of the candidates."""
    if prediction is None:
        return None
    if prediction.log_probabilities is not None:
        return prediction.log_probabilities
    # Everything that reads a context indexes it by boxes or points, which is all that this can do.
    return cast("NDArray[np.floating]", CandidateLogs(prediction))
