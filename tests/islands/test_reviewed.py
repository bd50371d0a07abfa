import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import (
    History,
    IslandState,
    accept_box,
    accept_islands,
    delete,
    find_islands,
    island_states,
    mark_edited,
    repredict,
    reviewed_percent,
    trusted,
)
from tests.islands.strategies import cross, volumes


def test_accepting_reviews_the_island_and_four_voxels_around_it():
    labels = np.zeros((21, 21, 21), np.uint8)
    labels[10, 10, 10] = 1
    states = np.zeros(labels.shape, np.uint8)
    states[10, 10, 12] = 1
    accept_islands(find_islands(labels), [1], states).apply(labels, states)
    expected = np.zeros_like(states)
    expected[6:15, 6:15, 6:15] = 2
    expected[10, 10, 12] = 1
    assert np.array_equal(states, expected)


def test_accepting_an_island_does_not_judge_the_one_beside_it():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[2:10, 5, 5] = 1
    labels[4, 5, 7:9] = 2
    labels[8, 8, 5] = 3
    table, states = find_islands(labels), np.zeros(labels.shape, np.uint8)
    accept_islands(table, [table.id[table.class_id == 1][0]], states).apply(labels, states)
    assert not states[labels > 1].any()
    assert (states[labels == 1] == 2).all()
    assert states[4, 5, 6] == states[4, 5, 9] == 2
    accept_islands(table, table.id, states).apply(labels, states)
    assert (states[labels > 0] == 2).all()


def test_delete_marks_its_voxels_and_undo_takes_the_mark_away():
    labels, states = cross(), np.zeros(cross().shape, np.uint8)
    history = History()
    history.do(mark_edited(delete(labels, find_islands(labels), [1]), states), labels, states)
    assert np.array_equal(states == 1, cross() == 1)
    history.undo(labels, states)
    assert not states.any()
    assert np.array_equal(labels, cross())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), volumes(7))
def test_a_new_prediction_never_touches_what_a_person_judged(seed, labels):
    rng = np.random.default_rng(seed)
    states = rng.integers(0, 3, labels.shape).astype(np.uint8)
    prediction = rng.integers(0, 4, labels.shape).astype(np.uint8)
    before, states_before = labels.copy(), states.copy()
    edit = mark_edited(repredict(labels, states, prediction), states)
    edit.apply(labels, states)
    assert np.array_equal(labels, np.where(states_before == 0, prediction, before))
    assert np.array_equal(states, states_before)
    edit.undo(labels, states)
    assert np.array_equal(labels, before)


def test_boxes_percentages_and_what_fine_tuning_trusts():
    states = np.zeros((10, 10, 10), np.uint8)
    labels = states.copy()
    states[0, 0, 0] = 1
    accept_box(states, (slice(0, 5), slice(None), slice(None))).apply(labels, states)
    assert states[0, 0, 0] == 1
    assert reviewed_percent(states) == 50
    assert reviewed_percent(states, (slice(4, 6), slice(0, 10), slice(0, 10))) == 50
    assert trusted(states).sum() == 500


def test_islands_carry_the_state_of_their_voxels():
    labels = np.zeros((3, 3, 20), np.uint8)
    labels[1, 1, [1, 2, 5, 6, 9, 10, 13, 14]] = 1
    states = np.zeros(labels.shape, np.uint8)
    states[1, 1, 5:7] = 2
    states[1, 1, 9] = 1
    found = island_states(find_islands(labels), states, flagged=[4])
    assert found.tolist() == [
        IslandState.NOT_STARTED,
        IslandState.DONE,
        IslandState.IN_WORK,
        IslandState.FLAGGED,
    ]


def test_a_prediction_of_another_grid_is_refused():
    with pytest.raises(LabelsError, match="prediction"):
        repredict(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 3)))
