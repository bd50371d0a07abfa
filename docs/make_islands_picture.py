"""Make docs/images/islands*.png and islands.gif: the real Islands widget on a segmented phantom.

    xvfb-run -a -s "-screen 0 1500x1000x24" python docs/make_islands_picture.py [--seed N] [--out FOLDER]

Keys and clicks are sent to the window, as a person would give them; only what is true of an island or a gap
is looked up in the phantom's truth. The settings of the person who runs this are not touched.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

import napari
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget

from napari_kidnet.islands.tubes import tube
from napari_kidnet.phantom import PhantomSettings, make_case
from napari_kidnet.plugin.commands import show_3d
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.settings import remember
from napari_kidnet.scans import write_labels, write_scan

IMAGES = Path(__file__).parent / "images"
SIZE = (1280, 900)
FILM_SIZE = (1000, 790)
FILM_COLOURS = 256
SEED = 1001
HELD = {"Shift": Qt.KeyboardModifier.ShiftModifier, "Ctrl": Qt.KeyboardModifier.ControlModifier}

CRASH = """
import os, sys
from pathlib import Path
from napari_kidnet.islands import delete
from napari_kidnet.labelling.correcting import open_islands
from napari_kidnet.scans import read_labels, read_scan

scan, labels = (Path(each) for each in sys.argv[1:])
session = open_islands(read_labels(labels), read_scan(scan), labels)
for _ in range(3):
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [int(s.view.table.id[-1])])))
os._exit(1)
"""
"""A session that ends after three edits and before it has saved."""


class Room:
    """A window with the Islands widget, a phantom's files, and hands.

    Parameters
    ----------
    seed : int
        Of the phantom.
    """

    def __init__(self, seed: int) -> None:
        remember(auto_segment="never")
        self.case = make_case(seed, PhantomSettings("venous", spacing=(1.5, 1.0, 1.0)))
        self.name = f"phantom-{seed}"
        self.folder = Path(tempfile.mkdtemp())
        self.scan = self.folder / f"{self.name}_ct.nii.gz"
        write_scan(self.scan, self.case.scan)
        write_labels(self.folder / f"{self.name}_kidneys.nii.gz", self.case.kidneys, self.case.scan)
        self.open()

    def open(self) -> None:
        """Open an empty window."""
        self.viewer = napari.Viewer()
        self.viewer.window.resize(*SIZE)
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-kidnet", "Islands")
        self.pages = self.widget.panel.pages
        self.settle()

    def segment(self) -> None:
        """Open the scan and run the network on it."""
        (image,) = self.viewer.open(str(self.scan), plugin="napari-kidnet")
        controller = Controller.of(self.viewer)
        controller.segment(image)
        turn(1)
        while controller.is_running:
            turn(0.1)
        while not len(self.widget.view.table):  # it comes when the run is taken over
            turn(0.1)
        self.settle()
        self.press("N")

    def press(self, keys: str) -> None:
        """Press a key on the canvas, such as Shift+H, and wait until what it does is done."""
        *held, letter = keys.split("+")
        modifiers = HELD[held[0]] if held else Qt.KeyboardModifier.NoModifier
        native = self.viewer.window._qt_viewer.canvas.native
        QTest.keyClick(native, getattr(Qt.Key, f"Key_{letter}"), modifiers)
        self.settle()

    def settle(self) -> None:
        """Let the event loop turn until nothing is being done."""
        quiet = 0
        while quiet < 20:
            turn(0.01)
            desk = self.widget._desk
            quiet = quiet + 1 if desk is None or not (desk.busy or desk._queue) else 0
        turn(0.3)

    def true_class(self, island: int) -> int:
        """Return what an island mostly is in the phantom's truth; 0 is no vessel."""
        table = self.widget.view.table
        voxels = table.voxels_of(table.row_of(island))
        return int(np.bincount(self.case.truth.reshape(-1)[voxels], minlength=4).argmax())

    def click(self, island: int) -> None:
        """Click the row of an island."""
        listing = self.widget.panel.listing
        index = listing.model.index(listing.model.row_of(island), 3)
        listing.table.scrollTo(index)
        at = listing.table.visualRect(index).center()
        QTest.mouseClick(listing.table.viewport(), Qt.MouseButton.LeftButton, pos=at)
        self.settle()

    def click_at(self, voxel: tuple[int, ...]) -> None:
        """Click the row of the island that a voxel belongs to now."""
        table = self.widget.view.table
        self.click(int(table.id[table.at(voxel)]))

    def find_true_gap(self) -> None:
        """Look for gaps, and refuse those that the truth does not join."""
        self.press("H")
        while not self._gap_is_true():
            self.press("Shift+J")

    def _gap_is_true(self) -> bool:
        gap, table = self.widget.bridge, self.widget.view.table
        voxels = tube(gap.path, gap.radii_mm, table.shape, table.spacing)
        return bool((self.case.truth.reshape(-1)[voxels] == gap.class_id).mean() > 0.5)

    def only_dock(self, only: bool) -> None:
        """Hide napari's own docks, or show them again."""
        window = self.viewer.window._qt_viewer
        for dock in (window.dockLayerList, window.dockLayerControls):
            dock.setVisible(not only)
        self.viewer.window.resize(*(FILM_SIZE if only else SIZE))
        frame = self.widget
        while not isinstance(frame, QDockWidget):
            frame = frame.parent()
        self.viewer.window._qt_window.resizeDocks([frame], [430], Qt.Orientation.Horizontal)
        self.settle()

    def look(self) -> tuple[Any, ...]:
        """Return what is looked at: the slice, the middle and the zoom."""
        camera = getattr(self.viewer, "scene", self.viewer).camera
        return (tuple(self.viewer.dims.point), tuple(camera.center), camera.zoom)

    def look_again(self, there: tuple[Any, ...]) -> None:
        """Scroll back to what was looked at."""
        camera = getattr(self.viewer, "scene", self.viewer).camera
        self.viewer.dims.point, camera.center, camera.zoom = there
        self.settle()

    def picture(self) -> Image.Image:
        """Return the whole window."""
        return Image.fromarray(self.viewer.window.screenshot(flash=False, canvas_only=False)[..., :3])

    def save(self, path: Path) -> None:
        """Save the whole window."""
        path.parent.mkdir(exist_ok=True)
        self.picture().save(path, optimize=True)
        print(path, f"{path.stat().st_size / 1000:.0f} kB")


