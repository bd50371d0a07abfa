"""The only place that makes worker threads.

Two traps of generator workers are closed here (measured with napari 0.9.2 and superqt 0.9.0). A
``RuntimeError`` in a worker emits neither ``errored`` nor ``finished``, and PyTorch's out-of-memory
error is one: it becomes a `KidnetError` before the worker sees it. And ``quit`` leaves the
generator suspended for as long as anyone holds the worker, so that its ``finally`` blocks wait:
``finished`` closes it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from psygnal import Signal

from napari_kidnet.errors import KidnetError
from napari_kidnet.progress import drain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_kidnet.labelling.predicting import Report
    from napari_kidnet.progress import Progress

__all__ = ["Job", "JobProgress", "WorkError", "result_of", "run_aside", "start_job"]

_log = logging.getLogger(__name__)

# PyQt holds the instance of a connected bound method weakly: nobody else may hold a job.
_running: set[Job] = set()

_LONGEST_TILE_MS: Final = 60_000


class WorkError(KidnetError):
    """Something broke inside the work, which its own rooms had no sentence for."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Attributes
    ----------
    progress : Progress
        As the work reports it.
    seconds_left : float or None
        Estimated from the steps so far; None before there are two.
    """

    progress: Progress
    seconds_left: float | None


class Job:
    """Work that runs in a worker thread; every signal arrives in the GUI thread.

    Exactly one of ``returned``, ``failed`` and ``cancelled`` is emitted, and then ``ended``.
    """

    reported = Signal(object)
    """A `Report` of the work."""
    progressed = Signal(object)
    """A `JobProgress`."""
    returned = Signal(object)
    """The work's result."""
    failed = Signal(object)
    """The exception: a `KidnetError`, or a fault of ours."""
    cancelled = Signal()
    ended = Signal()

    def __init__(self, steps: Generator[Report, None, Any], title: str) -> None:
        self.title = title
        self.is_running = True
        self._steps = steps
        self._outcome: Callable[[], None] = self.cancelled.emit
        self._worker: Any = None
        self._bar: Any = None
        self._in_bar = False
        self._first: tuple[float, int] | None = None

    def cancel(self) -> None:
        """Ask the work to stop after the step that it is at."""
        if self._worker is not None:
            self._worker.quit()

    # ------------------------------------------------------------------ called in the GUI thread

    def _on_yield(self, report: Report) -> None:
        if not self.is_running or self._worker.abort_requested:
            return  # a step that was on its way when the job was cancelled
        now, step = time.monotonic(), report.progress
        left = None
        if step.total and self._first is None:
            self._first = (now, step.done)
        elif step.total and self._first is not None and step.done > self._first[1]:
            began, before = self._first
            left = (now - began) / (step.done - before) * (step.total - step.done)
        self.reported.emit(report)
        self.progressed.emit(JobProgress(step, left))
        # Last: napari's progress lets the event loop turn, and the next report then comes in the middle.
        self._show_in_activity(step)

    def _show_bar(self) -> None:
        from napari.utils import progress

        if self.is_running:
            self._bar = progress(total=0, desc=self.title)

    def _show_in_activity(self, step: Progress) -> None:
        if self._bar is None or not step.total or self._in_bar:
            return  # the bar turns the event loop: reports that come meanwhile must not pile up on the stack
        self._in_bar = True
        try:
            self._bar.total = step.total
            self._bar.update(step.done - self._bar.n)
        finally:
            self._in_bar = False

    def _on_return(self, result: Any) -> None:
        self._outcome = lambda: self.returned.emit(result)

    def _on_error(self, error: Exception) -> None:
        self._outcome = lambda: self.failed.emit(error)

    def _on_finish(self) -> None:
        self.is_running = False
        _running.discard(self)
        self._steps.close()
        if self._bar is not None:
            self._bar.close()
        # One more turn of the event loop may bring a late `yielded`; it is dropped by is_running.
        self._outcome()
        self.ended.emit()


