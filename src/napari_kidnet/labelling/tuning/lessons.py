"""What there is to learn from: scans with their labels, and how much of them a person has judged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.classes import CLASSES, VESSELS
from napari_kidnet.errors import KidnetError, LabelsError
from napari_kidnet.labelling.predicting import Report
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.scans import Case, Scan
    from napari_kidnet.training.corrections import Correction

__all__ = ["Lesson", "Tally", "count_cases_steps", "folder_steps", "tally_steps"]

_PIECE_VOXELS: Final = 1_000_000
"""Counted at a time, so that an event loop is never held up for more than some milliseconds."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How much of a scan can be learned from.

    Attributes
    ----------
    voxels : int
        Of the scan.
    reviewed : tuple of int
        Reviewed voxels of each class, background first.
    """

    voxels: int
    reviewed: tuple[int, ...] = (0,) * len(CLASSES)

    @property
    def percent(self) -> float:
        """Reviewed voxels, of all of the scan's."""
        return 100 * sum(self.reviewed) / max(self.voxels, 1)

    @property
    def vessels(self) -> int:
        """Reviewed voxels that are a vessel: without any, there is nothing to learn."""
        return sum(self.reviewed[1:])

    def in_words(self) -> str:
        """Return the reviewed vessels by class.

        Examples
        --------
        >>> Tally(1000, (500, 20, 0, 1200)).in_words()
        'artery 20, collecting system 1,200'
        """
        named = [
            f"{each.title.lower()} {self.reviewed[each.id]:,}" for each in VESSELS if self.reviewed[each.id]
        ]
        return ", ".join(named) or "no vessel"


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A scan that may be learned from: one that is open, or a case of a folder.

    Attributes
    ----------
    name : str
        What to call it.
    tally : Tally, optional
        None until it is counted.
    case : Case, optional
        Its files, for a case of a folder.
    scan, labels, states : Scan, arrays of integers, (z, y, x), optional
        For a scan that is open: labels count where the state is not 0. They are copied when a run starts.
    problem : str
        Why it cannot be learned from; empty where it can.
    written : tuple of int
        When a case's files were, as they were counted.
    """

    name: str
    tally: Tally | None = None
    case: Case | None = None
    scan: Scan | None = field(default=None, repr=False)
    labels: NDArray[Any] | None = field(default=None, repr=False)
    states: NDArray[Any] | None = field(default=None, repr=False)
    problem: str = ""
    written: tuple[int, ...] = ()

    @property
    def teaches(self) -> bool:
        """Whether there is a reviewed vessel."""
        return not self.problem and self.tally is not None and self.tally.vessels > 0

    def correction(self) -> Case | Correction:
        """Return what fine-tuning takes: the files, or a copy of the arrays as they are now."""
        if self.case is not None:
            return self.case
        from napari_kidnet.training.corrections import Correction, scan_hash

        if self.scan is None or self.labels is None or self.states is None:
            raise ValueError("a lesson is a case, or a scan with labels and states")
        name = self.scan.name.removesuffix("_ct")
        if int(self.labels.max(initial=0)) >= len(CLASSES):
            raise LabelsError(f"The labels of {name} have a class above {len(CLASSES) - 1}; relabel them.")
        labels = self.labels.astype(np.uint8)
        return Correction(name, scan_hash(self.scan), self.scan, labels, self.states != 0)


def tally_steps(labels: NDArray[Any], states: NDArray[Any], into: list[Tally]) -> Iterator[None]:
    """Count some slices at a time; ``into`` gets the `Tally` at the end.

    Parameters
    ----------
    labels, states : ndarray of integers, (z, y, x)
        Classes, and where a person has judged them (not 0).
    into : list
        Where the result goes.

    Examples
    --------
    >>> found = []
    >>> list(tally_steps(np.array([[[0, 1, 2]]]), np.array([[[1, 1, 0]]]), found))
    [None]
    >>> found
    [Tally(voxels=3, reviewed=(1, 1, 0, 0))]
    """
    counts = np.zeros(len(CLASSES), np.int64)
    rows = max(1, _PIECE_VOXELS // max(1, labels[0].size)) if len(labels) else 1
    for first in range(0, len(labels), rows):
        judged = states[first : first + rows] != 0
        if judged.any():
            seen = labels[first : first + rows][judged]
            counts += np.bincount(np.minimum(seen, len(CLASSES)), minlength=len(CLASSES) + 1)[: len(CLASSES)]
        yield
    into.append(Tally(labels.size, tuple(int(each) for each in counts)))


@dataclass(frozen=True, slots=True, eq=False)
class Listed(Report):
    """A case of a folder was looked at."""

    lesson: Lesson | None = None


def folder_steps(folder: Path) -> Generator[Report, None, list[Lesson]]:
    """Look at each case of a folder that has labels; the generator's result are the lessons.

    Raises
    ------
    KidnetError
        There is no such folder, or no case with labels in it.
    """
    from napari_kidnet.scans import list_cases

    yield Report(Progress(0, 0, f"Looking into {folder.name}"))
    cases = [each for each in list_cases(folder) if each.labels is not None]
    if not cases:
        raise KidnetError(f"{folder} holds no corrected cases: NAME_ct.nii.gz with NAME_labels.nii.gz.")
    return (yield from count_cases_steps(cases))


def count_cases_steps(
    cases: Sequence[Case], counted: Mapping[Path, Lesson] | None = None
) -> Generator[Report, None, list[Lesson]]:
    """Count what is reviewed in each case; the generator's result are the lessons.

    Parameters
    ----------
    cases : sequence of Case
    counted : mapping of Path to Lesson, optional
        Lessons of an earlier count, by the path of the scan: those whose files are the same since are kept.
    """
    lessons: list[Lesson] = []
    for number, case in enumerate(cases):
        told = Progress(number, len(cases), f"Counting {case.name}")
        yield Report(told)
        before, written = (counted or {}).get(case.ct), _written(case)
        if before is None or before.case != case or before.written != written:
            try:
                before = replace(_counted(case), written=written)
            except KidnetError as error:
                before = Lesson(case.name, case=case, problem=str(error), written=written)
        lessons.append(before)
        yield Listed(replace(told, done=number + 1), lesson=before)
    return lessons


def _written(case: Case) -> tuple[int, ...]:
    """Return when the files that count were written; a file that is gone counts as never."""
    times = []
    for path in (case.labels, case.reviewed):
        try:
            times.append(0 if path is None else path.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)


def _counted(case: Case) -> Lesson:
    from napari_kidnet.training.corrections import read_correction

    found = read_correction(case)
    into: list[Tally] = []
    for _ in tally_steps(found.labels, found.reviewed, into):
        pass
    lesson = Lesson(case.name, into[0], case)
    if not into[0].vessels:
        return replace(lesson, problem="no reviewed vessel")
    return lesson
