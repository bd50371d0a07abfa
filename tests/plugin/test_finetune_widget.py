"""The Fine-tune widget in a real viewer, by its buttons, with a small network that really learns."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_kidnet.islands import accept_islands
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.layers import scan_keywords
from tests.training.finetuning_scenes import checkpoint, few_phantoms, quick, tubes


def turn_until(done, timeout_s=180):
    end = time.monotonic() + timeout_s
    while not done() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)
    assert done()


def click(qtbot, button):
    assert button.isEnabled(), button.text()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def real_viewer(make_napari_viewer, preferences, tmp_path, monkeypatch):
    """A viewer whose network is a real, tiny one, in a folder of its own."""
    from napari_kidnet.labelling.tuning.running import TuneRequest
    from napari_kidnet.network import save_checkpoint

    few_phantoms(monkeypatch)
    monkeypatch.setenv("KIDNET_CHECKPOINTS", str(tmp_path / "own"))
    monkeypatch.setattr(
        TuneRequest, "settings", lambda self: quick(steps=self.steps, schema=self.schema, mode=self.mode)
    )
    parent = tmp_path / "parent.safetensors"
    save_checkpoint(parent, replace(checkpoint(), sensitivity=0.7))
    preferences(auto_segment="never", checkpoint=str(parent), device="cpu", engine="torch")
    viewer = make_napari_viewer()
    yield viewer
    from napari_kidnet.plugin.finetune_desk import FinetuneDesk

    FinetuneDesk.of(viewer).cancel()
    turn_until(lambda: not FinetuneDesk.of(viewer).busy and not Controller.of(viewer).is_running)


@pytest.fixture
def widget(real_viewer):
    _, widget = real_viewer.window.add_plugin_dock_widget("napari-kidnet", "Fine-tune")
    widget.form.budget.setCurrentText("steps")
    widget.form.steps.setValue(6)
    return widget


@pytest.fixture
def corrected(real_viewer, widget):
    """(image, session): a scan whose labels a person has corrected, half of it accepted."""
    from napari_kidnet.labelling.session import Tile
    from napari_kidnet.plugin.islands_desk import IslandsDesk

    scan, labels = tubes(1)
    image = real_viewer.add_image(scan.hu, **scan_keywords(scan, segment_on_arrival=False))
    controller = Controller.of(real_viewer)
    sheet = controller.sheet_of(image)
    controller._show_labels(sheet)
    sheet.session.receive(Tile(tuple(slice(0, n) for n in scan.shape), labels))
    desk = IslandsDesk.of(real_viewer, sheet.labels)
    turn_until(lambda: desk.session is not None and not desk.busy)
    artery = int(desk.session.view.table.id[desk.session.view.table.class_id == 1][0])
    desk.do(lambda s: s.edit_steps(lambda s: accept_islands(s.view.table, [artery], s.states)))
    sheet.labels.brush_size = 1
    sheet.labels.paint((4, 20, 20), 2)
    sheet.labels.paint((4, 28, 28), 0)  # where nothing is: that is a judgement, too
    turn_until(lambda: not desk.busy and not desk._queue)
    # nobody tells the widget: it looks every second
    turn_until(lambda: any(each.teaches for each in widget.cases._lessons.values()))
    turn_until(lambda: not widget._recount.isActive() and widget._done_so_far() == widget._counted)
    return image, desk


def finish(widget):
    turn_until(lambda: not widget._desk.busy)
    turn_until(lambda: widget._redraw.isActive() is False)


def test_an_empty_viewer_invites(widget):
    assert "Nothing to learn from yet" in widget.cases.invitation.text()
    assert not widget.bar.start.isEnabled()
    assert not widget.result.isVisibleTo(widget)
    turn_until(lambda: "shipped one is in use" in widget.tree.empty.text())


def test_a_scan_is_listed_with_what_is_reviewed(corrected, widget):
    (lesson,) = widget.cases.chosen
    assert lesson.tally.reviewed[1] > 0
    assert lesson.tally.voxels == 24 * 32 * 32
    item = widget.cases.table.topLevelItem(0)
    assert item.text(2) == f"{lesson.tally.reviewed[1]:,}"
    item.setCheckState(0, Qt.CheckState.Unchecked)
    assert widget.cases.chosen == []
    assert not widget.bar.start.isEnabled()
    widget._list()  # a count anew does not tick it again
    assert widget.cases.chosen == []


def test_learn_pause_cancel_go_on_and_predict_again(corrected, widget, real_viewer, qtbot):
    from napari_kidnet.plugin.settings import preferences as chosen

    image, desk = corrected
    tuner = widget._desk
    click(qtbot, widget.bar.start)
    turn_until(lambda: tuner.state.learning)
    click(qtbot, widget.bar.pause)
    turn_until(lambda: tuner.state.paused)
    at = tuner.state.done
    qtbot.wait(300)
    assert tuner.state.done == at
    assert widget.bar.pause.text() == "Resume"
    click(qtbot, widget.bar.cancel)
    finish(widget)
    assert tuner.result is None
    assert "can be continued" in widget.bar.status.text()
    assert chosen().checkpoint.name == "parent.safetensors"
    assert widget.form.leftover
    click(qtbot, widget.bar.start)  # goes on
    finish(widget)
    assert tuner.result is not None
    assert tuner.result.activated
    assert [step for step, _ in tuner.losses][-1] == 6
    assert chosen().checkpoint == tuner.result.candidate
    assert len(widget.plot.trend.getData()[0]) == len(tuner.losses)
    sheet = Controller.of(real_viewer).known(image)
    held = desk.session.states != 0
    before = sheet.session.labels.copy()
    assert held.any()
    click(qtbot, widget.result.again)
    turn_until(lambda: sheet.session.prediction is not None and not Controller.of(real_viewer).is_running)
    turn_until(lambda: not desk.busy)
    after = sheet.session.labels
    assert np.array_equal(after[held], before[held])
    assert not np.array_equal(after, before)  # an untrained network says something else elsewhere
    click(qtbot, widget.result.back)
    assert chosen().checkpoint.name == "parent.safetensors"


def test_few_steps_are_said_to_change_little(corrected, widget, qtbot):
    click(qtbot, widget.bar.start)
    finish(widget)
    assert widget._desk.steps_done == widget._desk.steps_kept == 6
    assert "6 steps were done" in widget.result.steps.text()
    assert "likely to change little" in widget.result.steps.text()
    widget._desk.steps_done = widget._desk.steps_kept = 50
    widget._show()
    assert widget.result.steps.text() == "50 steps were done."
    assert not widget.result.steps.styleSheet()


@pytest.fixture
def from_disk(real_viewer, widget, tmp_path):
    """(scan, labels layer, islands desk): NAME_ct and NAME_labels with a mask, opened as files."""
    from napari_kidnet.plugin.islands_desk import IslandsDesk
    from napari_kidnet.scans import write_labels, write_scan

    scan, labels = tubes(1)
    write_scan(tmp_path / "p_ct.nii.gz", scan)
    write_labels(tmp_path / "p_labels.nii.gz", labels, scan)
    reviewed = np.zeros_like(labels)
    reviewed[:, :16] = 1
    write_labels(tmp_path / "p_reviewed.nii.gz", reviewed, scan)
    for name in ("p_ct", "p_labels"):
        real_viewer.open(str(tmp_path / f"{name}.nii.gz"), plugin="napari-kidnet")
    layer = real_viewer.layers["p_labels"]
    widget._count()
    assert "Choose these labels in the Islands widget" in widget.cases.table.topLevelItem(0).toolTip(0)
    desk = IslandsDesk.of(real_viewer, layer)
    turn_until(lambda: desk.session is not None and not desk.busy and not desk._queue)
    turn_until(lambda: widget.cases.chosen)
    yield scan, layer, desk
    desk.close()


def test_labels_of_a_file_are_predicted_again_but_for_what_is_reviewed(from_disk, widget, qtbot):
    _scan, layer, desk = from_disk
    click(qtbot, widget.bar.start)
    finish(widget)
    assert widget._desk.result is not None, widget.bar.status.text()
    layer.brush_size = 1
    layer.paint((4, 28, 28), 2)
    held, before = desk.session.states != 0, layer.data.copy()
    held[4, 28, 28] = True  # painted a moment ago
    click(qtbot, widget.result.again)
    finish(widget)
    turn_until(lambda: not desk.busy and not desk._queue)
    assert held.any()
    assert np.array_equal(layer.data[held], before[held])
    assert not np.array_equal(layer.data, before)
    assert np.array_equal(layer.data, desk.session.known)
    assert "undo takes it back" in widget.bar.status.text()
    layer.undo()
    turn_until(lambda: not desk.busy)
    assert np.array_equal(layer.data, before)


def test_predicting_a_files_labels_again_is_cancelled_without_a_change(from_disk, widget, qtbot, monkeypatch):
    import napari_kidnet.plugin.finetune_desk as module
    from napari_kidnet.labelling.predicting import Report
    from napari_kidnet.progress import Progress

    def for_ever(scan, wish):
        while True:
            time.sleep(0.01)
            yield Report(Progress(0, 9, "tile"))

    _scan, layer, desk = from_disk
    click(qtbot, widget.bar.start)
    finish(widget)
    before = layer.data.copy()
    monkeypatch.setattr(module, "predict_steps", for_ever)
    click(qtbot, widget.result.again)
    turn_until(lambda: "tile" in widget.bar.status.text())
    click(qtbot, widget.bar.cancel)
    finish(widget)
    assert "as they were" in widget.bar.status.text()
    assert np.array_equal(layer.data, before)
    assert not desk.session.history.done


def test_labels_that_two_open_scans_fit_are_not_learned_from(from_disk, widget, real_viewer):
    scan, layer, _ = from_disk
    layer.metadata["napari-kidnet"] = replace_path(layer)
    for name in ("one", "other"):
        keywords = scan_keywords(scan, segment_on_arrival=False)
        real_viewer.add_image(scan.hu.copy(), **(keywords | {"name": name, "translate": layer.translate}))
    widget._count()
    assert not widget.cases.chosen
    assert "Two open scans fit" in widget.cases.table.topLevelItem(0).toolTip(0)


def replace_path(layer):
    """The mark of a labels layer whose file is elsewhere, so that its name says nothing."""
    from napari_kidnet.plugin.layers import ScanTag, tag_of

    scan = tag_of(layer).scan
    return ScanTag(replace(scan, path=scan.path.parent / "elsewhere" / scan.path.name))


def test_before_and_after_are_layers_to_look_at(corrected, widget, real_viewer, qtbot):
    from napari_kidnet.plugin.finetune_desk import AFTER, BEFORE

    image, _ = corrected
    click(qtbot, widget.bar.start)
    finish(widget)
    click(qtbot, widget.result.compare)
    finish(widget)
    assert "Islands on this scan" in widget.result.islands.text()
    layers = {each.name: each for each in real_viewer.layers}
    assert layers[AFTER].visible
    assert not layers[BEFORE].visible
    click(qtbot, widget.result.look_buttons["before"])
    assert layers[BEFORE].visible
    assert not layers[AFTER].visible
    assert layers[BEFORE].data.shape == image.data.shape
    assert np.allclose(layers[BEFORE].scale, image.scale)
    assert len(widget._desk.lessons()) == 1  # nobody's labels


def test_a_look_at_what_it_says(corrected, widget, real_viewer, qtbot):
    from napari_kidnet.plugin.finetune_desk import PREVIEW

    widget.form.preview.setChecked(True)
    seen = []
    real_viewer.layers.events.inserted.connect(lambda event: seen.append(event.value.name))
    widget.form.steps.setValue(8)
    click(qtbot, widget.bar.start)
    widget._desk.reins.preview_every_s = 0.01  # the form's least is five seconds
    finish(widget)
    assert PREVIEW in seen
    assert PREVIEW not in [each.name for each in real_viewer.layers]


def test_a_run_that_teaches_nothing_is_one_sentence(widget, real_viewer, qtbot, tmp_path):
    from napari_kidnet.scans import write_labels, write_scan

    scan, labels = tubes(3)
    write_scan(tmp_path / "a_ct.nii.gz", scan)
    specks = np.zeros_like(labels)
    specks[3, 3, 3] = 1
    write_labels(tmp_path / "a_labels.nii.gz", specks, scan)
    widget._add_folder(tmp_path)
    turn_until(lambda: len(widget.cases.chosen) == 1)
    click(qtbot, widget.bar.start)
    finish(widget)
    assert "specks of fewer than" in widget.bar.status.text()
    assert widget.bar.start.isEnabled()


def test_the_tree_uses_notes_and_puts_away(corrected, widget, qtbot, monkeypatch):
    from napari_kidnet.plugin.settings import preferences as chosen

    for _ in range(2):
        click(qtbot, widget.bar.start)
        finish(widget)
        turn_until(lambda: widget.form.name.text() not in {n.path.stem for n in widget.tree._nodes})
    turn_until(lambda: len(widget.tree._nodes) == 2)
    first, second = widget.tree._nodes
    assert second.parent == first.hash
    top = widget.tree.tree.topLevelItem(0)
    assert top.child(0).text(0).startswith("●")
    widget.tree.tree.setCurrentItem(top)
    widget.tree.note_asked.emit(first, "thin slices")
    turn_until(lambda: widget.tree._nodes[0].note == "thin slices")
    widget.tree.tree.setCurrentItem(widget.tree.tree.topLevelItem(0))
    click(qtbot, widget.tree.use)
    assert chosen().checkpoint == first.path
    turn_until(lambda: widget.tree._nodes[0].active)
    asked = []
    answer = QMessageBox.StandardButton.Yes
    monkeypatch.setattr(QMessageBox, "question", lambda *args: asked.append(args[2]) or answer)
    widget.tree.tree.setCurrentItem(widget.tree.tree.topLevelItem(0).child(0))
    click(qtbot, widget.tree.away)
    turn_until(lambda: len(widget.tree._nodes) == 1)
    assert "put away" in asked[0]
    assert (first.path.parent / "put away" / second.path.name).is_file()
    widget.tree.away_asked.emit(widget.tree._nodes[0])
    assert "in use" in widget.bar.status.text()
    assert first.path.is_file()


def test_minutes_are_those_of_the_command_line():
    from napari_kidnet.labelling.tuning.running import DEFAULT_MINUTES
    from napari_kidnet.training.finetune_settings import FinetuneSettings

    assert FinetuneSettings().minutes == DEFAULT_MINUTES
