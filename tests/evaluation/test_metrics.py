from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.morphology import skeletonize

from napari_kidnet.errors import LabelsError
from napari_kidnet.evaluation import evaluate, mean_over_subjects
from napari_kidnet.evaluation.metrics import radii_mm

CLASSES = {"artery": 1, "vein": 2, "collecting_system": 3}
FIGURES = ("f1", "precision", "recall", "cldice")
small = hnp.arrays(np.uint8, (6, 7, 5), elements=st.integers(0, 3))


def blobs(seed: int, shape=(24, 22, 26)) -> np.ndarray:
    """Return labels of three classes in smooth pieces."""
    rng = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 2) for _ in range(4)])
    fields[0] += 0.06
    return fields.argmax(axis=0).astype(np.uint8)


def brute_force(predicted: set, truth: set) -> tuple[float | None, float | None, float | None]:
    hit = len(predicted & truth)
    precision = hit / len(predicted) if predicted else None
    recall = hit / len(truth) if truth else None
    f1 = 2 * hit / (len(predicted) + len(truth)) if predicted or truth else None
    return f1, precision, recall


def voxels(labels, value, keep=None) -> set:
    return {tuple(at) for at in np.argwhere(labels == value) if keep is None or keep(tuple(at))}


@settings(deadline=None, max_examples=40)
@given(small, small, st.integers(0, 4), st.integers(0, 2))
def test_f1_precision_and_recall_are_those_of_sets_of_voxels(labels, truth, top, width):
    truth[:1] = 0
    truth[5:] = 0
    kidneys = np.zeros_like(truth)
    kidneys[top : top + 2, 1 : 3 + width, 2:4] = 1
    report = evaluate(labels, truth, (1, 1, 1), kidneys)
    marked = np.flatnonzero(truth.any(axis=(1, 2)))
    z = (marked[0], marked[-1]) if marked.size else (0, 5)

    def in_roi(at):
        return z[0] <= at[0] <= z[1]

    def in_box(at):
        return in_roi(at) and top <= at[0] < top + 2 and 1 <= at[1] < 3 + width and 2 <= at[2] < 4

    for name, value in CLASSES.items():
        for region, keep in (("whole_roi", in_roi), ("kidney_box", in_box)):
            expected = brute_force(voxels(labels, value, keep), voxels(truth, value, keep))
            got = report[name][region]
            assert (got["f1"], got["precision"], got["recall"]) == pytest.approx(expected)


@settings(deadline=None, max_examples=30)
@given(small, small)
def test_the_islands_rule_keeps_the_islands_that_touch_truth_of_their_class(labels, truth):
    truth[0, 0, 0] = truth[-1, 0, 0] = 1  # the region of interest is everything
    report = evaluate(labels, truth, (1, 1, 1))
    for name, value in CLASSES.items():
        pieces, count = ndimage.label(labels == value, np.ones((3, 3, 3)))
        kept: set = set()
        dropped = 0
        for piece in range(1, count + 1):
            mine = voxels(pieces, piece)
            if mine & voxels(truth, value):
                kept |= mine
            else:
                dropped += 1
        under = report[name]["whole_roi"]["islands_rule"]
        assert (under["f1"], under["precision"], under["recall"]) == pytest.approx(
            brute_force(kept, voxels(truth, value))
        )
        assert under["dropped_islands"] == dropped
        assert under["dropped_volume_ml"] == pytest.approx((len(voxels(labels, value)) - len(kept)) / 1000)
        assert report[name]["islands"] == count


def test_cldice_is_that_of_skeletons_of_the_whole_masks():
    """The oracle thins each class at once; ours thins each island in its own box."""
    labels, truth = blobs(0), blobs(1)
    labels[truth == 1] = 1
    report = evaluate(labels, truth, (1, 1, 1))
    for name, value in CLASSES.items():
        predicted, true = labels == value, truth == value
        line_p, line_t = skeletonize(predicted) > 0, skeletonize(true) > 0
        precision = (line_p & true).sum() / line_p.sum()
        sensitivity = (line_t & predicted).sum() / line_t.sum()
        expected = 2 * precision * sensitivity / (precision + sensitivity)
        assert report[name]["whole_roi"]["cldice"] == pytest.approx(expected, abs=0.02)


