"""The simulated annotator does what its report says; what it is worth is measured in benchmarks/effort.py."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from annotation.judging import Judge, pieces_of
from annotator import POLICIES, AnnotationCase, Budget, Times, annotate

from napari_kidnet.islands import Context, VoxelState
from napari_kidnet.islands.tubes import tube
from napari_kidnet.scans import Scan

SHAPE, SPACING = (30, 40, 40), (1.2, 1.2, 1.2)


def painted(labels, start, stop, radius_mm, class_id):
    points = np.rint(np.linspace(start, stop, 60)).astype(int)
    labels.reshape(-1)[tube(points, radius_mm, labels.shape, SPACING)] = class_id


@pytest.fixture(scope="module")
def case():
    """A vein with a missed branch, an artery with a stretch called vein, and a false blob."""
    truth = np.zeros(SHAPE, np.uint8)
    painted(truth, (2, 20, 8), (27, 20, 8), 4.0, 2)
    painted(truth, (2, 20, 30), (27, 20, 30), 4.0, 1)
    labels = truth.copy()
    painted(truth, (15, 20, 12), (15, 36, 20), 2.4, 2)
    labels[8:16][labels[8:16] == 1] = 2
    painted(labels, (20, 4, 20), (24, 4, 20), 3.0, 1)
    hu = np.where(truth > 0, 200, 0).astype(np.int16)
    return AnnotationCase(
        "made up", Scan.from_array(hu, SPACING), labels, truth, Context(spacing=SPACING, hu=hu)
    )


@pytest.fixture(scope="module")
def done(case):
    return {policy: annotate(case, policy, Budget(actions=400)) for policy in POLICIES}


def test_wrong_voxels_near_their_class_are_excused():
    truth, labels = np.zeros((1, 1, 12), np.uint8), np.zeros((1, 1, 12), np.uint8)
    truth[..., :3], labels[..., :8] = 1, 1
    assert np.flatnonzero(Judge(truth).wrong(labels)).tolist() == [5, 6, 7]
    assert np.flatnonzero(Judge(labels).wrong(truth)).tolist() == [5, 6, 7]


def test_judging_a_box_is_judging_all(rng):
    truth = rng.integers(0, 4, (9, 10, 11)).astype(np.uint8) * (rng.random((9, 10, 11)) < 0.05)
    labels = rng.integers(0, 4, (9, 10, 11)).astype(np.uint8) * (rng.random((9, 10, 11)) < 0.05)
    judge = Judge(truth)
    before = judge.wrong(labels)
    box = (slice(2, 5), slice(3, 4), slice(6, 11))
    labels[box] = rng.integers(0, 4, (3, 1, 5))
    assert np.array_equal(judge.after(labels, before, box), judge.wrong(labels))


def test_pieces_hold_every_wrong_voxel_once(case):
    wrong = Judge(case.truth).wrong(case.labels)
    pieces = pieces_of(wrong, case.labels, case.truth, least=1)
    assert sum(piece.size for piece in pieces) == wrong.sum()
    assert {(piece.said, piece.true) for piece in pieces} == {(0, 2), (1, 0), (2, 1)}


@pytest.mark.parametrize("policy", POLICIES)
def test_without_a_limit_nearly_all_is_repaired(done, policy):
    assert done[policy].repaired > 0.9


@pytest.mark.parametrize("policy", POLICIES)
def test_the_report_adds_up(case, done, policy):
    work = done[policy]
    assert work.wrong_before == Judge(case.truth).wrong(case.labels).sum()
    assert work.steps[-1].wrong == Judge(case.truth).wrong(work.labels).sum()
    assert work.seconds == pytest.approx(Times().scan + sum(step.seconds for step in work.steps))
    number, seconds = work.to_reach(0.5)
    assert 0 < number <= work.actions
    assert seconds <= work.seconds


def test_the_prediction_is_left_alone(case, done):
    assert np.array_equal(np.unique(case.labels), [0, 1, 2])
    assert Judge(case.truth).wrong(case.labels).sum() == done["ours"].wrong_before


@pytest.mark.parametrize("policy", POLICIES)
def test_what_was_changed_is_marked_as_edited(case, done, policy):
    changed = done[policy].labels != case.labels
    assert (done[policy].states[changed] == VoxelState.EDITED).all()


def test_islands_found_right_are_reviewed(done):
    assert (done["ours"].states == VoxelState.REVIEWED).any()


def test_our_tools_need_fewer_actions_than_painting(done):
    assert done["ours"].to_reach(0.9)[0] < done["paint-worst"].to_reach(0.9)[0]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_budget_holds(case, policy):
    assert annotate(case, policy, Budget(actions=3)).actions <= 3
    spent = annotate(case, policy, Budget(actions=None, seconds=40.0))
    assert spent.seconds - spent.steps[-1].seconds < 40.0
    enough = annotate(case, policy, Budget(actions=None, repaired=0.3))
    assert enough.repaired >= 0.3
    assert len(enough.steps) == enough.to_reach(0.3)[0]


def test_nothing_to_do_is_done_at_once(case):
    right = AnnotationCase("right", case.scan, case.truth, case.truth, case.context)
    assert annotate(right, "paint").actions == 0
    assert annotate(right, "ours").repaired == 1.0
