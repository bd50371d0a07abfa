"""Make docs/images/finetune-*.png: the real Fine-tune widget on a phantom, from the empty window to the tree.

    xvfb-run -a -s "-screen 0 1500x1100x24" python docs/make_finetuning_pictures.py [--steps N]

The settings and checkpoints of the person who runs this are not touched.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["KIDNET_CHECKPOINTS"] = str(Path(tempfile.mkdtemp()) / "checkpoints")

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_kidnet.islands import accept_islands
from napari_kidnet.phantom import PhantomSettings, make_case
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.islands_desk import IslandsDesk
from napari_kidnet.plugin.layers import scan_keywords
from napari_kidnet.plugin.settings import remember

IMAGES = Path(__file__).parent / "images"
SIZE = (1380, 1040)
SEED = 1003


def main() -> None:
    """Segment, correct, learn, compare, and take a picture of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    remember(auto_segment="never")
    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Fine-tune")
    turn(lambda: False, 2)
    save(viewer, options.out / "finetune-empty.png")

    case = make_case(SEED, PhantomSettings("venous", spacing=(1.5, 1.0, 1.0)))
    image = viewer.add_image(case.scan.hu, **scan_keywords(case.scan, segment_on_arrival=False))
    controller = Controller.of(viewer)
    controller.segment(image)
    turn(lambda: False, 1)
    turn(lambda: not controller.is_running)
    turn(lambda: False, 2)
    sheet = controller.known(image)
    desk = IslandsDesk.of(viewer, sheet.labels)
    turn(lambda: desk.session is not None and not desk.busy)
    table = desk.session.view.table
    largest = [int(each) for each in table.id[np.argsort(-table.voxels)[:4]]]
    desk.do(lambda s: s.edit_steps(lambda s: accept_islands(s.view.table, largest, s.states)))
    turn(lambda: not desk.busy)
    fullest = int(np.count_nonzero(sheet.session.labels, axis=(1, 2)).argmax())
    viewer.dims.set_point(0, image.data_to_world((fullest, 0, 0))[0])
    viewer.reset_view()
    turn(lambda: bool(widget.cases.chosen))
    widget.form.budget.setCurrentText("steps")
    widget.form.steps.setValue(options.steps)
    began = time.monotonic()
    widget.bar.start.click()
    turn(lambda: len(widget._desk.losses) >= options.steps // 2 or not widget._desk.busy)
    turn(lambda: False, 1)
    save(viewer, options.out / "finetune-running.png")
    turn(lambda: not widget._desk.busy)
    print(f"{time.monotonic() - began:.0f} s; {widget._desk.state.text} {widget._desk.losses[-1:]}")
    widget.result.compare.click()
    turn(lambda: not widget._desk.busy)
    turn(lambda: False, 2)
    widget.pages[0].verticalScrollBar().setValue(widget.pages[0].verticalScrollBar().maximum())
    turn(lambda: False, 1)
    save(viewer, options.out / "finetune-result.png")
    widget.tabs.setCurrentIndex(1)
    top = widget.tree.tree.topLevelItem(0)
    if top is not None:
        widget.tree.tree.setCurrentItem(top.child(0) or top)
    turn(lambda: False, 1)
    save(viewer, options.out / "finetune-tree.png")
    viewer.close()


def turn(done, at_most_s: float = 900) -> None:
    """Let the event loop turn until something is done."""
    end = time.monotonic() + at_most_s
    while not done() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def save(viewer: napari.Viewer, path: Path) -> None:
    """Save the whole window."""
    path.parent.mkdir(exist_ok=True)
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
