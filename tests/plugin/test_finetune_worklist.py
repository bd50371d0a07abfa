"""The Fine-tune widget and the worklist of one viewer: corrected scans are offered, runs are noted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from napari_kidnet.labelling.worklist import Worklist, WorkState
from napari_kidnet.plugin.finetune_desk import FinetuneDesk
from napari_kidnet.plugin.worklist_desk import WorklistDesk
from tests.plugin.test_finetune_widget import click, finish, real_viewer, turn_until, widget  # noqa: F401
from tests.training.finetuning_scenes import tubes


@pytest.fixture
def folder(tmp_path):
    """Three scans with labels: p1 is reviewed in its left half, p2 wholly, and nobody has looked at p3."""
    from napari_kidnet.scans import write_labels, write_scan

    scans = tmp_path / "scans"
    scans.mkdir()
    worklist = Worklist(scans)
    for n, columns in ((1, 16), (2, 32), (3, 0)):
        scan, labels = tubes(n)
        write_scan(scans / f"p{n}_ct.nii.gz", scan)
        write_labels(scans / f"p{n}_labels.nii.gz", labels, scan)
        reviewed = np.zeros_like(labels)
        reviewed[:, :, :columns] = 1
        write_labels(scans / f"p{n}_reviewed.nii.gz", reviewed, scan)
        worklist.refresh()
        if columns:
            worklist.set_state(f"p{n}_ct.nii.gz", WorkState.IN_WORK)
            worklist.note_review(f"p{n}_ct.nii.gz", columns / 32, 3, 1)
        else:
            worklist.note_prediction(f"p{n}_ct.nii.gz", expected_wrong_ml=1.0, islands=3)
    return scans


def at_rest(desk):
    return not (desk.busy_with or desk._noting or desk._notes or desk._moving)


@pytest.fixture
def opened(real_viewer, widget, folder):  # noqa: F811
    """(viewer, Fine-tune widget, worklist's desk), the folder open."""
    desk = WorklistDesk.of(real_viewer)
    desk.open_folder(folder)
    turn_until(lambda: len(widget.cases.chosen) == 2 and at_rest(desk))
    yield real_viewer, widget, desk
    turn_until(lambda: at_rest(desk))
    desk._close_scan()
    turn_until(lambda: at_rest(desk))


def names(widget):  # noqa: F811
    return sorted(each.name for each in widget.cases._lessons.values())


def test_corrected_scans_of_the_worklist_are_offered(opened):
    _, widget, _ = opened  # noqa: F811
    assert names(widget) == ["p1", "p2"]
    assert "With the worklist scans" in widget.cases.words.text()
    one, two = sorted(widget.cases.chosen, key=lambda each: each.name)
    assert two.tally.percent == 100
    assert one.tally.percent == 50


def test_what_is_open_is_listed_once_and_what_others_save_is_counted_again(opened):
    from napari_kidnet.scans import write_labels

    viewer, widget, desk = opened  # noqa: F811
    desk.open_scan("p1_ct.nii.gz")
    turn_until(lambda: desk._watch is not None and desk._watch.session is not None and at_rest(desk))
    turn_until(lambda: any(each.scan is not None for each in widget.cases.chosen))
    assert len(names(widget)) == 2
    folder = desk.worklist.folder
    scan, labels = tubes(3)
    write_labels(folder / "p3_reviewed.nii.gz", np.ones_like(labels), scan)
    desk.worklist.set_state("p3_ct.nii.gz", WorkState.DONE)
    desk.refresh()
    turn_until(lambda: "p3" in names(widget))
    assert len(widget.cases.chosen) == 3
    viewer.layers.clear()
    turn_until(lambda: names(widget) == ["p1", "p2", "p3"])


def test_a_case_added_by_its_folder_is_not_listed_twice(opened):
    _, widget, desk = opened  # noqa: F811
    widget._add_folder(desk.worklist.folder)
    turn_until(lambda: len(names(widget)) == 3)  # p3, too, which nobody has reviewed
    assert names(widget) == ["p1", "p2", "p3"]
    assert len(widget.cases.chosen) == 2


def test_a_finished_run_is_noted_in_the_worklist(opened, qtbot):
    viewer, widget, desk = opened  # noqa: F811
    click(qtbot, widget.bar.start)
    finish(widget)
    result = FinetuneDesk.of(viewer).result
    assert result is not None, widget.bar.status.text()
    turn_until(lambda: at_rest(desk))
    (noted,) = Worklist(desk.worklist.folder).tunings
    assert (noted.checkpoint, noted.activated) == (result.candidate.name, True)


def test_a_refused_checkpoint_that_is_used_later_is_marked_where_it_came_into_use(opened, qtbot):
    from napari_kidnet.labelling.worklist import curve_of

    viewer, widget, desk = opened  # noqa: F811
    click(qtbot, widget.bar.start)
    finish(widget)
    tuner, worklist = FinetuneDesk.of(viewer), desk.worklist
    tuner.use(False)
    refused = replace(tuner.result, activated=False, candidate=tuner.result.candidate)
    turn_until(lambda: at_rest(desk))
    worklist._activity.tunings.clear()
    tuner._on_result((refused, 6))
    turn_until(lambda: at_rest(desk))
    desk.set_state("p1_ct.nii.gz", WorkState.DONE)
    turn_until(lambda: at_rest(desk))
    (mark,) = curve_of(worklist.rows, worklist.tunings).tunings
    assert (mark.after, mark.activated) == (0, False)
    widget._show()
    click(qtbot, widget.result.use)
    turn_until(lambda: at_rest(desk))
    (mark,) = curve_of(worklist.rows, worklist.tunings).tunings
    assert (mark.after, mark.activated) == (1, True)


def test_without_a_worklist_nothing_is_noted(real_viewer):  # noqa: F811
    desk = WorklistDesk.of(real_viewer)
    FinetuneDesk.of(real_viewer)._note(SimpleNamespace(name="tuned-001.safetensors"), True)
    assert not desk._notes
    assert desk._noting is None
