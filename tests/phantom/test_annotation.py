from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_kidnet.phantom.annotation import human_annotation
from napari_kidnet.phantom.geometry import procedural_anatomy
from napari_kidnet.phantom.structures import kidneys_of, truth_of

SPACING = (1.3, 1.3, 1.3)


@pytest.fixture(scope="module")
def crop():
    made = procedural_anatomy(np.random.default_rng(1001), "crop", SPACING)
    return truth_of(made), kidneys_of(made)


def islands_of(labels):
    """Count islands class by class, independently of cc3d."""
    return sum(ndimage.label(labels == c, np.ones((3, 3, 3)))[1] for c in (1, 2, 3))


@pytest.mark.parametrize("seed", range(4))
def test_a_person_leaves_6_to_20_islands(crop, seed):
    annotation = human_annotation(*crop, SPACING, np.random.default_rng(seed))
    assert annotation.dtype == np.uint8
    assert 6 <= islands_of(annotation) <= 20


def test_the_annotation_is_an_incomplete_truth(crop):
    truth, kidneys = crop
    annotation = human_annotation(truth, kidneys, SPACING, np.random.default_rng(1))
    drawn, real = annotation > 0, truth > 0
    assert 0.15 < (drawn & real).sum() / real.sum() < 0.97
    assert (annotation[drawn & real] == truth[drawn & real]).mean() > 0.97
    # Borders wander by half a voxel, and nothing is drawn beyond that.
    assert not (drawn & ~ndimage.binary_dilation(real, iterations=2)).any()


def test_thin_branches_are_missed_more_often_than_thick_vessels(crop):
    truth, kidneys = crop
    depth = ndimage.distance_transform_edt(truth > 0, sampling=SPACING)
    radius = ndimage.maximum_filter(depth, size=5)
    kept = {"thin": [], "thick": []}
    near = ndimage.distance_transform_edt(kidneys == 0, sampling=SPACING) < 30
    for seed in range(4):
        drawn = human_annotation(truth, kidneys, SPACING, np.random.default_rng(seed)) > 0
        kept["thin"].append(drawn[(truth > 0) & (radius < 1.5) & near].mean())
        kept["thick"].append(drawn[(truth > 0) & (radius > 3.5) & near].mean())
    assert np.mean(kept["thick"]) > np.mean(kept["thin"]) + 0.25


def test_far_vessels_are_missing():
    truth = np.zeros((120, 60, 120), np.uint8)
    truth[:, 28:34, 28:34] = 1
    kidneys = np.zeros_like(truth)
    kidneys[40:70, 20:44, 50:74] = 1
    annotation = human_annotation(truth, kidneys, (1.5, 1.5, 1.5), np.random.default_rng(2))
    assert annotation[45:65].any()
    assert not annotation[:15].any()
    assert not annotation[100:].any()


def test_the_same_seed_annotates_the_same(crop):
    first, second = (human_annotation(*crop, SPACING, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    truth = crop[0].copy()
    human_annotation(*crop, SPACING, np.random.default_rng(3))
    np.testing.assert_array_equal(truth, crop[0])


def test_nothing_to_annotate_gives_nothing():
    empty = np.zeros((10, 10, 10), np.uint8)
    assert not human_annotation(empty, empty, SPACING, np.random.default_rng(0)).any()
