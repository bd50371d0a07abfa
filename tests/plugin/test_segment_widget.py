"""The Segment widget, by its buttons."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea

from napari_kidnet.plugin.controller import Controller


def click(qtbot, button):
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def docked(viewer, preferences, monkeypatch):
    """(viewer, widget), with nothing that starts by itself."""
    preferences(auto_segment="never")
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Segment")
    return viewer, widget


@pytest.fixture
def opened(docked, scan_file):
    viewer, widget = docked
    (image,) = viewer.open(str(scan_file), plugin="napari-kidnet")
    return viewer, widget, image


def test_an_empty_viewer_invites(docked):
    viewer, widget = docked
    assert "Open a CT scan" in widget.run_bar.status.text()
    assert not widget.run_bar.run.isEnabled()
    assert not widget.result.save.isEnabled()
    viewer.add_image(np.zeros((30, 40)))  # a picture is no scan
    assert widget.scans.count() == 0


def test_run_shows_progress_result_and_volumes(opened, network, qtbot, idle):
    viewer, widget, image = opened
    assert widget.image is image
    network.hold()
    click(qtbot, widget.run_bar.run)
    qtbot.waitUntil(lambda: widget.run_bar.cancel.isEnabled(), timeout=5000)
    assert not widget.run_bar.run.isEnabled()
    network.allow(3)
    qtbot.waitUntil(lambda: "3 of" in widget.run_bar._bar.format(), timeout=5000)
    network.let_go()
    idle(viewer)
    qtbot.waitUntil(lambda: "mL" in widget.legend._volumes["artery"].text(), timeout=5000)
    voxels = int((network.classes(image.data) == 1).sum())
    assert widget.legend._volumes["artery"].text() == f"{voxels * 2.0 * 0.9 * 0.8 / 1000:.1f} mL"
    assert "was segmented" in widget.run_bar.status.text()
    assert "patient_ct vessels" in widget.result._where.text()
    assert widget.run_bar.run.isEnabled()
    assert not widget.run_bar.cancel.isEnabled()


def test_cancel_keeps_the_labels_so_far(opened, network, qtbot, idle):
    viewer, widget, image = opened
    network.hold()
    click(qtbot, widget.run_bar.run)
    network.allow(2)
    sheet = Controller.of(viewer).known(image)
    qtbot.waitUntil(lambda: bool(sheet.session.labels.any()), timeout=5000)
    click(qtbot, widget.run_bar.cancel)
    idle(viewer)
    assert network.closed == 1
    assert sheet.session.labels.any()
    assert "kept" in widget.run_bar.status.text()
    assert widget.run_bar.run.isEnabled()


def test_a_drawn_box_is_all_that_is_segmented(opened, network, qtbot, idle):
    viewer, widget, image = opened
    click(qtbot, widget.region._draw)
    layer = viewer.layers.selection.active
    assert layer.mode == "add_rectangle"
    # on slice 20: y 26…33, x 30…41 (voxels)
    layer.add_rectangles([[20, 26, 30], [20, 26, 41], [20, 33, 41], [20, 33, 30]])
    click(qtbot, widget.run_bar.run)
    idle(viewer)
    assert network.settings[-1].box == (0, 40, 26, 34, 30, 42)
    labels = Controller.of(viewer).known(image).session.labels
    assert set(np.unique(np.argwhere(labels)[:, 1])) <= set(range(26, 34))
    assert labels.any()


def test_a_box_that_is_not_drawn_is_asked_for(opened, network, qtbot):
    _viewer, widget, _ = opened
    widget.region._what.setCurrentIndex(1)
    click(qtbot, widget.run_bar.run)
    assert "press Draw" in widget.run_bar.status.text()
    assert not network.settings


def test_the_sensitivity_moves_the_labels_but_not_the_edits(opened, network, qtbot, idle):
    viewer, widget, image = opened
    click(qtbot, widget.run_bar.run)
    idle(viewer)
    session = Controller.of(viewer).known(image).session
    layer = Controller.of(viewer).known(image).labels
    vein = (20, 30, 12)
    assert session.labels[vein] == 2
    layer.brush_size = 1
    layer.paint(vein, 3)
    for value in (80, 40, 10):  # a person drags
        widget.sensitivity._slider.setValue(value)
        qtbot.wait(5)
    idle(viewer)
    # odds 6 for veins and 12 for arteries, against 0.9 x 8 = 7.2
    assert session.labels[vein] == 3
    assert (session.labels == 2).sum() == 0
    assert (session.labels == 1).any()
    widget.sensitivity._slider.setValue(100)
    idle(viewer)
    assert (session.labels == 2).sum() == (network.classes(image.data) == 2).sum() - 1


def test_save_writes_what_is_shown(opened, network, qtbot, idle, monkeypatch, scan_file):
    from qtpy.QtWidgets import QFileDialog

    from napari_kidnet.scans import read_labels, read_scan

    viewer, widget, image = opened
    click(qtbot, widget.run_bar.run)
    idle(viewer)
    asked = []

    def answer(parent, title, proposed, kinds):
        asked.append(proposed)
        return proposed, kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    click(qtbot, widget.result.save)
    path = scan_file.with_name("patient_labels.nii.gz")
    assert asked == [str(path)]
    sheet = Controller.of(viewer).known(image)
    qtbot.waitUntil(lambda: sheet.saved_as == path, timeout=5000)
    assert np.array_equal(read_labels(path, read_scan(scan_file)), sheet.session.labels)
    assert "saved as patient_labels.nii.gz" in widget.result._where.text()
    sheet.labels.paint((20, 5, 5), 2)  # an edit makes it old
    assert "not saved" in widget.result._where.text()


def test_a_widget_that_comes_late_shows_the_running_job(viewer, network, preferences, scan_file, qtbot):
    network.hold()
    (image,) = viewer.open(str(scan_file), plugin="napari-kidnet")
    controller = Controller.of(viewer)
    qtbot.waitUntil(lambda: controller.running_on(image), timeout=5000)
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Segment")
    assert widget.image is image
    assert widget.run_bar.cancel.isEnabled()
    viewer.window.remove_dock_widget(widget)  # and the job goes on without it
    network.let_go()
    qtbot.waitUntil(lambda: not controller.is_running, timeout=5000)
    assert controller.known(image).session.prediction is not None


def test_prefer_needs_one_click(opened, qtbot):
    from napari.settings import get_settings

    from napari_kidnet.plugin.settings import is_preferred

    _, widget, _ = opened
    plugins = get_settings().plugins
    plugins.extension2reader = {"*.gz": "napari", "*.csv": "napari"}
    assert not is_preferred()
    widget.prefer.setVisible(True)
    click(qtbot, widget.prefer)
    assert is_preferred()
    assert list(plugins.extension2reader)[:2] == ["*.nii.gz", "*.nii"]  # before "*.gz"
    assert plugins.extension2reader["*.csv"] == "napari"
    assert not widget.prefer.isVisible()


def test_everything_has_a_tooltip(opened):
    from qtpy.QtWidgets import QAbstractButton, QComboBox, QProgressBar, QSlider

    _, widget, _ = opened
    kinds = (QAbstractButton, QComboBox, QProgressBar, QSlider)
    bare = [
        type(each).__name__
        for kind in kinds
        for each in widget.findChildren(kind)
        if not each.toolTip() and "qt_" not in each.objectName()
    ]
    assert not bare


def test_a_long_name_does_not_widen_the_dock(docked):
    viewer, widget = docked
    viewer.add_image(np.zeros((5, 20, 30)), name="a patient with a very long name, " * 4)
    assert widget.scans.count() == 1
    assert widget.findChild(QScrollArea).widget().minimumSizeHint().width() <= 340
