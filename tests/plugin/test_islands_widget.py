"""The Islands widget in a real viewer, by its keys, buttons and the mouse."""

from __future__ import annotations

import time

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_kidnet.islands import IslandState
from napari_kidnet.plugin.island_keys import ISLAND_KEYS

ARTERY, VEIN, COLLECTING = 1, 2, 3


def vessels(shape=(40, 60, 48)):
    """An artery with a gap, a vein, and three small false arteries."""
    labels = np.zeros(shape, np.uint8)
    labels[18:21, 20:23, 2:22] = ARTERY
    labels[18:21, 20:23, 26:44] = ARTERY
    labels[25:28, 30:34, 5:40] = VEIN
    for z, y, x in ((5, 50, 10), (8, 10, 40), (34, 45, 30)):
        labels[z : z + 2, y : y + 3, x : x + 3] = ARTERY
    return labels


def settle(widget, timeout_s=20):
    """Let the event loop turn until nothing is being done."""
    end, quiet = time.monotonic() + timeout_s, 0
    while quiet < 5 and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)
        desk = widget._desk
        quiet = quiet + 1 if desk is None or not (desk.busy or desk._queue) else 0
    assert quiet == 5


@pytest.fixture
def docked(viewer, preferences):
    preferences(auto_segment="never")
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Islands")
    return viewer, widget


@pytest.fixture
def opened(docked, tmp_path):
    """(viewer, widget, layer) of a label file with five islands more than there should be."""
    from napari_kidnet.scans import Scan, write_labels

    path = tmp_path / "case_labels.nii.gz"
    labels = vessels()
    scan = Scan.from_array(np.zeros(labels.shape, np.int16), (1.0, 0.8, 0.8), name="case_ct")
    write_labels(path, labels, scan)
    viewer, widget = docked
    (layer,) = viewer.open(str(path), plugin="napari-kidnet", layer_type="labels")
    settle(widget)
    return viewer, widget, layer


def press(viewer, key):
    """A key on the canvas, through napari's own dispatch."""
    name = key.shown.replace("+", "-").replace("Ctrl", "Control")
    _type_key(viewer, name)


def _type_key(viewer, name):
    canvas = viewer.window._qt_viewer.canvas.native
    *modifiers, letter = name.split("-")
    qt = {"Shift": Qt.KeyboardModifier.ShiftModifier, "Control": Qt.KeyboardModifier.ControlModifier}
    held = Qt.KeyboardModifier.NoModifier
    for each in modifiers:
        held |= qt[each]
    from qtpy.QtTest import QTest

    QTest.keyClick(canvas, getattr(Qt.Key, f"Key_{letter}"), held)


KEY = {each.action: each for each in ISLAND_KEYS}


def smallest(widget):
    view = widget.view
    return int(view.table.id[np.argmin(view.table.voxels)])


def test_an_empty_viewer_invites(docked):
    _, widget = docked
    settle(widget)
    assert "drop a label file" in widget.message.text()
    assert not widget.table.isVisibleTo(widget)
    for each in ISLAND_KEYS:  # nothing breaks
        getattr(widget, each.action)()


def test_empty_labels_invite(docked):
    viewer, widget = docked
    viewer.add_labels(np.zeros((4, 5, 6), np.uint8))
    settle(widget)
    assert "nothing to correct" in widget.message.text()


def test_no_key_is_naparis_own(viewer):
    from napari.utils.shortcuts import default_shortcuts

    taken = {str(key).lower() for keys in default_shortcuts.values() for key in keys}
    ours = {each.shown.lower() for each in ISLAND_KEYS}
    assert len(ours) == len(ISLAND_KEYS)
    assert not taken & ours


def test_the_table_lists_sorts_and_filters(opened):
    _, widget, _ = opened
    model = widget.model
    assert model.rowCount() == 6
    assert model.data(model.index(0, 0), Qt.ItemDataRole.DisplayRole) == "1"
    assert not model.data(model.index(0, 1), Qt.ItemDataRole.DecorationRole).isNull()
    widget.table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    volumes = [float(model.data(model.index(i, 2), Qt.ItemDataRole.DisplayRole)) for i in range(6)]
    assert volumes == sorted(volumes, reverse=True)
    widget.of_class.setCurrentText("Vein")
    assert model.rowCount() == 1
    widget.of_class.setCurrentIndex(0)
    widget.words.setText("not connected")
    assert 0 < model.rowCount() < 6
    widget.words.clear()
    widget.in_state.setCurrentText("done")
    assert model.rowCount() == 0


