import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import Context, Edit, distances, find_islands, table_rows, update_islands
from napari_kidnet.islands.sparse import coordinates, distance_to_outside, foreground
from tests.islands.strategies import boxes, cross, volumes

SPACING = (1.5, 0.7, 0.9)


def same_tables(one, other):
    """Say whether all columns but the ids are equal, bit by bit where they are whole numbers."""
    for each in fields(one):
        if each.name in ("id", "next_id"):
            continue
        a, b = getattr(one, each.name), getattr(other, each.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-9, err_msg=each.name)
        elif isinstance(a, tuple) and a and isinstance(a[0], np.ndarray):
            for i, j in zip(a, b, strict=True):
                np.testing.assert_allclose(i, j, err_msg=each.name)
        else:
            assert a == b, each.name


@settings(max_examples=50, deadline=None)
@given(st.data(), volumes())
def test_updated_table_is_the_table_from_scratch(data, labels):
    log = np.log(np.random.default_rng(0).dirichlet(np.ones(4), labels.shape).transpose(3, 0, 1, 2))
    kidneys = np.indices(labels.shape).sum(axis=0) % 7 == 0
    context = Context(SPACING, log_probabilities=log, kidneys=kidneys)
    table = find_islands(labels, context)
    for _ in range(3):
        box = data.draw(boxes(labels.shape))
        labels = labels.copy()
        labels[box] = data.draw(st.integers(0, 3))
        table = update_islands(table, labels, box, context)
        same_tables(table, find_islands(labels, context))
        assert np.unique(table.id).size == len(table)


@settings(max_examples=60, deadline=None)
@given(st.data(), volumes(10))
def test_a_table_told_what_changed_is_the_table_from_scratch(data, labels):
    """Whole islands get another class, voxels are strewn about, and the trunk is nibbled at."""
    context = Context(SPACING, kidneys=np.indices(labels.shape).sum(axis=0) % 5 == 0)
    table = find_islands(labels, context)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    for _ in range(3):
        kind = data.draw(st.sampled_from(["strewn", "islands", "trunk"]))
        flat = np.unique(rng.integers(0, labels.size, 4))
        if len(table) and kind == "islands":
            flat = np.sort(np.concatenate([table.voxels_of(r) for r in rng.integers(0, len(table), 2)]))
        elif len(table) and kind == "trunk":
            flat = np.sort(rng.permutation(table.voxels_of(int(np.argmax(table.voxels))))[:2])
        edit = Edit.of(labels, flat, data.draw(st.integers(0, 3)), "Changed")
        edit.apply(labels)
        told = update_islands(table, labels, edit.box, context, edit.labels.flat)
        same_tables(told, find_islands(labels, context))
        found = update_islands(table, labels, edit.box, context)
        same_tables(found, told)
        assert found.id.tolist() == told.id.tolist()
        table = told


def test_far_islands_keep_their_ids_and_a_cut_one_keeps_its_larger_part():
    labels = np.zeros((3, 3, 30), np.uint8)
    labels[1, 1, 2:20] = 1
    labels[1, 1, 25:28] = 1
    table = find_islands(labels)
    labels[1, 1, 6] = 0
    after = update_islands(table, labels, (slice(1, 2), slice(1, 2), slice(6, 7)))
    assert after.voxels.tolist() == [4, 13, 3]
    assert after.id.tolist() == [3, 1, 2]
    labels[1, 1, 6] = 1
    assert update_islands(after, labels, (slice(1, 2), slice(1, 2), slice(6, 7))).id.tolist() == [1, 2]


@settings(max_examples=40, deadline=None)
@given(volumes())
def test_distance_to_outside_is_scipys(labels):
    flat = foreground(labels)
    owner = labels.ravel()[flat]
    order = np.lexsort((flat, owner))
    found = distance_to_outside(flat[order], owner[order], labels.shape, SPACING)
    for c in (1, 2, 3):
        expected = ndimage.distance_transform_edt(np.pad(labels == c, 1), sampling=SPACING)[1:-1, 1:-1, 1:-1]
        mine = owner[order] == c
        np.testing.assert_allclose(found[mine], expected.ravel()[flat[order][mine]], rtol=1e-5)


