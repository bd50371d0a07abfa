"""A fine-tuning in a real window, by clicks and keys: does the window stay alive, and what is left behind?

    xvfb-run -a -s "-screen 0 1500x1100x24" python benchmarks/finetune_window.py [--minutes 1] [--why]

A phantom (test seed 1004) is segmented, two islands are corrected by keys of the Islands widget, then by
clicks: start, pause, resume, cancel, start again (it goes on), accept, predict again. A timer of 10 ms is the
heart-beat; how late it comes is how long the window stood still. The phantoms to replay are drawn beforehand,
as they are once for a person. ``--why`` tells where the window's thread was when a beat was late.
"""

from __future__ import annotations

import argparse
import collections
import gc
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ.setdefault("KIDNET_CHECKPOINTS", str(Path(tempfile.mkdtemp()) / "checkpoints"))

import napari
import numpy as np
import psutil
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest

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
        self.last = time.perf_counter()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self._beat)

    def start(self) -> None:
        self.last = time.perf_counter()
        self.timer.start(BEAT_MS)

    def _beat(self) -> None:
        now = time.perf_counter()
        self.late.setdefault(self.during, []).append(1000 * (now - self.last) - BEAT_MS)
        self.last = now

    def report(self) -> None:
        every = [each for late in self.late.values() for each in late]
        for during, late in [*self.late.items(), ("all of it", every)]:
            p50, p99 = np.percentile(late, [50, 99])
            print(
                f"{during:20s} {len(late):6d} beats, late by {p50:5.1f} ms (median), {p99:6.1f} (p99), "
                f"{max(late):6.1f} (worst); {sum(each > 100 for each in late)} by more than 100"
            )


class Watch(threading.Thread):
    """Looks where the window's thread is whenever a beat is late."""

    def __init__(self, heart: Heart) -> None:
        super().__init__(daemon=True)
        self.heart, self.window = heart, threading.main_thread().ident
        self.places: collections.Counter[str] = collections.Counter()

    def run(self) -> None:
        while True:
            began = time.perf_counter()
            time.sleep(0.02)
            if time.perf_counter() - began > 0.06:  # nobody ran: the interpreter, or the core, was taken
                self.places["(no Python thread ran)"] += 1
            elif time.perf_counter() - self.heart.last > 0.06:
                frames = traceback.extract_stack(sys._current_frames().get(self.window))
                ours = [f for f in frames if "napari_kidnet" in f.filename][:-7:-1]
                names = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in (frames[-1], *ours)]
                self.places[f"{self.heart.during}: {' < '.join(names)}"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--pause-after", type=int, default=3, help="steps")
    parser.add_argument(
        "--twice", action="store_true", help="fine-tune once more at the end: does memory grow?"
    )
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of the window")
    parser.add_argument("--why", action="store_true", help="tell what was done when a beat was late")
    options = parser.parse_args()
    _fill()
    remember(auto_segment="never")
    viewer = napari.Viewer()
    viewer.window.resize(1380, 1040)
    case = make_case(SEED, PhantomSettings("venous", spacing=(1.5, 1.0, 1.0)))
    image = viewer.add_image(case.scan.hu, **scan_keywords(case.scan, segment_on_arrival=False))
    controller = Controller.of(viewer)
    controller.segment(image)
    turn(lambda: (known := controller.known(image)) is not None and known.session.prediction is not None)
    turn(lambda: not controller.is_running)
    say("segmented")
    sheet = controller.known(image)
    _, islands = viewer.window.add_plugin_dock_widget("napari-kidnet", "Islands")
    desk = IslandsDesk.of(viewer, sheet.labels)
    turn(lambda: desk.session is not None and islands.view is not None and not desk.busy)
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Fine-tune", tabify=True)
    tuner = widget._desk
    rest(1.0)
    correct(viewer, islands, desk)
    raise_dock(widget)
    turn(lambda: bool(widget.cases.chosen))
    widget.form.minutes.setValue(options.minutes)
    rest(1.0)
    gc.collect()
    before_mb = memory_mb()
    say(f"to learn from: {widget.cases.chosen[0].tally.in_words()}; {before_mb:.0f} MB")
    heart = Heart()
    watch = Watch(heart)
    heart.start()
    if options.why:
        watch.start()

    heart.during = "getting ready"
    click(widget.bar.start)
    turn(lambda: tuner.state.learning or not tuner.busy)
    heart.during = "learning"
    say(f"learning: {tuner.state.text}")
    turn(lambda: len(tuner.losses) >= options.pause_after or not tuner.busy)
    picture(viewer, options, heart, "learning")
    click(widget.bar.pause)
    turn(lambda: tuner.state.paused or not tuner.busy)
    at = tuner.state.done
    heart.during = "paused"
    rest(1.0)
    say(f"paused at step {at}, a second later at {tuner.state.done}")
    click(widget.bar.pause)
    heart.during = "learning"
    turn(lambda: tuner.state.done > at or not tuner.busy)
    asked = time.monotonic()
    click(widget.bar.cancel)
    turn(lambda: not tuner.busy)
    say(f"cancelled within {time.monotonic() - asked:.2f} s; in use: {in_use()}; {tuner.state.text}")
    heart.during = "idle"
    rest(0.5)
    heart.during = "getting ready"
    click(widget.bar.start)
    turn(lambda: tuner.state.learning or not tuner.busy)
    say(f"went on at step {tuner.state.done}")
    heart.during = "learning"
    last = ""
    while tuner.busy:
        turn(lambda last=last: not tuner.busy or tuner.state.text != last)
        last = tuner.state.text
        heart.during = "measuring" if "easur" in last else "learning"
        say(f"step {tuner.state.done} of {tuner.state.total}: {last}")
    heart.during = "idle"
    result = tuner.result
    if result is None:
        raise SystemExit(f"no result: {tuner.state.text}")
    say(f"{tuner.state.done} steps; {result.reason}")
    rest(0.5)
    picture(viewer, options, heart, "result")
    if not result.activated:
        click(widget.result.use)
    say(f"in use: {in_use()}")
    collect(heart)
    after_mb = memory_mb()
    held = desk.session.states != 0
    labels = sheet.session.labels.copy()
    heart.during = "predicting again"
    click(widget.result.again)
    turn(lambda: controller.is_running)
    turn(lambda: not controller.is_running and not desk.busy and not desk._queue)
    rest(0.5)
    picture(viewer, options, heart, "again")
    same = bool(np.array_equal(labels[held], sheet.session.labels[held]))
    changed = int(np.count_nonzero(labels != sheet.session.labels))
    del labels
    memory = [before_mb, after_mb, memory_mb()]
    if options.twice:
        heart.during = "another run"
        click(widget.bar.start)
        turn(lambda: tuner.state.learning or not tuner.busy)
        turn(lambda: not tuner.busy)
        say(f"another run: {tuner.state.done} steps; {tuner.state.text}")
        collect(heart)
        memory.append(memory_mb())
    heart.timer.stop()
    say(f"reviewed voxels: {int(held.sum())}, unchanged: {same}; other voxels changed: {changed}")
    heart.report()
    words = ("before", "after the run", "after predicting again", "after another run")
    print("memory:", ", ".join(f"{mb:.0f} MB {when}" for mb, when in zip(memory, words, strict=False)))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"threads {psutil.Process().num_threads()}, {cores} cores, napari {napari.__version__}")
    for place, times in watch.places.most_common(25):
        print(f"{times:5d} {place}")
    viewer.close()
    assert same, "a reviewed voxel changed"
    assert changed, "the prediction changed nothing"


