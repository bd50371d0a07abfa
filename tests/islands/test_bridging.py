import numpy as np
import pytest

from napari_kidnet.errors import SettingsError
from napari_kidnet.islands import (
    BridgeSettings,
    Context,
    accept_bridges,
    find_islands,
    propose_bridges,
    review_order,
)
from napari_kidnet.islands.facing import approaches
from napari_kidnet.islands.tubes import tube

SPACING = (1.0, 1.0, 1.0)


def broken_vessel(gap, shape=(30, 40, 80)):
    """Give a bent vessel, the same with a gap, and the probability that a network might have seen."""
    x = np.arange(8, 72)
    points = np.stack([np.full(x.size, 15), 20 + np.rint(6 * np.sin(x / 15)).astype(int), x], 1)
    truth = np.zeros(shape, np.uint8)
    truth.ravel()[tube(points, 2.0, shape, SPACING)] = 1
    labels = truth.copy()
    labels[:, :, 40 : 40 + gap] = 0
    probability = np.where(truth == 1, 0.35, 0.02)
    log = np.log(np.stack([1 - probability, probability, probability, probability])).astype(np.float16)
    return truth, labels, log


@pytest.mark.parametrize("gap", [3, 5, 8])
def test_a_gap_is_bridged_along_the_vessel(gap):
    truth, labels, log = broken_vessel(gap)
    context = Context(SPACING, log_probabilities=log)
    bridges = propose_bridges(find_islands(labels, context), labels, context)
    assert len(bridges) == 1
    assert bridges[0].gap_mm == pytest.approx(gap, abs=3)
    assert 0.3 < bridges[0].confidence <= 1
    accept_bridges(labels, bridges, SPACING).apply(labels)
    assert len(find_islands(labels)) == 1
    missing = np.count_nonzero((truth == 1) & (labels == 0))
    assert missing < 0.35 * np.count_nonzero(truth[:, :, 40 : 40 + gap])


def test_a_bridge_needs_neither_probability_nor_image():
    _, labels, _ = broken_vessel(5)
    context = Context(SPACING)
    bridges = propose_bridges(find_islands(labels, context), labels, context)
    assert len(bridges) == 1


def test_what_the_network_rules_out_or_lies_too_far_is_not_proposed():
    _, labels, log = broken_vessel(8)
    table = find_islands(labels)
    unlikely = Context(SPACING, log_probabilities=np.full_like(log, np.log(0.01)))
    assert propose_bridges(table, labels, unlikely) == []
    near_only = BridgeSettings(max_gap_mm=4.0)
    assert propose_bridges(table, labels, Context(SPACING, log_probabilities=log), near_only) == []


def test_side_by_side_vessels_and_other_classes_are_not_joined():
    labels = np.zeros((20, 30, 60), np.uint8)
    labels[8:11, 8:11, 5:55] = 1
    labels[8:11, 16:19, 5:55] = 1
    context = Context(SPACING)
    assert propose_bridges(find_islands(labels), labels, context) == []
    labels[:] = 0
    labels[8:11, 8:11, 5:25] = 1
    labels[8:11, 8:11, 30:55] = 2
    assert propose_bridges(find_islands(labels), labels, context) == []


def test_no_two_bridges_close_a_ring():
    labels = np.zeros((9, 9, 60), np.uint8)
    for start in (5, 22, 39):
        labels[3:6, 3:6, start : start + 12] = 1
    bridges = propose_bridges(find_islands(labels), labels, Context(SPACING))
    assert sorted(tuple(sorted(bridge.islands)) for bridge in bridges) == [(1, 2), (2, 3)]


def test_a_branch_joins_the_side_of_its_parent():
    labels = np.zeros((20, 50, 60), np.uint8)
    labels[6:15, 5:14, :] = 1
    labels[9:12, 18:45, 29:32] = 1
    bridges = propose_bridges(find_islands(labels), labels, Context(SPACING))
    assert len(bridges) == 1
    accept_bridges(labels, bridges, SPACING).apply(labels)
    assert len(find_islands(labels)) == 1


def test_a_piece_in_the_middle_of_a_hollow_faces_somewhere():
    labels = np.zeros((12, 40, 40), np.uint8)
    labels[4:7, 5:30, 8] = labels[4:7, 5:30, 29] = 1
    labels[4:7, 5, 8:30] = 1  # two walls that hang together far from the piece
    labels[5, 25, 16:22] = 1  # as far from the one as from the other
    table = find_islands(labels)
    found = [each for pair in approaches(table, np.arange(len(table)), 15.0) for each in pair]
    assert found
    assert all(np.isfinite([side.facing, side.tip]).all() for each in found for side in each.sides)


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError):
        BridgeSettings(max_gap_mm=0)
    with pytest.raises(SettingsError):
        BridgeSettings(min_probability_share=2)


def test_review_puts_large_doubtful_islands_first_and_says_why():
    labels = np.zeros((40, 40, 80), np.uint8)
    labels[3:12, 3:12, :] = 1  # the trunk
    labels[20:32, 20:32, 20:32] = 1  # a blob in the bowel
    labels[20, 5, 40:50] = 1  # a thin piece near by
    probability = np.full(labels.shape, 0.95)
    probability[20:32, 20:32, 20:32] = 0.4
    log = np.log(np.stack([1 - probability, probability]))
    table = find_islands(labels, Context(SPACING, log_probabilities=log))
    review = review_order(table)
    blob = table.at((25, 25, 25))
    assert review.rows[0] == blob
    assert review.reasons[blob].startswith("not connected to the aorta")
    assert "probability low" in review.reasons[blob]
    assert "round, not a tube" in review.reasons[blob]
    assert review.reasons[table.at((5, 5, 5))] == "the trunk of its class"
    assert ((review.chance_wrong >= 0) & (review.chance_wrong <= 1)).all()


def test_review_of_nothing_is_empty_and_a_bridge_brings_its_island_forward():
    assert review_order(find_islands(np.zeros((3, 3, 3), np.uint8))).reasons == ()
    _, labels, log = broken_vessel(5)
    labels[:, :, 60:] = 0
    labels[2:7, 2:7, 2:7] = 1
    context = Context(SPACING, log_probabilities=log)
    table = find_islands(labels, context)
    bridges = propose_bridges(table, labels, context)
    loose = table.at((15, int(np.argwhere(labels[15, :, 50])[0, 0]), 50))
    with_gap = review_order(table, bridges)
    if not table.rooted[loose]:
        assert "a gap that can be bridged" in with_gap.reasons[loose]
    assert with_gap.score_ml.sum() >= review_order(table).score_ml.sum()
