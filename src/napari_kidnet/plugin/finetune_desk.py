"""One viewer's fine-tuning: the scans to learn from, the one run, what it showed, and what comes after."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from psygnal import Signal

from napari_kidnet.errors import KidnetError
from napari_kidnet.labelling import PredictRequest
from napari_kidnet.labelling.tuning import (
    Comparison,
    Lesson,
    Reins,
    TuneReport,
    TuneRequest,
    compare_steps,
    tune_steps,
)
from napari_kidnet.plugin.checkpoint_in_use import use_checkpoint
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.finetune_layers import Looks, is_look, visible_box
from napari_kidnet.plugin.idle import IdleRunner
from napari_kidnet.plugin.islands_desk import IslandsDesk
from napari_kidnet.plugin.jobs import Job, start_job
from napari_kidnet.plugin.layers import tag_of
from napari_kidnet.plugin.settings import preferences
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_kidnet.training.finetune_run import FinetuneResult

__all__ = ["AFTER", "BEFORE", "PREVIEW", "FinetuneDesk", "State"]

PREVIEW: Final = "What the network says by now"
BEFORE: Final = "Before fine-tuning"
AFTER: Final = "After fine-tuning"

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
        self.comparison: Comparison | None = None
        self.request: TuneRequest | None = None

    @property
    def busy(self) -> bool:
        """Whether a fine-tuning or a comparison runs."""
        return self._job is not None

    # ------------------------------------------------------------------ what there is to learn from

    def lessons(self) -> list[tuple[Any, Lesson]]:
        """Return the open scans with their image layers, those that have labels."""
        viewer = self._viewer()
        found: list[tuple[Any, Lesson]] = []
        layers = list(viewer.layers) if viewer is not None else []
        for image in layers:
            sheet = self._controller.known(image)
            if sheet is None or sheet.labels is None:
                continue
            desk = IslandsDesk._of.get(sheet.labels)
            session = None if desk is None else desk.session
            scan = sheet.session.scan
            if session is not None:
                found.append((image, Lesson(image.name, None, None, scan, session.known, session.states)))
            else:
                own = sheet.session
                found.append((image, Lesson(image.name, None, None, scan, own.labels, own.touched)))
        known = {id(self._controller.known(image).labels) for image, _ in found}  # type: ignore[union-attr]
        for layer in layers:
            if layer._type_string != "labels" or is_look(layer) or id(layer) in known:
                continue
            desk, image = IslandsDesk._of.get(layer), _image_under(layer, layers)
            tag = tag_of(image) if image is not None else None
            if desk is not None and desk.session is not None and tag is not None:
                session = desk.session
                found.append((image, Lesson(layer.name, None, None, tag.scan, session.known, session.states)))
        return found

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
        job = self._begin(_with_curves(tune_steps(request, self.reins)), "Fine-tuning")
        job.reported.connect(self._on_step)
        job.returned.connect(self._on_result)
        job.cancelled.connect(
            lambda: self._end("Cancelled: the old checkpoint stays, and the run can be continued.")
        )

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
            self._job.cancel()
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
        if not self.reins.stopping:
            state.text = report.progress.what
        viewer = self._viewer()
        if step is not None:
            state.seconds_left = step.seconds_left
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

    def _on_result(self, result: FinetuneResult) -> None:
        self.result = result
        if result.activated:
            try:
                use_checkpoint(result.candidate)
            except KidnetError as error:
                self._end(str(error), failed=True)
                return
        used = "The new checkpoint is in use." if result.activated else "The old checkpoint stays in use."
        self._end(used)

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
            from dataclasses import replace

            self.request = replace(self.request, lessons=())
        self._looks().remove(PREVIEW)
        self.changed.emit()

    # ------------------------------------------------------------------ after it

    def compare(self, image: Any) -> None:
        """Segment a scan by the old checkpoint and the new one, and show both."""
        result, request = self.result, self.request
        lesson = {id(each): lesson for each, lesson in self.lessons()}.get(id(image))
        scan = self._scan_of(image)
        if result is None or request is None or scan is None or self._job is not None:
            return
        judged = None
        if lesson is not None and lesson.labels is not None and lesson.states is not None:
            judged = (lesson.labels, lesson.states)
        wish = PredictRequest(device=request.device, engine=preferences().engine)
        self.state = State("Segmenting by both …", running=True)
        job = self._begin(compare_steps(scan, request.parent, result.candidate, judged, wish), "Comparing")
        job.reported.connect(self._on_compared)
        job.returned.connect(lambda found: self._show_comparison(image, found))
        job.cancelled.connect(lambda: self._end("Cancelled."))

    def _on_compared(self, report: Any) -> None:
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

    def predict_again(self, image: Any) -> None:
        """Let the checkpoint in use label what nobody has reviewed or edited."""
        sheet = self._controller.known(image)
        if sheet is None or sheet.labels is None:
            return
        desk = IslandsDesk._of.get(sheet.labels)
        session = None if desk is None else desk.session
        chosen = preferences()
        wish = PredictRequest(chosen.checkpoint, chosen.device, chosen.engine, chosen.sensitivity)
        if session is None:
            self._controller.segment(image, wish)
            return
        steps = _hand_over(sheet.session, session.states)
        self._idle.run(steps, lambda: self._controller.segment(image, wish))

    def can_predict_again(self, image: Any) -> bool:
        """Whether the labels of this image are the ones that a prediction fills."""
        sheet = self._controller.known(image) if image is not None else None
        return sheet is not None and sheet.labels is not None and not self._controller.is_running

    def _looks(self) -> Looks:
        return Looks(self._viewer())

    def _scan_of(self, image: Any) -> Any:
        sheet = self._controller.known(image)
        if sheet is not None:
            return sheet.session.scan
        tag = tag_of(image) if image is not None else None
        return None if tag is None else tag.scan


def _with_curves(steps: Generator[TuneReport, None, Any]) -> Generator[TuneReport, None, Any]:
    """Load the library of the curves in the worker: the window would stand still for .2 s."""
    yield TuneReport(Progress(0, 0, "Getting ready"))
    import pyqtgraph  # noqa: F401

    return (yield from steps)


def _hand_over(session: Any, states: Any) -> Iterator[None]:
    """Tell a session of all that was reviewed, a mask from a file, too; some slices at a time."""
    for first in range(0, len(states), _PIECE):
        piece = slice(first, first + _PIECE)
        session.touched[piece] |= states[piece] != 0
        yield


def _image_under(layer: Any, layers: list[Any]) -> Any:
    """Return the scan that a labels layer lies on, if it is open."""
    same = (
        each
        for each in layers
        if each._type_string == "image" and tag_of(each) is not None and each.data.shape == layer.data.shape
    )
    return next(same, None)
