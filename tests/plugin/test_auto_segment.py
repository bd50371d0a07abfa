"""A scan that is opened segments itself, and does not stand in anybody's way."""

from __future__ import annotations

import numpy as np
import pytest

from napari_kidnet.plugin.controller import Controller


def open_(viewer, path):
    (image,) = viewer.open(str(path), plugin="napari-kidnet")
    return image


def labels_of(viewer):
    return [layer for layer in viewer.layers if layer._type_string == "labels"]


def test_a_scan_segments_itself_in_the_colours_of_the_classes(
    make_napari_viewer, network, preferences, scan_file, idle
):
    viewer = make_napari_viewer(show=True)
    image = open_(viewer, scan_file)
    idle(viewer)
    (labels,) = labels_of(viewer)
    assert np.array_equal(labels.data, network.classes(image.data))
    assert labels.data.dtype == np.uint8
    assert np.allclose(labels.scale, image.scale)
    assert np.allclose(labels.translate, image.translate)
    assert labels.units == image.units
    status = labels.get_status(labels.data_to_world((20, 30, 36)), world=True)
    assert "Artery" in str(status)
    labels.opacity = 1
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    red = (shot[..., 0] > 180) & (shot[..., 1] < 80) & (shot[..., 2] < 80)
    blue = (shot[..., 2] > 180) & (shot[..., 0] < 100)
    assert red.sum() > 50
    assert blue.sum() > 50
    # the artery is on the patient's left, which is the screen's right
    assert np.nonzero(red)[1].mean() > np.nonzero(blue)[1].mean() + 10


@pytest.mark.parametrize("choice", ["never", "CT scans"])
def test_the_preference_is_obeyed(viewer, preferences, scan_file, idle, choice):
    preferences(auto_segment=choice)
    open_(viewer, scan_file)
    idle(viewer)
    assert len(labels_of(viewer)) == (choice != "never")


def test_what_is_on_the_screen_comes_first(viewer, network, preferences, scan_file, idle, qtbot):
    preferences(auto_segment="never")
    network.hold()
    image = open_(viewer, scan_file)
    viewer.dims.set_point(0, image.data_to_world((35, 0, 0))[0])
    Controller.of(viewer).segment(image)
    network.allow(1)
    qtbot.waitUntil(lambda: labels_of(viewer) and labels_of(viewer)[0].data.any(), timeout=5000)
    found = np.argwhere(labels_of(viewer)[0].data)
    assert found[:, 0].min() <= 35 <= found[:, 0].max()
    assert network.settings[0].start[0] == 35
    assert network.settings[0].threads >= 1


def test_several_scans_wait_for_each_other(viewer, network, scan_file, idle):
    first, second = open_(viewer, scan_file), open_(viewer, scan_file)
    idle(viewer)
    assert len(labels_of(viewer)) == 2
    controller = Controller.of(viewer)
    assert controller.known(first).labels is not controller.known(second).labels


@pytest.mark.parametrize("which", ["image", "labels"])
def test_removing_a_layer_cancels_its_job(viewer, network, scan_file, idle, qtbot, which):
    network.hold()
    image = open_(viewer, scan_file)
    qtbot.waitUntil(lambda: bool(labels_of(viewer)), timeout=5000)
    qtbot.waitUntil(lambda: network.begun > 0, timeout=5000)  # work that has not begun has nothing to close
    viewer.layers.remove(image if which == "image" else labels_of(viewer)[0])
    idle(viewer)
    assert network.closed == 1
    assert Controller.of(viewer).known(image) is None


def test_a_window_that_is_closed_while_it_works(make_napari_viewer, network, preferences, scan_file, qtbot):
    network.hold()
    viewer = make_napari_viewer()
    image = open_(viewer, scan_file)
    controller = Controller.of(viewer)
    qtbot.waitUntil(lambda: controller.running_on(image), timeout=5000)
    qtbot.waitUntil(lambda: network.begun > 0, timeout=5000)
    viewer.close()
    qtbot.waitUntil(lambda: not controller.is_running, timeout=5000)
    assert network.closed == 1


def test_an_error_in_the_work_is_one_sentence(viewer, network, scan_file, idle):
    from napari.utils.notifications import notification_manager

    from napari_kidnet.errors import CheckpointError

    network.fails_with = CheckpointError("The checkpoint x.safetensors is damaged: choose another one.")
    before = len(notification_manager.records)
    open_(viewer, scan_file)
    idle(viewer)
    told = [str(each.message) for each in notification_manager.records[before:]]
    assert told == [str(network.fails_with)]
    assert Controller.of(viewer).status.failed


def test_out_of_memory_is_told_too(viewer, network, scan_file, idle):
    from napari.utils.notifications import notification_manager

    network.fails_with = RuntimeError("CUDA out of memory.\nTried to allocate")
    before = len(notification_manager.records)
    open_(viewer, scan_file)
    idle(viewer)
    told = [str(each.message) for each in notification_manager.records[before:]]
    assert told == ["Segmenting patient_ct failed: CUDA out of memory."]


def test_with_a_real_network(make_napari_viewer, preferences, scan_file, idle, tmp_path):
    """The whole way, with random weights: no stand-in for anything."""
    network = pytest.importorskip("napari_kidnet.network")
    if not hasattr(network, "KidNet"):
        pytest.skip("the network is not there yet")
    path = tmp_path / "tiny.safetensors"
    tiny_checkpoint(path)
    preferences(checkpoint=str(path), device="cpu")
    viewer = make_napari_viewer()
    open_(viewer, scan_file)
    idle(viewer, 120)
    controller = Controller.of(viewer)
    assert not controller.status.failed, controller.status.text
    sheet = controller.known(viewer.layers[0])
    assert sheet.session.prediction is not None
    assert np.array_equal(sheet.session.labels, sheet.session.prediction.labels)


def tiny_checkpoint(path):
    """Write a checkpoint of the smallest preset with weights of seed 0."""
    import torch

    from napari_kidnet.network import PRESETS, Checkpoint, KidNet, save_checkpoint

    torch.manual_seed(0)
    settings = PRESETS["tiny"]
    checkpoint = Checkpoint(
        network=settings,
        weights=KidNet(settings).state_dict(),
        classes=("background", "artery", "vein", "collecting_system"),
        window=(-160.0, 240.0),
        spacing=(2.0, 2.0, 2.0),
        schema={"V": [0.97, 0.01, 0.01, 0.01], "patches_seen": 1},
        sensitivity=0.5,
        temperature=1.0,
        record={"steps": 1},
        parent=None,
    )
    save_checkpoint(path, checkpoint)