def test_a_perfect_prediction_scores_one_everywhere():
    truth = blobs(2)
    kidneys = np.zeros_like(truth)
    kidneys[2:10, 3:20, 2:10] = 1
    kidneys[2:10, 3:20, 15:25] = 2
    report = evaluate(truth, truth, (1.0, 0.8, 0.8), kidneys)
    for name in (*CLASSES, "mean"):
        for region in ("whole_roi", "kidney_box"):
            own = report[name][region]
            assert [own[each] for each in FIGURES] == [1.0] * 4
            assert [own["islands_rule"][each] for each in FIGURES] == [1.0] * 4
    for name in CLASSES:
        assert report[name]["false_positive_volume_ml"] == 0.0
        assert report[name]["beta0_error"] == 0


def test_what_is_predicted_beyond_the_truths_slices_is_not_judged():
    truth = np.zeros((10, 8, 8), np.uint8)
    truth[3:6, 2:4, 2:4] = 1
    labels = truth.copy()
    labels[8] = 1
    assert evaluate(labels, truth, (1, 1, 1))["artery"]["whole_roi"]["f1"] == 1.0
    labels[5] = 1
    assert evaluate(labels, truth, (1, 1, 1))["artery"]["whole_roi"]["f1"] < 1.0


def test_a_class_that_is_nowhere_has_no_figures_and_never_a_perfect_score():
    truth = np.zeros((6, 6, 6), np.uint8)
    truth[:, 2:4, 2:4] = 1
    labels = truth.copy()
    report = evaluate(labels, truth, (1, 1, 1))
    assert [report["vein"]["whole_roi"][name] for name in FIGURES] == [None] * 4
    assert report["mean"]["whole_roi"]["f1"] == 1.0
    # Predicted, but not there: a score of nothing.
    labels[0, 0] = 2
    report = evaluate(labels, truth, (1, 1, 1))
    assert report["vein"]["whole_roi"]["f1"] == 0.0
    assert report["vein"]["whole_roi"]["precision"] == 0.0
    assert report["vein"]["whole_roi"]["recall"] is None
    assert report["vein"]["whole_roi"]["cldice"] == 0.0
    # There, but not predicted.
    report = evaluate(np.zeros_like(truth), truth, (1, 1, 1))
    own = report["artery"]["whole_roi"]
    assert (own["f1"], own["precision"], own["recall"], own["cldice"]) == (0.0, None, 0.0, 0.0)


def test_without_kidneys_the_kidney_box_has_no_figures():
    report = evaluate(blobs(0), blobs(1), (1, 1, 1))
    assert set(report["artery"]["kidney_box"]["islands_rule"].values()) == {None}
    assert report["mean"]["kidney_box"]["f1"] is None


def test_volumes_are_in_millilitres():
    truth = np.zeros((4, 10, 10), np.uint8)
    truth[:, 0, 0] = 1
    labels = truth.copy()
    labels[0, 5, :5] = 1
    report = evaluate(labels, truth, (2.0, 0.5, 0.5))
    assert report["artery"]["false_positive_volume_ml"] == pytest.approx(5 * 0.5 / 1000)
    assert report["artery"]["islands"] == 2
    assert report["artery"]["truth_islands"] == 1


