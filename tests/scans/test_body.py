"""The body is found with what is in it and without the bed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_kidnet.scans import body_mask, read_scan


def lying(spacing: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, body and bed of an elliptic body with gas in it on a curved shell, (z, y, x)."""
    size = [round(span / step) for span, step in zip((60, 300, 400), spacing, strict=True)]
    z, y, x = (np.arange(count) * step for count, step in zip(size, spacing, strict=True))
    y, x = y[None, :, None], x[None, None, :]
    body = ((y - 120) / 90) ** 2 + ((x - 200) / 150) ** 2 + 0 * z[:, None, None] < 1
    gas = (y - 120) ** 2 + (x - 150) ** 2 + 0 * z[:, None, None] < 30**2
    distance = np.hypot(y - (-180), x - 200) + 0 * z[:, None, None]
    bed = (abs(distance - 394) < 3) & (y > 150) & ~body
    hu = np.full(body.shape, -1000, np.int16)
    hu[body] = 40
    hu[gas] = -1000
    hu[bed] = -100
    return hu, body, bed


@pytest.mark.parametrize("spacing", [(5, 0.9, 0.9), (1.0, 2.0, 2.0), (3.0, 3.0, 3.0)])
def test_gas_is_inside_and_the_bed_outside(spacing):
    hu, body, bed = lying(spacing)
    mask = body_mask(hu, spacing)
    assert mask.shape == hu.shape
    assert mask[body].mean() > 0.999
    assert mask[~body & ~bed].mean() < 0.12  # a rim of a few mm
    far = bed & (np.abs(np.arange(hu.shape[2]) * spacing[2] - 200) > 100)
    assert far.any()
    assert mask[far].mean() < 0.05


def test_a_crop_within_the_body_is_all_body(rng):
    assert body_mask(rng.normal(40, 20, (20, 30, 40)), (2, 1, 1)).all()


def test_air_is_no_body():
    assert not body_mask(np.full((9, 10, 11), -1000, np.int16), (3, 1, 1)).any()


def test_the_kidneys_of_a_real_scan_are_inside(shared):
    from napari_kidnet.scans import read_labels

    scan = read_scan(shared / "ct_abdomen_3mm.nii.gz")
    mask = body_mask(scan.hu, scan.spacing)
    for side in ("left", "right"):
        assert mask[read_labels(shared / f"ct_abdomen_3mm_kidney_{side}.nii.gz", scan) > 0].all()
    assert 0.3 < mask.mean() < 0.8


def test_a_real_bed_is_outside(shared):
    scan = read_scan(shared / "dicom_ct")
    mask = body_mask(scan.hu, scan.spacing)
    assert 0.2 < mask.mean() < 0.5
    assert not mask[:, -60:].any()
