"""A folder as a list of work: what is found, what is kept, what two machines make of it, what comes next."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_kidnet.errors import CheckpointError, OutputError, WorklistError
from napari_kidnet.labelling import PredictRequest
from napari_kidnet.labelling.worklist import (
    LIST_FILE,
    LOG_FILE,
    WorkClock,
    Worklist,
    WorkState,
    curve_of,
    find_scans,
    open_scan_steps,
    predict_new_steps,
)
from napari_kidnet.labelling.worklist.activity import ActivityLog, read_activity
from napari_kidnet.labelling.worklist.records import PredictionPart, Record, ReviewPart, StatePart, merge
from napari_kidnet.progress import drain
from tests.labelling.worklists import SHAPE, fake_network, write_ct, write_mask

NEW, PREDICTED, IN_WORK, DONE = WorkState


@pytest.fixture
def folder(tmp_path):
    """Three new scans."""
    for seed, name in enumerate(("p1_ct.nii.gz", "p2_ct.nii.gz", "p10_ct.nii.gz")):
        write_ct(tmp_path / "scans" / name, seed)
    return tmp_path / "scans"


def states(worklist):
    return {row.key: row.state.value for row in worklist.rows}


# ---------------------------------------------------------------------- what is found


def test_the_scans_of_a_folder_are_found_and_their_companions_are_not(tmp_path, shared):
    import tifffile

    write_ct(tmp_path / "p2_ct.nii.gz")
    write_ct(tmp_path / "p10.nii")
    for name in (
        "p2_labels.nii.gz",
        "p2_reviewed.nii.gz",
        "p2_kidneys.nii.gz",
        "truth.nii.gz",
        ".hidden_ct.nii",
    ):
        write_mask(tmp_path / name, np.ones(SHAPE)) if name[0] != "." else write_ct(tmp_path / name)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((4, 5, 6), np.int16))
    write_ct(tmp_path / "site b" / "q_ct.nii.gz")
    shutil.copytree(shared / "dicom_ct", tmp_path / "series", copy_function=shutil.copyfile)
    (tmp_path / "notes.txt").write_text("not a scan")
    found = find_scans(tmp_path)
    keys = [each.key for each in found]
    assert [key for key in keys if not key.startswith("series")] == [
        "p2_ct.nii.gz",
        "p10.nii",
        "site b/q_ct.nii.gz",
        "stack.tif",
    ]
    assert any(key.startswith("series") for key in keys)
    case = found[0].case
    assert case.labels == tmp_path / "p2_labels.nii.gz"
    assert case.reviewed == tmp_path / "p2_reviewed.nii.gz"
    assert not list(tmp_path.glob("kidnet-*"))  # to look writes nothing
    assert len(Worklist(tmp_path).rows) == len(found)
    assert not list(tmp_path.glob("kidnet-*"))


def test_two_scans_that_would_share_labels_are_told_and_left_alone(tmp_path):
    write_ct(tmp_path / "p1.nii.gz")
    write_ct(tmp_path / "p1_ct.nii.gz")
    rows = Worklist(tmp_path).rows
    assert [row.blocked for row in rows] == [False, True]
    assert "would share p1_labels.nii.gz; rename one" in rows[1].problem
    assert Worklist(tmp_path).next_scan(current="p1.nii.gz") is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text(""), "is a file"),
    ],
)
def test_no_folder_is_one_sentence(tmp_path, make, said):
    make(tmp_path / "scans")
    with pytest.raises(WorklistError, match=said) as caught:
        Worklist(tmp_path / "scans")
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_read_is_one_sentence(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("napari_kidnet.labelling.worklist.scans.os.scandir", refuse)
    with pytest.raises(WorklistError, match=r"cannot be read .Permission denied.; choose"):
        Worklist(folder)


def test_one_dicom_series_is_not_a_folder_of_scans(shared):
    series = next(path.parent for path in sorted((shared / "dicom_ct").rglob("*")) if path.is_file())
    with pytest.raises(WorklistError, match="is itself one DICOM series"):
        Worklist(series)


def test_an_empty_folder_is_an_empty_list(tmp_path):
    worklist = Worklist(tmp_path)
    assert worklist.rows == ()
    assert worklist.next_scan() is None
    assert worklist.corrected_cases() == []
    assert "No scan is done yet" in curve_of(worklist.rows, worklist.tunings).in_words


# ---------------------------------------------------------------------- what is kept


def test_it_goes_on_tomorrow_on_another_machine(folder, tmp_path):
    worklist = Worklist(folder)
    worklist.set_state("p2_ct.nii.gz", IN_WORK)
    worklist.note_review("p2_ct.nii.gz", 0.25, 12, 9)
    worklist.add_work("p2_ct.nii.gz", 90, 7)
    worklist.set_state("p1_ct.nii.gz", DONE)
    moved = tmp_path / "elsewhere" / "other name"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    again = Worklist(moved)
    assert again.warning == ""
    assert states(again) == {"p1_ct.nii.gz": "done", "p2_ct.nii.gz": "in work", "p10_ct.nii.gz": "new"}
    row = again.row("p2_ct.nii.gz")
    assert (row.reviewed, row.islands, row.islands_left) == (0.25, 12, 9)
    assert (row.minutes, row.actions) == (1.5, 7)
    text = (moved / LIST_FILE).read_text("utf-8")
    assert str(tmp_path) not in text
    assert str(tmp_path) not in (moved / LOG_FILE).read_text("utf-8")
    assert '"value": "in work"' in text  # a person can read it


def test_states_follow_the_files(folder):
    worklist = Worklist(folder)
    assert set(states(worklist).values()) == {"new"}
    write_mask(folder / "p1_labels.nii.gz", np.ones(SHAPE))
    write_mask(folder / "p2_labels.nii.gz", np.ones(SHAPE))
    write_mask(folder / "p2_reviewed.nii.gz", np.ones(SHAPE))
    worklist.refresh()
    assert states(worklist) == {
        "p1_ct.nii.gz": "predicted",
        "p2_ct.nii.gz": "in work",
        "p10_ct.nii.gz": "new",
    }
    worklist.set_state("p1_ct.nii.gz", DONE)
    (folder / "p1_labels.nii.gz").unlink()
    (folder / "p2_ct.nii.gz").unlink()
    worklist.set_state("p2_ct.nii.gz", DONE)
    worklist.refresh()
    rows = {row.key: row for row in worklist.rows}
    assert "its labels are not in the folder" in rows["p1_ct.nii.gz"].problem
    assert "not in the folder any more" in rows["p2_ct.nii.gz"].problem
    assert rows["p2_ct.nii.gz"].blocked
    assert rows["p2_ct.nii.gz"].state is DONE  # what was said of it is not forgotten


def test_a_damaged_file_is_one_sentence_and_costs_nothing(folder):
    worklist = Worklist(folder)
    worklist.set_state("p1_ct.nii.gz", DONE)
    worklist.note_prediction("p2_ct.nii.gz", problem="it was a dog")
    path = folder / LIST_FILE
    whole = path.read_bytes()
    for damage in (
        b"",
        whole[: len(whole) // 2],
        b"\x00\xff" * 40,
        b"[1, 2]",
        b'{"format": "x"}',
        b"[" * 99_999,
    ):
        path.write_bytes(damage)
        again = Worklist(folder)
        assert f"{LIST_FILE} is damaged" in again.warning
        assert "\n" not in again.warning
        assert states(again)["p1_ct.nii.gz"] == "done"
        assert again.row("p2_ct.nii.gz").problem == "it was a dog"
        assert path.read_bytes() == damage  # to look changes nothing
    again.set_state("p2_ct.nii.gz", DONE)
    assert [each.read_bytes() for each in folder.glob("*damaged*")] == [damage]
    assert Worklist(folder).warning == ""
    assert states(Worklist(folder))["p2_ct.nii.gz"] == "done"


def test_one_bad_entry_spoils_only_itself(folder):
    Worklist(folder).set_state("p1_ct.nii.gz", DONE)
    content = json.loads((folder / LIST_FILE).read_text("utf-8"))
    content["scans"]["p2_ct.nii.gz"] = {"state": {"at": "yesterday", "value": "done"}}
    content["scans"]["p10_ct.nii.gz"] = {"review": {"at": 5}}
    (folder / LIST_FILE).write_text(json.dumps(content), "utf-8")
    (folder / LOG_FILE).unlink()
    worklist = Worklist(folder)
    assert states(worklist) == {"p1_ct.nii.gz": "done", "p2_ct.nii.gz": "new", "p10_ct.nii.gz": "new"}
    assert "damaged" in worklist.warning


def test_a_later_version_is_not_touched(folder):
    worklist = Worklist(folder)
    worklist.set_state("p1_ct.nii.gz", DONE)
    content = json.loads((folder / LIST_FILE).read_text("utf-8"))
    content["version"] = 2
    (folder / LIST_FILE).write_text(json.dumps(content), "utf-8")
    before = (folder / LIST_FILE).read_bytes()
    with pytest.raises(WorklistError, match="version 2, and this program knows versions up to 1: update"):
        Worklist(folder)
    worklist.set_state("p2_ct.nii.gz", DONE)  # open since before
    assert "update" in worklist.warning
    assert (folder / LIST_FILE).read_bytes() == before


def test_a_folder_that_cannot_be_written_to_is_told_and_work_goes_on(folder, monkeypatch):
    def refuse(path, *_, **__):
        raise OutputError(f"{path} was not written because the folder {folder} is read-only; choose another.")

    monkeypatch.setattr("napari_kidnet.labelling.worklist.worklist.ensure_writable", refuse)
    monkeypatch.setattr("napari_kidnet.labelling.worklist.store.write_atomically", refuse)
    monkeypatch.setattr(ActivityLog, "_append", lambda self, data: refuse(self.path))
    worklist = Worklist(folder)
    worklist.check_writable()
    assert "is read-only: labels and states cannot be kept" in worklist.warning
    worklist.set_state("p1_ct.nii.gz", DONE)
    assert worklist.row("p1_ct.nii.gz").state is DONE
    assert "read-only" in worklist.warning


# ---------------------------------------------------------------------- two machines


def test_two_machines_write_and_nothing_is_lost(folder):
    one, two = Worklist(folder), Worklist(folder)
    one.set_state("p1_ct.nii.gz", DONE)
    two.set_state("p2_ct.nii.gz", IN_WORK)
    one.note_prediction("p10_ct.nii.gz", expected_wrong_ml=2.0, entropy=0.2, islands=3)
    two.add_work("p2_ct.nii.gz", 60, 3)
    one.add_work("p2_ct.nii.gz", 30, 1)
    expected = {"p1_ct.nii.gz": "done", "p2_ct.nii.gz": "in work", "p10_ct.nii.gz": "new"}
    third = Worklist(folder)
    assert states(third) == expected
    assert (third.row("p2_ct.nii.gz").minutes, third.row("p2_ct.nii.gz").actions) == (1.5, 4)
    one.refresh()
    two.refresh()
    assert states(one) == states(two) == expected


def test_the_last_word_counts_even_where_a_clock_is_ahead(folder):
    one = Worklist(folder)
    one.set_state("p1_ct.nii.gz", DONE)
    content = json.loads((folder / LIST_FILE).read_text("utf-8"))
    content["scans"]["p1_ct.nii.gz"]["state"]["at"] = "2999-01-01T00:00:00.000000+00:00"
    (folder / LIST_FILE).write_text(json.dumps(content), "utf-8")
    two = Worklist(folder)
    two.set_state("p1_ct.nii.gz", IN_WORK)
    assert states(Worklist(folder))["p1_ct.nii.gz"] == "in work"


def test_copies_of_a_synchronising_folder_are_read_together(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    one, two = Worklist(folder), Worklist(other)
    one.set_state("p1_ct.nii.gz", DONE)
    one.add_work("p1_ct.nii.gz", 60, 1)
    two.set_state("p2_ct.nii.gz", DONE)
    two.add_work("p1_ct.nii.gz", 60, 1)
    for name in (LIST_FILE, LOG_FILE):
        stem, suffix = name.split(".")
        shutil.copy(other / name, folder / f"{stem} (conflicted copy).{suffix}")
        shutil.copy(other / name, folder / f"{stem} (conflicted copy 2).{suffix}")
    merged = Worklist(folder)
    assert states(merged) == {"p1_ct.nii.gz": "done", "p2_ct.nii.gz": "done", "p10_ct.nii.gz": "new"}
    assert merged.row("p1_ct.nii.gz").minutes == 2  # each line once, although there are two copies


moments = st.integers(0, 5).map(lambda n: f"2026-11-25T02:00:0{n}.000000+00:00")
numbers = st.floats(0, 100, allow_nan=False)
records = st.builds(
    Record,
    st.none() | st.builds(StatePart, moments, st.sampled_from(WorkState)),
    st.none()
    | st.builds(
        PredictionPart,
        moments,
        numbers,
        numbers,
        st.integers(0, 9),
        st.sampled_from(("", "mine.safetensors")),
    ),
    st.none() | st.builds(ReviewPart, moments, st.none() | numbers, st.integers(0, 9), st.integers(0, 9)),
)
knowledge = st.dictionaries(st.sampled_from("abc"), records)


@settings(deadline=None)
@given(knowledge, knowledge, knowledge)
def test_merging_does_not_depend_on_who_merges_when(a, b, c):
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == merge(a, {}) == a
    assert merge(merge(a, b), b) == merge(a, b)


@settings(deadline=None)
@given(records)
def test_a_record_survives_its_text(record):
    assert Record.from_dict(json.loads(json.dumps(record.as_dict()))) == record


# ---------------------------------------------------------------------- the log


@settings(deadline=None)
@given(st.data())
def test_a_log_that_is_cut_anywhere_loses_one_line_at_most(data):
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / LOG_FILE
        log = ActivityLog(path)
        for _ in range(5):
            log.write("work", scan="Läufer_ct.nii.gz", seconds=10.0, actions=1)
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        lines = whole[:cut].count(b"\n")
        ActivityLog(path).write("work", scan="Läufer_ct.nii.gz", seconds=10.0, actions=1)
        found = read_activity([path])
        # a cut just before the line break leaves the line whole
        assert found.actions["Läufer_ct.nii.gz"] - 1 in (lines, lines + 1)
        assert found.broken <= 1


def test_nonsense_in_the_log_is_left_out(tmp_path):
    path = tmp_path / LOG_FILE
    lines = [
        "[1]",
        "null",
        '"text"',
        '{"id": "a-1"}',
        '{"id": "a-2", "event": "work", "scan": "x", "seconds": NaN, "actions": 1}',
        '{"id": "a-3", "event": "work", "scan": "x", "seconds": -5, "actions": 1}',
        '{"id": "a-4", "event": "work", "scan": "x", "seconds": 5, "actions": 1e999}',
        '{"id": "a-5", "event": "state", "scan": "x", "at": "now", "value": "done"}',
        '{"id": "a-6", "event": "from a later version"}',
        '{"id": "a-7", "event": "work", "scan": "x", "seconds": 5, "actions": 2}',
    ]
    path.write_bytes(b"\xff\xfe\n" + "\n".join(lines).encode() + b"\n\n")
    found = read_activity([path])
    assert (found.seconds, found.actions, found.broken) == ({"x": 5.0}, {"x": 2}, 9)


@settings(deadline=None)
@given(st.lists(st.floats(0, 300), max_size=30))
def test_pauses_do_not_count(gaps):
    clock, at = WorkClock(60), 1000.0
    clock.touch(at)
    for gap in gaps:
        at += gap
        clock.touch(at)
    assert clock.take() == pytest.approx(sum(gap for gap in gaps if gap <= 60), abs=1e-6)
    assert clock.take() == 0


def test_the_curve_has_finished_scans_in_their_order_and_marks_fine_tunings(folder):
    worklist = Worklist(folder)
    for key, minutes, actions in (("p10_ct.nii.gz", 8, 40), ("p1_ct.nii.gz", 4, 20)):
        worklist.add_work(key, 60 * minutes, actions)
        worklist.set_state(key, DONE)
        if key.startswith("p10"):
            worklist.note_finetuning("mine-2.safetensors", activated=True)
    worklist.add_work("p2_ct.nii.gz", 30, 2)  # not done yet
    for each in (worklist, Worklist(folder)):
        curve = curve_of(each.rows, each.tunings)
        assert curve.scans == ("p10_ct.nii.gz", "p1_ct.nii.gz")
        assert (curve.minutes, curve.actions) == ((8.0, 4.0), (40, 20))
        assert [(mark.after, mark.checkpoint) for mark in curve.tunings] == [(1, "mine-2.safetensors")]
    worklist.set_state("p10_ct.nii.gz", IN_WORK)  # back to work
    assert curve_of(worklist.rows, worklist.tunings).scans == ("p1_ct.nii.gz",)


# ---------------------------------------------------------------------- which comes next


def test_the_next_scan_is_begun_work_then_the_most_uncertain(folder):
    worklist = Worklist(folder)
    for key, wrong in (("p1_ct.nii.gz", 1.0), ("p10_ct.nii.gz", 3.0)):
        write_mask(folder / key.replace("_ct", "_labels"), np.ones(SHAPE))
        worklist.note_prediction(key, expected_wrong_ml=wrong, entropy=0.1, islands=5)
    write_ct(folder / "p3_ct.nii.gz")
    worklist.refresh()
    assert worklist.next_scan() == "p10_ct.nii.gz"
    assert worklist.next_scan(current="p10_ct.nii.gz") == "p1_ct.nii.gz"
    worklist.note_review("p10_ct.nii.gz", 0.9, 5, 1)  # most of it is judged: little is left to gain
    assert worklist.next_scan() == "p1_ct.nii.gz"
    worklist.set_state("p2_ct.nii.gz", IN_WORK)
    assert worklist.next_scan() == "p2_ct.nii.gz"
    assert worklist.next_scan(current="p1_ct.nii.gz", visited={"p2_ct.nii.gz"}) == "p10_ct.nii.gz"
    worklist.set_state("p2_ct.nii.gz", DONE)
    worklist.set_state("p1_ct.nii.gz", DONE)
    assert worklist.next_scan(current="p10_ct.nii.gz") == "p3_ct.nii.gz"  # new: nothing is known of it
    assert worklist.next_scan("order", current="p10_ct.nii.gz") == "p3_ct.nii.gz"
    assert worklist.next_scan("order", current="p3_ct.nii.gz") == "p10_ct.nii.gz"  # the end meets the start


def test_cases_to_learn_from_are_those_that_somebody_judged(folder):
    worklist = Worklist(folder)
    for key in ("p1", "p2", "p10"):
        write_mask(folder / f"{key}_labels.nii.gz", np.ones(SHAPE))
        write_mask(folder / f"{key}_reviewed.nii.gz", np.zeros(SHAPE))
        worklist.note_prediction(f"{key}_ct.nii.gz", expected_wrong_ml=1.0, islands=1)
    assert worklist.corrected_cases() == []
    worklist.set_state("p1_ct.nii.gz", IN_WORK)
    worklist.note_review("p1_ct.nii.gz", 0.5, 2, 1)
    worklist.set_state("p2_ct.nii.gz", IN_WORK)
    worklist.note_review("p2_ct.nii.gz", 0.0, 2, 2)  # opened and saved, nothing judged
    (case,) = worklist.corrected_cases()
    assert (case.name, case.labels, case.reviewed) == (
        "p1",
        folder / "p1_labels.nii.gz",
        folder / "p1_reviewed.nii.gz",
    )


# ---------------------------------------------------------------------- predicting all


def test_all_new_scans_are_predicted_and_nothing_counts_as_judged(folder, monkeypatch):
    from napari_kidnet.scans import read_labels

    network = fake_network(monkeypatch)
    write_mask(folder / "p2_labels.nii.gz", np.full(SHAPE, 3))  # somebody's
    worklist = Worklist(folder)
    steps, reports = predict_new_steps(worklist, PredictRequest()), []
    while True:
        try:
            reports.append(next(steps))
        except StopIteration as stop:
            result = stop.value
            break
    assert result.in_words == "2 scans were predicted."
    assert network.begun == ["p1_ct", "p10_ct"]
    done = [report.progress.done for report in reports if report.progress.total]
    assert done == sorted(done)
    assert done[-1] == reports[-1].progress.total
    assert states(worklist) == dict.fromkeys(states(worklist), "predicted")
    row = Worklist(folder).row("p1_ct.nii.gz")
    assert (row.islands, row.islands_left, row.reviewed) == (2, 2, 0.0)
    voxels = 2 * 9 * SHAPE[0]
    p = np.exp(3) / (np.exp(3) + 1 + 2 * np.exp(-9))
    assert row.expected_wrong_ml == pytest.approx(voxels * (1 - p) * 2.0 * 0.9 * 0.8 / 1000, abs=1e-3)
    assert 0 < row.entropy < 1
    assert read_labels(folder / "p1_labels.nii.gz").max() == 2
    assert not read_labels(folder / "p1_reviewed.nii.gz").any()
    assert (read_labels(folder / "p2_labels.nii.gz") == 3).all()
    assert drain(predict_new_steps(worklist, PredictRequest())).in_words.startswith("No scan is new")


@pytest.mark.parametrize(
    "error", [RuntimeError("out of memory\nat line 3"), MemoryError(), OSError(5, "broken")]
)
def test_one_scan_that_fails_does_not_stop_the_others(folder, monkeypatch, error):
    fake_network(monkeypatch, fails_on=[("p2", error)])
    (folder / "p1_ct.nii.gz").write_bytes(b"not a scan")
    worklist = Worklist(folder)
    result = drain(predict_new_steps(worklist, PredictRequest()))
    assert result.predicted == ("p10_ct.nii.gz",)
    assert result.failed == ("p1_ct.nii.gz", "p2_ct.nii.gz")
    for key in result.failed:
        row = Worklist(folder).row(key)
        assert row.state is NEW
        assert key in row.problem
        assert str(folder) not in row.problem
        assert "\n" not in row.problem
    fake_network(monkeypatch)
    write_ct(folder / "p1_ct.nii.gz")
    drain(predict_new_steps(worklist, PredictRequest()))  # mended, and tried again
    assert not any(row.problem for row in worklist.rows)


def test_cancelling_keeps_what_is_finished(folder, monkeypatch):
    network = fake_network(monkeypatch)
    worklist = Worklist(folder)
    steps = predict_new_steps(worklist, PredictRequest())
    for report in steps:
        if report.is_over:
            next(steps)
            next(steps)  # in the midst of the second
            break
    steps.close()
    assert network.closed == len(network.begun)
    assert sorted(states(Worklist(folder)).values()) == ["new", "new", "predicted"]
    assert not list(folder.glob(".*partial"))


def test_labels_that_a_person_saved_meanwhile_are_kept(folder, monkeypatch):
    from napari_kidnet.scans import read_labels

    fake_network(monkeypatch)
    worklist = Worklist(folder)
    for report in predict_new_steps(worklist, PredictRequest(), taken=lambda key: key == "p2_ct.nii.gz"):
        if report.scan == "p1_ct.nii.gz" and "Segmenting" in report.progress.what:
            write_mask(folder / "p1_labels.nii.gz", np.full(SHAPE, 3))
    assert (read_labels(folder / "p1_labels.nii.gz") == 3).all()
    assert worklist.row("p2_ct.nii.gz").state is NEW  # it was open somewhere


def test_a_mask_without_its_labels_is_not_written_over(folder, monkeypatch):
    fake_network(monkeypatch)
    write_mask(folder / "p1_reviewed.nii.gz", np.ones(SHAPE))
    worklist = Worklist(folder)
    result = drain(predict_new_steps(worklist, PredictRequest()))
    assert result.failed == ("p1_ct.nii.gz",)
    assert "p1_reviewed.nii.gz is there without the labels" in worklist.row("p1_ct.nii.gz").problem


def test_without_a_network_nothing_is_tried(folder, tmp_path):
    with pytest.raises(CheckpointError):
        drain(predict_new_steps(Worklist(folder), PredictRequest(tmp_path / "missing.safetensors")))
    assert not (folder / LIST_FILE).exists()


# ---------------------------------------------------------------------- opening one


def test_what_nobody_judged_is_the_machines_and_the_rest_is_held(folder):
    labels, reviewed = np.zeros(SHAPE), np.zeros(SHAPE)
    labels[2:4, 4:6, 3:6] = 1
    reviewed[2, 4, 3] = 1
    write_mask(folder / "p1_labels.nii.gz", labels)
    write_mask(folder / "p1_reviewed.nii.gz", reviewed)
    opened = drain(open_scan_steps(Worklist(folder).row("p1_ct.nii.gz").case))
    whole = tuple(slice(0, n) for n in SHAPE)
    assert np.array_equal(opened.session.labels, labels)
    assert np.array_equal(opened.session.held(whole), reviewed != 0)
    opened.session.labels[0, 0, 0] = 1  # writable: a person will paint on it
    assert drain(open_scan_steps(Worklist(folder).row("p2_ct.nii.gz").case)).session is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_two_processes_append_at_once(tmp_path):
    path = tmp_path / LOG_FILE
    children = []
    for number in range(3):
        child = os.fork()
        if not child:
            log = ActivityLog(path)
            for _ in range(20):
                log.write("work", scan=f"s{number}", seconds=1.0, actions=1)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    found = read_activity([path])
    assert found.broken == 0
    assert found.actions == {"s0": 20, "s1": 20, "s2": 20}
