"""Make docs/images/plugin.png and plugin-3d.png: the real plugin in a real window.

    xvfb-run -a -s "-screen 0 1400x1000x24" python docs/make_plugin_pictures.py [--checkpoint F] [--scan F]

Without a scan it is the sample phantom. The settings of the person who runs this are not touched.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

import napari
import numpy as np
from qtpy.QtCore import QTimer

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
    photographer = Photographer(viewer, options.out)
    napari.run()
    del photographer


class Photographer:
    """Waits for the labels in napari's own event loop, saves both pictures, and closes the window."""

    def __init__(self, viewer: napari.Viewer, out: Path) -> None:
        self.viewer, self.out, self.end = viewer, out, time.monotonic() + LIMIT_S
        self.controller, self.image = Controller.of(viewer), viewer.layers[0]
        self.timer = QTimer()
        self.timer.timeout.connect(self.look)
        self.timer.start(500)

    def look(self) -> None:
        """Take the first picture, once the labels are complete."""
        sheet = self.controller.known(self.image)
        done = sheet is not None and sheet.session.prediction is not None and not self.controller.is_running
        if not done and time.monotonic() < self.end:
            return
        self.timer.stop()
        labels = sheet.session.labels
        print(self.controller.status.text, sheet.session.volumes_ml())
        fullest = int(np.count_nonzero(labels, axis=(1, 2)).argmax())
        self.viewer.dims.set_point(0, self.image.data_to_world((fullest, 0, 0))[0])
        self.viewer.reset_view()
        QTimer.singleShot(2000, self.look_in_3d)

    def look_in_3d(self) -> None:
        """Save the first picture, and turn."""
        self.save("plugin.png")
        show_3d(self.viewer)
        QTimer.singleShot(10_000, self.finish)  # without a GPU the first 3D frame takes seconds

    def finish(self) -> None:
        """Save the second picture, and close."""
        self.save("plugin-3d.png")
        self.viewer.close()

    def save(self, name: str) -> None:
        """Save the whole window."""
        path = self.out / name
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