def start_job(steps: Generator[Report, None, Any], title: str, bar_after_ms: int = 0) -> Job:
    """Run a generator of reports in a worker thread.

    Parameters
    ----------
    steps : generator of Report
        The work; it is closed in the end, however it ends.
    title : str
        What the activity dock, and the question when the window is closed, call it.
    bar_after_ms : int, optional
        How long work may take before the activity dock shows it: while napari makes a bar, it paints the
        window twice, which takes longer than a short piece of work.

    Returns
    -------
    Job
        Connect to its signals at once: none is emitted before the event loop turns.
    """
    from napari.qt.threading import create_worker
    from qtpy.QtCore import QTimer
    from superqt.utils import GeneratorWorker

    job = Job(steps, title)

    def work() -> Generator[Report, None, Any]:
        try:
            return (yield from steps)
        except RuntimeError as error:
            _log.exception("%s failed", title)
            raise WorkError(f"{title} failed: {_first_line(error)}") from error

    work.__name__ = work.__qualname__ = title
    # Not napari's own worker class: that would show errors and warnings (PyTorch's, too) itself.
    worker = create_worker(work, _start_thread=False, _worker_class=GeneratorWorker, _ignore_errors=True)
    worker.yielded.connect(job._on_yield)
    worker.returned.connect(job._on_return)
    worker.errored.connect(job._on_error)
    worker.warned.connect(lambda warning: _log.info("%s", warning[0]))
    worker.finished.connect(job._on_finish)
    job._worker = worker
    _running.add(job)
    _watch_for_the_end()
    if bar_after_ms:
        worker.start()
        QTimer.singleShot(bar_after_ms, job._show_bar)
    else:
        job._show_bar()
        worker.start()
    return job


@cache
def _watch_for_the_end() -> None:
    from qtpy.QtCore import QCoreApplication

    application = QCoreApplication.instance()
    if application is not None:
        application.aboutToQuit.connect(_finish_before_quitting)


def _finish_before_quitting() -> None:
    """Let cancelled work come to an end before Qt takes its objects apart.

    A worker that is still at a tile would emit by an object that is gone, and PyQt aborts the process.
    """
    from qtpy.QtCore import QThreadPool

    left = list(_running)
    for job in left:
        job.cancel()
    if left and QThreadPool.globalInstance().waitForDone(_LONGEST_TILE_MS):
        for job in left:  # their `finished` would come with the next turn of a loop that has ended
            job._steps.close()


def run_aside(steps: Generator[Report, None, Any], title: str) -> Any:
    """Run work in a worker and return its result; the window is painted meanwhile, but takes no clicks.

    Without a window, or in another thread than its own, the work runs here and now.

    Parameters
    ----------
    steps, title
        As in `start_job`.
    """
    from qtpy.QtCore import QCoreApplication, QThread

    application = QCoreApplication.instance()
    if application is None or QThread.currentThread() != application.thread():
        return drain(steps)
    return result_of(start_job(steps, title))


def result_of(job: Job) -> Any:
    """Let the event loop turn until a job has ended, and return its result.

    Clicks and keys wait for the end: whoever called could not bear a window that was closed meanwhile.

    Raises
    ------
    Exception
        What the job failed with; a `WorkError` where it was cancelled.
    """
    from qtpy.QtCore import QEventLoop

    loop = QEventLoop()
    no_input = QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents
    ends: dict[str, Any] = {}
    job.returned.connect(lambda result: ends.update(result=result))
    job.failed.connect(lambda error: ends.update(error=error))
    job.ended.connect(lambda: loop.quit())
    loop.exec_(no_input) if hasattr(loop, "exec_") else loop.exec(no_input)
    if "error" in ends:
        raise ends["error"]
    if "result" not in ends:
        raise WorkError(f"{job.title} was cancelled.")
    return ends["result"]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if text.endswith(".") else text + "."
