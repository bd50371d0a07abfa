"""Real viewers, a network that a test can hold back, and a fixture that finds what is left behind."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import types
from pathlib import Path

import numpy as np
import pytest

# Before napari is imported: never read or write the settings of the person who runs the tests.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="kidnet-tests-")) / "settings.yaml")


class FakeNetwork:
    """Labels by HU: over 250 artery, over 130 vein. Every tile waits for `allow`."""

    def __init__(self) -> None:
        self.tile = 24
        self.begun = 0
        self.closed = 0
        self.settings = []
        self.fails_with: BaseException | None = None
        self._tokens = threading.Semaphore(0)
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def allow(self, tiles: int) -> None:
        self._tokens.release(tiles)

    def let_go(self) -> None:
        self._free.set()

    @staticmethod
    def classes(hu):
        return np.where(hu > 250, 1, np.where(hu > 130, 2, 0)).astype(np.uint8)

    def steps(self, scan, checkpoint, settings):
        from napari_kidnet.segmentation import SegmentProgress
        from napari_kidnet.segmentation.prediction import Candidates, Prediction

        self.settings.append(settings)
        box = settings.box or tuple(v for n in scan.shape for v in (0, n))
        ranges = [range(box[2 * a], box[2 * a + 1], self.tile) for a in range(3)]
        boxes = [
            tuple(slice(o, min(o + self.tile, box[2 * a + 1])) for a, o in enumerate(corner))
            for corner in np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3).tolist()
        ]
        boxes.sort(
            key=lambda b: sum(
                ((s.start + s.stop) / 2 - v) ** 2
                for s, v in zip(b, settings.start or (0, 0, 0), strict=False)
            )
        )
        labels = np.zeros(scan.shape, np.uint8)
        try:
            self.begun += 1
            yield SegmentProgress(0, len(boxes), "Segmenting (fake)")
            if self.fails_with is not None:
                raise self.fails_with
            for done, part in enumerate(boxes, 1):
                while not self._free.is_set() and not self._tokens.acquire(timeout=0.02):
                    yield SegmentProgress(done - 1, len(boxes), "waiting")
                labels[part] = self.classes(scan.hu[part])
                yield SegmentProgress(done, len(boxes), "Segmenting (fake)", part, labels[part].copy())
            index = np.flatnonzero(labels).astype(np.uint32)
            odds = np.full((3, len(index)), -9, np.float32)
            # arteries are surer than veins: odds 12 against 6
            values = labels.reshape(-1)[index]
            odds[values - 1, np.arange(len(index))] = np.where(values == 1, 12, 6)
            weights = np.array([1.0, np.exp(8), np.exp(8), np.exp(8)])
            return Prediction(labels, 0.9, weights, Candidates(scan.shape, index, odds))
        finally:
            self.closed += 1


@pytest.fixture
def network(monkeypatch):
    """A network that needs neither PyTorch nor a checkpoint."""
    import napari_kidnet.network
    import napari_kidnet.segmentation

    fake = FakeNetwork()
    card = types.SimpleNamespace(sensitivity=0.9, spacing=None)
    monkeypatch.setattr(napari_kidnet.network, "load_checkpoint", lambda path=None: card, raising=False)
    monkeypatch.setattr(napari_kidnet.segmentation, "segment_steps", fake.steps)
    monkeypatch.setattr("napari_kidnet.plugin.warming.warm_up", lambda checkpoint: None)
    yield fake
    fake.let_go()


@pytest.fixture(autouse=True)
def nothing_left_behind(request):
    """Fail a test that leaves a worker, or a visible window."""
    yield
    if "qtbot" not in request.fixturenames and "make_napari_viewer" not in request.fixturenames:
        return
    from qtpy.QtCore import QThreadPool
    from qtpy.QtWidgets import QApplication

    assert QThreadPool.globalInstance().waitForDone(5000), "a worker is still running"
    QApplication.processEvents()
    gc.collect(1)
    left = [w for w in QApplication.topLevelWidgets() if w.isVisible() and type(w).__name__ != "QMenu"]
    assert not left, f"a window was left open: {left}"


@pytest.fixture
def preferences(make_napari_viewer):
    """The plugin's Preferences page, put back afterwards."""
    from napari_kidnet.plugin.settings import remember

    usual = {
        "auto_segment": "CT scans",
        "device": "auto",
        "engine": "auto",
        "checkpoint": "",
        "tuned_sensitivity": True,
        "sensitivity": 0.5,
    }
    remember(**usual)
    yield remember
    remember(**usual)


@pytest.fixture
def viewer(make_napari_viewer, network, preferences):
    """A real viewer, with the plugin's usual preferences and the fake network."""
    viewer = make_napari_viewer()
    yield viewer
    from napari_kidnet.plugin.controller import Controller

    network.let_go()
    Controller.of(viewer).cancel()
    wait_until_idle(viewer)


def wait_until_idle(viewer, timeout_s=20):
    """Let the event loop turn until no job runs."""
    import time

    from qtpy.QtWidgets import QApplication

    from napari_kidnet.plugin.controller import Controller

    controller, end = Controller.of(viewer), time.monotonic() + timeout_s
    quiet = 0
    while quiet < 5 and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)
        quiet = 0 if controller.is_running else quiet + 1
    assert not controller.is_running


@pytest.fixture
def idle():
    """The function that waits until no job runs."""
    return wait_until_idle


def body(shape=(40, 60, 48)):
    """HU (z, y, x): soft tissue, an artery (300) on the patient's left side, a vein (200) on the right."""
    hu = np.full(shape, 40, np.int16)
    _z, y, x = shape
    hu[:, y // 2 - 4 : y // 2 + 4, 3 * x // 4 - 4 : 3 * x // 4 + 4] = 300
    hu[:, y // 2 - 4 : y // 2 + 4, x // 4 - 4 : x // 4 + 4] = 200
    hu[:, :3] = -1000
    return hu


@pytest.fixture
def scan_file(tmp_path):
    """A NIfTI file with `body`, stored as most scanners do (RAS affine with its origin elsewhere)."""
    from napari_kidnet.scans import Scan, write_scan

    affine = np.diag([-0.8, -0.9, 2.0, 1.0])
    affine[:3, 3] = (90.0, 80.0, -40.0)
    path = tmp_path / "patient_ct.nii.gz"
    write_scan(path, Scan.from_array(body(), (2.0, 0.9, 0.8), name="patient_ct", affine=affine))
    return path


@pytest.fixture
def abdomen(shared):
    """A real abdominal CT, where the checkout has one."""
    return shared / "ct_abdomen_3mm.nii.gz"
