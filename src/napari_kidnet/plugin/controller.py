"""One viewer's work: which scans it shows, their sessions, and the one job that runs at a time."""

from __future__ import annotations

import time
import weakref
from collections import deque
from dataclasses import dataclass, replace
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_kidnet.errors import KidnetError, ScanError
from napari_kidnet.labelling import LabellingSession, PredictRequest, decide_steps, predict_steps, save_steps
from napari_kidnet.plugin.idle import IdleRunner, Refresher
from napari_kidnet.plugin.jobs import Job, start_job
from napari_kidnet.plugin.layers import labels_keywords, orient, scan_of, start_voxel, tag_of
from napari_kidnet.plugin.settings import preferences
from napari_kidnet.plugin.telling import tell
from napari_kidnet.plugin.tracking import EditTracker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_kidnet.labelling.predicting import Report
    from napari_kidnet.segmentation import Prediction

__all__ = ["Controller", "Status", "Worksheet"]


@dataclass(frozen=True, slots=True)
class Status:
    """What goes on, in words.

    Attributes
    ----------
    text : str
        One line for a person.
    running : bool
        Whether a job runs.
    failed : bool
        Whether the last one ended in an error, which ``text`` then is.
    """

    text: str
    running: bool = False
    failed: bool = False


@dataclass(slots=True, eq=False)
class Worksheet:
    """A scan in a viewer, with all that belongs to it.

    Attributes
    ----------
    image, labels : napari layers
        The labels layer is made when the first run starts.
    session : LabellingSession
        What they show.
    tracker, refresher
        What watches and repaints the labels layer.
    box : tuple of int or None
        What was predicted last, in voxels (z0, z1, y0, y1, x0, x1); None is the whole scan.
    saved_as : Path or None
        Where the labels were saved, if nothing has changed since.
    """

    image: Any
    session: LabellingSession
    labels: Any = None
    tracker: EditTracker | None = None
    refresher: Refresher | None = None
    box: tuple[int, int, int, int, int, int] | None = None
    saved_as: Path | None = None

    @property
    def proposed_path(self) -> Path:
        """Where the labels would be saved: beside the scan, by the names of a case."""
        scan = self.session.scan
        folder = scan.path.parent if scan.path is not None else Path.cwd()
        return folder / f"{scan.name.removesuffix('_ct')}_labels.nii.gz"


