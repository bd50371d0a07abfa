"""Make docs/images/islands.png: the real Islands widget on a phantom's annotation with false islands added.

    xvfb-run -a -s "-screen 0 1500x1000x24" python docs/make_islands_picture.py

The settings of the person who runs this are not touched.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_kidnet.phantom import PhantomSettings, make_case
from napari_kidnet.plugin.layers import class_look, placement, scan_keywords

SIZE = (1400, 940)


def main() -> None:
    """Make a case, correct a little of it, and take a picture."""
    case = make_case(1000, PhantomSettings("arterial", spacing=(1.5, 1.0, 1.0)))
    labels = case.annotation.copy()
    rng = np.random.default_rng(5)
    for _ in range(14):  # blobs in bowel and bone, and a bit of artery that is called vein
        z, y, x = (int(rng.integers(4, n - 8)) for n in labels.shape)
        size = rng.integers(2, 6, 3)
        labels[z : z + size[0], y : y + size[1], x : x + size[2]] = rng.integers(1, 4)
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    viewer.add_image(case.scan.hu, **scan_keywords(case.scan, segment_on_arrival=False))
    where = placement(case.scan.spacing, case.scan.affine)
    viewer.add_labels(labels, name="vessels", opacity=0.6, **where, **class_look())
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Islands")
    settle(widget)
    widget.act("find_gaps")
    settle(widget)
    for _ in range(3):
        widget.act("accept" if widget.selected is not None else "next")
        settle(widget)
    widget.act("next")
    settle(widget)
    for _ in range(30):
        QApplication.processEvents()
        time.sleep(0.02)
    picture = viewer.window.screenshot(flash=False, canvas_only=False)
    from imageio.v3 import imwrite

    out = Path(__file__).parent / "images" / "islands.png"
    out.parent.mkdir(exist_ok=True)
    imwrite(out, picture[..., :3])
    print(out, picture.shape, out.stat().st_size // 1024, "KB")
    viewer.close()


def settle(widget) -> None:
    """Let the event loop turn until nothing is being done."""
    quiet = 0
    while quiet < 10:
        QApplication.processEvents()
        time.sleep(0.01)
        desk = widget._desk
        quiet = quiet + 1 if desk is None or not (desk.busy or desk._queue) else 0


if __name__ == "__main__":
    main()
