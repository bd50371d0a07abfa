"""NIfTI files of every kind are read exactly, and written labels lie where the scan lies."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from napari_kidnet.errors import KidnetError, ScanError, SettingsError
from napari_kidnet.scans import Scan, read_labels, read_scan, write_labels, write_probabilities, write_scan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64", ">i2", ">f4", "int64"])
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_whole_numbers_of_every_type_become_int16(dtype, name, small_ct, write_nifti, tmp_path):
    affine = np.diag([-0.8, -0.9, 2.5, 1.0])
    image = nibabel.Nifti1Image(small_ct.T.astype(dtype), affine, dtype=dtype)
    if dtype.startswith(">"):
        header = nibabel.Nifti1Header(endianness=">")
        image = nibabel.Nifti1Image(small_ct.T.astype(dtype), affine, header)
        image.set_data_dtype(dtype)
    nibabel.save(image, tmp_path / name)
    scan = read_scan(tmp_path / name)
    assert scan.hu.dtype == np.int16
    np.testing.assert_array_equal(scan.hu, small_ct)
    assert scan.name == "ct"


def test_fractions_become_float32(small_ct, write_nifti):
    scan = read_scan(write_nifti(small_ct.T + np.float32(0.25)))
    assert scan.hu.dtype == np.float32
    np.testing.assert_array_equal(np.sort(scan.hu.ravel()), np.sort(small_ct.ravel() + np.float32(0.25)))


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, -1024), (0.5, -1024), (1, 0.5), (0, 7)])
def test_slope_and_intercept_are_applied_as_nibabel_applies_them(slope, intercept, small_ct, write_nifti):
    stored = (small_ct.T.astype(np.int32) + 1100).astype(np.uint16)
    path = write_nifti(stored, name="ct.nii", scl_slope=slope, scl_inter=intercept)
    scan = read_scan(path, intensity_offset=0)
    expected = np.asarray(nibabel.load(path).dataobj)
    np.testing.assert_allclose(scan.stored.order.to_stored(scan.hu), expected, rtol=1e-6)


def test_a_fourth_axis_of_one_voxel_is_dropped(small_ct, write_nifti):
    path = write_nifti(small_ct.T[..., None], np.diag([-0.8, -0.9, 2.5, 1.0]))
    np.testing.assert_array_equal(read_scan(path).hu, small_ct)


def test_nifti_2_is_read_and_its_labels_are_nifti_2(small_ct, tmp_path):
    nibabel.save(nibabel.Nifti2Image(small_ct.T, np.diag([-1.0, -1.0, 3.0, 1.0])), tmp_path / "ct.nii")
    scan = read_scan(tmp_path / "ct.nii")
    np.testing.assert_array_equal(scan.hu, small_ct)
    write_labels(tmp_path / "labels.nii.gz", (small_ct > 0).astype(np.uint8), scan)
    assert isinstance(nibabel.load(tmp_path / "labels.nii.gz"), nibabel.Nifti2Image)


@pytest.mark.parametrize(("sform", "qform"), [(0, 0), (1, 0), (0, 1), (2, 1), (4, 3)])
def test_labels_carry_sform_qform_codes_and_units_of_the_scan(sform, qform, small_ct, tmp_path):
    angle = np.radians(20)
    turned = np.array(
        [
            [-np.cos(angle), np.sin(angle), 0, 7],
            [np.sin(angle), np.cos(angle), 0, -3],
            [0, 0, 2.5, 11],
            [0, 0, 0, 1],
        ]
    )
    image = nibabel.Nifti1Image(small_ct.T, None)
    image.header.set_zooms((1.0, 1.0, 2.5))
    image.set_sform(turned if sform else None, sform)
    image.set_qform(turned if qform else None, qform)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "ct.nii.gz")
    stored = nibabel.load(tmp_path / "ct.nii.gz")
    write_labels(
        tmp_path / "l.nii.gz",
        np.ones(read_scan(tmp_path / "ct.nii.gz").shape, np.uint8),
        read_scan(tmp_path / "ct.nii.gz"),
    )
    labels = nibabel.load(tmp_path / "l.nii.gz")
    assert labels.shape == stored.shape
    assert labels.get_data_dtype() == np.uint8
    assert labels.dataobj.slope == 1
    np.testing.assert_array_equal(labels.affine, stored.affine)
    for field in ("sform_code", "qform_code", "xyzt_units", "srow_x", "quatern_b", "qoffset_z"):
        assert np.array_equal(labels.header[field], stored.header[field]), field
    np.testing.assert_array_equal(labels.header["pixdim"][:4], stored.header["pixdim"][:4])


def test_the_same_labels_are_the_same_bytes(small_ct, tmp_path):
    scan = Scan.from_array(small_ct, (2.5, 0.9, 0.8))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(tmp_path / name, small_ct > 0, scan)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_scan_written_and_read_is_the_same(dtype, small_ct, tmp_path):
    hu = small_ct.astype(dtype) + (dtype(0.5) if dtype is np.float32 else dtype(0))
    scan = Scan.from_array(hu, (2.5, 0.9, 0.8), "case")
    write_scan(tmp_path / "case.nii.gz", scan)
    back = read_scan(tmp_path / "case.nii.gz")
    assert back.hu.dtype == dtype
    np.testing.assert_array_equal(back.hu, hu)
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-5)
    assert back.spacing == pytest.approx(scan.spacing)


def test_probabilities_have_the_class_last_on_the_scans_grid(small_ct, write_nifti, tmp_path, rng):
    scan = read_scan(
        write_nifti(
            small_ct.transpose(1, 0, 2), np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1.0]])
        )
    )
    probabilities = rng.random((4, *scan.shape)).astype(np.float16)
    write_probabilities(tmp_path / "p.nii.gz", probabilities, scan)
    image = nibabel.load(tmp_path / "p.nii.gz")
    stored = nibabel.load(tmp_path / "ct.nii.gz")
    assert image.shape == (*stored.shape, 4)
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.affine, stored.affine)
    for each in range(4):
        back = scan.stored.order.from_stored(np.asarray(image.dataobj)[..., each])
        np.testing.assert_array_equal(back, probabilities[each].astype(np.float32))


def test_metres_and_micrometres_become_mm(small_ct, tmp_path):
    for unit, scale in (("meter", 1e-3), ("micron", 1e3)):
        image = nibabel.Nifti1Image(small_ct.T, np.diag([-0.8 * scale, -0.9 * scale, 2.5 * scale, 1]))
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / "ct.nii.gz")
        scan = read_scan(tmp_path / "ct.nii.gz")
        assert scan.spacing == pytest.approx((2.5, 0.9, 0.8))
        write_labels(tmp_path / "l.nii.gz", small_ct > 0, scan)
        np.testing.assert_array_equal(
            nibabel.load(tmp_path / "l.nii.gz").affine, nibabel.load(tmp_path / "ct.nii.gz").affine
        )
        np.testing.assert_array_equal(read_labels(tmp_path / "l.nii.gz", scan), small_ct > 0)


def test_a_unit_that_cannot_be_is_reported_and_left(small_ct, tmp_path):
    image = nibabel.Nifti1Image(small_ct.T, np.diag([-0.8, -0.9, 2.5, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "ct.nii.gz")
    scan = read_scan(tmp_path / "ct.nii.gz")
    assert scan.spacing == pytest.approx((2.5, 0.9, 0.8))
    assert "micrometres" in scan.notes[0]


def told(path: Path, **options: object) -> str:
    """Read a bad scan and return the one sentence that tells why."""
    with pytest.raises(KidnetError) as caught:
        read_scan(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert str(path) in text
    return text


def test_a_missing_file(tmp_path):
    assert "does not exist" in told(tmp_path / "none.nii.gz")


@pytest.mark.parametrize("part", [0.02, 0.5, 0.999])
def test_a_truncated_gz(part, small_ct, write_nifti):
    path = write_nifti(small_ct.T)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert "cut off" in told(path)


def test_a_damaged_gz(small_ct, write_nifti):
    path = write_nifti(small_ct.T)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "damaged" in told(path)


def test_a_truncated_nii(small_ct, write_nifti):
    path = write_nifti(small_ct.T, name="ct.nii")
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{2 * small_ct.size - 100} of {2 * small_ct.size} bytes" in told(path)


@pytest.mark.parametrize("data", [b"just words\n" * 100, b"", gzip.compress(b"words " * 200)])
def test_text_renamed(data, tmp_path):
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(data)
    assert "not a NIfTI file" in told(path)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((30, 20), "2 dimensions"),
        ((9, 8, 7, 3), "4 dimensions"),
        ((30, 20, 1), "single slice"),
        ((30,), "1 dim"),
    ],
)
def test_another_number_of_dimensions(shape, words, write_nifti, rng):
    assert words in told(write_nifti(rng.integers(-1000, 1000, shape).astype(np.int16)))


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, 1, np.nan), (1, np.inf, 1)])
@pytest.mark.parametrize("sform", [0, 1])
def test_an_impossible_spacing(spacing, sform, small_ct, write_nifti):
    path = write_nifti(small_ct.T, pixdim=[1, *spacing, 1, 1, 1, 1], sform_code=sform)
    assert "has to be positive" in told(path)


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [0, 0.9, 0, 0], [np.nan, 0, 0, 0]])
def test_an_affine_that_spans_no_volume(row, small_ct, write_nifti):
    text = told(write_nifti(small_ct.T, srow_x=row))
    assert "cannot be inverted" in text or "NaN" in text


def test_a_quaternion_that_cannot_be(small_ct, write_nifti):
    path = write_nifti(small_ct.T, sform_code=0, qform_code=1, quatern_b=1, quatern_c=1, quatern_d=1)
    assert "orientation" in told(path)


def test_colour(write_nifti):
    colour = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "one real number" in told(write_nifti(colour))


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.png", "ct"])
def test_another_kind_of_file(name, tmp_path):
    (tmp_path / name).write_bytes(b"x" * 400)
    assert "give a NIfTI file" in told(tmp_path / name)


def test_options_of_other_kinds_of_files_are_refused(small_ct, write_nifti):
    path = write_nifti(small_ct.T)
    with pytest.raises(SettingsError, match="--spacing"):
        read_scan(path, spacing=(1, 1, 1))
    with pytest.raises(SettingsError, match="--series"):
        read_scan(path, series="1.2")


def test_a_scan_cannot_be_changed_in_place(small_ct, write_nifti):
    for scan in (read_scan(write_nifti(small_ct.T)), Scan.from_array(small_ct, (1, 1, 1))):
        with pytest.raises(ValueError, match="read-only"):
            scan.hu[0] = 0
    small_ct[0, 0, 0] = 5  # the caller's own array stays his


def test_an_array_needs_a_positive_spacing_and_three_axes(small_ct):
    with pytest.raises(ScanError, match="positive"):
        Scan.from_array(small_ct, (1, 0, 1))
    with pytest.raises(ScanError, match="three"):
        Scan.from_array(small_ct[0], (1, 1, 1))
