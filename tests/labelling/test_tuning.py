"""What there is to learn from, and laying a new prediction over what nobody has judged."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

from napari_kidnet.islands import accept_islands
from napari_kidnet.labelling.correcting import open_islands
from napari_kidnet.labelling.tuning import count_cases_steps, relabel_unjudged, repredict_steps
from napari_kidnet.labelling.tuning.giving_way import giving_way_steps
from napari_kidnet.progress import drain
from napari_kidnet.scans import Scan, list_cases
from napari_kidnet.segmentation.prediction import Candidates, Prediction
from tests.labelling.worklists import SHAPE, body, write_ct, write_mask


def test_a_prediction_goes_only_where_nobody_has_judged():
    rng = np.random.default_rng(7)
    labels, predicted = rng.integers(0, 4, (2, 9, 11, 13)).astype(np.uint8)
    states = rng.integers(0, 3, labels.shape).astype(np.uint8)
    before = labels.copy()
    edit = relabel_unjudged(labels, states, predicted)
    edit.apply(labels, states)
    assert np.array_equal(labels, np.where(states == 0, predicted, before))
    edit.undo(labels, states)
    assert np.array_equal(labels, before)


def prediction(labels):
    index = np.flatnonzero(labels).astype(np.uint32)
    odds = np.full((3, len(index)), -9, np.float32)
    odds[labels.reshape(-1)[index] - 1, np.arange(len(index))] = 5
    return Prediction(labels, 1.0, np.ones(4), Candidates(labels.shape, index, odds))


def test_a_session_takes_a_prediction_as_one_step_that_is_no_persons():
    labels = np.zeros(SHAPE, np.int32)  # as other programs write them
    labels[2:5, 4:7, 3:6] = 1
    labels[5:7, 12:15, 9:12] = 2
    session = open_islands(labels, Scan.from_array(body(), (2.0, 0.9, 0.8)))
    vein = int(session.view.table.id[session.view.table.class_id == 2][0])
    session.run(session.edit_steps(lambda s: accept_islands(s.view.table, [vein], s.states, 0)))
    before, states = labels.copy(), session.states.copy()
    found = np.zeros(SHAPE, np.uint8)
    found[0:3, 4:7, 3:6] = 3
    said = session.run(repredict_steps(session, prediction(found)))
    assert said.startswith("Prediction of ")
    assert np.array_equal(labels, np.where(states != 0, before, found))
    assert np.array_equal(session.states, states)
    assert session.history.done[-1].by == "model"
    assert sorted(session.view.table.class_id.tolist()) == [2, 3]
    assert session.context.log_probabilities is not None
    session.run(session.undo_steps())
    assert np.array_equal(labels, before)


def test_only_cases_whose_files_changed_are_counted_again(tmp_path):
    for n in (1, 2):
        write_ct(tmp_path / f"p{n}_ct.nii.gz", n)
        write_mask(tmp_path / f"p{n}_labels.nii.gz", np.ones(SHAPE))
    first = drain(count_cases_steps(list_cases(tmp_path)))
    assert [each.tally.vessels for each in first] == [np.prod(SHAPE)] * 2
    counted = {each.case.ct: each for each in first}
    reviewed = np.zeros(SHAPE)
    reviewed[0, 0, :5] = 1
    write_mask(tmp_path / "p1_reviewed.nii.gz", reviewed)  # a new file
    os.utime(tmp_path / "p1_reviewed.nii.gz", ns=(1, 1))
    one, two = drain(count_cases_steps(list_cases(tmp_path), counted))
    assert one.tally.vessels == 5
    assert two is first[1]
    write_mask(tmp_path / "p1_reviewed.nii.gz", 1 - reviewed)  # the same file, written again
    counted = {each.case.ct: each for each in (one, two)}
    again, _ = drain(count_cases_steps(list_cases(tmp_path), counted))
    assert again.tally.vessels == np.prod(SHAPE) - 5
    (tmp_path / "p2_labels.nii.gz").write_bytes(b"no labels")
    _, broken = drain(count_cases_steps(list_cases(tmp_path), counted))
    assert "p2_labels" in broken.problem
    assert not broken.teaches


def test_work_that_gives_way_passes_everything_through():
    seen = []

    def work(fails):
        seen.append(threading.current_thread())
        try:
            got = yield 1
            seen.append(got)
            if fails:
                raise ValueError("broken")
            yield 2
        finally:
            seen.append("closed")
        return "done"

    steps = giving_way_steps(work(False))
    assert (next(steps), steps.send("stop"), drain(steps)) == (1, 2, "done")
    assert seen[1:] == ["stop", "closed"]
    assert seen[0] is not threading.current_thread()
    assert not seen[0].is_alive()
    seen.clear()
    steps = giving_way_steps(work(True))
    next(steps)
    with pytest.raises(ValueError, match="broken"):
        next(steps)
    assert seen[-1] == "closed"
    seen.clear()
    steps = giving_way_steps(work(False))
    next(steps)
    steps.close()
    assert seen[-1] == "closed"
    assert not seen[0].is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own here")
def test_only_that_thread_gives_way():
    def work():
        yield os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    mine = os.getpriority(os.PRIO_PROCESS, 0)
    (its,) = giving_way_steps(work())
    assert its == min(mine + 5, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine
