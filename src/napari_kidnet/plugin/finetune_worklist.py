"""What fine-tuning can learn from the worklist that is open in a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_kidnet.labelling.tuning import count_cases_steps
from napari_kidnet.plugin.jobs import Job, start_job
from napari_kidnet.plugin.worklist_desk import WorklistDesk

if TYPE_CHECKING:
    from napari_kidnet.labelling.tuning import Lesson

__all__ = ["WorklistLessons"]


class WorklistLessons:
    """The corrected scans of the worklist that is open in a viewer, counted in a worker as they change.

    Parameters
    ----------
    viewer : napari.viewer.Viewer

    Attributes
    ----------
    lessons : list of Lesson
        One for each of the worklist's corrected scans.
    """

    changed = Signal()
    """The lessons are others."""
    stirred = Signal()
    """Something happened in the worklist; `look` when there is time."""
    failed = Signal(object)
    """The exception that counting ended in."""

    def __init__(self, viewer: Any) -> None:
        self._desk = WorklistDesk.of(viewer)
        self.lessons: list[Lesson] = []
        self._seen: object = None
        self._job: Job | None = None
        self._desk.changed.connect(self._on_changed)

    @property
    def folder_name(self) -> str:
        """What to call the worklist; empty where none is open."""
        worklist = self._desk.worklist
        return "" if worklist is None else worklist.folder.name or str(worklist.folder)

    def close(self) -> None:
        """Let go of the worklist."""
        self._desk.changed.disconnect(self._on_changed, missing_ok=True)

    def look(self) -> None:
        """Count what has changed since the last look."""
        worklist = self._desk.worklist
        rows = [] if worklist is None else [each for each in worklist.rows if each.teaches]
        seen = (worklist and worklist.folder, rows)
        if self._job is not None or seen == self._seen:
            return
        self._seen = seen
        cases = [each.case for each in rows if each.case is not None]
        if not cases:
            self._show([])
            return
        counted = {each.case.ct: each for each in self.lessons if each.case is not None}
        job = self._job = start_job(count_cases_steps(cases, counted), f"Counting {self.folder_name}")
        job.returned.connect(self._show)
        job.failed.connect(lambda error: self.failed.emit(error))
        job.ended.connect(self._on_ended)

    def _show(self, lessons: list[Lesson]) -> None:
        self.lessons = lessons
        self.changed.emit()

    def _on_ended(self) -> None:
        self._job = None
        self.stirred.emit()  # what changed while it counted

    def _on_changed(self) -> None:
        self.stirred.emit()
