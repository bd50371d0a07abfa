import numpy as np
import pytest
from hypothesis import given, settings
from scipy import ndimage

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import find_islands, keep_touching, label_islands, touching, touching_same_class
from tests.islands.strategies import volumes


@settings(max_examples=60, deadline=None)
@given(volumes())
def test_islands_are_those_of_scipy_class_by_class(labels):
    ids, n, class_of = label_islands(labels)
    expected = sum(ndimage.label(labels == c, np.ones((3, 3, 3)))[1] for c in (1, 2, 3))
    assert n == expected
    assert np.array_equal(class_of[ids], labels)
    for each in range(1, n + 1):
        assert ndimage.label(ids == each, np.ones((3, 3, 3)))[1] == 1


@settings(max_examples=60, deadline=None)
@given(volumes())
def test_the_tables_islands_are_those_of_cc3d(labels):
    ids, n, _ = label_islands(labels)
    table = find_islands(labels)
    assert len(table) == n
    for row in range(n):
        assert np.unique(ids.ravel()[table.voxels_of(row)]).size == 1
    assert sorted(np.bincount(ids.ravel(), minlength=1)[1:].tolist()) == sorted(table.voxels.tolist())


@pytest.mark.parametrize(("connectivity", "n"), [(26, 1), (18, 2), (6, 2)])
def test_corners_touch_only_in_26(connectivity, n):
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 1
    assert label_islands(labels, connectivity).n == n


def test_islands_rule_keeps_what_shares_a_voxel_with_truth_of_its_class():
    labels = np.array([[[1, 1, 0, 1, 0, 2, 0, 2]]])
    truth = np.array([[[0, 1, 0, 0, 0, 1, 0, 2]]])
    assert keep_touching(labels, truth).tolist() == [[[1, 1, 0, 0, 0, 0, 0, 2]]]
    islands = label_islands(labels)
    assert touching(islands.ids, truth).tolist() == [False, True, False, True, True]
    assert touching_same_class(islands, truth).tolist() == [False, True, False, False, True]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint32, np.int64, np.float32, np.float64])
def test_every_kind_of_whole_number_is_read(dtype):
    labels = np.zeros((3, 4, 5), dtype)
    labels[1, 1, 1:3] = 1
    assert label_islands(labels).n == 1
    assert find_islands(labels).voxels.tolist() == [2]


def test_a_hundred_foreign_classes_keep_their_numbers():
    labels = np.zeros((10, 20, 20), np.uint8)
    labels[::2, ::2, ::2] = (np.arange(500) % 100 + 1).reshape(5, 10, 10)
    table = find_islands(labels)
    assert len(table) == 500
    assert sorted(set(table.class_id.tolist())) == list(range(1, 101))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.full((2, 2, 2), 0.5), "fractions"),
        (np.full((2, 2, 2), np.nan), "fractions"),
        (np.full((2, 2, 2), -1), "-1"),
        (np.zeros((2, 2)), "2 axes"),
        (np.zeros((2, 2, 2), complex), "complex"),
    ],
)
def test_what_is_no_label_volume_is_refused(labels, says):
    with pytest.raises(LabelsError, match=says):
        find_islands(labels)
    with pytest.raises(LabelsError, match=says):
        label_islands(labels)


def test_an_empty_volume_has_an_empty_table():
    for shape in ((4, 5, 6), (0, 5, 6)):
        table = find_islands(np.zeros(shape, np.uint8))
        assert len(table) == 0
        assert table.at((0, 0, 0)) is None
        assert table.largest_of(1) is None


def test_grids_that_differ_are_refused():
    with pytest.raises(LabelsError, match="one grid"):
        keep_touching(np.ones((2, 2, 2)), np.ones((2, 2, 3)))
    with pytest.raises(LabelsError, match="one grid"):
        touching(np.ones((2, 2, 2), np.int32), np.ones((2, 2, 3)))
