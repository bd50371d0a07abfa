"""Validation on whole scans: mean F1 of each class, at the sensitivity that is best for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.classes import VESSELS
from napari_kidnet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.network.checkpoint import Checkpoint
    from napari_kidnet.scans import Case, Scan

__all__ = ["SENSITIVITIES", "Validation", "Validator"]

SENSITIVITIES = tuple(round(0.1 * step, 1) for step in range(11))


@dataclass(frozen=True, slots=True)
class Validation:
    """What a checkpoint is worth on whole scans.

    Attributes
    ----------
    sensitivity : float
        The best of those tried, by the mean F1.
    f1 : dict of float
        Mean over cases by class name, at that sensitivity; a class that no case has is left out.
    mean_f1 : float
        The mean of those.
    """

    sensitivity: float
    f1: dict[str, float]
    mean_f1: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {"sensitivity": self.sensitivity, "f1": dict(self.f1), "mean_f1": self.mean_f1}


class Validator:
    """Segments validation cases as a user would and compares.

    Parameters
    ----------
    cases : sequence of Case
        Each with labels; read when they are first needed, and kept.
    device, threads
        As in `TrainSettings`.
    """

    def __init__(self, cases: Sequence[Case], device: str = "auto", threads: int | None = None) -> None:
        for case in cases:
            if case.labels is None:
                raise LabelsError(
                    f"{case.ct.name} has no labels to validate on; put {case.name}_labels.nii.gz beside it."
                )
        self._cases = tuple(cases)
        self._device = device
        self._threads = threads
        self._read: list[tuple[Scan, NDArray[np.uint8], NDArray[np.bool_] | None]] | None = None

    def __len__(self) -> int:
        return len(self._cases)

    def validate(self, checkpoint: Checkpoint, sensitivities: Sequence[float] = SENSITIVITIES) -> Validation:
        """Return the F1 of a checkpoint over all cases, at the best of the sensitivities."""
        from napari_kidnet.progress import drain
        from napari_kidnet.segmentation import SegmentSettings, segment_steps

        settings = SegmentSettings(device=self._device, sensitivity=1.0, threads=self._threads)
        scores = np.full((len(self._cases), len(sensitivities), len(VESSELS)), np.nan)
        for row, (scan, truth, reviewed) in zip(scores, self._volumes(), strict=True):
            prediction = drain(segment_steps(scan, checkpoint, settings))
            for number, sensitivity in enumerate(sensitivities):
                row[number] = _f1(prediction.at(sensitivity), truth, reviewed)
        return best_of(scores, sensitivities)

    def _volumes(self) -> list[tuple[Scan, NDArray[np.uint8], NDArray[np.bool_] | None]]:
        from napari_kidnet.scans import read_labels, read_scan

        if self._read is None:
            self._read = []
            for case in self._cases:
                scan = read_scan(case.ct)
                truth = read_labels(case.labels or case.ct, like=scan).astype(np.uint8)
                reviewed = None if case.reviewed is None else read_labels(case.reviewed, like=scan) != 0
                self._read.append((scan, truth, reviewed))
        return self._read


def best_of(scores: NDArray[np.float64], sensitivities: Sequence[float] = SENSITIVITIES) -> Validation:
    """Return the best sensitivity of F1 (case, sensitivity, vessel class), NaN where a class is nowhere."""
    known = ~np.isnan(scores)
    count = known.sum(axis=0)
    mean = np.where(count > 0, np.where(known, scores, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
    there: NDArray[np.bool_] = np.any(~np.isnan(mean), axis=0)
    if not there.any():
        return Validation(1.0, {}, 0.0)
    # ties go to the highest sensitivity, the one nearest to the paper's
    means = mean[:, there].mean(axis=1)
    best = len(means) - 1 - int(np.argmax(means[::-1]))
    f1 = {vessel.name: float(mean[best, n]) for n, vessel in enumerate(VESSELS) if there[n]}
    return Validation(sensitivities[best], f1, float(means[best]))


def _f1(
    found: NDArray[np.uint8], truth: NDArray[np.uint8], reviewed: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    if reviewed is not None:
        found, truth = found[reviewed], truth[reviewed]
    count = len(VESSELS) + 1
    pairs = np.bincount(truth.ravel().astype(np.intp) * count + found.ravel(), minlength=count * count)
    table = pairs.reshape(count, count)
    scores = np.full(len(VESSELS), np.nan)
    for n in range(1, count):
        total = int(table[n].sum() + table[:, n].sum())
        if table[n].sum():
            scores[n - 1] = 2 * int(table[n, n]) / total
    return scores
