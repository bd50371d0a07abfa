"""Make docs/images/worklist.png: the Worklist widget in a real window, half way through six phantoms.

    xvfb-run -a -s "-screen 0 1400x1000x24" python docs/make_worklist_picture.py [FOLDER]

Six phantoms (seeds 1000 to 1005) are drawn and segmented with the shipped checkpoint. Minutes and actions of
the three finished ones are made up, so that the plot has something to show. With FOLDER, a folder that an
earlier run made is shown again. The settings of the person who runs this are not touched.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

import napari
from qtpy.QtWidgets import QApplication

from napari_kidnet.labelling import PredictRequest
from napari_kidnet.labelling.worklist import Worklist, WorkState, predict_new_steps
from napari_kidnet.phantom import PhantomSettings, make_case
from napari_kidnet.progress import drain
from napari_kidnet.scans import write_scan

IMAGES = Path(__file__).parent / "images"
PHASES = ("arterial", "venous", "excretory")


def main() -> None:
    """Make a folder, or take one; look."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else new_folder()
    look(folder)


def new_folder() -> Path:
    """Make six scans and one broken file, predict them, and say that three are done."""
    folder = Path(tempfile.mkdtemp()) / "site B, venous"
    folder.mkdir()
    for number in range(6):
        case = make_case(1000 + number, PhantomSettings(phase=PHASES[number % 3]))
        write_scan(folder / f"patient{number + 1:02d}_ct.nii.gz", case.scan)
    worklist = Worklist(folder)
    (folder / "patient07_ct.nii.gz").write_bytes(b"broken on the way")
    worklist.refresh()
    print(folder, drain(predict_new_steps(worklist, PredictRequest())).in_words)
    for key, minutes, actions in (("patient03", 11.6, 84), ("patient01", 9.2, 61), ("patient06", 4.9, 33)):
        name = f"{key}_ct.nii.gz"
        worklist.add_work(name, 60 * minutes, actions)
        worklist.note_review(name, 1.0, worklist.row(name).islands or 0, 0)
        worklist.set_state(name, WorkState.DONE)
        if key == "patient01":
            worklist.note_finetuning("tuned-001.safetensors", activated=True)
    return folder


def look(folder: Path) -> None:
    """Open the folder in a window, and the next scan of it."""
    viewer = napari.Viewer()
    viewer.window.resize(1320, 860)
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Worklist")
    widget.desk.open_folder(folder)
    wait(2)
    widget.desk.open_next("benefit")
    wait(8)
    viewer.screenshot(str(IMAGES / "worklist.png"), canvas_only=False, flash=False)
    viewer.close()


def wait(seconds: float) -> None:
    """Let the window live."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
