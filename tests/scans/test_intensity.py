"""Numbers that are HU are left alone; others are turned to HU where that is sure, and refused where not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_kidnet.errors import ScanError
from napari_kidnet.scans import normalise, read_scan


def test_hu_are_left_alone(small_ct, write_nifti):
    scan = read_scan(write_nifti(small_ct.T, np.diag([-1.0, -1, 1, 1])))
    np.testing.assert_array_equal(scan.hu, small_ct)
    assert scan.notes == ()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_hu_plus_1024_is_found_and_reported(dtype, small_ct, write_nifti):
    stored = np.clip(small_ct.T.astype(int) + 1024, 0, None).astype(dtype)
    scan = read_scan(write_nifti(stored, np.diag([-1.0, -1, 1, 1])))
    np.testing.assert_array_equal(scan.hu, small_ct.clip(-1024))
    assert scan.hu.dtype == np.int16
    assert "HU + 1024" in scan.notes[0]
    assert "--intensity-offset" in scan.notes[0]


def test_hu_plus_1024_is_found_in_a_crop_without_air(small_ct, write_nifti):
    crop = small_ct[2:9, 4:9, 3:12].astype(int) + 1024
    scan = read_scan(write_nifti(crop.astype(np.uint16).T, np.diag([-1.0, -1, 1, 1])))
    np.testing.assert_array_equal(scan.hu, small_ct[2:9, 4:9, 3:12])


def test_hu_with_padding_outside_the_field_are_left_alone(small_ct, write_nifti):
    padded = small_ct.copy()
    padded[:, :3] = -3024
    scan = read_scan(write_nifti(padded.T, np.diag([-1.0, -1, 1, 1])))
    np.testing.assert_array_equal(scan.hu, padded)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hu: np.clip((hu + 160.0) / 400 * 255, 0, 255).astype(np.uint8), "picture of a CT"),
        (lambda hu: np.clip((hu + 160.0) / 400, 0, 1).astype(np.float32), "normalised image"),
        (lambda hu: ((hu - hu.mean()) / hu.std()).astype(np.float32), "normalised image"),
        (lambda hu: np.clip(hu + 1000.0, 0, None).astype(np.uint16), r"HU \+ 1000 or HU \+ 1024"),
        (lambda hu: (hu - 1024).astype(np.int16), "nothing in its histogram"),
        (
            lambda hu: np.clip((hu + 160.0) / 400 * 4095, 0, 4095).astype(np.uint16),
            "nothing in its histogram",
        ),
    ],
)
def test_other_numbers_are_refused_with_the_option(change, words, small_ct, write_nifti):
    with pytest.raises(ScanError, match=words) as caught:
        read_scan(write_nifti(change(small_ct.T)))
    assert "--intensity-offset" in str(caught.value)


def test_a_stated_offset_ends_the_guessing(small_ct, write_nifti):
    path = write_nifti((small_ct.T.astype(int) + 1500).astype(np.uint16), np.diag([-1.0, -1, 1, 1]))
    scan = read_scan(path, intensity_offset=-1500)
    np.testing.assert_array_equal(scan.hu, small_ct)
    assert scan.notes == ()
    half = read_scan(path, intensity_offset=-1500.5)
    np.testing.assert_array_equal(half.hu, small_ct - np.float32(0.5))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_numbers_are_counted(bad, small_ct, write_nifti):
    values = small_ct.T.astype(np.float32)
    values[:3, 0, 0] = bad
    with pytest.raises(ScanError, match="holds 3 voxels that are NaN or infinite"):
        read_scan(write_nifti(values))


def test_one_value_throughout_is_refused(write_nifti):
    with pytest.raises(ScanError, match="same value, 40,"):
        read_scan(write_nifti(np.full((5, 6, 7), 40, np.int16)), intensity_offset=0)


def test_real_scans_are_hu_and_found_again_after_a_shift(shared, write_nifti):
    for name in ("ct_abdomen_3mm.nii.gz", "dicom_ct"):
        scan = read_scan(shared / name)
        assert scan.notes == ()
        hu = scan.hu[:, ::2, ::2].clip(-1024)
        shifted = read_scan(
            write_nifti((hu.T.astype(int) + 1024).astype(np.uint16), np.diag([-1.0, -1, 1, 1]))
        )
        np.testing.assert_array_equal(shifted.hu, hu)


@given(st.lists(st.floats(-3000, 3000, width=32), min_size=1), st.floats(-500, 0), st.floats(1, 500))
def test_normalised_values_are_linear_inside_the_window(values, low, high):
    hu = np.array(values, np.float32)
    kept = hu.copy()
    scaled = normalise(hu, (low, high))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(
        scaled, np.clip((hu.astype(float) - low) / (high - low), 0, 1) * 2 - 1, atol=2e-3
    )
    np.testing.assert_array_equal(hu, kept)
