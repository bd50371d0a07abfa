import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import (
    Context,
    History,
    delete,
    fill_branch,
    find_islands,
    grow,
    keep_largest,
    label_islands,
    merge,
    paint,
    relabel,
    split,
    stroke,
    swap_branch,
    update_islands,
)
from napari_kidnet.islands.tubes import radius_at, tube
from tests.islands.strategies import cross, volumes

SPACING = (1.0, 1.0, 1.0)


def tubes_scan():
    """Give a vein with an artery's branch that was called vein, and the artery it belongs to."""
    truth = np.zeros((15, 40, 60), np.uint8)
    truth[4:11, 4:11, :] = 2  # a wide vein along x
    truth[6:9, 11:30, 30:33] = 1  # a thin branch that runs away from it along y
    truth[5:10, 30:36, 20:50] = 1  # and the artery it comes from
    wrong = truth.copy()
    wrong[6:9, 11:30, 30:33] = 2
    return truth, wrong


def one_edit(action, labels, table, ids, log):
    match action:
        case "delete":
            return delete(labels, table, ids)
        case "relabel":
            return relabel(labels, table, ids, 3)
        case "merge":
            return merge(labels, table, ids)
        case "largest":
            return keep_largest(labels, table, int(table.class_id[table.row_of(ids[0])]))
        case _:
            return grow(labels, table, ids[0], 0.3, Context(log_probabilities=log), 3.0)


@settings(max_examples=30, deadline=None)
@given(st.data(), volumes(8))
def test_any_edits_and_undos_lead_back_to_the_beginning(data, labels):
    first = labels.copy()
    history = History()
    table = find_islands(labels)
    log = np.log(np.random.default_rng(1).dirichlet(np.ones(4), labels.shape).transpose(3, 0, 1, 2))
    for _ in range(data.draw(st.integers(1, 6))):
        action = data.draw(
            st.sampled_from(["delete", "relabel", "merge", "largest", "paint", "grow", "undo", "redo"])
        )
        edit = None
        if action == "undo":
            edit = history.undo(labels)
        elif action == "redo":
            edit = history.redo(labels)
        elif action == "paint":
            point = [data.draw(st.integers(0, size - 1)) for size in labels.shape]
            edit = paint(labels, [point], data.draw(st.integers(0, 3)), 1.5, SPACING)
            history.do(edit, labels)
        elif len(table):
            ids = data.draw(st.lists(st.sampled_from(table.id.tolist()), min_size=1, max_size=3, unique=True))
            if action == "merge" and len(ids) < 2:
                continue
            edit = one_edit(action, labels, table, ids, log)
            history.do(edit, labels)
        if edit is not None:
            table = update_islands(table, labels, edit.box)
            scratch = find_islands(labels)
            assert np.array_equal(table.flat, scratch.flat)
            assert np.array_equal(table.class_id, scratch.class_id)
    last = labels.copy()
    steps = 0
    while history.undo(labels) is not None:
        steps += 1
    assert np.array_equal(labels, first)
    for _ in range(steps):
        history.redo(labels)
    assert np.array_equal(labels, last)


def test_redo_leads_forward_again():
    labels = cross()
    history = History()
    history.do(paint(labels, [(1, 1, 1)], 2, 2.0, SPACING), labels)
    history.do(delete(labels, find_islands(labels), [1]), labels)
    last = labels.copy()
    history.undo(labels)
    history.undo(labels)
    history.redo(labels)
    history.redo(labels)
    assert np.array_equal(labels, last)
    assert history.redo(labels) is None


def test_a_new_edit_forgets_what_was_undone():
    labels = cross()
    history = History()
    history.do(paint(labels, [(1, 1, 1)], 2, 1.0, SPACING), labels)
    history.undo(labels)
    history.do(paint(labels, [(1, 1, 1)], 3, 1.0, SPACING), labels)
    assert history.redo(labels) is None


def test_memory_is_bounded_and_the_latest_step_can_always_be_undone():
    labels = np.zeros((20, 20, 20), np.uint8)
    history = History(max_bytes=5_000)
    for k in range(1, 20):
        history.do(paint(labels, [(10, 10, 10)], k, 4.0, SPACING), labels)
    assert 1 <= len(history.done) < 4
    before = labels.copy()
    history.undo(labels)
    assert not np.array_equal(labels, before)


