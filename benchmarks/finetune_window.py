"""A fine-tuning in a real window, with real clicks: does the window stay alive, and what is left behind?

    xvfb-run -a -s "-screen 0 1500x1100x24" python benchmarks/finetune_window.py [--minutes 1]

A phantom (test seed 1004) is segmented, two islands are corrected, then: start, pause, resume, cancel, start
again (it goes on), accept, predict again. A timer of 10 ms is the heart-beat; how late it comes is how long
the window stood still. The phantoms to replay are drawn beforehand, as they are once for a person.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ.setdefault("KIDNET_CHECKPOINTS", str(Path(tempfile.mkdtemp()) / "checkpoints"))

import napari
import numpy as np
import psutil
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_kidnet.islands import accept_islands, delete
from napari_kidnet.labelling.in_use import own_folder, prepared_folder
from napari_kidnet.phantom import PhantomSettings, make_case
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.islands_desk import IslandsDesk
from napari_kidnet.plugin.layers import scan_keywords
from napari_kidnet.plugin.settings import preferences, remember

SEED = 1004
BEAT_MS = 10


class Heart:
    """Writes down how late each beat of a timer comes, in ms, by what goes on."""

    def __init__(self) -> None:
        self.late: dict[str, list[float]] = {}
        self.during = "start"
        self._last = time.perf_counter()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self._beat)
        self.timer.start(BEAT_MS)

    def _beat(self) -> None:
        now = time.perf_counter()
        self.late.setdefault(self.during, []).append(1000 * (now - self._last) - BEAT_MS)
        self._last = now

    def report(self) -> None:
        for during, late in self.late.items():
            if len(late) > 20:
                p50, p99 = np.percentile(late, [50, 99])
                print(
                    f"{during:22s} {len(late):6d} beats, late by {p50:5.1f} ms (median), {p99:6.1f} (p99), "
                    f"{max(late):6.1f} (worst)"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--fill-only", action="store_true", help="only draw the phantoms to replay")
    options = parser.parse_args()
    _fill()
    if options.fill_only:
        return
    remember(auto_segment="never")
    viewer = napari.Viewer()
    viewer.window.resize(1380, 1040)
    case = make_case(SEED, PhantomSettings("venous", spacing=(1.5, 1.0, 1.0)))
    image = viewer.add_image(case.scan.hu, **scan_keywords(case.scan, segment_on_arrival=False))
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Fine-tune")
    controller, tuner = Controller.of(viewer), widget._desk
    controller.segment(image)
    turn(lambda: (known := controller.known(image)) is not None and known.session.prediction is not None)
    turn(lambda: not controller.is_running)
    sheet = controller.known(image)
    desk = IslandsDesk.of(viewer, sheet.labels)
    turn(lambda: desk.session is not None and not desk.busy)
    table = desk.session.view.table
    order = [int(each) for each in table.id[np.argsort(-table.voxels)]]
    desk.do(lambda s: s.edit_steps(lambda s: accept_islands(s.view.table, order[:1], s.states)))
    desk.do(lambda s: s.edit_steps(lambda s: delete(s.known, s.view.table, order[-1:])))
    turn(lambda: not desk.busy and not desk._queue)
    turn(lambda: bool(widget.cases.chosen))
    before_mb = memory_mb()
    heart = Heart()
    widget.form.minutes.setValue(options.minutes)

    heart.during = "getting ready"
    click(widget.bar.start)
    turn(lambda: tuner.state.learning or not tuner.busy)
    heart.during = "learning"
    turn(lambda: len(tuner.losses) >= 8 or not tuner.busy)
    click(widget.bar.pause)
    turn(lambda: tuner.state.paused)
    at = tuner.state.done
    heart.during = "paused"
    rest(1.0)
    print(f"paused at step {at}, a second later at {tuner.state.done}")
    click(widget.bar.pause)
    heart.during = "learning"
    turn(lambda: tuner.state.done > at + 1 or not tuner.busy)
    asked = time.monotonic()
    click(widget.bar.cancel)
    turn(lambda: not tuner.busy)
    print(f"cancelled within {time.monotonic() - asked:.2f} s; in use: {preferences().checkpoint}")
    rest(0.5)
    heart.during = "getting ready"
    click(widget.bar.start)
    turn(lambda: tuner.state.learning or not tuner.busy)
    print(f"went on at step {tuner.state.done}")
    heart.during = "learning, measuring"
    turn(lambda: not tuner.busy)
    result = tuner.result
    print(
        f"{tuner.state.done} steps; {'no result: ' + tuner.state.text if result is None else result.reason}"
    )
    rest(0.5)
    if result is not None and not result.activated:
        click(widget.result.use)
    print("in use:", preferences().checkpoint.name if preferences().checkpoint else "shipped")
    gc.collect()
    rest(1.0)
    after_mb = memory_mb()
    held = desk.session.states != 0
    labels = sheet.session.labels.copy()
    heart.during = "predicting again"
    click(widget.result.again)
    turn(lambda: controller.is_running)
    turn(lambda: not controller.is_running and not desk.busy)
    rest(0.5)
    same = bool(np.array_equal(labels[held], sheet.session.labels[held]))
    changed = int(np.count_nonzero(labels != sheet.session.labels))
    print(f"reviewed voxels {int(held.sum())}, unchanged: {same}; other voxels changed: {changed}")
    heart.timer.stop()
    heart.report()
    print(f"memory: {before_mb:.0f} MB before, {after_mb:.0f} after the run, {memory_mb():.0f} at the end")
    print(f"threads {psutil.Process().num_threads()}, {os.cpu_count()} cores, napari {napari.__version__}")
    viewer.close()


def _fill() -> None:
    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.training.finetune_settings import FinetuneSettings
    from napari_kidnet.training.replay import ReplayStore

    parent = load_checkpoint()
    edge = FinetuneSettings().patch_edge(parent)
    for told in ReplayStore(prepared_folder(own_folder()), edge, parent.spacing).add_phantoms():
        print(told.what, flush=True)


def click(button) -> None:
    assert button.isEnabled(), button.text()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def turn(done, at_most_s: float = 600) -> None:
    end = time.monotonic() + at_most_s
    while not done():
        QApplication.processEvents()
        time.sleep(0.001)
        if time.monotonic() > end:
            raise SystemExit("it took too long")


def rest(seconds: float) -> None:
    end = time.monotonic() + seconds
    turn(lambda: time.monotonic() > end)


def memory_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    main()