@pytest.mark.parametrize("at_once", [0, 5_000])
def test_distance_to_the_largest_is_that_of_all_pairs(rng, monkeypatch, at_once):
    monkeypatch.setattr(distances, "_LOOK_UP_AT_ONCE", at_once)
    labels = (rng.random((12, 14, 16)) < 0.08).astype(np.uint8)
    labels[2:6, 3:9, 4:12] = 1
    table = find_islands(labels, Context(SPACING, skeletons=False))
    trunk = table.largest_of(1)
    mm = [coordinates(table.voxels_of(row), table.shape) * SPACING for row in range(len(table))]
    expected = [0.0 if row == trunk else cdist(mm[row], mm[trunk]).min() for row in range(len(table))]
    np.testing.assert_allclose(table.distance_mm, expected, rtol=1e-6)


def test_a_straight_vessel_is_measured():
    labels = np.zeros((25, 25, 60), np.uint8)
    z, y, _ = np.indices(labels.shape)
    labels[((z - 12) ** 2 + (y - 12) ** 2 <= 16)] = 2
    labels[:, :, :5] = labels[:, :, 55:] = 0
    table = find_islands(labels, Context((1.0, 1.0, 1.0)))
    assert table.volume_ml[0] == pytest.approx(np.pi * 16 * 50 / 1000, rel=0.05)
    assert table.centroid_mm[0].tolist() == pytest.approx([12, 12, 29.5])
    assert table.extent_mm[0].tolist() == [9, 9, 50]
    assert table.mean_radius_mm[0] == pytest.approx(4, abs=0.7)
    assert table.max_radius_mm[0] == pytest.approx(4, abs=0.7)
    assert 40 <= table.length_mm[0] <= 52
    assert len(table.end_points[0]) == 2
    along = np.sort(table.directions[0][:, 2])
    assert along[0] < -0.95
    assert along[1] > 0.95


def test_probabilities_kidneys_and_neighbours():
    labels = np.array([[[1, 1, 2, 0, 1]]], np.uint8)
    log = np.log(np.full((4, 1, 1, 5), 0.25))
    log[1, 0, 0, 1] = np.log(0.75)
    kidneys = np.array([[[0, 0, 0, 1, 0]]])
    uncertainty = np.array([[[0.2, 0.4, 1, 0, 0]]])
    table = find_islands(labels, Context(log_probabilities=log, kidneys=kidneys, uncertainty=uncertainty))
    assert table.mean_probability.tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert table.least_probability.tolist() == pytest.approx([0.25, 0.25, 0.25])
    assert table.uncertainty.tolist() == pytest.approx([0.3, 1.0, 0.0])
    assert table.neighbours == (frozenset({2}), frozenset({1}), frozenset())
    assert table.touches_kidney.tolist() == [False, True, True]
    assert table.rooted.tolist() == [True, True, False]


def test_large_boxes_are_thinned_coarsely_and_stay_in_the_island(monkeypatch):
    from napari_kidnet.islands import skeletons

    mask = cross((21, 21, 61), 10, 3).astype(bool)
    fine = skeletons.skeleton_of(mask, (1.0, 1.0, 1.0))
    monkeypatch.setattr(skeletons, "_FULL_RESOLUTION_VOXELS", 100)
    coarse = skeletons.skeleton_of(mask, (1.0, 1.0, 1.0))
    assert mask[tuple(coarse.points.T)].all()
    assert coarse.length_mm == pytest.approx(fine.length_mm, abs=8)


def test_a_forked_vessel_has_three_ends():
    labels = np.zeros((9, 40, 60), np.uint8)
    labels[3:6, 18:21, 5:55] = 1
    labels[3:6, 20:38, 28:31] = 1
    ends = find_islands(labels).end_points[0]
    assert len(ends) == 3


def test_masks_boxes_and_clicks():
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 2, 3] = 1
    table = find_islands(labels)
    assert table.at((2, 2, 3)) == 0
    assert table.at((0, 2, 3)) is None
    assert table.at((9, 0, 0)) is None
    assert table.mask_of(0, 1).shape == (4, 3, 3)
    assert table.mask_of(0).all()
    with pytest.raises(LabelsError, match="no island 7"):
        table.row_of(7)


def test_rows_are_plain_json():
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 2, 3] = 1
    labels[1, 3, 3] = 2
    rows = json.loads(json.dumps(table_rows(find_islands(labels)), allow_nan=False))
    assert [row["class"] for row in rows] == ["Artery", "Vein"]
    assert rows[0]["neighbours"] == [2]


def test_a_context_of_another_grid_is_refused():
    with pytest.raises(LabelsError, match="kidneys"):
        find_islands(np.ones((2, 2, 2)), Context(kidneys=np.ones((2, 2, 3))))
    with pytest.raises(LabelsError, match="spacing"):
        Context(spacing=(1.0, 0.0, 1.0))