def correct(viewer, islands, desk) -> None:
    """Accept the largest island, and delete the one that is worth most to look at, by mouse and keys."""
    table = islands.panel.listing.table
    table.sortByColumn(2, Qt.SortOrder.DescendingOrder)  # volume
    first = table.visualRect(table.model().index(0, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=first)
    turn(lambda: islands.selected is not None)
    for act, keys in (("accepted", "G"), ("deleted", "NK")):
        before = len(desk.session.history.done)
        for letter in keys:
            QTest.keyClick(viewer.window._qt_viewer.canvas.native, getattr(Qt.Key, f"Key_{letter}"))
            rest(0.3)
        turn(lambda before=before: len(desk.session.history.done) > before and not desk.busy)
        say(f"{act}: {desk.session.history.done[-1].what}")


def raise_dock(widget) -> None:
    dock = widget.parent()
    while not hasattr(dock, "toggleViewAction"):
        dock = dock.parent()
    dock.show()
    dock.raise_()
    rest(0.5)


def picture(viewer, options, heart, name) -> None:
    if options.screenshots is not None:
        heart.timer.stop()  # a person takes no pictures
        options.screenshots.mkdir(exist_ok=True, parents=True)
        viewer.screenshot(str(options.screenshots / f"{name}.png"), canvas_only=False, flash=False)
        heart.start()


def collect(heart) -> None:
    """Collect what is not referred to any more; the window would do so sometime, a generation at a time."""
    heart.timer.stop()
    gc.collect()
    heart.start()
    rest(1.0)


def in_use() -> str:
    return preferences().checkpoint.name if preferences().checkpoint else "shipped"


BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


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


def turn(done, at_most_s: float = 240) -> None:
    """Let the window's own event loop run, which sleeps where nothing is to be done."""
    if done():
        return
    end, loop, look = time.monotonic() + at_most_s, QEventLoop(), QTimer()
    look.timeout.connect(lambda: loop.quit() if done() or time.monotonic() > end else None)
    look.start(10)
    loop.exec_() if hasattr(loop, "exec_") else loop.exec()
    look.stop()
    if not done():
        traceback.print_stack(limit=3)
        raise SystemExit("it took too long")


def rest(seconds: float) -> None:
    end = time.monotonic() + seconds
    turn(lambda: time.monotonic() > end)


def memory_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    main()
