"""DICOM series are ordered in space, turned to HU, and refused with a reason where they are no block."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from napari_kidnet.errors import ScanError
from napari_kidnet.scans import list_series, read_labels, read_scan, write_labels


def told(path, **options) -> str:
    with pytest.raises(ScanError) as caught:
        read_scan(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_slices_are_ordered_by_position_and_lie_where_dicom_says(small_ct, write_dicom, tmp_path):
    write_dicom(small_ct)
    scan = read_scan(tmp_path / "series")
    np.testing.assert_array_equal(scan.hu, small_ct)
    assert scan.spacing == pytest.approx((2.5, 0.9, 0.8))
    # the first voxel of the first slice, LPS (-100, -120, 40), in nibabel's right-front-head
    np.testing.assert_allclose(scan.affine @ [0, 0, 0, 1], [100, 120, 40, 1])
    np.testing.assert_allclose(scan.affine @ [1, 0, 0, 1], [99.2, 120, 40, 1])


def test_slices_from_the_head_down_are_the_same_scan(small_ct, write_dicom, tmp_path):
    write_dicom(small_ct, "up")
    write_dicom(small_ct[::-1], "down", step=np.array([0, 0, -2.5]))
    up, down = read_scan(tmp_path / "up"), read_scan(tmp_path / "down")
    np.testing.assert_array_equal(down.hu, up.hu)
    assert down.affine[2, 3] == up.affine[2, 3] - 25.0


def test_labels_are_stored_left_front_head_as_dcm2niix_stores_an_axial_scan(small_ct, write_dicom, tmp_path):
    write_dicom(small_ct)
    scan = read_scan(tmp_path / "series")
    write_labels(tmp_path / "labels.nii.gz", (small_ct > 40).astype(np.uint8), scan)
    image = nibabel.load(tmp_path / "labels.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_array_equal(np.asarray(image.dataobj), (small_ct > 40)[:, ::-1].transpose(2, 1, 0))
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz", scan), small_ct > 40)


@pytest.mark.parametrize(
    ("direction", "step"),
    [
        ((-1, 0, 0, 0, -1, 0), (0, 0, 2.5)),
        ((1, 0, 0, 0, 0, -1), (0, 2.5, 0)),
        ((0, 1, 0, 0, 0, -1), (-2.5, 0, 0)),
    ],
)
def test_prone_coronal_and_sagittal_series_are_turned_to_lps(
    direction, step, small_ct, write_dicom, tmp_path
):
    """A voxel found by its DICOM position has the value of its pixel."""
    write_dicom(small_ct, direction=direction, step=np.array(step))
    scan = read_scan(tmp_path / "series")
    k, row, column = 3, 4, 9
    lps = np.array([-100, -120, 40.0]) + k * np.array(step)
    lps += np.array(direction[:3]) * column * 0.8 + np.array(direction[3:]) * row * 0.9
    x, y, z = np.rint(np.linalg.solve(scan.affine, [-lps[0], -lps[1], lps[2], 1])[:3]).astype(int)
    assert scan.hu[z, y, x] == small_ct[k, row, column]
    assert np.all(np.diag(scan.affine)[:3] * [-1, -1, 1] > 0)


@pytest.mark.parametrize("encode", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_pixels_are_exact(encode, small_ct, write_dicom, tmp_path):
    if encode == RLELossless:
        write_dicom(small_ct, encode=encode)
    else:
        imagecodecs = pytest.importorskip("imagecodecs")
        from pydicom.encaps import encapsulate

        def pack(data, k):
            pixels = (small_ct[k].astype(np.int32) + 1024).astype(np.uint16)
            codec = (
                imagecodecs.jpegls_encode(pixels)
                if encode == JPEGLSLossless
                else imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True)
            )
            data.PixelData = encapsulate([codec])
            data["PixelData"].is_undefined_length = True
            data.file_meta.TransferSyntaxUID = encode

        write_dicom(small_ct, change=pack)
    np.testing.assert_array_equal(read_scan(tmp_path / "series").hu, small_ct)


def test_each_slice_has_its_own_slope(small_ct, write_dicom, tmp_path):
    def change(data, k):
        if k % 2:
            data.RescaleIntercept = -1000
            data.PixelData = (small_ct[k].astype(np.int32) + 1100).astype("<u2").tobytes()
            data.RescaleIntercept = -1100

    write_dicom(small_ct, change=change)
    np.testing.assert_array_equal(read_scan(tmp_path / "series").hu, small_ct)


def test_one_file_stands_for_its_series(small_ct, write_dicom, tmp_path):
    first = write_dicom(small_ct, "both")
    for each in first:
        each.rename(each.with_name("A" + each.name))
    second = write_dicom(small_ct[:6], "both", SeriesDescription="short")
    assert read_scan(second[2]).shape[0] == 6


def test_two_series_are_listed_and_one_is_chosen(small_ct, write_dicom, tmp_path):
    one, two = generate_uid(), generate_uid()
    for each in write_dicom(small_ct, "both", SeriesInstanceUID=one, SeriesDescription="arterial"):
        each.rename(each.with_name("A" + each.name))
    write_dicom(small_ct[:6], "both", SeriesInstanceUID=two, SeriesDescription="venous")
    listed = {each.uid: each for each in list_series(tmp_path / "both")}
    assert (listed[one].description, listed[one].slices, listed[one].modality) == ("arterial", 11, "CT")
    text = told(tmp_path / "both")
    for part in (one, two, "arterial", "venous", "11 slices", "6 slices", "--series"):
        assert part in text
    assert read_scan(tmp_path / "both", series=two).shape[0] == 6
    assert read_scan(tmp_path / "both", series=one[-8:]).shape[0] == 11
    assert "no DICOM series 'x'" in told(tmp_path / "both", series="x")


def test_a_missing_slice_is_named_with_its_place(small_ct, write_dicom, tmp_path):
    write_dicom(small_ct)[4].unlink()
    text = told(tmp_path / "series")
    assert "lacks 1 slice" in text
    assert "47.5 mm" in text  # the last one before the gap, 40 + 3 × 2.5


def test_uneven_slices(small_ct, write_dicom, tmp_path):
    def change(data, k):
        data.ImagePositionPatient = [-100, -120, 40 + 2.5 * k + 0.1 * k * k]

    write_dicom(small_ct, change=change)
    assert "uneven slices" in told(tmp_path / "series")


def test_positions_rounded_to_a_tenth_are_even(small_ct, write_dicom, tmp_path):
    def change(data, k):
        data.ImagePositionPatient = [-100, -120, round(40 + 0.625 * k, 1)]

    write_dicom(small_ct, change=change)
    assert read_scan(tmp_path / "series").spacing[0] == pytest.approx(0.625, abs=0.01)


def test_a_tilted_gantry(small_ct, write_dicom, tmp_path):
    write_dicom(small_ct, step=np.array([0, 2.5 * np.tan(np.radians(15)), 2.5]))
    assert "tilted by 15.0°" in told(tmp_path / "series")


def test_two_slices_at_one_place(small_ct, write_dicom, tmp_path):
    uid = generate_uid()
    for each in write_dicom(small_ct, SeriesInstanceUID=uid):
        each.rename(each.with_name("A" + each.name))
    write_dicom(small_ct, SeriesInstanceUID=uid)
    assert "11 slices at the position of another" in told(tmp_path / "series")


def test_mr_is_refused(small_ct, write_dicom, tmp_path):
    write_dicom(small_ct, Modality="MR")
    text = told(tmp_path / "series")
    assert "modality MR" in text
    assert "only CT" in text


def test_an_empty_folder_and_one_of_other_files(tmp_path):
    assert "holds no DICOM images" in told(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "fake.dcm").write_text("hello")
    assert "holds no DICOM images" in told(tmp_path)


def test_a_single_slice_is_no_volume(small_ct, write_dicom, tmp_path):
    write_dicom(small_ct[:1])
    assert "single slice" in told(tmp_path / "series")


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "PixelSpacing"])
def test_a_slice_without_a_place(tag, small_ct, write_dicom, tmp_path):
    write_dicom(small_ct, change=lambda data, k: data.__delattr__(tag) if k == 5 else None)
    assert f"lacks {tag}" in told(tmp_path / "series")


def test_a_slice_of_another_size(small_ct, write_dicom, tmp_path):
    def change(data, k):
        if k == 5:
            data.PixelSpacing = [0.5, 0.5]

    write_dicom(small_ct, change=change)
    assert "another size" in told(tmp_path / "series")


def test_damaged_pixels(small_ct, write_dicom, tmp_path):
    path = write_dicom(small_ct)[3]
    path.write_bytes(path.read_bytes()[:-50])
    assert "cannot be decoded" in told(tmp_path / "series")


def test_a_report_beside_the_series_does_not_matter(small_ct, write_dicom, tmp_path):
    write_dicom(small_ct)
    for each in write_dicom(small_ct[:1], "report", Modality="SR"):
        each.rename(tmp_path / "series" / "REPORT")
    (tmp_path / "series" / "readme.txt").write_text("exported")
    assert read_scan(tmp_path / "series").shape == small_ct.shape


def test_a_real_jpeg_2000_series(shared, tmp_path):
    scan = read_scan(shared / "dicom_ct")
    assert scan.shape == (20, 512, 512)
    assert scan.spacing == pytest.approx((2.0, 0.9765625, 0.9765625))
    assert (scan.hu.min(), scan.hu.max()) == (-1024, 1839)
    # what dcm2niix 1.0.20260724 wrote for this folder
    expected = [
        [-0.9765625, 0, 0, 249.51171875],
        [0, 0.9765625, 0, -61.51171875],
        [0, 0, 2, -804.5],
        [0, 0, 0, 1],
    ]
    write_labels(tmp_path / "labels.nii.gz", np.zeros(scan.shape, np.uint8), scan)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "labels.nii.gz").affine, expected)
