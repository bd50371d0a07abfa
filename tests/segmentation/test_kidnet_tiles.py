"""The laws of stitching, on a real Kid-Net with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_kidnet.network as network
from napari_kidnet.network.checkpoint import network_weights
from napari_kidnet.network.kidnet import KidNet, KidNetSettings
from napari_kidnet.scans import Scan, read_labels, read_scan, write_labels
from napari_kidnet.segmentation import SegmentSettings, segment, segment_steps


@dataclass
class TorchEngine:
    net: KidNet
    multiple: int
    device: str = "cpu"
    name: str = "torch"

    def logits(self, window: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.net(torch.from_numpy(np.ascontiguousarray(window))[None, None])[0].numpy()

    def close(self) -> None:
        pass


def tiny(monkeypatch: pytest.MonkeyPatch, norm: str, levels: int = 3) -> TorchEngine:
    """Return an engine with a random network of some 44 voxels' view that calls every class somewhere."""
    torch.manual_seed(1)
    net = KidNet(KidNetSettings(base=4, levels=levels, norm=norm)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    engine = TorchEngine(net, 2 ** (levels - 1))
    monkeypatch.setattr(network, "open_engine", lambda *_, **__: engine, raising=False)
    return engine


@pytest.fixture
def blobs() -> Scan:
    hu = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(60, 75, 66)), 2)
    return Scan.from_array((hu / hu.std() * 200).astype(np.int16), (1.0, 1.0, 1.0))


def kept(scan, checkpoint, settings):
    steps = segment_steps(scan, checkpoint, settings)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def test_tiles_give_the_whole_volumes_logits(monkeypatch, blobs, checkpoint):
    """Batch normalisation and a halo of half the network's view: no seam at all."""
    engine = tiny(monkeypatch, "batch")
    answers = []

    class Recorder:
        def take(self, box, logits):
            answers[-1][(slice(None), *box)] = logits

    from napari_kidnet.segmentation import steps

    monkeypatch.setattr(steps, "Answer", lambda *_: _Sink(Recorder(), blobs.shape))
    for voxels in (200**3, 72**3):
        answers.append(np.full((4, *blobs.shape), np.nan, np.float32))
        kept(blobs, checkpoint, SegmentSettings(skip_air=False, tile_voxels=voxels, halo_voxels=24))
    assert np.ptp(answers[0][1]) > 0.01
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-4)
    assert engine.multiple == 4


class _Sink:
    """Stands where the answer stands, and hands the logits on."""

    def __init__(self, recorder, shape):
        self.labels = np.zeros(shape, np.uint8)
        self.take = recorder.take

    def finish(self, where):
        return where


@pytest.mark.parametrize("code", ["SAL", "PIR", "LAS"])
def test_a_real_scan_stored_in_another_order_gets_the_same_labels(
    monkeypatch, shared, tmp_path, checkpoint, code
):
    tiny(monkeypatch, "batch")
    original = nibabel.load(shared / "ct_abdomen_3mm.nii.gz")
    original = original.slicer[30:90, 20:80, 40:90]
    way = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(original.affine), nibabel.orientations.axcodes2ornt(tuple(code))
    )
    in_space = []
    for name, image in (("stored", original), (code, original.as_reoriented(way))):
        nibabel.save(image, tmp_path / f"{name}.nii.gz")
        scan = read_scan(tmp_path / f"{name}.nii.gz")
        write_labels(tmp_path / f"{name}_labels.nii.gz", segment(scan, checkpoint), like=scan)
        labels = nibabel.as_closest_canonical(nibabel.load(tmp_path / f"{name}_labels.nii.gz"))
        in_space.append(np.asarray(labels.dataobj))
    assert len(np.unique(in_space[0])) >= 2
    np.testing.assert_array_equal(*in_space)


ORDERS = [(i, j, k) for i in range(3) for j in range(3) for k in range(3) if {i, j, k} == {0, 1, 2}]
CODES = [
    "".join("RL AP SI".split()[axis][flip >> axis & 1] for axis in order)
    for order in ORDERS
    for flip in range(8)
]


def test_all_48_ways_to_store_a_scan_give_the_same_labels_in_space(monkeypatch, tmp_path, checkpoint):
    tiny(monkeypatch, "batch")
    checkpoint = checkpoint.but(spacing=(2.2, 1.0, 1.4))
    hu = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(18, 21, 15)), 1.5)
    affine = np.diag([-0.9, -0.8, 2.5, 1.0])
    affine[:3, 3] = (40.0, -7.0, 90.0)
    image = nibabel.Nifti1Image((hu / hu.std() * 200).astype(np.int16), affine)
    first = None
    assert len(set(CODES)) == 48
    for code in CODES:
        way = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(tuple(code))
        )
        path = tmp_path / f"{code}.nii.gz"
        nibabel.save(image.as_reoriented(way), path)
        scan = read_scan(path)
        labels = segment(scan, checkpoint)
        out = tmp_path / f"{code}_labels.nii.gz"
        write_labels(out, labels, like=scan)
        # Back in one order by nibabel alone, which knows nothing of our reading.
        stored = nibabel.as_closest_canonical(nibabel.load(out))
        in_space = np.asarray(stored.dataobj)
        if first is None:
            first = in_space
            assert len(np.unique(first)) >= 2
        np.testing.assert_array_equal(in_space, first, err_msg=code)
        np.testing.assert_allclose(nibabel.load(out).affine, nibabel.load(path).affine)
        np.testing.assert_array_equal(read_labels(out, like=scan), labels)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("preset", sorted(network.PRESETS))
def test_every_preset_has_tiles_that_fit_its_halo(monkeypatch, preset, norm):
    """Without a wish of the user, the tiles' size and halo must go together, also for the largest network."""
    from napari_kidnet.segmentation.grid import NetworkGrid
    from napari_kidnet.segmentation.pieces import plan_tiles
    from napari_kidnet.segmentation.predict import Predictor
    from napari_kidnet.segmentation.tiles import TileShape

    settings = replace(network.PRESETS[preset], norm=norm)
    engine = SimpleNamespace(multiple=settings.multiple, device="cpu", name="none")
    monkeypatch.setattr(network, "open_engine", lambda *_, **__: engine)
    predictor = Predictor(SimpleNamespace(network=settings), SegmentSettings())
    shape = TileShape(engine.multiple, predictor.window_voxels, predictor.halo, predictor.blend)
    plan = plan_tiles(
        NetworkGrid.of((400, 512, 512), (1, 1, 1), None),
        (slice(0, 400), slice(0, 512), slice(0, 512)),
        shape,
        None,
        None,
    )
    # No more than what a quarter of overlap of a 96³ window costs: (96 / 72)³, with the rounding up.
    assert plan.computed_voxels < 3.5 * 400 * 512 * 512


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_both_engines_give_the_same_labels(blobs, norm):
    torch.manual_seed(3)
    settings = KidNetSettings(base=4, levels=3, norm=norm)
    checkpoint = network.Checkpoint(settings, network_weights(KidNet(settings)), spacing=(1.3, 1.3, 1.3))
    labels = {}
    for engine in ("torch", "openvino"):
        how = SegmentSettings(device="cpu", engine=engine, threads=1, skip_air=False, tile_voxels=56**3)
        prediction = kept(blobs, checkpoint, how)
        assert engine in prediction.where
        labels[engine] = prediction.labels
    assert len(np.unique(labels["torch"])) >= 2
    assert (labels["torch"] != labels["openvino"]).mean() < 1e-4