def test_keys_on_the_canvas_delete_undo_relabel_and_accept(opened):
    viewer, widget, layer = opened
    before = layer.data.copy()
    press(viewer, KEY["next"])
    first = widget._selected
    assert first == int(widget.view.table.id[widget.view.review.rows[0]])
    voxels = widget.view.table.voxels_of(widget.view.table.row_of(first))
    press(viewer, KEY["delete"])
    assert widget._selected != first  # at once, the next one
    settle(widget)
    assert not layer.data.reshape(-1)[voxels].any()
    assert len(widget.view.table) == 5
    assert "5 of 5" in widget.progress.format()
    press(viewer, KEY["undo"])
    settle(widget)
    assert np.array_equal(layer.data, before)
    back = widget.view.table.at(np.unravel_index(voxels[0], layer.data.shape))
    widget.select(int(widget.view.table.id[back]))
    press(viewer, KEY["to_collecting"])
    settle(widget)
    assert (layer.data.reshape(-1)[voxels] == COLLECTING).all()
    second = widget._selected
    press(viewer, KEY["accept"])
    settle(widget)
    assert widget.view.states[widget.view.table.row_of(second)] == IslandState.DONE
    press(viewer, KEY["keep_largest"])
    settle(widget)
    assert "deleted" in widget.status.text()
    press(viewer, KEY["undo"])
    press(viewer, KEY["redo"])
    for _ in range(3):
        press(viewer, KEY["undo"])
    settle(widget)
    assert np.array_equal(layer.data, before)


def test_keys_may_be_pressed_faster_than_the_worker(opened):
    _, widget, layer = opened
    widget.next()
    ids = [int(each) for each in widget.view.table.id[widget.view.review.rows]]
    for _ in range(3):
        widget.delete()
    settle(widget)
    assert set(widget.view.table.id.tolist()) == set(ids[3:])
    assert widget._selected == ids[3]
    from napari_kidnet.islands import find_islands

    assert len(find_islands(layer.data)) == 3


def test_going_to_an_island_centres_and_outlines_it(opened):
    viewer, widget, layer = opened
    island = smallest(widget)
    widget.select(island)
    row = widget.view.table.row_of(island)
    centre = widget.view.table.centroid_mm[row]
    voxel = np.asarray(layer.world_to_data(viewer.dims.point))
    assert widget.view.table.start[row][0] <= voxel[0] < widget.view.table.stop[row][0]
    away = np.asarray(viewer.scene.camera.center) - np.asarray(layer.translate) - centre
    assert np.abs(away[1:]).max() < 3  # in 2D the slice is set by the sliders
    outline = viewer.layers["Selected island"]
    corner = np.rint(layer.world_to_data(outline.translate)).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(corner, outline.data.shape, strict=True))
    alone = layer.data[box] != 0
    assert alone.sum() == widget.view.table.voxels[row]
    assert not (alone & (outline.data == 0)).any()  # around it, and one voxel away at most
    assert outline.data.sum() < 4 * alone.sum()
    assert viewer.layers.selection.active is layer


def test_a_click_on_the_canvas_selects_the_row(opened, qtbot):
    viewer, widget, _layer = opened
    viewer.show()
    table = widget.view.table
    vein = int(table.id[table.class_id == VEIN][0])
    widget.select(vein)  # brings it to the middle
    widget.select(smallest(widget), go=False)
    QApplication.processEvents()
    canvas = viewer.window._qt_viewer.canvas.native
    middle = QPoint(canvas.width() // 2, canvas.height() // 2)
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=middle)
    assert widget._selected == vein
    (index,) = widget.table.selectionModel().selectedRows()
    assert widget.model.island_at(index.row()) == vein


def test_selecting_rows_deletes_them_together(opened):
    _, widget, _ = opened
    widget.table.selectAll()
    widget.delete()
    settle(widget)
    assert len(widget.view.table) == 0
    assert "nothing to correct" in widget.message.text()
    widget.undo()
    settle(widget)
    assert len(widget.view.table) == 6


def test_brush_and_islands_share_one_undo(opened):
    viewer, widget, layer = opened
    before = layer.data.copy()
    layer.brush_size = 1
    layer.paint((30, 5, 5), VEIN)
    settle(widget)
    assert len(widget.view.table) == 7
    widget.select(smallest(widget))
    widget.to_artery()
    settle(widget)
    viewer.layers.selection.active = layer
    _type_key(viewer, "Control-Z")
    settle(widget)
    assert layer.data[30, 5, 5] == VEIN
    _type_key(viewer, "Control-Z")
    settle(widget)
    assert np.array_equal(layer.data, before)


