"""Labels are whole numbers on the scan's own grid, and nothing else passes for them."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_kidnet.errors import LabelsError, OutputError
from napari_kidnet.scans import Scan, read_labels, read_scan, write_labels, write_probabilities, write_scan

AFFINE = np.diag([-0.8, -0.9, 2.5, 1.0])


@pytest.fixture
def scan(small_ct, write_nifti) -> Scan:
    return read_scan(write_nifti(small_ct.T, AFFINE))


def test_floats_that_hold_whole_numbers_are_labels(scan, write_nifti):
    truth = np.arange(np.prod(scan.shape)).reshape(scan.shape) % 4
    labels = read_labels(write_nifti(truth.T.astype(np.float32), AFFINE, "l.nii.gz"), scan)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, truth)


def test_numbers_above_255_are_int32(scan, write_nifti):
    truth = np.arange(np.prod(scan.shape)).reshape(scan.shape)
    labels = read_labels(write_nifti(truth.T.astype(np.int32), AFFINE, "l.nii.gz"), scan)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, truth)


@pytest.mark.parametrize(("value", "words"), [(0.5, "fractions"), (np.nan, "fractions"), (-1, "begin at 0")])
def test_other_numbers_are_refused(value, words, scan, write_nifti):
    values = np.zeros(scan.shape[::-1], np.float32)
    values[2, 3, 4] = value
    with pytest.raises(LabelsError, match=words):
        read_labels(write_nifti(values, AFFINE, "l.nii.gz"), scan)


def test_labels_in_another_axis_order_are_turned_to_the_scan(scan, small_ct, tmp_path):
    image = nibabel.Nifti1Image((small_ct > 40).astype(np.uint8).T, AFFINE)
    nibabel.save(image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]])), tmp_path / "l.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / "l.nii.gz", scan), small_ct > 40)


def test_rounded_affines_are_one_grid(scan, small_ct, write_nifti):
    rounded = AFFINE + np.array([[0.001, 0, 0, 0.02], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    read_labels(write_nifti((small_ct > 0).astype(np.uint8).T, rounded, "l.nii.gz"), scan)


@pytest.mark.parametrize("change", ["shift", "spacing", "mirror"])
def test_labels_elsewhere_are_refused_with_both_affines(change, scan, small_ct, write_nifti):
    other = AFFINE.copy()
    if change == "shift":
        other[2, 3] = 2.5
    elif change == "spacing":
        other[0, 0] = -0.9
    else:
        other[0, 0] = 0.8
    with pytest.raises(LabelsError, match="lies elsewhere than ct") as caught:
        read_labels(write_nifti((small_ct > 0).astype(np.uint8).T, other, "l.nii.gz"), scan)
    assert "2.5" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_of_another_size_are_refused_with_both_sizes(scan, small_ct, write_nifti):
    path = write_nifti((small_ct[1:] > 0).astype(np.uint8).T, AFFINE, "l.nii.gz")
    with pytest.raises(LabelsError, match=r"10 × 13 × 15 voxels .* 11 × 13 × 15"):
        read_labels(path, scan)


def test_labels_that_cannot_be_read_are_a_labels_error(scan, tmp_path):
    with pytest.raises(LabelsError, match="does not exist"):
        read_labels(tmp_path / "none.nii.gz", scan)
    (tmp_path / "l.nii.gz").write_text("words")
    with pytest.raises(LabelsError, match="not a NIfTI file"):
        read_labels(tmp_path / "l.nii.gz", scan)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((11, 13, 14), np.uint8), "11 × 13 × 14"),
        (np.zeros((11, 13, 15), np.float32), "whole numbers"),
        (np.full((11, 13, 15), 256), "0 to 255"),
        (np.full((11, 13, 15), -1), "0 to 255"),
    ],
)
def test_wrong_labels_are_not_written(labels, words, scan, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LabelsError, match=words):
        write_labels(tmp_path / "l.nii.gz", labels, scan)
    assert sorted(tmp_path.iterdir()) == before


def test_unknown_suffixes_are_not_written(scan, tmp_path):
    with pytest.raises(OutputError, match=r"\.nii\.gz"):
        write_labels(tmp_path / "l.png", np.zeros(scan.shape, np.uint8), scan)
    with pytest.raises(OutputError, match=r"\.nii\.gz"):
        write_probabilities(tmp_path / "p.tif", np.zeros((4, *scan.shape)), scan)
    with pytest.raises(OutputError, match=r"\.nii\.gz"):
        write_scan(tmp_path / "s.tif", scan)
    with pytest.raises(LabelsError, match="class, z, y, x"):
        write_probabilities(tmp_path / "p.nii.gz", np.zeros(scan.shape), scan)


def test_real_masks_lie_on_their_scan(shared):
    scan = read_scan(shared / "ct_abdomen_3mm.nii.gz")
    for side, left in (("left", True), ("right", False)):
        mask = read_labels(shared / f"ct_abdomen_3mm_kidney_{side}.nii.gz", scan) > 0
        assert 5 < np.median(scan.hu[mask]) < 25  # unenhanced kidney
        assert (np.nonzero(mask)[2].mean() > scan.shape[2] / 2) == left  # x runs to the left
