"""How long the Islands widget takes from a key or a click to the repainted canvas, in a real window.

    xvfb-run -a -s "-screen 0 1400x1000x24" python benchmarks/islands_window.py

A 512 x 512 x 512 scan and labels: a phantom's human-like annotation with false blobs, tiled. Keys and
clicks are sent to the window's own canvas; an action ends when the canvas has been drawn with what it
changed. Beside it runs a heart-beat: how long the event loop keeps a timer of 10 ms waiting.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

import napari
import numpy as np
from islands import one_phantom, tiled
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_kidnet.plugin.layers import TOKEN, ScanTag, class_look, placement, scan_keywords
from napari_kidnet.scans import Scan, write_labels

SPACING = (1.0, 0.8, 0.8)
BEAT_MS = 10


class Watch:
    """Counts the drawings of a canvas, and how late a timer comes."""

    def __init__(self, viewer):
        self.canvas = viewer.window._qt_viewer.canvas
        self.canvas._scene_canvas.events.draw.connect(self._on_draw, position="last")
        self.drawn = 0.0
        self.late_ms = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)

    def _on_draw(self, event):
        self.drawn = time.perf_counter()

    def _beat(self):
        now = time.perf_counter()
        self.late_ms.append(max(0.0, 1000 * (now - self._last) - BEAT_MS))
        self._last = now


def turn():
    QApplication.processEvents()
    time.sleep(0.0005)


def settle(widget):
    quiet = 0
    while quiet < 50:
        turn()
        desk = widget._desk
        quiet = quiet + 1 if desk is None or not (desk.busy or desk._queue) else 0


class Bench:
    """One window, and the times of what is done in it."""

    def __init__(self, viewer, widget, layer):
        self.viewer, self.widget, self.layer = viewer, widget, layer
        self.native = viewer.window._qt_viewer.canvas.native
        self.watch = Watch(viewer)
        self.shown = 0.0
        self.times, self.settled = {}, {}
        widget.session.events.shown.connect(self._on_shown)

    def _on_shown(self, box):
        self.shown = time.perf_counter()

    def run(self, name, act, done):
        """Time an action up to the drawing after it is done, and up to the end of the worker's work."""
        settle(self.widget)
        self.shown = 0.0
        begin = time.perf_counter()
        act()
        while not done():
            turn()
            if time.perf_counter() - begin > 20:
                raise TimeoutError(name)
        ready = max(self.shown, begin)
        self.viewer.window._qt_viewer.canvas._scene_canvas.update()
        while self.watch.drawn < ready:
            turn()
        self.times.setdefault(name, []).append(1000 * (self.watch.drawn - begin))
        settle(self.widget)
        self.settled.setdefault(name, []).append(1000 * (time.perf_counter() - begin))

    def key(self, letter, held=Qt.KeyboardModifier.NoModifier):
        QTest.keyClick(self.native, getattr(Qt.Key, f"Key_{letter}"), held)

    def edit(self, name, letter, held=Qt.KeyboardModifier.NoModifier):
        self.run(name, lambda: self.key(letter, held), lambda: self.shown > 0)


def window(rng, side):
    labels = tiled(one_phantom(1000, rng), (side, side, side))
    hu = np.where(labels > 0, 250, 40).astype(np.int16)
    hu += rng.integers(-30, 30, hu.shape, np.int16)
    scan = Scan.from_array(hu, SPACING, name="bench_ct")
    path = Path(tempfile.mkdtemp()) / "bench_labels.nii.gz"
    write_labels(path, labels, scan)
    viewer = napari.Viewer()
    viewer.window.resize(1400, 940)
    viewer.add_image(hu, **scan_keywords(scan, segment_on_arrival=False))
    layer = viewer.add_labels(
        labels,
        name="vessels",
        opacity=0.6,
        metadata={TOKEN: ScanTag(replace(scan, path=path))},
        **placement(scan.spacing, scan.affine),
        **class_look(),
    )
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Islands")
    settle(widget)
    return viewer, widget, layer


def work(bench, rounds):
    widget = bench.widget
    shift, control = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
    for _ in range(rounds):
        before = widget.selected
        bench.run("select (N)", lambda: bench.key("N"), lambda was=before: widget.selected != was)
        size = bench.native.size()
        middle = QPoint(size.width() // 2, size.height() // 2)
        wanted = widget.selected
        widget.select(int(widget.view.table.id[0]), go=False)
        bench.run(
            "select (click)",
            lambda at=middle: QTest.mouseClick(
                bench.native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at
            ),
            lambda: True,
        )
        widget.select(wanted)
        bench.edit("delete (K)", "K")
        bench.edit("undo (U)", "U")
        bench.edit("redo (Shift+U)", "U", shift)
        row = widget.view.table.row_of(widget.selected)
        other = 1 if widget.view.table.class_id[row] != 1 else 2
        bench.edit("relabel (Ctrl+1, 2)", str(other), control)
        n = len(widget.session.history.done)
        bench.run("review (G)", lambda: bench.key("G"), lambda was=n: len(widget.session.history.done) > was)
    bench.key("H")
    settle(widget)
    for _ in range(min(rounds, len(widget.view.bridges))):
        bench.edit("bridge (J)", "J")
    bench.run("save (Ctrl+K)", lambda: bench.key("K", control), lambda: True)
    settle(widget)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    viewer, widget, layer = window(rng, arguments.side)
    bench = Bench(viewer, widget, layer)
    print(f"{layer.data.shape}, {len(widget.view.table)} islands, napari {napari.__version__},", end=" ")
    print(f"{platform.machine()}, seed {arguments.seed}; journal: {widget.session.warning or 'kept'}")
    bench.watch.late_ms.clear()
    try:
        work(bench, arguments.rounds)
    finally:
        print("| action | n | median ms | worst ms | worker done, median ms |\n|---|---|---|---|---|")
        for name, took in bench.times.items():
            done = np.median(bench.settled.get(name, [np.nan]))
            print(f"| {name} | {len(took)} | {np.median(took):.0f} | {max(took):.0f} | {done:.0f} |")
        late = np.array(bench.watch.late_ms)
        p50, p99 = np.percentile(late, (50, 99))
        print(f"heart-beat: {late.size} beats, p50 {p50:.0f}, p99 {p99:.0f}, worst {late.max():.0f} ms late")
        widget._desk.close()
        viewer.close()


if __name__ == "__main__":
    main()
