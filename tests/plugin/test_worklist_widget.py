"""The Worklist widget in a real viewer: a folder, scan after scan, and nothing lost on the way."""

from __future__ import annotations

import time

import numpy as np
import pytest
from qtpy.QtCore import QItemSelectionModel, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QLabel, QProgressBar, QPushButton

from napari_kidnet.islands import delete
from napari_kidnet.labelling.worklist import Worklist, WorkState
from napari_kidnet.plugin.island_keys import ISLAND_KEYS
from napari_kidnet.plugin.islands_desk import IslandsDesk
from napari_kidnet.plugin.worklist_keys import DONE_AND_NEXT_SHOWN


def settle(widget, until=lambda: True, timeout_s=30):
    """Let the event loop turn until nothing is being done and `until` holds."""
    desk, end, quiet = widget.desk, time.monotonic() + timeout_s, 0
    while quiet < 5 and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)
        watch = desk._watch
        working = desk.busy_with or desk.batch or desk._noting or desk._notes or desk._moving
        working = working or desk._controller.is_running
        working = working or (watch is not None and (watch.is_busy or watch._session is not watch.session))
        quiet = 0 if working or not until() else quiet + 1
    assert quiet == 5, widget.status.text()


@pytest.fixture
def folder(tmp_path, scan_file):
    """Three new scans: p1, p2, p3."""
    from napari_kidnet.scans import Scan, write_scan
    from tests.plugin.conftest import body

    scans = tmp_path / "scans"
    scans.mkdir()
    affine = np.diag([-0.8, -0.9, 2.0, 1.0])
    for n in (1, 2, 3):
        affine[:3, 3] = (90.0, 80.0, -40.0 * n)
        scan = Scan.from_array(body(), (2.0, 0.9, 0.8), name=f"p{n}_ct", affine=affine.copy())
        write_scan(scans / f"p{n}_ct.nii.gz", scan)
    return scans


@pytest.fixture
def docked(viewer):
    _, widget = viewer.window.add_plugin_dock_widget("napari-kidnet", "Worklist")
    yield viewer, widget
    settle(widget)


@pytest.fixture
def opened(docked, folder):
    viewer, widget = docked
    widget.desk.open_folder(folder)
    settle(widget)
    return viewer, widget, folder


def cell(widget, row, column):
    return widget.model.data(widget.model.index(row, column), Qt.ItemDataRole.DisplayRole)


def states(widget):
    return [cell(widget, row, 1) for row in range(widget.model.rowCount())]


def layers_of(key):
    name = key.removesuffix(".nii.gz")
    return [name, f"{name} vessels"]


def session_of(widget):
    return widget.desk._watch.session


def edit(viewer, widget):
    """Delete the vein, as the Islands widget does it."""
    layer = widget.desk._watch.labels
    IslandsDesk.of(viewer, layer).do(
        lambda session: session.edit_steps(lambda s: delete(s.known, s.view.table, [int(s.view.table.id[0])]))
    )
    settle(widget)


def test_an_empty_widget_invites(docked):
    _, widget = docked
    assert "Drop a folder" in widget.message.text()
    assert not widget.table.isVisibleTo(widget)
    widget.done_and_next()  # nothing breaks
    assert "No scan of this list is open" in widget.status.text()


def test_a_folder_without_scans_and_no_folder_are_sentences(docked, tmp_path):
    _, widget = docked
    widget.desk.open_folder(tmp_path / "missing")
    settle(widget)
    assert "does not exist; choose" in widget.status.text()
    (tmp_path / "empty").mkdir()
    widget.desk.open_folder(tmp_path / "empty")
    settle(widget)
    assert "holds no scans; put NIfTI files" in widget.message.text()
    assert not widget.table.isVisibleTo(widget)


