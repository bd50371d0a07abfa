"""Predict all new scans of a worklist, one after the other, while a person does something else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.errors import KidnetError, LabelsError
from napari_kidnet.labelling.predicting import Report, predict_steps
from napari_kidnet.labelling.worklist.benefit import expected_wrong_ml, mean_entropy
from napari_kidnet.labelling.worklist.records import WorkState
from napari_kidnet.labelling.worklist.scans import labels_path
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_kidnet.labelling.predicting import PredictRequest
    from napari_kidnet.labelling.worklist.worklist import Worklist
    from napari_kidnet.scans import Scan
    from napari_kidnet.scans.cases import Case
    from napari_kidnet.segmentation import Prediction

__all__ = ["BatchReport", "BatchResult", "figures_of", "predict_new_steps"]

_PARTS: Final = 1000
"""Steps of progress for each scan: the tiles of the next one are not known yet."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchReport(Report):
    """One step of a batch.

    Attributes
    ----------
    scan : str
        Which one.
    is_over : bool
        Whether this scan is finished, so that its row is another.
    problem : str
        Why it was not predicted; empty where it was, or is still at work.
    """

    scan: str = ""
    is_over: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch: scans by name."""

    predicted: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """One sentence for a person.

        Examples
        --------
        >>> BatchResult(("a", "b"), ("c",)).in_words
        '2 scans were predicted; 1 was not: c.'
        >>> BatchResult((), ()).in_words
        'No scan is new: there was nothing to predict.'
        """
        if not self.predicted and not self.failed:
            return "No scan is new: there was nothing to predict."
        n, m = len(self.predicted), len(self.failed)
        said = f"{n} scan{'' if n == 1 else 's'} {'was' if n == 1 else 'were'} predicted"
        if not m:
            return said + "."
        return f"{said}; {m} {'was' if m == 1 else 'were'} not: {', '.join(self.failed)}."


def predict_new_steps(
    worklist: Worklist, request: PredictRequest, taken: Callable[[str], bool] = lambda key: False
) -> Generator[BatchReport, None, BatchResult]:
    """Predict every new scan and write its labels beside it; one that fails does not stop the others.

    A mask that says "nobody has judged anything yet" is written too: without it, labels count as judged.
    Closing the generator cancels it; the scans that are finished stay.

    Parameters
    ----------
    worklist : Worklist
        Each result is noted in it as soon as it is written.
    request : PredictRequest
        What to predict with; its box and start are for one scan, and not used here.
    taken : callable
        Whether somebody works on the scan with this key, so that it is left alone.

    Raises
    ------
    CheckpointError
        The network cannot be loaded, for no scan at all.
    """
    yield BatchReport(Progress(0, 0, "Loading the network"))
    from napari_kidnet.network import load_checkpoint

    load_checkpoint(request.checkpoint)
    waiting = [row for row in worklist.rows if row.state is WorkState.NEW and not row.blocked]
    predicted, failed = [], []
    for number, row in enumerate(waiting):
        if row.case is None or taken(row.key):
            continue
        try:
            yield from _one_scan(worklist, row.key, row.case, request, (number, len(waiting)))
        except Exception as error:  # noqa: BLE001 - whatever it was, the others are predicted all the same
            # Without the folder's place: tomorrow it is another one.
            problem = _sentence(row.case.ct, error).replace(f"{worklist.folder}{os.sep}", "")
            worklist.note_prediction(row.key, problem=problem)
            failed.append(row.key)
        else:
            problem = ""
            predicted.append(row.key)
        done = Progress((number + 1) * _PARTS, len(waiting) * _PARTS, row.key)
        yield BatchReport(done, scan=row.key, is_over=True, problem=problem)
    return BatchResult(tuple(predicted), tuple(failed))


def figures_of(prediction: Prediction, scan: Scan, checkpoint: Path | None) -> dict[str, float | int | str]:
    """Return what a worklist notes of a prediction: the fields of ``PredictionPart``."""
    from napari_kidnet.islands.components import label_islands

    return {
        "expected_wrong_ml": round(expected_wrong_ml(prediction, scan.spacing), 4),
        "entropy": round(mean_entropy(prediction), 4),
        "islands": int(label_islands(prediction.labels).n),
        "checkpoint": "" if checkpoint is None else checkpoint.name,
    }


def _one_scan(
    worklist: Worklist, key: str, case: Case, request: PredictRequest, place: tuple[int, int]
) -> Generator[BatchReport, None, None]:
    from napari_kidnet.labelling.correcting import reviewed_path
    from napari_kidnet.scans import read_scan, write_labels
    from napari_kidnet.scans.writing import ensure_writable

    target = labels_path(case.ct)
    begun, total = place[0] * _PARTS, place[1] * _PARTS
    yield BatchReport(Progress(begun, total, f"{key}: reading"), scan=key)
    ensure_writable(target)  # before minutes of work, not after
    scan = read_scan(case.ct)
    mask = reviewed_path(target)
    _check_mask(mask, scan)
    steps = predict_steps(scan, request)
    try:
        while True:
            try:
                report = next(steps)
            except StopIteration as stop:
                prediction: Prediction = stop.value
                break
            step = report.progress
            within = int(_PARTS * step.done / step.total) if step.total else 0
            yield BatchReport(Progress(begun + within, total, f"{key}: {step.what}"), scan=key)
    finally:
        steps.close()
    yield BatchReport(Progress(begun + _PARTS, total, f"{key}: saving"), scan=key)
    figures = figures_of(prediction, scan, request.checkpoint)
    if not target.exists():  # somebody may have saved labels meanwhile, and those are a person's
        # The mask first: labels without one would count as judged.
        write_labels(mask, np.zeros(scan.shape, np.uint8), scan)
        write_labels(target, prediction.labels, scan, predicted=True)
    worklist.note_prediction(key, **figures)


def _check_mask(mask: Path, scan: Scan) -> None:
    """Refuse a scan whose labels are gone while what was judged of them is still there."""
    from napari_kidnet.scans import read_labels

    if mask.is_file() and read_labels(mask, scan).any():
        raise LabelsError(
            f"{mask.name} is there without the labels that it is about; move it away, or put them back."
        )


def _sentence(scan: Path, error: Exception) -> str:
    if isinstance(error, KidnetError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{scan.name} needs more memory than this machine has; close other programs."
    text = " ".join(str(error).split())
    return f"{scan.name} failed ({type(error).__name__}: {text})."