class Film:
    """Pictures of a window, each with a line that says what was done; no pointer is seen."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.frames: list[Image.Image] = []

    def take(self, line: str) -> None:
        """Take a picture."""
        picture = self.room.picture()
        frame = Image.new("RGB", (picture.width, picture.height + 34), (224, 160, 48))
        frame.paste(picture, (0, 34))
        ImageDraw.Draw(frame).text((10, 6), line, "black", ImageFont.load_default(size=17))
        self.frames.append(frame)

    def save(self, path: Path) -> None:
        """Write an animation in one palette, so that only what changes is stored."""
        sheet = Image.new("RGB", (self.frames[0].width, sum(each.height for each in self.frames)))
        for k, each in enumerate(self.frames):
            sheet.paste(each, (0, k * each.height))
        palette = sheet.quantize(FILM_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        frames = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in self.frames]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=2200, loop=0, optimize=True)
        print(path, f"{path.stat().st_size / 1000:.0f} kB")


def turn(seconds: float) -> None:
    """Let the event loop turn."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def film(room: Room, path: Path) -> None:
    """Select, delete, relabel, join, undo, review, next: one key each."""
    room.only_dock(True)
    room.pages.setCurrentIndex(0)
    room.press("W")
    scene, widget = Film(room), room.widget
    table = widget.view.table
    ids = [int(each) for each in table.id[widget.view.review.rows]]
    said = dict(zip(table.id.tolist(), table.class_id.tolist(), strict=True))
    false = max((each for each in ids if not room.true_class(each)), key=lambda each: _size(room, each))
    wrong = next(each for each in ids if room.true_class(each) not in (0, said[each]))
    true = room.true_class(wrong)
    names = {1: "artery", 2: "vein", 3: "collecting system"}
    scene.take(f"{len(ids)} islands, the one with the most wrong volume to be expected first")
    room.click(false)
    scene.take("A click on a row goes to the island: no vessel runs here")
    room.press("K")
    scene.take("K: deleted. The next one is there already")
    room.click(wrong)
    scene.take(f"Another: an {names[said[wrong]]}, it says. It is {names[true]}")
    voxel = np.unravel_index(table.voxels_of(table.row_of(wrong))[0], table.shape)
    room.press(f"Ctrl+{true}")
    room.click_at(voxel)
    scene.take(f"Ctrl+{true}: relabelled to {names[true]}")
    room.find_true_gap()
    gap = room.look()
    scene.take("H: a gap is found, and in green how it may be joined")
    for key, line in (("J", "joined into one vessel"), ("U", "undone"), ("Shift+U", "and done again")):
        room.press(key)
        room.look_again(gap)
        scene.take(f"{key}: {line}")
    room.click_at(voxel)
    room.pages.setCurrentIndex(0)
    room.press("G")
    scene.take("G: accepted. It is reviewed, and the next one is shown")
    room.press("N")
    scene.take("N: on to the next")
    scene.save(path)
    room.only_dock(False)


def _size(room: Room, island: int) -> int:
    table = room.widget.view.table
    return int(table.voxels[table.row_of(island)])


def correct(room: Room, out: Path) -> None:
    """Take the pictures of a window in which somebody corrects."""
    room.segment()
    room.only_dock(False)
    room.press("W")
    room.save(out / "islands.png")
    room.find_true_gap()
    room.save(out / "islands-gaps.png")
    film(room, out / "islands.gif")

    widget, table = room.widget, room.widget.view.table
    loose = np.flatnonzero(~table.rooted & (table.mean_probability < 0.75))
    island = int(table.id[loose[np.argmax(table.voxels[loose])]])
    room.click(island)
    room.pages.setCurrentIndex(1)
    room.press("Shift+G")
    room.pages.threshold.setValue(15)
    room.settle()
    room.save(out / "islands-tools.png")
    widget.tools.leave()

    room.pages.setCurrentIndex(3)
    room.pages.around.setValue(5)
    room.press("Shift+R")
    room.save(out / "islands-review.png")

    room.pages.setCurrentIndex(0)
    show_3d(room.viewer)
    turn(3)
    room.press("W")
    turn(3)  # without a graphics card a 3D frame takes its time
    room.save(out / "islands-3d.png")
    room.press("Ctrl+K")


def recover(room: Room, out: Path) -> None:
    """Take the picture of the question that is asked after a crash."""
    labels = room.folder / f"{room.name}_labels.nii.gz"
    room.viewer.close()
    turn(1)
    subprocess.run([sys.executable, "-c", CRASH, str(room.scan), str(labels)], check=False)
    room.open()
    room.viewer.open(str(room.scan), plugin="napari-kidnet")
    room.viewer.open(str(labels), plugin="napari-kidnet")
    while room.widget.session is None:
        turn(0.1)
    room.settle()
    room.save(out / "islands-recovery.png")
    room.viewer.close()


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    room = Room(options.seed)
    room.save(options.out / "islands-empty.png")
    correct(room, options.out)
    recover(room, options.out)


if __name__ == "__main__":
    main()
