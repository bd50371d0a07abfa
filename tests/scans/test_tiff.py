"""TIFF stacks are read with the spacing they state, and asked about if they state none."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import tifffile

from napari_kidnet.errors import LabelsError, ScanError
from napari_kidnet.scans import read_labels, read_scan, write_labels


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("cm", 10.0), ("micron", 1e-3), ("\\u00B5m", 1e-3)])
def test_imagej_states_its_spacing(unit, mm, small_ct, tmp_path):
    tifffile.imwrite(
        tmp_path / "ct.tif",
        small_ct,
        imagej=True,
        resolution=(mm / 0.8, mm / 0.9),
        metadata={"axes": "ZYX", "spacing": 2.5 / mm, "unit": unit},
    )
    scan = read_scan(tmp_path / "ct.tif")
    np.testing.assert_array_equal(scan.hu, small_ct)
    assert scan.spacing == pytest.approx((2.5, 0.9, 0.8), rel=1e-4)
    assert "feet" in scan.notes[0]


def test_ome_states_its_spacing(small_ct, tmp_path):
    sizes = {"PhysicalSizeX": 800, "PhysicalSizeY": 900, "PhysicalSizeZ": 2.5, "PhysicalSizeZUnit": "mm"}
    tifffile.imwrite(tmp_path / "ct.ome.tif", small_ct, metadata={"axes": "ZYX", **sizes})
    scan = read_scan(tmp_path / "ct.ome.tif")
    np.testing.assert_array_equal(scan.hu, small_ct)
    assert scan.spacing == pytest.approx((2.5, 0.9, 0.8))
    assert scan.name == "ct"


def test_a_stack_without_spacing_is_asked_about(small_ct, tmp_path):
    tifffile.imwrite(tmp_path / "ct.tif", small_ct, photometric="minisblack")
    with pytest.raises(ScanError, match="--spacing Z Y X"):
        read_scan(tmp_path / "ct.tif")
    assert read_scan(tmp_path / "ct.tif", spacing=(3, 1, 1)).spacing == (3, 1, 1)
    with pytest.raises(ScanError, match="positive"):
        read_scan(tmp_path / "ct.tif", spacing=(3, 0, 1))


def test_unsigned_stacks_are_turned_to_hu(small_ct, tmp_path):
    tifffile.imwrite(
        tmp_path / "ct.tif", (small_ct.astype(int) + 1024).astype(np.uint16), photometric="minisblack"
    )
    scan = read_scan(tmp_path / "ct.tif", spacing=(3, 1, 1))
    np.testing.assert_array_equal(scan.hu, small_ct)
    assert any("-1024" in note for note in scan.notes)


@pytest.mark.parametrize("name", ["labels.tif", "labels.nii.gz"])
def test_labels_of_a_stack_are_written_by_suffix(name, small_ct, tmp_path):
    tifffile.imwrite(tmp_path / "ct.tif", small_ct, photometric="minisblack")
    scan = read_scan(tmp_path / "ct.tif", spacing=(3, 0.7, 0.6))
    labels = (small_ct > 40).astype(np.uint8) * 3
    write_labels(tmp_path / name, labels, scan)
    np.testing.assert_array_equal(read_labels(tmp_path / name, scan), labels)
    np.testing.assert_array_equal(read_labels(tmp_path / name), labels)
    if name.endswith("tif"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), labels)
        with pytest.raises(LabelsError, match="voxels"):
            read_labels(tmp_path / name, read_scan_cut(tmp_path, small_ct))
    else:
        assert nibabel.load(tmp_path / name).header.get_zooms() == pytest.approx((0.6, 0.7, 3))


def read_scan_cut(tmp_path, small_ct):
    tifffile.imwrite(tmp_path / "cut.tif", small_ct[2:], photometric="minisblack")
    return read_scan(tmp_path / "cut.tif", spacing=(3, 0.7, 0.6))


@pytest.mark.parametrize(
    ("shape", "extra", "words"),
    [
        ((20, 30), {}, "2 dimensions"),
        ((3, 4, 20, 30), {}, "4 dimensions"),
        ((5, 20, 30, 3), {"photometric": "rgb"}, "colour"),
    ],
)
def test_other_images(shape, extra, words, rng, tmp_path):
    values = rng.integers(0, 255, shape).astype(np.uint8)
    tifffile.imwrite(tmp_path / "ct.tif", values, **({"photometric": "minisblack"} | extra))
    with pytest.raises(ScanError, match=words):
        read_scan(tmp_path / "ct.tif", spacing=(1, 1, 1))


@pytest.mark.parametrize("keep", [0, 6, 200])
def test_damaged_stacks(keep, small_ct, tmp_path):
    tifffile.imwrite(tmp_path / "ct.tif", small_ct, photometric="minisblack", compression="zlib")
    (tmp_path / "ct.tif").write_bytes((tmp_path / "ct.tif").read_bytes()[:keep])
    with pytest.raises(ScanError, match="cut off"):
        read_scan(tmp_path / "ct.tif", spacing=(1, 1, 1))
