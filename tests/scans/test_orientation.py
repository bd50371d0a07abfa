"""Whatever the order and direction of the stored axes, a voxel stays where it is in the patient."""

from __future__ import annotations

from itertools import permutations, product
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes, axcodes2ornt, io_orientation, ornt_transform

from napari_kidnet.scans import read_labels, read_scan, write_labels
from napari_kidnet.scans.orientation import LPS_TO_RAS, nearest_axes, spacing_of

if TYPE_CHECKING:
    from pathlib import Path

ALL_CODES = ["".join(ends) for order in permutations(("LR", "PA", "IS")) for ends in product(*order)]


def as_codes(image: nibabel.Nifti1Image, codes: str) -> nibabel.Nifti1Image:
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(codes)))
    return image.as_reoriented(turn)


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    turned = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(4)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turned = turned @ one
    return turned


def test_there_are_48_ways_to_store_axes() -> None:
    assert len(set(ALL_CODES)) == 48


@pytest.mark.parametrize("codes", ALL_CODES)
def test_a_scan_in_any_axis_order_is_the_same_scan_and_gets_labels_on_its_own_grid(
    codes: str, small_ct: np.ndarray, tmp_path: Path
) -> None:
    ras = nibabel.Nifti1Image(small_ct[:, ::-1, ::-1].T, rotation((4, -7, 11)) @ np.diag([0.8, 0.9, 2.5, 1]))
    image = as_codes(ras, codes)
    assert "".join(aff2axcodes(image.affine)) == codes
    nibabel.save(image, tmp_path / "ct.nii.gz")

    scan = read_scan(tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(scan.hu, small_ct)
    np.testing.assert_allclose(scan.spacing, (2.5, 0.9, 0.8), rtol=1e-6)
    np.testing.assert_allclose(scan.affine, as_codes(ras, "LPS").affine, atol=1e-4)

    labels = (small_ct > 40).astype(np.uint8)
    write_labels(tmp_path / "labels.nii.gz", labels, like=scan)
    written = nibabel.load(tmp_path / "labels.nii.gz")
    stored = nibabel.load(tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(written.affine, stored.affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(stored.dataobj) > 40)
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz", like=scan), labels)


@given(angles=st.tuples(*[st.floats(-25, 25)] * 3), codes=st.sampled_from(ALL_CODES))
def test_oblique_axes_are_named_as_nibabel_names_them(angles: tuple[float, float, float], codes: str) -> None:
    ras = nibabel.Nifti1Image(np.zeros((3, 4, 5)), rotation(angles) @ np.diag([1.0, 2.0, 3.0, 1.0]))
    stored = as_codes(ras, codes)
    order = nearest_axes(stored.affine)
    as_lps = as_codes(stored, "LPS")
    np.testing.assert_allclose(order.affine_of(stored.affine, stored.shape), as_lps.affine, atol=1e-9)
    assert spacing_of(as_lps.affine) == pytest.approx((3.0, 2.0, 1.0))


@given(axes=st.permutations(range(3)), signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
def test_there_and_back_is_the_same_array(axes: list[int], signs: tuple[float, float, float]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.diag(signs)[:, axes]
    order = nearest_axes(affine)
    stored = np.arange(24 * 2).reshape(2, 3, 4, 2)
    array = order.from_stored(stored[..., 0])
    np.testing.assert_array_equal(order.to_stored(array), stored[..., 0])
    np.testing.assert_array_equal(nearest_axes(LPS_TO_RAS).to_stored(array), array.T)


def test_a_real_scan_permuted_and_flipped_is_the_same(shared: Path, tmp_path: Path) -> None:
    original = nibabel.load(shared / "ct_abdomen_3mm.nii.gz")
    first = read_scan(shared / "ct_abdomen_3mm.nii.gz")
    for codes in ("SAL", "PIR", "LPI"):
        nibabel.save(as_codes(original, codes), tmp_path / "turned.nii.gz")
        turned = read_scan(tmp_path / "turned.nii.gz")
        np.testing.assert_array_equal(turned.hu, first.hu)
        np.testing.assert_allclose(turned.affine, first.affine, atol=1e-4)