def test_a_gap_is_shown_joined_and_undone(opened):
    viewer, widget, layer = opened
    widget.find_gaps()
    settle(widget)
    assert "Artery" in widget.actions_box.gap.text()
    assert "Proposed bridge" in viewer.layers
    n = len(widget.view.table)
    press(viewer, KEY["join"])
    settle(widget)
    assert len(widget.view.table) == n - 1
    assert layer.data[19, 21, 24] == ARTERY
    while widget._bridge is not None:
        press(viewer, KEY["refuse"])
        settle(widget)
    assert "Proposed bridge" not in viewer.layers
    widget.undo()
    settle(widget)
    assert layer.data[19, 21, 24] == 0


def test_save_and_the_question_after_a_crash(opened, qtbot, tmp_path):
    from napari_kidnet.scans import read_labels

    viewer, widget, layer = opened
    widget.select(smallest(widget))
    widget.delete()
    settle(widget)
    assert widget.save.text() == "Save *"
    qtbot.mouseClick(widget.save, Qt.MouseButton.LeftButton)
    settle(widget)
    assert widget.save.text() == "Save"
    assert np.array_equal(read_labels(tmp_path / "case_labels.nii.gz"), layer.data)
    assert (tmp_path / "case_reviewed.nii.gz").exists()
    widget.select(smallest(widget))
    widget.delete()
    settle(widget)
    corrected = layer.data.copy()
    viewer.layers.remove(layer)  # without saving
    settle(widget)
    (again,) = viewer.open(str(tmp_path / "case_labels.nii.gz"), plugin="napari-kidnet", layer_type="labels")
    settle(widget)
    assert "without saving" in widget.message.text()
    assert not widget.actions_box.buttons["find_gaps"].isEnabled()
    qtbot.mouseClick(widget.restore, Qt.MouseButton.LeftButton)
    settle(widget)
    assert np.array_equal(again.data, corrected)
    assert not widget.restore.isVisibleTo(widget)
    assert "not saved" not in widget.message.text()


def test_a_run_of_the_network_is_one_step_and_spares_what_was_accepted(
    viewer, network, preferences, scan_file, idle
):
    from napari_kidnet.plugin.controller import Controller

    (image,) = viewer.open(str(scan_file), plugin="napari-kidnet")
    idle(viewer)
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Islands")
    settle(widget)
    assert sorted(widget.view.table.class_id.tolist()) == [ARTERY, VEIN]
    layer = Controller.of(viewer).known(image).labels
    artery = int(widget.view.table.id[widget.view.table.class_id == ARTERY][0])
    widget.select(artery)
    widget.delete()
    settle(widget)
    Controller.of(viewer).segment(image)
    idle(viewer)
    settle(widget)
    assert not (layer.data == ARTERY).any()
    assert (layer.data == VEIN).any()
    assert np.array_equal(widget._desk.session.known, layer.data)


def test_reopened_the_widget_finds_its_work(opened):
    viewer, widget, layer = opened
    widget.select(smallest(widget))
    widget.delete()
    settle(widget)
    viewer.window.remove_dock_widget(widget)
    QApplication.processEvents()
    assert "Selected island" not in viewer.layers
    _, again = viewer.window.add_plugin_dock_widget("napari-kidnet", "Islands")
    settle(again)
    assert len(again.view.table) == 5
    press(viewer, KEY["undo"])
    settle(again)
    assert np.array_equal(layer.data, vessels())


def test_everything_has_a_tooltip(opened):
    from qtpy.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QProgressBar, QTableView

    _, widget, _ = opened
    bare = [
        each.text() if isinstance(each, QAbstractButton) else type(each).__name__
        for kind in (QAbstractButton, QComboBox, QProgressBar, QLineEdit, QTableView)
        for each in widget.findChildren(kind)
        if not each.toolTip()
        and "qt_" not in each.objectName()
        and each.parent() is not widget.table
        and not isinstance(each.parent(), QLineEdit)
    ]
    assert not bare
    for each in ISLAND_KEYS:
        assert each.shown in widget.actions_box.buttons[each.action].text()


def test_in_3d_it_goes_there_too(opened):
    viewer, widget, layer = opened
    viewer.dims.ndisplay = 3
    island = smallest(widget)
    widget.select(island)
    centre = widget.view.table.centroid_mm[widget.view.table.row_of(island)]
    away = np.asarray(viewer.scene.camera.center) - np.asarray(layer.translate) - centre
    assert np.abs(away).max() < 3
    assert viewer.layers["Selected island"].opacity < 0.5
    viewer.dims.ndisplay = 2
