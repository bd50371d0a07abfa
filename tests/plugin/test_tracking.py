"""A late tile never changes a voxel that a person has touched."""

from __future__ import annotations

import numpy as np
import pytest

from napari_kidnet.plugin.controller import Controller

ARTERY = (20, 30, 36)  # where the body of conftest.py has an artery, (z, y, x)
NOTHING = (20, 10, 24)


@pytest.fixture
def working(viewer, network, preferences, scan_file, qtbot):
    """A labels layer of a job that has not delivered a tile yet: (layer, session, finish)."""
    preferences(auto_segment="never")
    network.hold()
    (image,) = viewer.open(str(scan_file), plugin="napari-kidnet")
    controller = Controller.of(viewer)
    controller.segment(image)
    sheet = controller.known(image)

    def finish():
        network.let_go()
        qtbot.waitUntil(
            lambda: not controller.is_running and not controller._idle._timer.isActive(), timeout=9000
        )

    return sheet.labels, sheet.session, finish


def others(session, *voxels):
    """The labels are the network's everywhere but at these voxels."""
    labels, expected = session.labels.copy(), session.predicted.copy()
    for voxel in voxels:
        labels[voxel] = expected[voxel] = 0
    return np.array_equal(labels, expected)


@pytest.mark.parametrize("how", ["paint", "data_setitem", "direct"])
def test_a_painted_voxel_stays(working, how):
    layer, session, finish = working
    layer.brush_size = 1
    if how == "paint":
        layer.paint(ARTERY, 3)
    elif how == "data_setitem":
        layer.data_setitem(tuple(np.array([v]) for v in ARTERY), 3)
    else:
        layer.data[ARTERY] = 3  # a script, which napari tells nobody of
    finish()
    assert layer.data[ARTERY] == 3
    assert session.predicted[ARTERY] == 1
    assert others(session, ARTERY)
    assert session.touched[ARTERY]


@pytest.mark.parametrize("how", ["paint", "data_setitem"])
def test_erasing_where_nothing_is_yet_says_that_there_is_no_vessel(working, how):
    layer, session, finish = working
    layer.brush_size = 1
    if how == "paint":
        layer.paint(ARTERY, 0)
    else:
        layer.data_setitem(tuple(np.array([v]) for v in ARTERY), 0)
    finish()
    assert layer.data[ARTERY] == 0
    assert session.predicted[ARTERY] == 1
    assert others(session, ARTERY)


def test_a_filled_region_stays(working):
    layer, _session, finish = working
    layer.data[20, 28:32, 34:38] = 2
    layer.fill(ARTERY, 3)
    finish()
    assert (layer.data[20, 28:32, 34:38] == 3).all()
    assert (layer.data[19, 28:32, 34:38] == 1).all()


def test_undo_gives_the_voxel_back_and_redo_takes_it_again(working):
    layer, session, finish = working
    layer.brush_size = 1
    layer.paint(ARTERY, 3)
    layer.paint(NOTHING, 2)
    layer.undo()
    layer.undo()
    layer.redo()  # the artery is painted again, the other is not
    finish()
    assert layer.data[ARTERY] == 3
    assert layer.data[NOTHING] == 0
    assert not session.touched[NOTHING]
    layer.undo()
    assert layer.data[ARTERY] == 1  # what the network says there
    assert np.array_equal(session.labels, session.predicted)
    assert not session.touched.any()


def test_an_edit_below_an_undone_one_still_holds(working):
    layer, _, finish = working
    layer.brush_size = 1
    layer.paint(ARTERY, 3)
    layer.paint(ARTERY, 2)
    layer.undo()
    finish()
    assert layer.data[ARTERY] == 3


def test_a_stroke_that_is_not_finished_yet_is_safe(working):
    """napari tells of a stroke when the button is released; tiles arrive before."""
    layer, _, finish = working
    layer.brush_size = 1
    with layer.block_history():
        layer.paint(ARTERY, 3)
        finish()
    assert layer.data[ARTERY] == 3


def test_other_data_in_the_layer_are_an_edit(working):
    layer, session, finish = working
    other = layer.data.copy()
    other[ARTERY] = 2
    layer.data = other
    finish()
    assert layer.data[ARTERY] == 2
    assert session.labels is layer.data
    assert others(session, ARTERY)


def test_random_edits_during_a_job_are_all_kept(working, network, qtbot, rng):
    """The law, whatever the order of tiles and strokes."""
    layer, session, finish = working
    mine: dict[tuple[int, ...], int] = {}
    for step in range(60):
        if step % 4 == 0:
            network.allow(1)
            qtbot.wait(15)
        voxel = tuple(int(v) for v in rng.integers((5, 22, 26), (35, 38, 46)))
        value = int(rng.integers(0, 4))
        layer.brush_size = int(rng.integers(1, 4))
        layer.n_edit_dimensions = int(rng.integers(2, 4))
        before = layer.data.copy()
        layer.paint(voxel, value)
        for changed in np.argwhere(layer.data != before):
            mine[tuple(int(v) for v in changed)] = value
        mine[voxel] = value
    finish()
    assert session.labels.any()
    assert {voxel: int(layer.data[voxel]) for voxel in mine} == mine


def test_the_mouse_paints_while_tiles_arrive(
    make_napari_viewer, network, preferences, scan_file, qtbot, idle
):
    """Real mouse events on the canvas of a real window."""
    from qtpy.QtCore import QPoint, Qt

    preferences(auto_segment="never")
    network.hold()
    viewer = make_napari_viewer(show=True)
    (image,) = viewer.open(str(scan_file), plugin="napari-kidnet")
    controller = Controller.of(viewer)
    controller.segment(image)
    layer = controller.known(image).labels
    viewer.layers.selection.active = layer
    layer.mode, layer.selected_label, layer.brush_size = "paint", 3, 3
    viewer.scene.camera.center = (0, *image.data_to_world(ARTERY)[1:])
    viewer.scene.camera.zoom = 20
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.wait(200)
    middle = QPoint(canvas.width() // 2, canvas.height() // 2)
    qtbot.mouseMove(canvas, middle)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    network.allow(20)  # all tiles of the small scan arrive while the button is down
    qtbot.mouseMove(canvas, middle + QPoint(20, 0))
    qtbot.wait(100)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(20, 0))
    painted = layer.data == 3
    assert painted.any()
    network.let_go()
    idle(viewer)
    assert np.array_equal(layer.data == 3, painted)
    assert (layer.data == 1).any()
