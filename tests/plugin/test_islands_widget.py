"""The Islands widget in a real viewer, by its keys, buttons and the mouse."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QMenu

from napari_kidnet.islands import IslandState
from napari_kidnet.plugin.island_keys import ISLAND_KEYS
from napari_kidnet.plugin.island_tools import TOOLS

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
    assert "drop a label file" in widget.panel.message.text()
    assert not widget.panel.listing.table.isVisibleTo(widget)
    for each in ISLAND_KEYS:  # nothing breaks
        widget.act(each.action)


def test_empty_labels_invite(docked):
    viewer, widget = docked
    viewer.add_labels(np.zeros((4, 5, 6), np.uint8))
    settle(widget)
    assert "nothing to correct" in widget.panel.message.text()


def test_no_key_is_naparis_own(viewer):
    from napari.utils.shortcuts import default_shortcuts

    menus = viewer.window._qt_window.findChildren(QMenu)
    taken = {str(key).lower() for keys in default_shortcuts.values() for key in keys}
    taken |= {entry.shortcut().toString().lower() for menu in menus for entry in menu.actions()}
    ours = {each.shown.lower() for each in ISLAND_KEYS}
    assert len(ours) == len(ISLAND_KEYS)
    assert not taken & ours


def test_the_table_lists_sorts_and_filters(opened):
    _, widget, _ = opened
    model = widget.panel.listing.model
    assert model.rowCount() == 6
    assert model.data(model.index(0, 0), Qt.ItemDataRole.DisplayRole) == "1"
    assert not model.data(model.index(0, 1), Qt.ItemDataRole.DecorationRole).isNull()
    widget.panel.listing.table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    volumes = [float(model.data(model.index(i, 2), Qt.ItemDataRole.DisplayRole)) for i in range(6)]
    assert volumes == sorted(volumes, reverse=True)
    widget.panel.listing.of_class.setCurrentText("Vein")
    assert model.rowCount() == 1
    widget.panel.listing.of_class.setCurrentIndex(0)
    widget.panel.listing.words.setText("not connected")
    assert 0 < model.rowCount() < 6
    widget.panel.listing.words.clear()
    widget.panel.listing.in_state.setCurrentText("done")
    assert model.rowCount() == 0


def test_keys_on_the_canvas_delete_undo_relabel_and_accept(opened):
    viewer, widget, layer = opened
    before = layer.data.copy()
    press(viewer, KEY["next"])
    first = widget.selected
    assert first == int(widget.view.table.id[widget.view.review.rows[0]])
    voxels = widget.view.table.voxels_of(widget.view.table.row_of(first))
    press(viewer, KEY["delete"])
    settle(widget)
    assert widget.selected not in (first, None)  # the next one
    assert not layer.data.reshape(-1)[voxels].any()
    assert len(widget.view.table) == 5
    assert "5 of 5" in widget.panel.progress.format()
    press(viewer, KEY["undo"])
    settle(widget)
    assert np.array_equal(layer.data, before)
    back = widget.view.table.at(np.unravel_index(voxels[0], layer.data.shape))
    widget.select(int(widget.view.table.id[back]))
    press(viewer, KEY["to_collecting"])
    settle(widget)
    assert (layer.data.reshape(-1)[voxels] == COLLECTING).all()
    second = widget.selected
    press(viewer, KEY["accept"])
    settle(widget)
    assert widget.view.states[widget.view.table.row_of(second)] == IslandState.DONE
    press(viewer, KEY["keep_largest"])
    settle(widget)
    assert "deleted" in widget.panel.status.text()
    press(viewer, KEY["undo"])
    press(viewer, KEY["redo"])
    for _ in range(3):
        press(viewer, KEY["undo"])
    settle(widget)
    assert np.array_equal(layer.data, before)


def test_keys_may_be_pressed_faster_than_the_worker(opened):
    _, widget, layer = opened
    widget.act("next")
    ids = [int(each) for each in widget.view.table.id[widget.view.review.rows]]
    for _ in range(3):
        widget.act("delete")
    settle(widget)
    assert set(widget.view.table.id.tolist()) == set(ids[3:])
    assert widget.selected == ids[3]
    from napari_kidnet.islands import find_islands

    assert len(find_islands(layer.data)) == 3


def test_an_answer_that_changes_nothing_goes_on_too(opened):
    viewer, widget, _ = opened
    widget.act("accept")  # nothing is selected yet
    widget.act("next")
    first = widget.selected
    press(viewer, KEY["accept"])
    settle(widget)
    second = widget.selected
    widget.select(first)
    press(viewer, KEY["accept"])
    settle(widget)
    assert "nothing changed" in widget.panel.status.text()
    assert widget.selected == second != first


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
    assert widget.selected == vein
    (index,) = widget.panel.listing.table.selectionModel().selectedRows()
    assert widget.panel.listing.model.island_at(index.row()) == vein


def test_selecting_rows_deletes_them_together(opened):
    _, widget, _ = opened
    widget.panel.listing.table.selectAll()
    widget.act("delete")
    settle(widget)
    assert len(widget.view.table) == 0
    assert "nothing to correct" in widget.panel.message.text()
    widget.act("undo")
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
    widget.act("to_artery")
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
    widget.act("find_gaps")
    settle(widget)
    assert "Artery" in widget.panel.pages.gap.text()
    assert "Proposed bridge" in viewer.layers
    n = len(widget.view.table)
    press(viewer, KEY["join"])
    settle(widget)
    assert len(widget.view.table) == n - 1
    assert layer.data[19, 21, 24] == ARTERY
    while widget.bridge is not None:
        press(viewer, KEY["refuse"])
        settle(widget)
    assert "Proposed bridge" not in viewer.layers
    widget.act("undo")
    settle(widget)
    assert layer.data[19, 21, 24] == 0


def test_only_who_works_at_gaps_is_taken_to_them(opened):
    viewer, widget, _ = opened
    press(viewer, KEY["find_gaps"])
    settle(widget)
    assert widget.panel.pages.tabText(widget.panel.pages.currentIndex()) == "Gaps"
    widget.select(int(widget.bridge.islands[0]))
    press(viewer, KEY["delete"])  # its proposal goes with it, and the next one comes
    settle(widget)
    table, row = widget.view.table, widget.view.table.row_of(widget.selected)
    at = middle(viewer, widget)
    assert (table.start[row] <= at)[1:].all()
    assert (at < table.stop[row])[1:].all()


def middle(viewer, widget):
    """The voxel in the middle of the view."""
    camera = getattr(viewer, "scene", viewer).camera
    return np.rint(widget.canvas.layer.world_to_data(np.asarray(camera.center))).astype(int)


def test_save_and_the_question_after_a_crash(opened, qtbot, tmp_path):
    from napari_kidnet.scans import read_labels

    viewer, widget, layer = opened
    widget.select(smallest(widget))
    widget.act("delete")
    settle(widget)
    assert widget.panel.save.text().startswith("Save *")
    qtbot.mouseClick(widget.panel.save, Qt.MouseButton.LeftButton)
    settle(widget)
    assert widget.panel.save.text().startswith("Save  ")
    assert np.array_equal(read_labels(tmp_path / "case_labels.nii.gz"), layer.data)
    assert (tmp_path / "case_reviewed.nii.gz").exists()
    widget.select(smallest(widget))
    widget.act("delete")
    settle(widget)
    corrected = layer.data.copy()
    viewer.layers.remove(layer)  # without saving
    settle(widget)
    (again,) = viewer.open(str(tmp_path / "case_labels.nii.gz"), plugin="napari-kidnet", layer_type="labels")
    settle(widget)
    assert "without saving" in widget.panel.message.text()
    assert not widget.panel.pages.buttons["find_gaps"].isEnabled()
    qtbot.mouseClick(widget.panel.restore, Qt.MouseButton.LeftButton)
    settle(widget)
    assert np.array_equal(again.data, corrected)
    assert not widget.panel.restore.isVisibleTo(widget)
    assert "not saved" not in widget.panel.message.text()


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
    widget.act("delete")
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
    widget.act("delete")
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
    from qtpy.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QProgressBar, QTabBar, QTableView

    _, widget, _ = opened
    bare = [
        each.text() if isinstance(each, QAbstractButton) else type(each).__name__
        for kind in (QAbstractButton, QComboBox, QProgressBar, QLineEdit, QTableView)
        for each in widget.findChildren(kind)
        if not each.toolTip()
        and "qt_" not in each.objectName()
        and each.parent() is not widget.panel.listing.table
        and not isinstance(each.parent(), QLineEdit | QTabBar)
    ]
    assert not bare
    for each in ISLAND_KEYS:
        assert each.shown in widget.panel.pages.buttons[each.action].text()


@pytest.mark.parametrize("dock", [360, 430])
def test_nothing_is_cut_off_in_a_narrow_dock(opened, dock):
    viewer, widget, _ = opened
    viewer.window.resize(1280, 900)
    viewer.show()
    frame = widget
    while type(frame).__name__ != "QtViewerDockWidget":
        frame = frame.parent()
    widget.act("next")
    panel = widget.panel
    for page in range(panel.pages.count()):
        panel.pages.setCurrentIndex(page)
        viewer.window._qt_window.resizeDocks([frame], [dock], Qt.Orientation.Horizontal)
        settle(widget)
        assert widget.width() == dock
        seen = [each for each in panel.pages.buttons.values() if each.isVisible()]
        assert len(seen) > 5
        for each in (*seen, panel.pages.paint_as, panel.pages.gap):
            if each.isVisible():
                assert each.width() >= each.minimumSizeHint().width(), each
                assert each.height() >= each.minimumSizeHint().height(), each
        text = panel.progress.fontMetrics().horizontalAdvance(panel.progress.text())
        assert text <= panel.progress.width()


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


# ---------------------------------------------------------------------- tools


def hold(viewer, widget, action, island=None):
    """Take a tool by its key, with an island in sight."""
    viewer.show()
    widget.select(island)
    QApplication.processEvents()
    press(viewer, KEY[action])


def on_canvas(viewer, layer, voxel):
    """Where a voxel of the shown slice lies on the canvas."""
    viewer.dims.set_point(0, layer.data_to_world(voxel)[0])
    QApplication.processEvents()
    canvas = viewer.window._qt_viewer.canvas
    view = canvas.view if hasattr(canvas, "view") else next(iter(canvas.grid_views))
    _, y, x = layer.data_to_world(voxel)
    at = view.scene.transform.map((x, y))
    return QPoint(round(at[0]), round(at[1]))


def click(viewer, layer, voxel):
    from qtpy.QtTest import QTest

    native = viewer.window._qt_viewer.canvas.native
    QTest.mouseClick(
        native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, on_canvas(viewer, layer, voxel)
    )
    QApplication.processEvents()


def drag(viewer, layer, voxels):
    from qtpy.QtTest import QTest

    native = viewer.window._qt_viewer.canvas.native
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    places = [on_canvas(viewer, layer, voxel) for voxel in voxels]
    QTest.mousePress(native, left, none, places[0])
    for place in places[1:]:
        QTest.mouseMove(native, place)
        QApplication.processEvents()
        time.sleep(0.02)
    QTest.mouseRelease(native, left, none, places[-1])
    QApplication.processEvents()


def of_class(widget, class_id):
    table = widget.view.table
    rows = np.flatnonzero(table.class_id == class_id)
    return int(table.id[rows[np.argmax(table.voxels[rows])]])


def test_in_3d_before_the_mouse_has_moved_there(opened):
    viewer, _, layer = opened
    viewer.cursor._view_direction = np.array(None)  # as after a mouse that moved in 2D
    viewer.dims.ndisplay = 3
    press(viewer, KEY["next"])
    assert "Selected island" in viewer.layers
    assert viewer.layers.selection.active is layer


def test_split_takes_two_clicks_and_says_what_it_waits_for(opened):
    viewer, widget, layer = opened
    before = layer.data.copy()
    hold(viewer, widget, "split", of_class(widget, VEIN))
    said = widget.panel.tool_said
    assert said.isVisibleTo(widget)
    assert "one side" in said.text()
    click(viewer, layer, (26, 31, 12))
    assert "other side" in said.text()
    click(viewer, layer, (26, 31, 32))
    settle(widget)
    assert (widget.view.table.class_id == VEIN).sum() == 2
    assert "one side" in said.text()  # still in hand
    _type_key(viewer, "Escape")
    assert not said.isVisibleTo(widget)
    assert not widget.tools.armed
    press(viewer, KEY["undo"])
    settle(widget)
    assert np.array_equal(layer.data, before)


def test_a_tool_is_left_without_a_trace(opened):
    viewer, widget, layer = opened
    before, names = layer.data.copy(), [each.name for each in viewer.layers]
    for tool in TOOLS:
        hold(viewer, widget, tool, of_class(widget, VEIN))
        assert widget.panel.tool_said.text().endswith("Esc leaves.")
        assert overlay_of(viewer).visible
        lines = overlay_of(viewer).text.splitlines()
        assert " ".join(lines) == widget.panel.tool_said.text()
        assert max(len(line) for line in lines) <= 44  # napari does not wrap it, and a canvas may be narrow
        settle(widget)
        _type_key(viewer, "Escape")
        assert not widget.tools.armed
        assert not overlay_of(viewer).visible
    settle(widget)
    assert [each.name for each in viewer.layers if each.name != "Selected island"] == names
    assert np.array_equal(layer.data, before)


def overlay_of(viewer):
    return viewer.canvas.overlays.text if hasattr(viewer, "canvas") else viewer.text_overlay


def test_swap_gives_the_clicked_branch_to_the_other_class(opened):
    viewer, widget, layer = opened
    island = smallest(widget)
    voxel = tuple(int(v) for v in widget.view.table.start[widget.view.table.row_of(island)])
    hold(viewer, widget, "swap", island)
    click(viewer, layer, voxel)
    settle(widget)
    assert layer.data[voxel] == VEIN
    click(viewer, layer, (voxel[0], 25, voxel[2]))
    settle(widget)
    assert "click on an artery or a vein" in widget.panel.status.text()


def test_fill_paints_from_the_click_to_the_nearest_island(opened):
    viewer, widget, layer = opened
    hold(viewer, widget, "fill", of_class(widget, VEIN))
    assert "vein" in widget.panel.tool_said.text()
    click(viewer, layer, (26, 31, 45))
    settle(widget)
    assert (layer.data[26, 31, 40:46] == VEIN).all()
    assert (widget.view.table.class_id == VEIN).sum() == 1


def test_the_brush_is_as_wide_as_the_vessel_and_does_not_move_the_view(opened):
    viewer, widget, layer = opened
    hu = np.zeros(layer.data.shape, np.int16)
    hu[10:15, 40:45, :] = 300  # a vessel that nobody has labelled
    widget.session.context = replace(widget.session.context, hu=hu)
    hold(viewer, widget, "brush", of_class(widget, VEIN))
    centre = viewer.scene.camera.center
    drag(viewer, layer, [(12, 42, 15), (12, 42, 22), (12, 42, 30)])
    settle(widget)
    assert viewer.scene.camera.center == centre
    assert "Painted" in widget.panel.status.text()
    painted = layer.data == VEIN
    assert painted[12, 42, 15:31].all()
    inside = painted[9:16, 38:47, 15:31] & (hu[9:16, 38:47, 15:31] == 300)
    assert inside.sum() > 0.6 * (hu[9:16, 38:47, 15:31] == 300).sum()
    _type_key(viewer, "Escape")
    assert "Preview" not in viewer.layers


def test_grow_is_previewed_before_it_is_done(opened):
    viewer, widget, layer = opened
    before = layer.data.copy()
    island = of_class(widget, VEIN)
    log = np.full((4, *layer.data.shape), -9, np.float16)
    log[VEIN, 25:28, 30:34, 5:40] = np.log(0.9)
    log[VEIN, 25:28, 30:34, 40:44] = np.log(0.3)
    widget.session.context = replace(widget.session.context, log_probabilities=log)
    hold(viewer, widget, "grow", island)
    settle(widget)
    for _ in range(6):
        turn_wheel(viewer)
    settle(widget)
    assert widget.tools.threshold < 0.3
    assert widget.panel.pages.threshold.value() == round(100 * widget.tools.threshold)
    assert "Preview" in viewer.layers
    assert np.array_equal(layer.data, before)
    press(viewer, KEY["grow"])
    settle(widget)
    assert (layer.data[26, 31, 40:44] == VEIN).all()
    assert "Preview" not in viewer.layers
    press(viewer, KEY["undo"])
    settle(widget)
    assert np.array_equal(layer.data, before)


def turn_wheel(viewer):
    from qtpy.QtCore import QPointF
    from qtpy.QtGui import QWheelEvent

    native = viewer.window._qt_viewer.canvas.native
    middle = QPointF(native.width() / 2, native.height() / 2)
    event = QWheelEvent(
        middle,
        native.mapToGlobal(middle),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.ShiftModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(native, event)
    QApplication.processEvents()


def test_without_probabilities_growing_says_what_is_missing(opened):
    viewer, widget, _ = opened
    hold(viewer, widget, "grow", of_class(widget, VEIN))
    settle(widget)
    assert "segment the scan first" in widget.panel.status.text()


def test_merging_joins_the_selected_rows(opened):
    viewer, widget, layer = opened
    widget.panel.listing.of_class.setCurrentText("Artery")
    widget.panel.listing.table.selectAll()
    press(viewer, KEY["merge"])
    settle(widget)
    assert (widget.view.table.class_id == ARTERY).sum() == 1
    press(viewer, KEY["undo"])
    settle(widget)
    assert np.array_equal(layer.data, vessels())


def test_all_gaps_above_a_confidence_are_joined_at_once(opened):
    viewer, widget, layer = opened
    press(viewer, KEY["find_gaps"])
    settle(widget)
    sure = widget.panel.pages.sure
    sure.setValue(1.0)
    assert "(0)" in widget.panel.pages.buttons["join_sure"].text()
    sure.setValue(0.0)
    n = len(widget.view.bridges)
    assert f"({n})" in widget.panel.pages.buttons["join_sure"].text()
    press(viewer, KEY["join_sure"])
    settle(widget)
    assert f"Bridged {n} gap" in widget.panel.status.text()
    assert not widget.view.bridges
    press(viewer, KEY["undo"])
    settle(widget)
    assert np.array_equal(layer.data, vessels())


def test_a_slab_and_a_box_are_declared_reviewed(opened):
    viewer, widget, layer = opened
    viewer.dims.set_point(0, layer.data_to_world((20, 0, 0))[0])
    pages = widget.panel.pages
    pages.around.setValue(2)
    assert (pages.first.value(), pages.last.value()) == (18, 22)
    press(viewer, KEY["slab"])
    settle(widget)
    states = widget.session.states
    assert (states[18:23] == 2).all()
    assert not states[:18].any()
    press(viewer, KEY["undo"])
    settle(widget)
    pages.around.setValue(0)
    hold(viewer, widget, "box", of_class(widget, VEIN))
    z = widget.panel.pages.first.value()
    drag(viewer, layer, [(z, 25, 10), (z, 35, 20), (z, 40, 30)])
    settle(widget)
    zs, ys, xs = np.nonzero(widget.session.states)
    assert set(zs.tolist()) == {z}
    assert abs(ys.min() - 25) <= 1
    assert abs(ys.max() - 40) <= 1
    assert abs(xs.min() - 10) <= 1
    assert abs(xs.max() - 30) <= 1


def test_the_kidneys_box_is_drawn_and_counted(opened):
    viewer, widget, layer = opened
    assert "kidneys" not in widget.panel.progress.format()
    press(viewer, KEY["kidneys"])
    region = viewer.layers.selection.active
    assert region is not layer
    assert "Drag a rectangle" in widget.panel.status.text()
    region.add_rectangles(np.array([[20, 10, 5], [20, 10, 25], [20, 40, 25], [20, 40, 5]]))
    widget.act("kidneys")
    settle(widget)
    assert "kidneys 0.0 %" in widget.panel.progress.format()
    widget.act("slab")
    settle(widget)
    assert widget.view.kidney_percent == pytest.approx(100 / 40)


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_before_and_after_change_no_label(opened, ndisplay):
    viewer, widget, layer = opened
    viewer.dims.ndisplay = ndisplay
    widget.select(smallest(widget))
    press(viewer, KEY["delete"])
    settle(widget)
    after = layer.data.copy()
    press(viewer, KEY["before"])
    settle(widget)
    assert np.array_equal(viewer.layers["Labels before"].data, vessels())
    assert not layer.visible
    assert np.array_equal(layer.data, after)
    press(viewer, KEY["before"])
    settle(widget)
    assert "Labels before" not in viewer.layers
    assert layer.visible
    press(viewer, KEY["before"])
    settle(widget)
    press(viewer, KEY["undo"])  # whoever works sees what is now
    settle(widget)
    assert layer.visible
    assert np.array_equal(layer.data, vessels())
    viewer.dims.ndisplay = 2


def test_the_close_up_turns_in_3d_and_stops(opened):
    viewer, widget, _ = opened
    viewer.show()
    close_up = widget.panel.close_up
    widget.select(of_class(widget, VEIN))
    assert not close_up._timer.isActive()
    front = close_up.pixmap().toImage()
    viewer.dims.ndisplay = 3
    assert close_up._timer.isActive()
    wait_for(lambda: close_up.pixmap().toImage() != front)
    press(viewer, KEY["close_up"])
    assert not close_up._timer.isActive()
    assert close_up.pixmap().toImage() == front
    press(viewer, KEY["close_up"])
    viewer.window.remove_dock_widget(widget)
    QApplication.processEvents()
    assert not close_up._timer.isActive()
    viewer.dims.ndisplay = 2


def wait_for(what, timeout_s=5):
    end = time.monotonic() + timeout_s
    while not what() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)
    assert what()


# ---------------------------------------------------------------------- files of others


def foreign(viewer, widget, path, values, dtype):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(values.T.astype(dtype), np.diag([0.8, 0.8, 1.0, 1])), path)
    (layer,) = viewer.open(str(path), plugin="napari-kidnet", layer_type="labels")
    settle(widget)
    return layer


def test_a_file_of_a_hundred_classes(docked, tmp_path):
    viewer, widget = docked
    values = np.zeros((20, 30, 40), np.uint8)
    for k in range(100):
        z, y, x = k // 25 * 5, k // 5 % 5 * 6, k % 5 * 8
        values[z : z + 3, y : y + 4, x : x + 6] = k + 1
    layer = foreign(viewer, widget, tmp_path / "total.nii.gz", values, np.uint8)
    assert len(widget.view.table) == 100
    titles = {
        widget.panel.listing.model.data(widget.panel.listing.model.index(i, 1), Qt.ItemDataRole.DisplayRole)
        for i in range(100)
    }
    assert {"Artery", "Class 57"} <= titles
    widget.select(int(widget.view.table.id[widget.view.table.class_id == 57][0]))
    widget.act("to_vein")
    settle(widget)
    assert not (layer.data == 57).any()
    widget.act("fill")
    assert widget.tools.armed


def test_a_binary_mask(docked, tmp_path):
    viewer, widget = docked
    foreign(viewer, widget, tmp_path / "mask.nii.gz", vessels() != 0, np.uint8)
    assert set(widget.view.table.class_id.tolist()) == {1}


def test_floats_that_hold_whole_numbers(docked, tmp_path):
    viewer, widget = docked
    layer = foreign(viewer, widget, tmp_path / "floats.nii.gz", vessels(), np.float32)
    assert len(widget.view.table) == 6
    widget.select(smallest(widget))
    widget.act("delete")
    settle(widget)
    assert layer.data.dtype.kind == "u"
    assert len(widget.view.table) == 5


def test_an_empty_file_invites(docked, tmp_path):
    viewer, widget = docked
    foreign(viewer, widget, tmp_path / "empty_labels.nii.gz", np.zeros((5, 6, 7)), np.uint8)
    assert "nothing to correct" in widget.panel.message.text()
    assert not widget.panel.listing.isVisibleTo(widget)
    for each in ISLAND_KEYS:
        if each.action != "kidneys":
            widget.act(each.action)
    widget.tools.leave()
    settle(widget)


def test_labels_of_another_grid_are_told(docked):
    from napari_kidnet.plugin.layers import TOKEN, ScanTag
    from napari_kidnet.scans import Scan

    viewer, widget = docked
    scan = Scan.from_array(np.zeros((4, 5, 6), np.int16), (1.0, 1.0, 1.0), name="other_ct")
    viewer.add_labels(vessels(), metadata={TOKEN: ScanTag(scan)})
    settle(widget)
    assert "belong to this scan" in widget.panel.message.text()
    assert not widget.panel.pages.isVisibleTo(widget)


# ---------------------------------------------------------------------- others who write


def test_a_second_window_is_told_and_a_folder_that_cannot_be_written(opened, docked, tmp_path):
    from napari_kidnet.labelling.correcting import open_islands

    viewer, widget, layer = opened
    other = open_islands(layer.data.copy(), widget.session.scan, widget.session.path)
    assert "another session" in other.warning
    # Where the lock would lie is a folder: as on a disk that cannot be written to.
    (tmp_path / "closed_labels.journal.lock").mkdir()
    (tmp_path / "case_labels.nii.gz").rename(tmp_path / "closed_labels.nii.gz")
    viewer.layers.remove(layer)
    viewer.open(str(tmp_path / "closed_labels.nii.gz"), plugin="napari-kidnet", layer_type="labels")
    settle(widget)
    assert "cannot be written" in widget.panel.message.text()
    assert widget.panel.message.isVisibleTo(widget)


def test_saving_in_the_segment_widget_is_saving(viewer, network, preferences, scan_file, idle):
    from napari_kidnet.plugin.controller import Controller
    from napari_kidnet.scans import read_labels

    (image,) = viewer.open(str(scan_file), plugin="napari-kidnet")
    idle(viewer)
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Islands")
    settle(widget)
    controller = Controller.of(viewer)
    sheet = controller.known(image)
    widget.select(smallest(widget))
    widget.act("delete")
    settle(widget)
    assert widget.session.unsaved
    path = sheet.proposed_path
    controller.save(image, path)
    wait_for(lambda: sheet.saved_as == path)
    settle(widget)
    assert not widget.session.unsaved
    assert np.array_equal(read_labels(path), sheet.labels.data)
    assert path.with_name("patient_reviewed.nii.gz").exists()
    widget.act("undo")
    settle(widget)
    labels = sheet.labels.data.copy()
    viewer.layers.remove(sheet.labels)
    settle(widget)
    viewer.open(str(path), plugin="napari-kidnet", layer_type="labels")
    settle(widget)
    assert "without saving" in widget.panel.message.text()  # and not: the journal belongs to other labels
    widget.panel.restore.click()
    settle(widget)
    assert np.array_equal(widget.session.known, labels)
