from dataclasses import fields, replace

import numpy as np
import pytest

from napari_kidnet.islands import Context, ReviewWeights, find_islands, review_order
from napari_kidnet.islands.priority import doubt_degrees


@pytest.fixture
def labels():
    """A trunk, and one loose island of a tenth of it."""
    labels = np.zeros((8, 8, 60), np.uint8)
    labels[2:6, 2:6, :40] = 1
    labels[2:6, 2:6, 50:54] = 1
    return labels


def order(labels, uncertainty):
    table = find_islands(labels, Context(uncertainty=np.full(labels.shape, uncertainty, np.float32)))
    return table, review_order(table)


def test_a_trunk_is_expected_to_be_wrong_where_the_network_is_unsure(labels):
    table, review = order(labels, 0.4)
    trunk = int(np.argmax(table.voxels))
    assert review.chance_wrong[trunk] == pytest.approx(0.14, abs=1e-3)
    assert review.score_ml[trunk] == pytest.approx(0.14 * table.volume_ml[trunk], rel=1e-2)


def test_an_unsure_trunk_comes_before_a_small_loose_island_and_a_sure_one_after_it(labels):
    for uncertainty, trunk_first in ((0.5, True), (0.01, False)):
        table, review = order(labels, uncertainty)
        assert bool(table.rooted[review.rows[0]]) is trunk_first


def test_the_order_is_that_of_expected_wrong_volume(labels):
    _, review = order(labels, 0.2)
    assert (np.diff(review.score_ml[review.rows]) <= 0).all()


def test_without_a_prediction_the_loose_island_comes_first(labels):
    table = find_islands(labels)
    assert not table.rooted[review_order(table).rows[0]]
    assert np.array_equal(
        review_order(replace(table, uncertainty=np.full(len(table), np.nan))).rows, review_order(table).rows
    )


def test_other_weights_give_another_order(labels):
    table, _ = order(labels, 0.3)
    trunk = int(np.argmax(table.voxels))
    trusting = review_order(table, weights=ReviewWeights(unsure_part=0.0))
    assert trusting.chance_wrong[trunk] == 0
    assert trusting.rows[0] != trunk
    assert review_order(table, weights=ReviewWeights(unsure_part=1.0)).rows[0] == trunk


def test_degrees_of_doubt_have_the_names_of_their_weights(labels):
    table, _ = order(labels, 0.3)
    assert {*doubt_degrees(table), "unsure_part"} == {each.name for each in fields(ReviewWeights)}