def test_changes_behind_the_historys_back_are_noticed():
    labels = cross()
    history = History()
    history.do(paint(labels, [(1, 1, 1)], 2, 1.0, SPACING), labels)
    labels[1, 1, 1] = 3
    with pytest.raises(LabelsError, match="without the history"):
        history.undo(labels)


def test_a_stroke_of_the_viewer_is_one_step():
    labels = cross()
    first = labels.copy()
    flat = np.array([5, 6, 7])
    before = labels.ravel()[flat].copy()
    labels.ravel()[flat] = 2
    history = History()
    history.record(stroke(labels, flat, before))
    history.undo(labels)
    assert np.array_equal(labels, first)
    history.redo(labels)
    assert labels.ravel()[flat].tolist() == [2, 2, 2]


@pytest.mark.parametrize("gap", [0, 1, 4])
def test_merge_then_split(gap):
    labels = cross()
    labels[:, :, 20 : 20 + gap] = 0
    labels[:5, :, 18:24] = labels[6:, :, 18:24] = 0  # the neck
    labels[:, :5, 18:24] = labels[:, 6:, 18:24] = 0
    if gap:
        table = find_islands(labels)
        assert len(table) == 2
        merge(labels, table, [1, 2]).apply(labels)
    table = find_islands(labels)
    assert len(table) == 1
    split(labels, table, ((5, 5, 2), (5, 5, 38))).apply(labels)
    after = find_islands(labels)
    assert len(after) == 2
    assert after.at((5, 5, 2)) != after.at((5, 5, 38))
    missing = np.argwhere((cross() == 1) & (labels == 0) & (np.indices(labels.shape)[0] == 5))
    assert ((missing[:, 2] >= 17) & (missing[:, 2] <= 24)).all()


@settings(max_examples=30, deadline=None)
@given(st.data(), volumes(8))
def test_split_parts_its_seeds_and_takes_voxels_of_its_island_only(data, labels):
    table = find_islands(labels)
    rows = np.flatnonzero(table.voxels >= 4).tolist()
    if not rows:
        return
    row = data.draw(st.sampled_from(rows))
    voxels = np.stack(np.unravel_index(table.voxels_of(row), labels.shape), 1).tolist()
    one, other = data.draw(st.sampled_from(voxels)), data.draw(st.sampled_from(voxels))
    before = labels.copy()
    try:
        edit = split(labels, table, (one, other))
    except LabelsError:
        assert np.abs(np.array(one) - other).max() <= 1
        return
    edit.apply(labels)
    assert np.isin(edit.labels.flat, table.voxels_of(row)).all()
    after = find_islands(labels)
    assert after.at(one) is not None
    assert after.at(other) is not None
    assert after.at(one) != after.at(other)
    edit.undo(labels)
    assert np.array_equal(labels, before)


def test_split_into_another_class_loses_no_voxel():
    labels = cross()
    split(labels, find_islands(labels), ((5, 5, 2), (5, 5, 38)), class_id=2).apply(labels)
    assert np.array_equal(labels > 0, cross() > 0)
    assert labels[5, 5, 2] == 1
    assert labels[5, 5, 38] == 2


def test_swapping_a_branch_repairs_an_artery_that_was_called_vein():
    truth, labels = tubes_scan()
    before = np.count_nonzero(labels != truth)
    swap_branch(labels, find_islands(labels), (7, 24, 31), 1).apply(labels)
    assert np.count_nonzero(labels != truth) <= 0.2 * before
    assert labels[7, 7, 5] == 2