def test_a_dropped_folder_is_listed(docked, folder):
    _, widget = docked
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder))])
    event = QDropEvent(
        QPointF(QPoint(5, 5)),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    widget.dropEvent(event)
    settle(widget)
    assert widget.folder.text() == "scans"
    assert [cell(widget, row, 0) for row in range(3)] == [f"p{n}" for n in (1, 2, 3)]
    assert states(widget) == ["new"] * 3
    assert widget.done.format() == "0 of 3 scans done"
    assert "Predict all new (3)" in widget.predict.text()


def test_a_folder_is_chosen_by_its_dialog(docked, folder, monkeypatch, qtbot):
    _, widget = docked
    monkeypatch.setattr(
        "napari_kidnet.plugin.widgets.worklist.QFileDialog.getExistingDirectory", lambda *_: str(folder)
    )
    qtbot.mouseClick(widget.choose, Qt.MouseButton.LeftButton)
    settle(widget)
    assert widget.model.rowCount() == 3


def test_the_key_is_nobody_elses():
    from napari.utils.shortcuts import default_shortcuts

    taken = {str(key).lower() for keys in default_shortcuts.values() for key in keys}
    assert DONE_AND_NEXT_SHOWN.lower() not in taken | {each.shown.lower() for each in ISLAND_KEYS}


def test_all_new_are_predicted_with_progress_and_one_failure(opened, qtbot):
    _viewer, widget, folder = opened
    (folder / "p2_ct.nii.gz").write_bytes(b"no scan")
    qtbot.mouseClick(widget.predict, Qt.MouseButton.LeftButton)
    assert widget.progress.isVisibleTo(widget)
    assert not widget.predict.isEnabled()
    settle(widget)
    assert states(widget) == ["predicted", "new", "predicted"]
    assert "p2\n" in cell(widget, 1, 0)
    assert "2 scans were predicted; 1 was not: p2_ct.nii.gz." in widget.status.text()
    assert (cell(widget, 0, 2), cell(widget, 0, 3)) == ("0 %", "2")
    assert float(cell(widget, 0, 4)) >= 0
    assert not widget.progress.isVisibleTo(widget)


def test_predicting_is_cancelled(opened, network, qtbot):
    _, widget, folder = opened
    network.hold()
    qtbot.mouseClick(widget.predict, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: network.begun == 1)
    qtbot.mouseClick(widget.cancel, Qt.MouseButton.LeftButton)
    network.let_go()
    settle(widget)
    assert "Cancelled" in widget.status.text()
    assert states(widget) == ["new"] * 3
    assert not list(folder.glob("*_labels*"))


def test_scan_after_scan_by_the_key_alone(opened, qtbot):
    viewer, widget, folder = opened
    widget.desk.predict_new()
    settle(widget)
    qtbot.mouseClick(widget.next, Qt.MouseButton.LeftButton)
    settle(widget, until=lambda: session_of(widget) is not None)
    first = widget.desk.current
    assert [layer.name for layer in viewer.layers] == layers_of(first)
    edit(viewer, widget)
    assert states(widget)[int(first[1]) - 1] == "in work"
    canvas = viewer.window._qt_viewer.canvas.native
    QTest.keyClick(canvas, Qt.Key.Key_E, Qt.KeyboardModifier.ShiftModifier)
    settle(widget, until=lambda: widget.desk.current not in (None, first) and session_of(widget) is not None)
    second = widget.desk.current
    assert [layer.name for layer in viewer.layers] == layers_of(second)
    row = Worklist(folder).row(first)
    assert row.state is WorkState.DONE
    assert row.actions == 1
    assert (row.islands, row.islands_left) == (1, 1)
    from napari_kidnet.scans import read_labels

    assert set(np.unique(read_labels(folder / f"{first[:2]}_labels.nii.gz"))) == {0, 1}
    assert read_labels(folder / f"{first[:2]}_reviewed.nii.gz").any()
    for _ in range(2):
        widget.done_and_next()
        settle(widget)
    assert states(widget) == ["done"] * 3
    assert widget.done.format() == "3 of 3 scans done"
    assert "all are done" in widget.status.text()
    assert "3 scans are done" in widget.plot.words.text()
    assert not widget.next.isEnabled()


def test_the_reviewed_part_comes_back_and_the_network_spares_it(opened):
    viewer, widget, folder = opened
    widget.desk.predict_new()
    settle(widget)
    widget.desk.open_scan("p1_ct.nii.gz")
    settle(widget, until=lambda: session_of(widget) is not None)
    edit(viewer, widget)
    widget.desk.open_scan("p2_ct.nii.gz")
    settle(widget, until=lambda: widget.desk.current == "p2_ct.nii.gz" and session_of(widget) is not None)
    widget.desk.open_scan("p1_ct.nii.gz")
    settle(widget, until=lambda: widget.desk.current == "p1_ct.nii.gz" and session_of(widget) is not None)
    session = session_of(widget)
    judged = session.states != 0
    assert judged.any()
    widget.desk._controller.segment(widget.desk._watch.image)
    settle(widget)
    assert not (session.labels == 2).any()  # the vein that was deleted stays deleted
    assert (session.labels == 1).any()
    assert Worklist(folder).row("p1_ct.nii.gz").state is WorkState.IN_WORK


def test_a_new_scan_is_segmented_when_it_is_opened_and_kept_when_it_is_left(opened):
    _viewer, widget, folder = opened
    widget.by.setCurrentIndex(1)
    widget.desk.open_next("order")
    settle(widget, until=lambda: session_of(widget) is not None and session_of(widget).unsaved)
    assert widget.desk.current == "p1_ct.nii.gz"
    widget.desk.open_next("order")
    settle(widget, until=lambda: widget.desk.current == "p2_ct.nii.gz")
    row = Worklist(folder).row("p1_ct.nii.gz")
    assert row.state is WorkState.PREDICTED
    assert row.case.labels is not None
    assert row.benefit_ml is not None
    assert row.actions == 0


def test_a_scan_that_cannot_be_read_leaves_the_open_one_alone(opened):
    viewer, widget, folder = opened
    widget.desk.predict_new()
    settle(widget)
    widget.desk.open_scan("p1_ct.nii.gz")
    settle(widget, until=lambda: session_of(widget) is not None)
    (folder / "p3_ct.nii.gz").write_bytes(b"no scan")
    widget.desk.open_scan("p3_ct.nii.gz")
    settle(widget)
    assert "p3_ct.nii.gz" in widget.status.text()
    assert "color" in widget.status.styleSheet()
    assert widget.desk.current == "p1_ct.nii.gz"
    assert len(viewer.layers) == 2


def test_where_saving_fails_the_scan_stays_open(opened, monkeypatch):
    from napari_kidnet.errors import OutputError

    viewer, widget, folder = opened
    widget.desk.predict_new()
    settle(widget)
    widget.desk.open_scan("p1_ct.nii.gz")
    settle(widget, until=lambda: session_of(widget) is not None)
    edit(viewer, widget)

    def refuse(path, *_, **__):
        raise OutputError(f"{path} was not written because the disk is full; free some space.")

    with monkeypatch.context() as patch:
        patch.setattr("napari_kidnet.scans.write_labels", refuse)
        widget.done_and_next()
        settle(widget)
        assert "the disk is full" in widget.status.text()
        assert widget.desk.current == "p1_ct.nii.gz"
        assert session_of(widget).unsaved
        assert Worklist(folder).row("p1_ct.nii.gz").state is WorkState.IN_WORK
    widget.done_and_next()  # there is room again
    settle(widget, until=lambda: widget.desk.current != "p1_ct.nii.gz")
    assert Worklist(folder).row("p1_ct.nii.gz").state is WorkState.DONE


def test_done_goes_back_to_work(opened, qtbot):
    _, widget, folder = opened
    flags = QItemSelectionModel.SelectionFlag
    first = widget.table.model().index(0, 0)
    widget.table.selectionModel().select(first, flags.ClearAndSelect | flags.Rows)
    qtbot.mouseClick(widget.mark, Qt.MouseButton.LeftButton)
    settle(widget)
    assert states(widget)[0] == "done"
    assert widget.mark.text() == "Back to work"
    qtbot.mouseClick(widget.mark, Qt.MouseButton.LeftButton)
    settle(widget)
    assert Worklist(folder).row("p1_ct.nii.gz").state is WorkState.IN_WORK


def test_removing_the_layer_closes_the_scan_and_keeps_its_time(opened, monkeypatch):
    viewer, widget, folder = opened
    widget.desk.predict_new()
    settle(widget)
    widget.desk.open_scan("p1_ct.nii.gz")
    settle(widget, until=lambda: session_of(widget) is not None)
    clock = widget.desk._inputs.clock
    clock.touch(clock._last + 30)
    clock.touch(clock._last + 500)  # a pause
    viewer.layers.remove(widget.desk._watch.image)
    settle(widget)
    assert widget.desk.current is None
    assert Worklist(folder).row("p1_ct.nii.gz").minutes == pytest.approx(0.5, abs=0.1)


def test_input_is_time_and_its_absence_is_not(opened, qtbot):
    viewer, widget, _ = opened
    widget.desk.predict_new()
    settle(widget)
    widget.desk.open_scan("p1_ct.nii.gz")
    settle(widget, until=lambda: session_of(widget) is not None)
    clock, inputs = widget.desk._inputs.clock, widget.desk._inputs
    clock.take()
    before = clock._last
    for _ in range(20):
        QApplication.processEvents()
    assert clock._last == before
    inputs._last = 0.0
    QTest.mouseMove(viewer.window._qt_viewer.canvas.native, QPoint(30, 40))
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_H)
    QApplication.processEvents()
    assert clock._last > before
    settle(widget)


def test_a_widget_that_comes_late_shows_the_same(opened):
    viewer, widget, _ = opened
    widget.desk.open_scan("p1_ct.nii.gz")
    settle(widget)
    viewer.window.remove_dock_widget(widget)
    assert widget.is_closed
    _, again = viewer.window.add_plugin_dock_widget("napari-kidnet", "Worklist")
    settle(again)
    assert again.desk is widget.desk
    assert again.model.current == "p1_ct.nii.gz"


def test_everything_has_a_tooltip(docked):
    _, widget = docked
    for kind in (QPushButton, QComboBox, QProgressBar):
        for each in widget.findChildren(kind):
            assert each.toolTip(), each
    for each in widget.findChildren(QLabel):
        assert each.toolTip() or each is widget.message, each.text()
