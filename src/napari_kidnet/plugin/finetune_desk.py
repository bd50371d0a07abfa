"""One viewer's fine-tuning: the scans to learn from, the one run, what it showed, and what comes after."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from os import cpu_count
from typing import TYPE_CHECKING, Any, ClassVar, Final

from psygnal import Signal

from napari_kidnet.errors import KidnetError
from napari_kidnet.labelling import PredictRequest, predict_steps
from napari_kidnet.labelling.tuning import (
    Comparison,
    Reins,
    TuneReport,
    TuneRequest,
    compare_steps,
    repredict_steps,
    steps_kept,
    tune_steps,
)
from napari_kidnet.network.header import default_checkpoint_path
from napari_kidnet.plugin.checkpoint_in_use import use_checkpoint
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.finetune_layers import Looks, visible_box
from napari_kidnet.plugin.finetune_lessons import OpenScan, open_scans
from napari_kidnet.plugin.idle import IdleRunner
from napari_kidnet.plugin.islands_desk import IslandsDesk
from napari_kidnet.plugin.jobs import Job, start_job
from napari_kidnet.plugin.layers import start_voxel, tag_of
from napari_kidnet.plugin.settings import preferences
from napari_kidnet.plugin.worklist_desk import WorklistDesk
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_kidnet.labelling.correcting import IslandsSession
    from napari_kidnet.segmentation import Prediction
    from napari_kidnet.training.finetune_run import FinetuneResult

__all__ = ["AFTER", "BEFORE", "PREVIEW", "FinetuneDesk", "State"]

PREVIEW: Final = "What the network says by now"
BEFORE: Final = "Before fine-tuning"
AFTER: Final = "After fine-tuning"

_CANCELLED: Final = "Cancelled: the old checkpoint stays, and the run can be continued."
_TAKEN_OVER: Final = "What nobody has reviewed was labelled again; undo takes it back."
_UNANSWERED: Final = (
    "{} have work that was not saved; choose Restore or Discard in the Islands widget, then segment again."
)

_PIECE: Final = 8
"""Slices whose reviewed voxels are handed over in one turn of the event loop."""


@dataclass(slots=True)
class State:
    """Where a run is.

    Attributes
    ----------
    text : str
        One line for a person.
    done, total : int
        Steps.
    seconds_left : float, optional
        As far as it is known.
    running, paused, learning, failed : bool
        Whether there is a run, it waits, it has begun to learn, and the last one ended in an error.
    """

    text: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    running: bool = False
    paused: bool = False
    learning: bool = False
    failed: bool = False


class FinetuneDesk:
    """Runs one fine-tuning at a time; get it by `FinetuneDesk.of`, so that a widget may come and go."""

    changed = Signal()
    """The state, the curves, the result or the comparison is another."""

    _of: ClassVar[weakref.WeakKeyDictionary[Any, FinetuneDesk]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, viewer: Any) -> FinetuneDesk:
        """Return the desk of this viewer; the first call makes it."""
        viewer = getattr(viewer, "__wrapped__", viewer)
        if viewer not in cls._of:
            cls._of[viewer] = cls(viewer)
        return cls._of[viewer]

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(viewer)
        self._controller = Controller.of(viewer)
        self._idle = IdleRunner()
        self._job: Job | None = None
        self._image: Any = None
        self._forget()

    def _forget(self) -> None:
        self.state = State()
        self.reins = Reins()
        self.losses: list[tuple[int, float]] = []
        self.weights: list[tuple[int, tuple[float, ...]]] = []
        self.scores: list[tuple[int, float]] = []
        self.result: FinetuneResult | None = None
        self.steps_done = self.steps_kept = 0
        self.comparison: Comparison | None = None
        self.request: TuneRequest | None = None

    @property
    def busy(self) -> bool:
        """Whether a fine-tuning or a comparison runs."""
        return self._job is not None

    @property
    def tuning(self) -> bool:
        """Whether a fine-tuning runs, or is what comes next."""
        return self.result is None

    # ------------------------------------------------------------------ what there is to learn from

    def lessons(self) -> list[OpenScan]:
        """Return the open scans that have labels."""
        viewer = self._viewer()
        return [] if viewer is None else open_scans(viewer)

    # ------------------------------------------------------------------ the run

    def start(self, request: TuneRequest, image: Any, preview_every_s: float) -> None:
        """Fine-tune; ``image`` is the scan to look at meanwhile, if any."""
        if self._job is not None:
            return
        self._looks().remove(BEFORE, AFTER, PREVIEW)
        self._forget()
        self.request, self._image = request, image
        self.reins.preview_every_s = preview_every_s
        self.state = State("Getting ready …", running=True)
        job = self._begin(_all_of_it(tune_steps(request, self.reins)), "Fine-tuning")
        job.reported.connect(self._on_step)
        job.returned.connect(self._on_result)
        job.cancelled.connect(lambda: self._end(_CANCELLED))

    def pause(self) -> None:
        """Wait after the step that it is at."""
        self.reins.pause()
        self.state.text = "Pausing after this step …"
        self.changed.emit()

    def resume(self) -> None:
        """Go on."""
        self.reins.resume()
        self.state.paused = False
        self.changed.emit()

    def stop(self) -> None:
        """End after the step that it is at, and keep the best so far."""
        self.reins.stop()
        self.state.text = "Stopping, and measuring what was learned …"
        self.changed.emit()

    def cancel(self) -> None:
        """Stop without a new checkpoint; the state is kept, so that the same run may go on later."""
        if self._job is not None:
            self.state.text = "Cancelling after this step …"
            # a run writes its state when it is cancelled: not in the window's thread, where a job is closed
            self.reins.cancel() if self.tuning else self._job.cancel()
            self.changed.emit()

    def _begin(self, steps: Any, title: str) -> Job:
        job = start_job(steps, title)
        self._job = job
        job.failed.connect(self._on_failed)
        job.ended.connect(self._on_ended)
        self.changed.emit()
        return job

    def _on_step(self, report: TuneReport) -> None:
        step, state = report.step, self.state
        state.done, state.total, state.paused = report.progress.done, report.progress.total, report.paused
        if not (self.reins.stopping or self.reins.cancelling):
            state.text = report.progress.what
        viewer = self._viewer()
        if step is not None:
            state.seconds_left, self.steps_done = step.seconds_left, step.done
            if step.loss == step.loss:
                state.learning = True
                self.losses.append((step.done, step.loss))
                self.weights.append((step.done, step.class_weights))
            if step.figures is not None:
                self.scores.append((step.done, step.figures.mean_f1))
        there = viewer is not None and self._image is not None and self._image in viewer.layers
        if there and self.reins.preview_every_s:
            scan = self._scan_of(self._image)
            self.reins.preview = None if scan is None else (scan, visible_box(viewer, self._image))
        if there and report.tile is not None:
            self._looks().show_tile(PREVIEW, self._image, report.tile)
        self.changed.emit()

    def _on_result(self, found: tuple[FinetuneResult, int] | None) -> None:
        if found is None:
            self._end(_CANCELLED)
            return
        result, self.steps_kept = found
        self.result = result
        self.steps_done = max(self.steps_done, self.steps_kept)
        self._note(result.candidate, result.activated)
        if result.activated:
            try:
                use_checkpoint(result.candidate)
            except KidnetError as error:
                self._end(str(error), failed=True)
                return
        used = "The new checkpoint is in use." if result.activated else "The old checkpoint stays in use."
        self._end(used)

    def _note(self, checkpoint: Path, activated: bool) -> None:
        viewer = self._viewer()
        if viewer is not None:
            WorklistDesk.of(viewer).note_finetuning(checkpoint.name, activated)

    def _on_failed(self, error: Exception) -> None:
        known = isinstance(error, KidnetError)
        self._end(str(error) if known else f"{type(error).__name__}: {error}", failed=True)

    def _end(self, text: str, failed: bool = False) -> None:
        self.state = State(text, self.state.done, self.state.total, failed=failed)

    def _on_ended(self) -> None:
        self._job = None
        self.state.running = False
        self.reins.preview = None
        if self.request is not None:
            # copies of scans are not kept once they were learned from
            self.request = replace(self.request, lessons=())
        self._looks().remove(PREVIEW)
        self.changed.emit()

    # ------------------------------------------------------------------ after it

    def use(self, new: bool) -> None:
        """Put the new checkpoint in use, whatever the guard said, or the old one again.

        Raises
        ------
        KidnetError
            As `use_checkpoint`.
        """
        if self.result is not None and self.request is not None:
            self.use_checkpoint(self.result.candidate if new else self.request.parent)

    def use_checkpoint(self, path: Path) -> None:
        """Put a checkpoint in use; raises as `use` does."""
        use_checkpoint(None if path == default_checkpoint_path() else path)
        result = self.result
        if result is not None and path == result.candidate and not result.activated:
            self._note(path, True)

    def compare(self, scan: OpenScan) -> None:
        """Segment a scan by the old checkpoint and the new one, and show both."""
        result, request, lesson = self.result, self.request, scan.lesson
        if result is None or request is None or lesson.scan is None or self._job is not None:
            return
        judged = None
        if lesson.labels is not None and lesson.states is not None:
            judged = (lesson.labels, lesson.states)
        wish = PredictRequest(device=request.device, engine=preferences().engine, threads=_spare_threads())
        self.state = State("Segmenting by both …", running=True)
        job = self._begin(
            compare_steps(lesson.scan, request.parent, result.candidate, judged, wish), "Comparing"
        )
        job.reported.connect(self._on_far)
        job.returned.connect(lambda found: self._show_comparison(scan.image, found))
        job.cancelled.connect(lambda: self._end("Cancelled."))

    def _on_far(self, report: Any) -> None:
        told = report.progress
        self.state.text, self.state.done, self.state.total = f"{told.what} …", told.done, told.total
        self.changed.emit()

    def _show_comparison(self, image: Any, found: Comparison) -> None:
        self.comparison = found
        viewer = self._viewer()
        if viewer is not None and image in viewer.layers:
            self._looks().show(BEFORE, image, found.before)
            self._looks().show(AFTER, image, found.after)
            self.look_at(AFTER)
        self._end("Before and after are layers of their own.")

    def look_at(self, what: str | None) -> None:
        """Let `BEFORE`, `AFTER` or none of them be seen."""
        self._looks().only(what, (BEFORE, AFTER))

    def predict_again(self, scan: OpenScan) -> None:
        """Let the checkpoint in use label what nobody has reviewed or edited."""
        if not self.can_predict_again(scan) or scan.lesson.scan is None or self._job is not None:
            return
        chosen, session = preferences(), scan.session
        wish = PredictRequest(chosen.checkpoint, chosen.device, chosen.engine, chosen.sensitivity)
        sheet = self._controller.known(scan.image)
        if sheet is not None and sheet.labels is scan.labels:
            if session is None:
                self._controller.segment(scan.image, wish)
                return
            steps = _hand_over(sheet.session, session.states)
            self._idle.run(steps, lambda: self._controller.segment(scan.image, wish))
        elif session is not None and session.recoverable is not None:
            self._end(_UNANSWERED.format(scan.labels.name), failed=True)
            self.changed.emit()
        elif session is not None:
            self.state = State("Segmenting again …", running=True)
            wish = replace(wish, threads=_spare_threads(), start=start_voxel(self._viewer(), scan.image))
            job = self._begin(predict_steps(scan.lesson.scan, wish), "Segmenting again")
            job.reported.connect(self._on_far)
            job.returned.connect(lambda found: self._take_over(scan, session, found))
            job.cancelled.connect(lambda: self._end("Cancelled; the labels are as they were."))

    def _take_over(self, scan: OpenScan, session: IslandsSession, found: Prediction) -> None:
        """Lay a prediction over labels from a file; brush strokes that wait come first."""
        if scan.session is not session:  # other labels, or none, are there by now
            self._end("The labels were closed meanwhile, so nothing was changed.")
            return
        IslandsDesk._of[scan.labels].do(lambda each: repredict_steps(each, found))
        self._end(_TAKEN_OVER)

    def can_predict_again(self, scan: OpenScan | None) -> bool:
        """Whether there are labels that a prediction may go on."""
        if scan is None or scan.lesson.scan is None or self._controller.is_running:
            return False
        sheet = self._controller.known(scan.image)
        return scan.session is not None or (sheet is not None and sheet.labels is scan.labels)

    def _looks(self) -> Looks:
        return Looks(self._viewer())

    def _scan_of(self, image: Any) -> Any:
        sheet = self._controller.known(image)
        if sheet is not None:
            return sheet.session.scan
        tag = tag_of(image) if image is not None else None
        return None if tag is None else tag.scan


def _all_of_it(
    steps: Generator[TuneReport, None, FinetuneResult | None],
) -> Generator[TuneReport, None, tuple[FinetuneResult, int] | None]:
    """Load the library of the curves, for which the window would stand still for .2 s; learn; count steps."""
    yield TuneReport(Progress(0, 0, "Getting ready"))
    import pyqtgraph  # noqa: F401

    result = yield from steps
    return None if result is None else (result, steps_kept(result.candidate))


def _hand_over(session: Any, states: Any) -> Iterator[None]:
    """Tell a session of all that was reviewed, a mask from a file, too; some slices at a time."""
    for first in range(0, len(states), _PIECE):
        piece = slice(first, first + _PIECE)
        session.touched[piece] |= states[piece] != 0
        yield


def _spare_threads() -> int:
    """Return how many threads leave one core to the window."""
    return max(1, (cpu_count() or 2) - 1)
