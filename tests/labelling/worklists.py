"""Folders of small scans, and a network that needs neither PyTorch nor time."""

from __future__ import annotations

import types

import numpy as np

SHAPE = (8, 20, 16)


def body(seed=0):
    """HU (z, y, x): soft tissue with an artery (300) and a vein (200)."""
    hu = np.random.default_rng(seed).normal(40, 5, SHAPE).astype(np.int16)
    hu[:, 4:7, 3:6] = 300
    hu[:, 12:15, 9:12] = 200
    hu[:, :2] = -1000
    return hu


def write_ct(path, seed=0):
    from napari_kidnet.scans import Scan, write_scan

    path.parent.mkdir(parents=True, exist_ok=True)
    scan = Scan.from_array(body(seed), (2.0, 0.9, 0.8), name=path.name.split(".")[0])
    write_scan(path, scan)
    return scan


def write_mask(path, values):
    from napari_kidnet.scans import Scan, write_labels

    write_labels(path, values.astype(np.uint8), Scan.from_array(body(), (2.0, 0.9, 0.8)))


def fake_network(monkeypatch, fails_on=()):
    """Label by HU: over 250 artery, over 130 vein; seeds of `fails_on` raise."""
    import napari_kidnet.network
    import napari_kidnet.segmentation
    from napari_kidnet.segmentation import SegmentProgress
    from napari_kidnet.segmentation.prediction import Candidates, Prediction

    noted = types.SimpleNamespace(begun=[], closed=0)

    def steps(scan, checkpoint, settings):
        noted.begun.append(scan.name)
        try:
            yield SegmentProgress(0, 2, "Segmenting")
            for word, error in fails_on:
                if word in scan.name:
                    raise error
            labels = np.where(scan.hu > 250, 1, np.where(scan.hu > 130, 2, 0)).astype(np.uint8)
            for done in (1, 2):
                box = (slice(0, 1), slice(0, 2), slice(0, 2))
                yield SegmentProgress(done, 2, "Segmenting", box, labels[box])
            index = np.flatnonzero(labels).astype(np.uint32)
            odds = np.full((3, len(index)), -9, np.float32)
            odds[labels.reshape(-1)[index] - 1, np.arange(len(index))] = noted.odds
            return Prediction(labels, 1.0, np.ones(4), Candidates(scan.shape, index, odds))
        finally:
            noted.closed += 1

    noted.odds = 3.0
    monkeypatch.setattr(napari_kidnet.network, "load_checkpoint", lambda path=None: None, raising=False)
    monkeypatch.setattr(napari_kidnet.segmentation, "segment_steps", steps)
    return noted
