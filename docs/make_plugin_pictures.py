"""Make docs/images/plugin.png and plugin-3d.png: the real plugin in a real window.

    xvfb-run -a -s "-screen 0 1400x1000x24" python docs/make_plugin_pictures.py [--checkpoint F] [--scan F]

Without a scan it is the sample phantom. The settings of the person who runs this are not touched.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_kidnet.plugin.commands import show_3d
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.settings import prefer_reader, remember

IMAGES = Path(__file__).parent / "images"
SIZE = (1240, 820)
LIMIT_S = 900


def main() -> None:
    """Open, segment, wait, look from both sides, close."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    prefer_reader()
    remember(auto_segment="always", checkpoint=str(options.checkpoint or ""))
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    if options.scan is None:
        viewer.open_sample("napari-kidnet", "phantom")
    else:
        viewer.open(str(options.scan), plugin="napari-kidnet")
    viewer.window.add_plugin_dock_widget("napari-kidnet", "Segment")
    QTimer.singleShot(0, lambda: look(viewer, options.out))
    napari.run()


def look(viewer: napari.Viewer, out: Path) -> None:
    """Wait for the labels, and save both pictures."""
    controller, (image,) = Controller.of(viewer), list(viewer.layers)[:1]
    end = time.monotonic() + LIMIT_S
    turn_until(lambda: controller.known(image) is not None and not controller.is_running, end)
    session = controller.known(image).session
    print(controller.status.text, session.volumes_ml())
    filled = np.count_nonzero(session.labels, axis=(1, 2))
    viewer.dims.set_point(0, image.data_to_world((int(filled.argmax()), 0, 0))[0])
    viewer.reset_view()
    turn_until(lambda: False, time.monotonic() + 2)
    save(viewer, out / "plugin.png")
    show_3d(viewer)
    turn_until(lambda: False, time.monotonic() + 8)  # without a GPU the first 3D frame takes seconds
    save(viewer, out / "plugin-3d.png")
    viewer.close()


def turn_until(reached: Callable[[], bool], end: float) -> None:
    """Let the event loop turn until something is reached, or the time is up."""
    while not reached() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def save(viewer: napari.Viewer, path: Path) -> None:
    """Save the whole window."""
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