def along_each_other(contact_mm, overlap_mm):
    """Give an artery that lies along a vein before it leaves it, called vein, the truth, and clicks on it."""
    shape, middle = (40, 80, 110), 18 + 7 + 3 - overlap_mm
    vein = tube([(20, 18, x) for x in range(110)], 7, shape, SPACING)
    away = [(20, y, 30) for y in range(63, middle, -1)]
    artery = tube([*away, *[(20, middle, x) for x in range(30, 31 + contact_mm)]], 3, shape, SPACING)
    aorta_ = tube([(20, 65, x) for x in range(110)], 9, shape, SPACING)
    truth = np.zeros(shape, np.uint8)
    truth.ravel()[np.union1d(artery, aorta_)] = 1
    truth.ravel()[vein] = 2
    wrong = truth.copy()
    wrong.ravel()[np.setdiff1d(artery, np.union1d(vein, aorta_))] = 2
    return truth, wrong, [(20, 45, 30), (20, middle + 1, 28 + contact_mm)]


@pytest.mark.parametrize(("contact", "overlap"), [(8, 1), (20, 2), (40, 2), (40, 3)])
def test_swapping_takes_the_branch_alone_where_it_lies_along_the_trunk(contact, overlap):
    truth, wrong, clicks = along_each_other(contact, overlap)
    table, before = find_islands(wrong), np.count_nonzero(truth != wrong)
    scan = np.array([20.0, 300.0, 170.0])[truth] + np.random.default_rng(1).normal(0, 20, truth.shape)
    for click in clicks:
        labels = wrong.copy()
        swap_branch(labels, table, click, 1, Context(hu=scan)).apply(labels)
        assert np.count_nonzero(labels != truth) <= 0.05 * before


def test_swapping_where_both_are_as_bright_goes_by_shape():
    truth, labels = tubes_scan()
    table = find_islands(labels)
    alike = Context(hu=np.where(truth > 0, 200, 20))
    by_shape = swap_branch(labels, table, (7, 24, 31), 1)
    assert np.array_equal(swap_branch(labels, table, (7, 24, 31), 1, alike).labels.flat, by_shape.labels.flat)


def test_swapping_a_loose_island_takes_all_of_it():
    labels = cross()
    labels[1, 1, 3:8] = 1
    swap_branch(labels, find_islands(labels), (1, 1, 4), 2).apply(labels)
    assert labels[1, 1, 3:8].tolist() == [2] * 5
    assert labels[5, 5, 5] == 1


def test_a_lower_threshold_only_adds():
    z, y, x = np.indices((15, 15, 15))
    probability = np.exp(-((z - 7) ** 2 + (y - 7) ** 2 + (x - 7) ** 2) / 20)
    log = np.log(
        np.stack([1 - probability + 1e-6, probability, probability * 0 + 1e-6, probability * 0 + 1e-6])
    )
    labels = np.zeros((15, 15, 15), np.uint8)
    labels[6:9, 6:9, 6:9] = 1
    labels[7, 7, 11] = 2
    table = find_islands(labels)
    sizes = []
    for threshold in (0.9, 0.6, 0.3, 0.1):
        grown = labels.copy()
        grow(labels, table, 1, threshold, Context(log_probabilities=log), 4.0).apply(grown)
        sizes.append(np.count_nonzero(grown == 1))
        assert grown[7, 7, 11] == 2
    assert sizes == sorted(sizes)
    assert sizes[0] < 27 < sizes[-1]


def test_a_missed_branch_is_filled_from_one_click():
    truth, _ = tubes_scan()
    probability = np.where(truth == 1, 0.4, 0.01)
    log = np.log(np.stack([1 - probability, probability, probability, probability])).astype(np.float16)
    labels = truth.copy()
    labels[6:9, 11:30, 30:33] = 0
    fill_branch(labels, find_islands(labels), (7, 12, 31), 1, Context(log_probabilities=log)).apply(labels)
    missed = truth[6:9, 12:30, 30:33] != labels[6:9, 12:30, 30:33]
    assert missed.mean() < 0.4
    assert np.count_nonzero((labels == 1) & (truth != 1)) < 0.15 * 171  # of the branch
    assert label_islands(labels == 1).n == 1


