"""The two traps of generator workers, and what a job tells."""

from __future__ import annotations

import inspect
import time

import pytest

from napari_kidnet.errors import DeviceError
from napari_kidnet.labelling.predicting import Report
from napari_kidnet.plugin.jobs import WorkError, start_job
from napari_kidnet.progress import Progress


class Watch:
    """Writes down what a job emits, in order."""

    def __init__(self, job) -> None:
        self.said = []
        for name in ("returned", "failed", "progressed"):
            getattr(job, name).connect(lambda value, name=name: self.said.append((name, value)))
        job.cancelled.connect(lambda: self.said.append(("cancelled", None)))
        job.ended.connect(lambda: self.said.append(("ended", None)))

    @property
    def names(self):
        return [name for name, _ in self.said if name != "progressed"]


def count(total, closed, error=None, pause=None):
    try:
        for done in range(1, total + 1):
            if pause is not None:
                pause()
            yield Report(Progress(done, total, "counting"))
        if error is not None:
            raise error
        return total
    finally:
        closed.append(True)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (RuntimeError("CUDA out of memory.\nmore"), WorkError, "Counting failed: CUDA out of memory."),
        (DeviceError("There is no GPU: choose the CPU."), DeviceError, "There is no GPU: choose the CPU."),
        (ZeroDivisionError("fault"), ZeroDivisionError, "fault"),
    ],
)
def test_every_error_arrives_a_runtime_error_too(qtbot, make_napari_viewer, error, kind, text):
    """Trap 1: a RuntimeError in a generator worker emits neither `errored` nor `finished`."""
    make_napari_viewer()
    closed = []
    job = start_job(count(2, closed, error), "Counting")
    watch = Watch(job)
    qtbot.waitUntil(lambda: "ended" in watch.names, timeout=5000)
    assert watch.names == ["failed", "ended"]
    (found,) = [value for name, value in watch.said if name == "failed"]
    assert type(found) is kind
    assert str(found) == text
    assert not job.is_running
    assert closed


def test_a_cancelled_generator_is_closed(qtbot, make_napari_viewer):
    """Trap 2: `quit` leaves the generator suspended, with its `finally` undone."""
    import time

    make_napari_viewer()
    closed = []
    steps = count(10_000, closed, pause=lambda: time.sleep(0.005))
    job = start_job(steps, "Counting")
    watch = Watch(job)
    qtbot.waitUntil(lambda: len(watch.said) > 3, timeout=5000)
    job.cancel()
    qtbot.waitUntil(lambda: "ended" in watch.names, timeout=5000)
    assert watch.names == ["cancelled", "ended"]
    assert closed  # while `job` and `steps` are still held here
    assert steps.gi_frame is None


def test_the_result_and_the_time_left_are_told(qtbot, make_napari_viewer):
    import time

    from napari.utils import progress

    make_napari_viewer()
    job = start_job(count(20, [], pause=lambda: time.sleep(0.002)), "Counting")
    watch = Watch(job)
    qtbot.waitUntil(lambda: "ended" in watch.names, timeout=5000)
    assert watch.names == ["returned", "ended"]
    told = [value for name, value in watch.said if name == "progressed"]
    assert [each.progress.done for each in told] == list(range(1, 21))
    assert told[0].seconds_left is None
    assert told[-1].seconds_left == 0
    assert not [each for each in progress._all_instances if each.desc == "Counting: "]


def test_reports_faster_than_the_window_do_not_pile_up_on_the_stack(qtbot, make_napari_viewer):
    """napari's progress bar turns the event loop, in which the next report may wait already."""
    make_napari_viewer()
    depths = []

    def slow_window(report):
        time.sleep(0.003)
        depths.append(len(inspect.stack(0)))

    job = start_job(count(200, []), "Counting")
    watch = Watch(job)
    job.reported.connect(slow_window)
    qtbot.waitUntil(lambda: "ended" in watch.names, timeout=20_000)
    assert len(depths) == 200
    assert [value.progress.done for name, value in watch.said if name == "progressed"] == [*range(1, 201)]
    assert max(depths) < depths[0] + 40


def test_only_jobs_makes_workers():
    from pathlib import Path

    import napari_kidnet.plugin

    room = Path(napari_kidnet.plugin.__file__).parent
    makers = [
        each.name
        for each in room.rglob("*.py")
        if any(word in each.read_text() for word in ("create_worker", "thread_worker", "QThread"))
    ]
    assert makers == ["jobs.py"]


def test_quitting_while_it_works_ends_in_order(tmp_path):
    """The process ends by itself, with status 0: no abort in a worker whose Qt objects are gone."""
    import subprocess
    import sys

    code = """
import time
import napari
from qtpy.QtCore import QTimer
from napari_kidnet.labelling.predicting import Report
from napari_kidnet.plugin.jobs import start_job
from napari_kidnet.progress import Progress

def slow():
    try:
        for step in range(100):
            yield Report(Progress(step, 100, "slow"))
            time.sleep(1)  # a tile
    finally:
        print("closed", flush=True)

viewer = napari.Viewer()
job = start_job(slow(), "Slow")
QTimer.singleShot(1500, viewer.close)
napari.run()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "closed" in done.stdout