class Controller:
    """Starts, watches and cancels what runs in one viewer; widgets and hooks share it.

    Get it by `Controller.of`. It holds the viewer weakly, and follows its layer list: a layer that
    a reader marked segments itself when it arrives, and removing a layer cancels its job.
    """

    status_changed = Signal(object)
    """A `Status`."""
    progressed = Signal(object)
    """A `JobProgress`."""
    labels_changed = Signal(object)
    """The `Worksheet` whose labels, or whose prediction, changed."""

    _of: ClassVar[weakref.WeakKeyDictionary[Any, Controller]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, viewer: Any) -> Controller:
        """Return the controller of this viewer; the first call makes it."""
        viewer = getattr(viewer, "__wrapped__", viewer)  # napari hands out proxies
        if viewer not in cls._of:
            cls._of[viewer] = cls(viewer)
        return cls._of[viewer]

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(viewer)
        self._sheets: dict[Any, Worksheet] = {}
        self._queue: deque[tuple[Worksheet, PredictRequest]] = deque()
        self._job: Job | None = None
        self._at_work: Worksheet | None = None
        self._idle = IdleRunner()
        self._wanted_sensitivity: float | None = None
        self.status = Status("No scan is open yet.")
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for layer in viewer.layers:
            self._welcome(layer)

    # ------------------------------------------------------------------ layers come and go

    def _on_inserted(self, event: Any) -> None:
        self._welcome(event.value)

    def _welcome(self, layer: Any) -> None:
        tag = tag_of(layer)
        viewer = self._viewer()
        if tag is None or viewer is None or layer._type_string != "image":
            return
        orient(viewer)
        self._say(Status(f"{layer.name} is open."))
        if tag.segment_on_arrival:
            tag.segment_on_arrival = False
            # After the image has been painted, for a second layer takes the window another half second.
            QTimer.singleShot(_ARRIVAL_MS, lambda: self._segment_on_arrival(layer))

    def _segment_on_arrival(self, image: Any) -> None:
        viewer = self._viewer()
        if viewer is not None and image in viewer.layers:
            self.segment(image)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        for image, sheet in list(self._sheets.items()):
            if layer is image or layer is sheet.labels:
                self._drop(sheet)

    def _drop(self, sheet: Worksheet) -> None:
        self._queue = deque(each for each in self._queue if each[0] is not sheet)
        if self._at_work is sheet:
            self.cancel(keep_queue=True)
            self._idle.stop()
        if sheet.tracker is not None and sheet.refresher is not None:
            sheet.tracker.disconnect()
            sheet.refresher.stop()
        self._sheets.pop(sheet.image, None)
        self.labels_changed.emit(sheet)

    def sheet_of(self, image: Any) -> Worksheet:
        """Return the worksheet of an image layer; the first call makes it.

        Raises
        ------
        ScanError
            The layer cannot be a CT volume.
        """
        if image not in self._sheets:
            scan = scan_of(image)
            if scan is None:
                raise ScanError(
                    f"The layer {image.name} is not a single grey volume: choose a layer with three "
                    "dimensions (z, y, x)."
                )
            self._sheets[image] = Worksheet(image, LabellingSession(scan))
        return self._sheets[image]

    def known(self, image: Any) -> Worksheet | None:
        """Return the worksheet of an image layer, if it has one yet."""
        return self._sheets.get(image)

    def take(self, image: Any, session: LabellingSession, saved_as: Path | None = None) -> Worksheet:
        """Show labels that are there already on an image layer, and go on with their session."""
        sheet = self._sheets[image] = Worksheet(image, session, saved_as=saved_as)
        self._show_labels(sheet)
        return sheet

    def _show_labels(self, sheet: Worksheet) -> None:
        viewer = self._viewer()
        if sheet.labels is not None or viewer is None:
            return
        session = sheet.session
        sheet.labels = viewer.add_labels(session.labels, **labels_keywords(sheet.image, session.scan))
        sheet.tracker = EditTracker(sheet.labels, session)
        sheet.refresher = Refresher(sheet.labels, self._ndisplay)
        session.events.labels.connect(sheet.refresher.request)
        session.events.labels.connect(lambda _: self._on_edited(sheet))
        sheet.labels.events.paint.connect(lambda event: self._on_edited(sheet))

    def _ndisplay(self) -> int:
        viewer = self._viewer()
        return 2 if viewer is None else int(viewer.dims.ndisplay)

    # ------------------------------------------------------------------ jobs

    @property
    def is_running(self) -> bool:
        """Whether a job runs."""
        return self._at_work is not None

    def running_on(self, image: Any) -> bool:
        """Whether the running job is about this image layer."""
        return self._at_work is not None and self._at_work.image is image

    def segment(self, image: Any, request: PredictRequest | None = None) -> None:
        """Segment an image layer, after what is running now.

        Parameters
        ----------
        image : napari.layers.Image
            The scan.
        request : PredictRequest, optional
            None takes what the Preferences page says.
        """
        if request is None:
            chosen = preferences()
            request = PredictRequest(chosen.checkpoint, chosen.device, chosen.engine, chosen.sensitivity)
        try:
            sheet = self.sheet_of(image)
        except KidnetError as error:
            self._fail(error)
            return
        self._queue.append((sheet, request))
        self._next()

    def cancel(self, *, keep_queue: bool = False) -> None:
        """Stop the running job after the tile that it is at, and forget those that wait."""
        if not keep_queue:
            self._queue.clear()
        if self._job is not None:
            self._say(Status("Cancelling after the current tile …", running=True))
            self._job.cancel()

    def _next(self) -> None:
        viewer = self._viewer()
        if self._at_work is not None or not self._queue or viewer is None:
            return
        sheet, request = self._queue.popleft()
        self._at_work = sheet  # from here on: adding a layer may let the event loop turn
        self._show_labels(sheet)
        if sheet.image not in self._sheets or sheet.labels not in viewer.layers:  # removed meanwhile
            self._at_work = None
            return
        sheet.box = request.box
        self._wanted_sensitivity = None
        sheet.session.keep_prediction(None)
        spare = max(1, (cpu_count() or 2) - 1)  # one core is left to the window
        request = replace(
            request,
            start=request.start or start_voxel(viewer, sheet.image),
            threads=request.threads or spare,
        )
        began = time.monotonic()
        title = f"Segmenting {sheet.image.name}"
        job = self._start(sheet, predict_steps(sheet.session.scan, request), title)
        job.returned.connect(lambda prediction: self._on_predicted(sheet, prediction, began))
        self._say(Status(f"{title} …", running=True))

    def _start(self, sheet: Worksheet, steps: Any, title: str) -> Job:
        job = start_job(steps, title)
        self._job, self._at_work = job, sheet
        job.reported.connect(lambda report: self._on_report(sheet, report))
        # not `self.progressed.emit` itself: psygnal would call it to find out its arguments
        job.progressed.connect(lambda progress: self.progressed.emit(progress))
        job.failed.connect(self._fail)
        if title != _DECIDING:  # which is cancelled for a newer value, and that is no news
            job.cancelled.connect(lambda: self._say(Status("Cancelled; the labels so far are kept.")))
        job.ended.connect(self._on_ended)
        return job

    def _on_report(self, sheet: Worksheet, report: Report) -> None:
        if report.tile is not None:
            sheet.session.receive(report.tile)

    def _on_predicted(self, sheet: Worksheet, prediction: Prediction, began: float) -> None:
        sheet.session.keep_prediction(prediction)
        took = time.monotonic() - began
        self._idle.run(self._settle(sheet, prediction), lambda: self._on_settled(sheet))
        self._say(Status(f"{sheet.image.name} was segmented in {took:.0f} s."))

    def _settle(self, sheet: Worksheet, prediction: Prediction) -> Iterator[Any]:
        """Take over what the last tiles still changed in their neighbours' margins."""
        box = sheet.box
        part = None if box is None else (slice(*box[0:2]), slice(*box[2:4]), slice(*box[4:6]))
        return sheet.session.replace_steps(prediction.labels, part)

    def _on_settled(self, sheet: Worksheet) -> None:
        if sheet.refresher is not None and sheet.image in self._sheets:
            sheet.refresher.request()
        self.labels_changed.emit(sheet)
        if self._wanted_sensitivity is not None:
            self.decide(sheet.image, self._wanted_sensitivity)

    def _on_ended(self) -> None:
        sheet, self._job, self._at_work = self._at_work, None, None
        self.status_changed.emit(self.status)
        if sheet is not None:
            self.labels_changed.emit(sheet)
        self._next()

    # ------------------------------------------------------------------ sensitivity

    def decide(self, image: Any, sensitivity: float) -> None:
        """Decide the kept probabilities of an image again, the visible slice first.

        While a job runs, the newest value waits for it.
        """
        sheet, viewer = self._sheets.get(image), self._viewer()
        self._wanted_sensitivity = sensitivity
        if sheet is None or viewer is None or sheet.session.prediction is None:
            return
        if self._at_work is not None:
            if self._job is not None and self._job.title == _DECIDING:
                self._job.cancel()
            return
        self._wanted_sensitivity = None
        sheet.session.sensitivity = sensitivity
        self._idle.stop()
        steps = decide_steps(sheet.session.prediction, sensitivity, start_voxel(viewer, image)[0], sheet.box)
        job = self._start(sheet, steps, _DECIDING)
        job.returned.connect(
            lambda _: self._say(Status(f"The labels follow a sensitivity of {sensitivity:.2f}."))
        )
        job.ended.connect(lambda: self._decide_newest(image))
        self._say(Status("Applying the sensitivity …", running=True))

    def _decide_newest(self, image: Any) -> None:
        if self._wanted_sensitivity is not None and self._at_work is None:
            self.decide(image, self._wanted_sensitivity)

    # ------------------------------------------------------------------ saving

    def save(self, image: Any, path: Path) -> None:
        """Write the labels of an image as they are now; the window does not wait for the disk."""
        sheet = self._sheets.get(image)
        if sheet is None or sheet.labels is None:
            return
        job = start_job(save_steps(sheet.session, path), f"Saving {path.name}")
        job.returned.connect(lambda _: self._on_saved(sheet, path))
        job.failed.connect(self._fail)

    def _on_saved(self, sheet: Worksheet, path: Path) -> None:
        sheet.saved_as = path
        self._say(replace(self.status, text=f"Saved {path}.", failed=False))
        self.labels_changed.emit(sheet)

    def _on_edited(self, sheet: Worksheet) -> None:
        if sheet.saved_as is not None:
            sheet.saved_as = None
            self.labels_changed.emit(sheet)

    # ------------------------------------------------------------------ telling

    def _say(self, status: Status) -> None:
        self.status = status
        self.status_changed.emit(status)

    def _fail(self, error: Exception) -> None:
        text = str(error) if isinstance(error, KidnetError) else f"{type(error).__name__}: {error}"
        self._say(Status(text, failed=True))
        tell(error)


_DECIDING: Final = "Applying the sensitivity"
_ARRIVAL_MS: Final = 30
