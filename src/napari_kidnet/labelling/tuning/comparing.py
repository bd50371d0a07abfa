"""Before and after: what two checkpoints say about one scan, and how their islands differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.classes import VESSELS
from napari_kidnet.labelling.predicting import PredictRequest, Report, predict_steps
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.scans import Scan

__all__ = ["Comparison", "compare_steps"]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What changed on a scan.

    Attributes
    ----------
    before, after : ndarray of uint8, (z, y, x)
        What the two checkpoints say, each at its own sensitivity.
    islands_before, islands_after : dict of int
        Islands by class name.
    reviewed_wrong : tuple of int
        Reviewed voxels that before, and after, are labelled otherwise than the person did.
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    islands_before: dict[str, int]
    islands_after: dict[str, int]
    reviewed_wrong: tuple[int, int]


def compare_steps(
    scan: Scan,
    before: Path | NDArray[np.uint8] | None,
    after: Path,
    judged: tuple[NDArray[Any], NDArray[Any]] | None,
    request: PredictRequest,
) -> Generator[Report, None, Comparison]:
    """Segment a scan by both checkpoints, and count islands; the generator's result is the `Comparison`.

    Parameters
    ----------
    scan : Scan
    before : Path, array of uint8 (z, y, x), or None
        The old checkpoint, or what it said about the whole scan; None is the shipped one.
    after : Path
        The new one.
    judged : tuple of two arrays of integers, (z, y, x), optional
        A person's labels, and where they count (not 0).
    request : PredictRequest
        Device, engine, threads, box.
    """
    if isinstance(before, np.ndarray):
        was = before.copy()
    else:
        was = yield from _predict(scan, replace(request, checkpoint=before), "Before")
    now = yield from _predict(scan, replace(request, checkpoint=after), "After")
    yield Report(Progress(0, 0, "Counting islands"))
    wrong = (0, 0)
    if judged is not None:
        labels, states = judged
        wrong = _wrong(was, labels, states), _wrong(now, labels, states)
    return Comparison(was, now, _islands(was), _islands(now), wrong)


def _predict(scan: Scan, request: PredictRequest, what: str) -> Generator[Report, None, NDArray[np.uint8]]:
    """Run a prediction and tell how far it is, without its tiles."""
    steps = predict_steps(scan, request)
    try:
        while True:
            try:
                told = next(steps).progress
            except StopIteration as stop:
                labels: NDArray[np.uint8] = stop.value.labels
                return labels
            yield Report(Progress(told.done, told.total, what))
    finally:
        steps.close()


def _islands(labels: NDArray[np.uint8]) -> dict[str, int]:
    from napari_kidnet.islands.components import label_islands

    of_class = label_islands(labels).class_of[1:]
    return {each.name: int(np.count_nonzero(of_class == each.id)) for each in VESSELS}


def _wrong(found: NDArray[np.uint8], labels: NDArray[Any], states: NDArray[Any]) -> int:
    pieces = zip(found, labels, states, strict=True)
    return sum(int(np.count_nonzero((a != b) & (c != 0))) for a, b, c in pieces)
