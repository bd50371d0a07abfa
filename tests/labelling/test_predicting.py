"""The generators of a session: order, boxes, cancelling."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_kidnet.labelling import PredictRequest, decide_steps, predict_steps, save_steps
from napari_kidnet.labelling.session import LabellingSession
from napari_kidnet.scans import Scan


class Sensitive:
    """A prediction whose labels are 1 where a voxel's number is below the sensitivity."""

    def __init__(self, shape) -> None:
        self.odds = np.random.default_rng(1).random(shape)
        self.labels = self.at(0.5)

    def at(self, sensitivity, box=None):
        return (self.odds[box or ...] < sensitivity).astype(np.uint8)


@given(st.integers(1, 40), st.integers(-3, 50), st.booleans())
def test_every_slice_is_decided_once_the_visible_one_first(depth, first, boxed):
    prediction = Sensitive((depth, 3, 4))
    box = (depth // 3, depth, 1, 3, 0, 2) if boxed else None
    tiles = [report.tile for report in decide_steps(prediction, 0.8, first, box)]
    z0 = box[0] if box else 0
    assert tiles[0].box[0] == slice(min(max(first, z0), depth - 1), min(max(first, z0), depth - 1) + 1)
    slices = [z for tile in tiles for z in range(tile.box[0].start, tile.box[0].stop)]
    assert sorted(slices) == list(range(z0, depth))
    for tile in tiles:
        assert np.array_equal(tile.labels, prediction.at(0.8, tile.box))


@pytest.fixture
def segmentation(monkeypatch):
    """A segmentation that notes how it was asked and whether it was closed."""
    import napari_kidnet.network
    import napari_kidnet.segmentation
    from napari_kidnet.segmentation import SegmentProgress

    noted = types.SimpleNamespace(settings=None, checkpoint=None, closed=False)

    def steps(scan, checkpoint, settings):
        noted.settings, noted.checkpoint = settings, checkpoint
        try:
            yield SegmentProgress(0, 2, "a")
            for done in (1, 2):
                box = (slice(0, 1), slice(0, 2), slice(0, 2))
                yield SegmentProgress(done, 2, "a", box, np.full((1, 2, 2), done, np.uint8))
            return "the prediction"
        finally:
            noted.closed = True

    monkeypatch.setattr(napari_kidnet.network, "load_checkpoint", lambda path=None: path, raising=False)
    monkeypatch.setattr(napari_kidnet.segmentation, "segment_steps", steps)
    return noted


def scan():
    return Scan.from_array(np.zeros((4, 5, 6), np.int16), (1, 1, 1))


def test_a_prediction_is_asked_for_as_it_was_requested(segmentation, tmp_path):
    request = PredictRequest(tmp_path, "cpu", "torch", 0.3, (0, 4, 0, 5, 0, 6), (1, 2, 3), 1)
    steps = predict_steps(scan(), request)
    reports = []
    while True:
        try:
            reports.append(next(steps))
        except StopIteration as stop:
            result = stop.value
            break
    assert result == "the prediction"
    assert segmentation.checkpoint == tmp_path
    asked = segmentation.settings
    assert (asked.device, asked.engine, asked.sensitivity, asked.threads) == ("cpu", "torch", 0.3, 1)
    assert (asked.box, asked.start) == ((0, 4, 0, 5, 0, 6), (1, 2, 3))
    assert [report.tile is not None for report in reports] == [False, False, True, True]
    assert segmentation.closed


def test_closing_it_closes_the_segmentation(segmentation):
    steps = predict_steps(scan(), PredictRequest())
    for _ in range(3):
        next(steps)
    steps.close()
    assert segmentation.closed


def test_saving_writes_the_labels_of_the_moment_it_was_asked(tmp_path):
    from napari_kidnet.progress import drain
    from napari_kidnet.scans import read_labels

    session = LabellingSession(scan())
    session.labels[1, 2, 3] = 2
    steps = save_steps(session, tmp_path / "x.nii.gz")
    session.labels[...] = 3  # painted on while the disk works
    drain(steps)
    assert read_labels(tmp_path / "x.nii.gz").sum() == 2


def test_the_room_needs_neither_torch_nor_a_window():
    import subprocess

    code = (
        "import sys, napari_kidnet.labelling; "
        "print([m for m in ('torch', 'qtpy', 'napari') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
