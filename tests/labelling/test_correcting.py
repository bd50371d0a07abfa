"""The islands session without a window: edits, undo, strokes, review, journal, recovery, saving."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import (
    IslandState,
    Journal,
    VoxelState,
    accept_box,
    accept_bridges,
    accept_islands,
    delete,
    find_islands,
    keep_largest,
    mark_edited,
    relabel,
)
from napari_kidnet.labelling.correcting import (
    above,
    accept_above,
    discard_steps,
    journal_path,
    kidneys_steps,
    labels_before,
    open_islands,
    preview_steps,
    restore_steps,
    reviewed_path,
    saved_elsewhere_steps,
)
from napari_kidnet.scans import Scan, read_labels, write_labels


def vessels(shape=(12, 20, 30)):
    """An artery with a gap, two small blobs of it, and a vein."""
    labels = np.zeros(shape, np.uint8)
    labels[5:8, 4:7, 1:14] = 1
    labels[5:8, 4:7, 17:29] = 1
    labels[1, 15:17, 3:5] = 1
    labels[10, 15:17, 20:23] = 1
    labels[2:4, 10:12, 5:25] = 2
    return labels


def scan_of(labels):
    return Scan.from_array(np.zeros(labels.shape, np.int16), (1.0, 1.0, 1.0), name="case_ct")


def opened(labels, path=None):
    return open_islands(labels, scan_of(labels), path)


def blob(session):
    """The id of the smallest island."""
    table = session.view.table
    return int(table.id[np.argmin(table.voxels)])


def same_islands(table, labels):
    fresh = find_islands(labels)
    return sorted(zip(table.class_id.tolist(), table.voxels.tolist(), strict=True)) == sorted(
        zip(fresh.class_id.tolist(), fresh.voxels.tolist(), strict=True)
    )


def test_an_edit_reaches_labels_table_and_states_and_one_undo_takes_all_back():
    labels = vessels()
    session, before = opened(labels), labels.copy()
    n, island = len(session.view.table), blob(session)
    seen = []
    session.events.shown.connect(seen.append)
    said = session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [island])))
    assert said.startswith("Deleted 1 island of Artery")
    assert len(session.view.table) == n - 1
    assert seen == [(slice(1, 2), slice(15, 17), slice(3, 5))]
    assert (session.states[1, 15:17, 3:5] == 1).all()
    assert session.view.reviewed_percent == pytest.approx(100 * 4 / labels.size)
    assert session.run(session.undo_steps()) == f"Undone: {said}"
    assert np.array_equal(labels, before)
    assert not session.states.any()
    assert session.view.reviewed_percent == 0
    assert session.run(session.undo_steps()) == "Nothing to undo"
    session.run(session.redo_steps())
    assert not labels[1].any()


def test_a_stroke_is_one_step_of_the_same_history():
    labels = vessels()
    session = opened(labels)
    session.run(session.edit_steps(lambda s: relabel(s.known, s.view.table, [blob(s)], 2)))
    labels[11, 1, 1:4] = 3  # a brush
    flat = np.ravel_multi_index(([11] * 3, [1] * 3, [1, 2, 3]), labels.shape)
    assert session.run(session.absorb_steps(flat)) == "Brush stroke of 3 voxels"
    assert 3 in session.view.table.class_id
    assert [edit.what.split()[0] for edit in session.history.done] == ["Relabelled", "Brush"]
    session.run(session.undo_steps())
    session.run(session.undo_steps())
    assert np.array_equal(labels, vessels())


def test_a_models_run_is_absorbed_and_marks_nothing():
    labels = vessels()
    session = opened(labels)
    labels[...] = 0
    labels[3:6, 3:6, 3:6] = 1
    session.run(session.absorb_steps(by="model"))
    assert len(session.view.table) == 1
    assert not session.states.any()
    session.run(session.undo_steps())
    assert np.array_equal(labels, vessels())


def test_paint_that_came_meanwhile_is_kept():
    labels = vessels()
    session = opened(labels)
    steps = session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)]))
    first = next(steps)
    labels[1, 15, 3] = 3  # between the edit and its repaint
    session.show(first)
    for step in steps:
        session.show(step)
    assert labels[1, 15, 3] == 3
    assert labels[1].sum() == 3
    session.run(session.absorb_steps())
    assert np.array_equal(session.known, labels)


def test_accepting_all_leaves_nothing_to_review():
    labels = vessels()
    session = opened(labels)
    order = []
    island = session.view.next_unreviewed(None)
    while island is not None:
        order.append(island)
        session.run(session.edit_steps(lambda s, i=island: accept_islands(s.view.table, [i], s.states)))
        island = session.view.next_unreviewed(island)
    assert sorted(order) == sorted(session.view.table.id.tolist())
    assert order == session.view.table.id[session.view.review.rows].tolist()
    assert session.view.left == 0
    assert (session.view.states == IslandState.DONE).all()
    assert np.array_equal(labels, vessels())


def test_previous_goes_back_and_around():
    session = opened(vessels())
    ids = session.view.table.id[session.view.review.rows].tolist()
    assert session.view.next_unreviewed(ids[1], -1) == ids[0]
    assert session.view.next_unreviewed(ids[0], -1) == ids[-1]
    assert session.view.next_unreviewed(ids[-1]) == ids[0]


def leave_a_flag(path):
    """Delete the smallest island, flag the next one, save and close."""
    labels = vessels()
    write_labels(path, labels, like=scan_of(labels))
    session = opened(labels, path)
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    session.run(session.flag_steps([blob(session)]))
    session.run(session.save_steps())
    session.close()


def test_flags_are_there_again_after_a_session_that_was_saved_and_closed(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    leave_a_flag(path)
    again = opened(read_labels(path), path)
    assert again.recoverable is None
    assert not again.warning
    assert again.flagged == {blob(again)}
    assert again.view.states[again.view.table.row_of(blob(again))] == IslandState.FLAGGED
    again.run(again.flag_steps([blob(again)]))
    again.close()
    assert not journal_path(path).exists()


def test_flags_do_not_stand_in_the_way_of_labels_that_were_made_anew(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    leave_a_flag(path)
    anew = np.roll(vessels(), 1, axis=0)
    write_labels(path, anew, like=scan_of(anew))
    again = opened(anew, path)
    assert not again.warning
    assert not again.flagged
    again.run(again.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    again._journal.close()  # as a crash leaves it
    assert opened(read_labels(path), path).recoverable.actions == 1


def test_a_flag_is_a_toggle():
    session = opened(vessels())
    island = blob(session)
    row = session.view.table.row_of(island)
    session.run(session.flag_steps([island]))
    assert session.view.states[row] == IslandState.FLAGGED
    session.run(session.flag_steps([island]))
    assert session.view.states[row] == IslandState.NOT_STARTED


def test_a_gap_is_proposed_bridged_and_refused():
    labels = vessels()
    session = opened(labels)
    session.run(session.propose_steps())
    (bridge,) = [each for each in session.view.bridges if each.gap_mm > 3][:1]
    session.run(session.refuse_steps(bridge))
    assert bridge not in session.view.bridges
    session.run(session.propose_steps())
    assert bridge.islands not in [each.islands for each in session.view.bridges]
    n = len(session.view.table)
    session.run(session.edit_steps(lambda s: accept_bridges(s.known, [bridge], s.context.spacing)))
    assert len(session.view.table) == n - 1


def test_work_survives_a_crash_and_asks_once(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    write_labels(path, vessels(), scan_of(vessels()))
    labels = vessels()
    session = opened(labels, path)
    assert not session.warning
    session.run(session.edit_steps(lambda s: keep_largest(s.known, s.view.table, 1)))
    session.run(session.flag_steps([int(session.view.table.id[0])]))
    session._journal.close()  # the process ends, and nothing else happens

    again = vessels()
    second = opened(again, path)
    assert second.recoverable.actions == 1
    with pytest.raises(LabelsError, match="restore or discard"):
        second.run(second.edit_steps(lambda s: delete(s.known, s.view.table, [1])))
    second.run(restore_steps(second))
    assert np.array_equal(again, labels)
    here, there = (each.view.table for each in (session, second))
    (flagged,), (was,) = second.flagged, session.flagged
    assert np.array_equal(there.voxels_of(there.row_of(flagged)), here.voxels_of(here.row_of(was)))
    assert same_islands(second.view.table, labels)
    second.run(second.undo_steps())
    assert np.array_equal(again, vessels())
    second._journal.close()

    third = opened(vessels(), path)
    third.run(discard_steps(third))
    assert np.array_equal(third.labels, vessels())
    third.close()
    assert not journal_path(path).exists()


def test_a_prediction_that_was_never_saved_is_restored_whole(tmp_path):
    path = tmp_path / "case_labels.nii.gz"  # not there
    labels = vessels()
    session = opened(labels, path)
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    session._journal.close()
    empty = np.zeros_like(labels)
    second = opened(empty, path)
    second.run(restore_steps(second))
    assert np.array_equal(empty, labels)
    second.close()


def test_saving_writes_labels_and_mask_and_lets_the_journal_go(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    labels = vessels()
    session = opened(labels, path)
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    assert session.unsaved
    session.run(session.save_steps())
    assert session.unsaved == 0
    scan = scan_of(labels)
    assert np.array_equal(read_labels(path, scan), labels)
    assert np.array_equal(read_labels(reviewed_path(path), scan), session.states != 0)
    session.close()
    assert not journal_path(path).exists()
    second = opened(labels.copy(), path)
    assert second.recoverable is None
    assert second.view.reviewed_percent == session.view.reviewed_percent
    second.close()


def test_a_second_session_is_told(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    first = opened(vessels(), path)
    second = opened(vessels(), path)
    assert "another session" in second.warning
    first.close()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a folder that root cannot write to")
def test_a_read_only_folder_is_told(tmp_path):
    tmp_path.chmod(0o500)
    session = opened(vessels(), tmp_path / "case_labels.nii.gz")
    assert "cannot be written" in session.warning
    tmp_path.chmod(0o700)


def test_without_a_file_it_says_so_and_saving_makes_one(tmp_path):
    session = opened(vessels())
    assert "not kept until they are saved" in session.warning
    with pytest.raises(LabelsError, match="choose where"):
        session.run(session.save_steps())
    session.run(session.save_steps(tmp_path / "new_labels.nii.gz"))
    assert not session.warning
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    assert journal_path(session.path).exists()
    session.close()


def test_an_empty_volume_has_no_islands():
    session = opened(np.zeros((4, 5, 6), np.uint8))
    assert len(session.view.table) == 0
    assert session.view.next_unreviewed(None) is None


@pytest.mark.parametrize("labels", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 6), np.float32)])
def test_what_is_no_label_volume_is_told(labels):
    scan = scan_of(np.zeros((4, 5, 6)))
    with pytest.raises(LabelsError, match="choose another labels layer"):
        open_islands(labels, scan)


def test_labels_of_another_grid_are_told():
    with pytest.raises(LabelsError, match="belong to this scan"):
        open_islands(np.zeros((4, 5, 7), np.uint8), scan_of(np.zeros((4, 5, 6))))


@given(st.lists(st.sampled_from(["delete", "relabel", "accept", "stroke", "undo", "redo"]), max_size=6))
@settings(max_examples=12, deadline=None)
def test_any_work_undone_is_no_work(actions):
    labels = vessels((12, 20, 30))
    session = opened(labels)
    rng = np.random.default_rng(len(actions))
    for action in actions:
        table = session.view.table
        island = int(rng.choice(table.id)) if len(table) else None
        if action == "stroke":
            at = rng.integers(0, labels.size - 5)
            labels.reshape(-1)[at : at + 5] = rng.integers(0, 4)
            session.run(session.absorb_steps())
        elif action in ("undo", "redo"):
            session.run(getattr(session, f"{action}_steps")())
        elif island is not None:
            make = {
                "delete": lambda s, i=island: delete(s.known, s.view.table, [i]),
                "relabel": lambda s, i=island: relabel(s.known, s.view.table, [i], 3),
                "accept": lambda s, i=island: accept_islands(s.view.table, [i], s.states),
            }[action]
            session.run(session.edit_steps(make))
        assert same_islands(session.view.table, labels)
        assert np.array_equal(session.known, labels)
        assert session._judged.voxels == np.count_nonzero(session.states)
    while session.history.done:
        session.run(session.undo_steps())
    assert np.array_equal(labels, vessels((12, 20, 30)))
    assert not session.states.any()


def test_a_preview_shows_and_does_nothing():
    labels = vessels()
    session = opened(labels)
    ghosts = []
    session.events.ghost.connect(ghosts.append)
    session.run(preview_steps(session, lambda s: delete(s.known, s.view.table, [blob(s)])))
    (ghost,) = ghosts
    assert ghost.voxels == 4
    assert np.array_equal(labels, vessels())
    assert not session.history.done


def test_the_labels_before_are_those_that_were_opened_or_predicted():
    labels = vessels()
    session = opened(labels)
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    session.run(session.edit_steps(lambda s: keep_largest(s.known, s.view.table, 1)))
    assert np.array_equal(labels_before(session), vessels())
    labels[11, 1, 1] = 2
    session.run(session.absorb_steps(by="model"))
    predicted = labels.copy()
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    assert np.array_equal(labels_before(session), predicted)
    assert not np.array_equal(labels, predicted)


def test_all_bridges_above_a_confidence_are_one_step():
    labels = vessels()
    session = opened(labels)
    session.run(session.propose_steps())
    sure = [each.confidence for each in session.view.bridges]
    assert sure
    assert len(above(session.view.bridges, max(sure))) == 1
    session.run(session.edit_steps(lambda s: accept_above(s, 0.0)))
    assert not session.view.bridges
    session.run(session.undo_steps())
    assert np.array_equal(labels, vessels())


def test_the_kidneys_beside_the_labels_are_counted(tmp_path):
    labels = vessels()
    kidneys = np.zeros_like(labels)
    kidneys[0:4, 10:20, 0:10] = 1
    kidneys[8:12, 10:20, 15:30] = 2
    write_labels(tmp_path / "case_kidneys.nii.gz", kidneys, scan_of(labels))
    session = opened(labels, tmp_path / "case_labels.nii.gz")
    assert session.view.kidney_percent == 0
    assert session.view.table.touches_kidney.any()
    session.run(session.edit_steps(lambda s: accept_box(s.states, (slice(0, 4), slice(0, 20), slice(0, 10)))))
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    inside = np.count_nonzero(session.states[kidneys != 0])
    assert session.view.kidney_percent == pytest.approx(100 * inside / np.count_nonzero(kidneys))
    session.run(session.undo_steps())
    session.run(session.undo_steps())
    assert session.view.kidney_percent == 0
    session.close()


def test_a_drawn_box_is_counted_and_without_one_nothing_is_said():
    session = opened(vessels())
    assert session.view.kidney_percent is None
    session.run(session.edit_steps(lambda s: accept_box(s.states, np.s_[0:6, :, :])))
    said = session.run(kidneys_steps(session, [(slice(4, 8), slice(0, 5), slice(0, 30))]))
    assert session.view.kidney_percent == 50
    assert "50.0 %" in said


def test_kidneys_on_another_grid_are_told(tmp_path):
    other = np.ones((4, 4, 4), np.uint8)
    write_labels(tmp_path / "case_kidneys.nii.gz", other, scan_of(other))
    session = opened(vessels(), tmp_path / "case_labels.nii.gz")
    assert "case_kidneys" in session.warning
    assert session.view.kidney_percent is None
    session.close()


def test_what_was_saved_elsewhere_is_no_other_labels_for_the_journal(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    labels = vessels()
    write_labels(path, labels, scan_of(labels))
    session = opened(labels, path)
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    write_labels(path, labels, scan_of(labels))  # by another widget
    session.run(saved_elsewhere_steps(session))
    assert session.unsaved == 0
    assert np.array_equal(read_labels(reviewed_path(path), scan_of(labels)), session.states != 0)
    session.run(session.edit_steps(lambda s: keep_largest(s.known, s.view.table, 1)))
    session._journal.close()  # a crash

    second = opened(read_labels(path, scan_of(labels)).astype(np.uint8), path)
    assert second.recoverable.actions == 1
    second.run(restore_steps(second))
    assert np.array_equal(second.labels, labels)
    second.close()


def reviewed_and_saved(path):
    """Labels whose first session reviewed everything, saved, and ended."""
    write_labels(path, vessels(), scan_of(vessels()))
    session = opened(vessels(), path)
    session.run(
        session.edit_steps(lambda s: accept_box(s.states, tuple(slice(0, n) for n in s.states.shape)))
    )
    session.run(session.save_steps())
    session.close()


def test_what_was_reviewed_before_does_not_stand_between_a_crash_and_its_work(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    reviewed_and_saved(path)
    labels = vessels()
    session = opened(labels, path)
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    session._journal.close()  # a crash

    second = opened(vessels(), path)
    assert not second.warning
    second.run(restore_steps(second))
    assert np.array_equal(second.labels, labels)
    assert np.array_equal(second.states, session.states)
    second.close()


def test_a_journal_that_does_not_hold_the_earlier_mask_is_restored_with_it(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    reviewed_and_saved(path)
    mask = np.full(vessels().shape, VoxelState.REVIEWED, np.uint8)
    edit = mark_edited(delete(vessels(), find_islands(vessels()), [1]), mask)
    with Journal(journal_path(path), vessels()) as journal:  # as they were written at first
        journal.do(edit)
    session = opened(vessels(), path)
    session.run(restore_steps(session))
    edit.apply(mask_labels := vessels(), mask)
    assert np.array_equal(session.labels, mask_labels)
    assert np.array_equal(session.states, mask)
    session.close()


@pytest.mark.parametrize("refused", [False, True])
def test_the_reviewed_mask_stays_when_unsaved_work_is_let_go_or_another_session_has_the_journal(
    tmp_path, refused
):
    path = tmp_path / "case_labels.nii.gz"
    reviewed_and_saved(path)
    session = opened(vessels(), path)
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    if not refused:
        session._journal.close()
    second = opened(vessels(), path)
    if not refused:
        second.run(discard_steps(second))
    second.run(second.save_steps())
    assert read_labels(reviewed_path(path), scan_of(vessels())).all()
    second.close()
    session.close()


def test_a_mask_of_another_grid_is_told_and_edits_are_kept_all_the_same(tmp_path):
    path = tmp_path / "case_labels.nii.gz"
    write_labels(path, vessels(), scan_of(vessels()))
    other = np.ones((3, 4, 5), np.uint8)
    write_labels(reviewed_path(path), other, scan_of(other))
    session = opened(vessels(), path)
    assert reviewed_path(path).name in session.warning
    session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [blob(s)])))
    session._journal.close()  # a crash
    second = opened(vessels(), path)
    assert second.recoverable.actions == 1
    second.close()