def test_recall_of_centrelines_is_told_by_the_vessels_radius():
    """A thick tube is found and a thin one is missed."""
    y, x = np.mgrid[:60, :60]
    truth = np.zeros((40, 60, 60), np.uint8)
    truth[:, (y - 20) ** 2 + (x - 20) ** 2 <= 6**2] = 1
    labels = truth.copy()
    truth[:, 50, 50] = 1
    recall = evaluate(labels, truth, (1, 1, 1))["artery"]["skeleton_recall"]
    assert recall["over_4_mm"] == 1.0
    assert recall["under_1_mm"] == 0.0
    assert recall["1_to_2_mm"] is None
    # The same voxels at a fifth of the size: what was thick is thin.
    recall = evaluate(labels, truth, (0.2, 0.2, 0.2))["artery"]["skeleton_recall"]
    assert recall["over_4_mm"] is None
    assert recall["1_to_2_mm"] == 1.0


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(bool, (5, 6, 7)), st.tuples(*(st.floats(0.3, 3),) * 3))
def test_radii_are_those_of_a_distance_transform(mask, spacing):
    inside = np.zeros((9, 10, 11), bool)
    inside[2:7, 2:8, 2:9] = mask
    points = np.nonzero(inside)
    expected = ndimage.distance_transform_edt(inside, sampling=spacing)[points] - 0.5 * min(spacing)
    np.testing.assert_allclose(radii_mm(inside, points, spacing), expected, atol=1e-9)


def test_a_vessel_that_leaves_the_scan_is_not_thin_at_its_end():
    y, x = np.mgrid[:30, :30]
    tube = np.zeros((12, 30, 30), bool)
    tube[:] = (y - 15) ** 2 + (x - 15) ** 2 <= 6**2
    points = (np.arange(12), np.full(12, 15), np.full(12, 15))
    radii = radii_mm(tube, points, (1.0, 1.0, 1.0))
    np.testing.assert_allclose(radii, radii[6])


def test_one_mask_value_for_both_kidneys_still_makes_two_boxes():
    kidneys = np.zeros((10, 20, 30), np.uint8)
    kidneys[2:8, 5:15, 2:8] = kidneys[3:9, 5:15, 20:28] = 1
    kidneys[0, 0, 0] = 1
    truth = np.zeros_like(kidneys)
    truth[:, 10, 10] = 1
    boxes = evaluate(truth, truth, (1, 1, 1), kidneys)["regions"]["kidney_box"]["boxes"]
    assert sorted(boxes) == [[[2, 8], [5, 15], [2, 8]], [[3, 9], [5, 15], [20, 28]]]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((4, 4, 5)), "4 × 4 × 5 voxels and the truth.*4 × 4 × 4.*not on one grid"),
        (np.full((4, 4, 4), 9), "labels array holds 9 where only classes.*0 background, 1 artery"),
        (np.arange(64).reshape(4, 4, 4), "holds 4, 5, 6, 7, 8, 9, 10, 11, … where"),
        (np.full((4, 4, 4), -1), "holds -1"),
        (np.full((4, 4, 4), 0.5), "fractions"),
        (np.zeros((4, 4)), "2 axes"),
    ],
)
def test_labels_that_cannot_be_judged_are_refused_in_one_sentence(labels, words):
    with pytest.raises(LabelsError, match=words) as told:
        evaluate(labels, np.ones((4, 4, 4), np.uint8), (1, 1, 1))
    assert "\n" not in str(told.value)


def test_an_empty_kidney_mask_and_a_spacing_of_zero_are_refused():
    truth = np.ones((4, 4, 4), np.uint8)
    with pytest.raises(LabelsError, match="kidney mask has no voxel"):
        evaluate(truth, truth, (1, 1, 1), np.zeros_like(truth))
    with pytest.raises(LabelsError, match="three positive numbers"):
        evaluate(truth, truth, (1, 0, 1))


def test_the_mean_over_subjects_leaves_out_what_has_no_figure():
    truth = np.zeros((6, 6, 6), np.uint8)
    truth[:, 2:4, 2:4] = 1
    half = truth.copy()
    half[:, 3, :] = 0
    with_vein = truth.copy()
    with_vein[0, 0, 0] = 2
    reports = [
        evaluate(truth, truth, (1, 1, 1)),
        evaluate(half, truth, (1, 1, 1)),
        evaluate(with_vein, with_vein, (1, 1, 1)),
    ]
    table = mean_over_subjects(reports)
    assert table["artery"]["whole_roi"]["f1"]["mean"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert table["vein"]["whole_roi"]["f1"] == {"mean": 1.0, "sd": 0.0, "n": 1}
    assert table["collecting_system"]["whole_roi"]["islands_rule"]["f1"]["n"] == 0
