"""What happens when a file is opened."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_kidnet.plugin.layers import scan_of
from napari_kidnet.plugin.reader import get_reader
from tests.test_cli_errors import BAD_SCANS, two_series


def open_(viewer, path):
    return viewer.open(str(path), plugin="napari-kidnet")


def notifications():
    from napari.utils.notifications import notification_manager

    return [str(each.message) for each in notification_manager.records]


def test_a_scan_is_shown_at_once_in_hu_and_mm(viewer, preferences, scan_file):
    preferences(auto_segment="never")
    (image,) = open_(viewer, scan_file)
    assert image.data.dtype == np.int16
    assert tuple(image.contrast_limits) == (-160, 240)
    assert tuple(image.scale) == pytest.approx((2.0, 0.9, 0.8))
    assert [str(unit) for unit in image.units] == ["millimeter"] * 3
    # LPS: RAS (90, 80, -40) is 90 mm to the right and 80 to the front
    assert tuple(image.translate) == pytest.approx((-40, -80, -90))
    assert image.colormap.name == "gray"
    assert scan_of(image).name == "patient_ct"


def test_the_window_lives_while_a_scan_is_read(viewer, preferences, scan_file, monkeypatch):
    from qtpy.QtCore import QTimer

    import napari_kidnet.scans

    preferences(auto_segment="never")
    read, beaten = napari_kidnet.scans.read_scan, threading.Event()

    def read_slowly(path):
        assert threading.current_thread() is not threading.main_thread()
        assert beaten.wait(10), "the event loop stood still"
        return read(path)

    monkeypatch.setattr(napari_kidnet.scans, "read_scan", read_slowly)
    QTimer.singleShot(0, beaten.set)
    (image,) = open_(viewer, scan_file)
    assert image.data.any()


def test_a_scan_is_read_without_a_window_too(scan_file, qapp):
    """As a script or another thread does: by the reader itself."""
    (layer,) = get_reader(str(scan_file))(str(scan_file))
    assert layer[2] == "image"
    with ThreadPoolExecutor(1) as pool:
        (other,) = pool.submit(lambda: get_reader(str(scan_file))(str(scan_file))).result(30)
    assert np.array_equal(layer[0], other[0])


def test_left_is_right_on_an_axial_slice(make_napari_viewer, preferences, scan_file):
    """Radiological convention: the patient's left is on the screen's right, the front is up."""
    preferences(auto_segment="never")
    viewer = make_napari_viewer(show=True)
    (image,) = open_(viewer, scan_file)
    image.contrast_limits = (250, 301)  # only the artery, on the left, is bright
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., 0]
    columns = np.nonzero(shot.max(axis=0) > 100)[0]
    assert columns.size > 4
    assert columns.mean() > shot.shape[1] / 2 + 5


def test_the_patient_is_seen_from_the_front_in_3d(make_napari_viewer, preferences, scan_file):
    from napari_kidnet.plugin.commands import show_3d

    preferences(auto_segment="never")
    viewer = make_napari_viewer(show=True)
    (image,) = open_(viewer, scan_file)
    show_3d(viewer)
    camera = viewer.scene.camera
    assert np.allclose(camera.view_direction, (0, 1, 0), atol=1e-6)  # from the front to the back
    assert np.allclose(camera.up_direction, (1, 0, 0), atol=1e-6)  # the head is up
    assert camera.orientation == ("away", "down", "right")
    image.visible = True
    image.contrast_limits = (250, 301)
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., 0]
    columns = np.nonzero(shot.max(axis=0) > 60)[0]
    assert columns.mean() > shot.shape[1] / 2 + 5  # not mirrored: left is on the right


@pytest.mark.parametrize("content", [b"this is a text", b""])
def test_a_broken_file_is_one_sentence_and_no_layer(viewer, tmp_path, content):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(content)
    before = len(notifications())
    assert open_(viewer, path) == []
    told = notifications()[before:]
    assert len(told) == 1
    assert "broken.nii.gz" in told[0]
    assert "Traceback" not in told[0]
    assert not viewer.layers


def test_a_dicom_folder_opens(viewer, preferences, abdomen):
    preferences(auto_segment="never")
    folder = abdomen.parent / "dicom_ct"
    assert get_reader(str(folder)) is not None
    (image,) = open_(viewer, folder)
    assert image.data.ndim == 3
    assert scan_of(image).stored.format == "dicom"


def test_every_bad_scan_of_the_command_line_is_the_same_sentence_in_napari(viewer, tmp_path):
    for kind, (make, said) in BAD_SCANS.items():
        folder = tmp_path / kind
        folder.mkdir()
        path = make(folder)
        if not path.exists():
            continue  # napari itself says so, before it asks a reader
        before, files = len(notifications()), sorted(tmp_path.rglob("*"))
        assert open_(viewer, path) == [], kind
        told = notifications()[before:]
        assert len(told) == 1, kind
        assert said in told[0], kind
        assert "Traceback" not in told[0], kind
        assert sorted(tmp_path.rglob("*")) == files, kind
    assert not viewer.layers


def test_one_file_of_a_series_opens_that_series(viewer, preferences, tmp_path):
    preferences(auto_segment="never")
    folder = two_series(tmp_path)
    (image,) = open_(viewer, folder / "b2.dcm")
    scan = scan_of(image)
    assert image.data.shape[0] == 6
    assert (image.name, scan.path) == ("two", folder)  # labels are proposed beside the folder, not in it


def test_what_is_not_ours_is_left_to_others(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "slice.tif", np.zeros((20, 30), np.int16))
    assert get_reader(str(tmp_path / "photo.tif")) is None
    assert get_reader(str(tmp_path / "slice.tif")) is None
    assert get_reader(str(tmp_path)) is None  # a folder without DICOM files
    assert get_reader([str(tmp_path / "a.nii"), str(tmp_path / "b.nii")]) is None
    assert get_reader(str(tmp_path / "notes.txt")) is None


def test_a_tiff_stack_opens_in_mm(viewer, preferences, tmp_path):
    import tifffile

    preferences(auto_segment="never")
    hu = np.random.default_rng(0).normal(40, 200, (12, 40, 30)).astype(np.int16)
    hu[:, :10] = -1000
    tifffile.imwrite(
        tmp_path / "stack.tif",
        hu,
        imagej=True,
        resolution=(1 / 0.7, 1 / 0.7),
        metadata={"spacing": 1.5, "unit": "mm", "axes": "ZYX"},
    )
    (image,) = open_(viewer, tmp_path / "stack.tif")
    assert tuple(image.scale) == pytest.approx((1.5, 0.7, 0.7), rel=1e-3)


def test_labels_of_ours_open_in_the_colours_of_the_classes(viewer, preferences, scan_file):
    from napari_kidnet.scans import read_scan, write_labels

    preferences(auto_segment="never")
    (image,) = open_(viewer, scan_file)
    labels = np.zeros(image.data.shape, np.uint8)
    labels[3:9, 10:20, 5:9] = 3
    path = scan_file.with_name("patient_labels.nii.gz")
    write_labels(path, labels, read_scan(scan_file))
    (layer,) = open_(viewer, path)
    assert layer._type_string == "labels"
    assert np.array_equal(layer.data, labels)
    assert np.allclose(layer.scale, image.scale)
    assert np.allclose(layer.translate, image.translate)
    assert tuple(layer.get_color(3)) == pytest.approx((1.0, 0.6, 0.05, 1.0), abs=0.01)


def test_a_mask_of_others_keeps_its_own_values(viewer, abdomen):
    (layer,) = open_(viewer, abdomen.with_name("ct_abdomen_3mm_kidney_left.nii.gz"))
    assert layer._type_string == "labels"
    assert set(np.unique(layer.data)) == {0, 1}


def test_the_left_kidney_is_on_the_left(viewer, preferences, abdomen):
    """The axis x of an opened volume increases to the patient's left."""
    preferences(auto_segment="never")
    (left,) = open_(viewer, abdomen.with_name("ct_abdomen_3mm_kidney_left.nii.gz"))
    (right,) = open_(viewer, abdomen.with_name("ct_abdomen_3mm_kidney_right.nii.gz"))
    middle = [
        np.mean([layer.data_to_world(v)[2] for v in np.argwhere(layer.data)]) for layer in (left, right)
    ]
    assert middle[0] > middle[1] + 50