def test_a_branch_that_the_network_hardly_saw_is_as_wide_as_in_the_scan(rng):
    truth, _ = tubes_scan()
    log = np.log(np.full((4, *truth.shape), 0.05)).astype(np.float16)  # unsure all over the place
    hu = np.where(truth == 1, 250, -80) + rng.normal(0, 15, truth.shape)
    labels = truth.copy()
    labels[6:9, 11:30, 30:33] = 0
    context = Context(log_probabilities=log, hu=hu)
    fill_branch(labels, find_islands(labels), (7, 12, 31), 1, context).apply(labels)
    assert np.count_nonzero((labels == 1) & (truth != 1)) < 0.6 * 171  # of the branch; 6 mm wide it were 3000
    assert np.count_nonzero((labels == 0) & (truth == 1)) < 0.4 * 171


def test_fill_says_what_is_in_the_way():
    labels = cross()
    with pytest.raises(LabelsError, match="no Vein within"):
        fill_branch(labels, find_islands(labels), (0, 0, 0), 2, Context())
    labels[:, :, 3] = 2
    labels[:, :, 4:] = 0
    labels[5, 5, 20] = 3
    with pytest.raises(LabelsError, match="stand between"):
        fill_branch(labels, find_islands(labels), (0, 0, 10), 1, Context())
    with pytest.raises(LabelsError, match="on another class"):
        fill_branch(labels, find_islands(labels), (5, 5, 20), 1, Context())


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_radius_of_a_painted_vessel_is_found_again(radius):
    shape = (21, 21, 41)
    strength = np.zeros(shape, np.float32)
    strength.ravel()[tube([(10, 10, x) for x in range(41)], radius, shape, SPACING)] = 0.9
    assert radius_at(strength, (10, 10, 20), SPACING) == pytest.approx(radius, abs=0.6)


def aorta(radius_mm, spacing=(1.2, 0.8, 0.8)):
    """Give the probability of an aorta along z that leans, from end to end of the volume, and its middle."""
    z, y, x = np.indices((50, 80, 80))
    middle_y, middle_x = 36 + 0.1 * z, 42 - 0.1 * z
    away = np.hypot((y - middle_y) * spacing[1], (x - middle_x) * spacing[2])
    edge = 1 / (1 + np.exp((away - radius_mm) / 0.3))  # half at the wall
    return (0.95 * edge).astype(np.float32), np.stack([middle_y, middle_x])[:, :, 0, 0].T, spacing


@pytest.mark.parametrize("radius", [7.0, 9.0, 11.0])
@pytest.mark.parametrize("slice_", [25, 0, 49])
@pytest.mark.parametrize("off", [0.0, 0.5, 0.8])
def test_radius_of_a_wide_aorta_is_found_wherever_in_it_the_click_is(radius, slice_, off):
    strength, middle, spacing = aorta(radius)
    y, x = middle[slice_]
    point = (slice_, round(y), round(x + off * radius / spacing[2]))
    assert radius_at(strength, point, spacing) == pytest.approx(radius, abs=0.6)


def test_radius_of_a_branch_is_not_that_of_the_aorta_it_leaves():
    strength, _, spacing = aorta(9.0)
    z, y, x = np.indices(strength.shape)
    branch = (np.hypot((z - 25) * spacing[0], (y - 38) * spacing[1]) <= 2.5) & (x >= 40)
    strength[branch] = 0.95
    assert radius_at(strength, (25, 38, 65), spacing) == pytest.approx(2.5, abs=0.6)
    assert radius_at(strength, (25, 38, 42), spacing) == pytest.approx(9.0, abs=0.6)


def test_edits_say_what_they_did_and_refuse_what_cannot_be():
    labels = cross()
    labels[0, 0, 0] = 1
    table = find_islands(labels)
    edit = keep_largest(labels, table, 1)
    assert edit.what == "Kept the largest island of Artery, deleted 1 others"
    assert edit.voxels == 1
    assert relabel(labels, table, [1], 2).what.endswith("to Vein")
    for refused in (
        lambda: relabel(labels, table, [1], 300),
        lambda: merge(labels, table, [1]),
        lambda: keep_largest(labels, table, 3),
        lambda: delete(labels, table, [99]),
        lambda: split(labels, table, ((0, 0, 0), (5, 5, 5))),
        lambda: swap_branch(labels, table, (0, 10, 0), 2),
        lambda: grow(labels, table, 1, 0.5, Context()),
    ):
        with pytest.raises(LabelsError):
            refused()
