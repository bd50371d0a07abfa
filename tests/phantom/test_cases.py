from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.cases import PhantomSettings, make_case, make_renderings, phantom_steps, write_case
from napari_kidnet.phantom.physics import PhysicsSettings
from napari_kidnet.progress import Progress
from napari_kidnet.scans import list_cases, read_labels, read_scan

SMALL = (1.8, 1.6, 1.6)


@pytest.fixture(scope="module")
def renderings():
    return make_renderings(1003, PhantomSettings(spacing=SMALL), ["arterial", "excretory", "unenhanced"])


def test_a_case_is_one_grid(renderings):
    for case in renderings:
        assert case.scan.hu.dtype == np.int16
        assert case.scan.spacing == SMALL
        for labels in (case.truth, case.annotation, case.kidneys):
            assert labels.dtype == np.uint8
            assert labels.shape == case.scan.shape
        assert set(np.unique(case.truth)) == {0, 1, 2, 3}
        assert case.kidneys.max() in (1, 2)


def test_renderings_share_their_geometry_and_nothing_else(renderings):
    arterial, excretory, _ = renderings
    np.testing.assert_array_equal(arterial.truth, excretory.truth)
    np.testing.assert_array_equal(arterial.annotation, excretory.annotation)
    assert arterial.scan.name != excretory.scan.name
    assert (arterial.scan.hu != excretory.scan.hu).mean() > 0.8


def test_the_phases_look_like_themselves(renderings):
    found = []
    for case in renderings:
        hu, truth = case.scan.hu.astype(float), case.truth
        found.append([np.median(hu[truth == c]) for c in (1, 2, 3)])
    arterial, excretory, plain = found
    assert 180 < arterial[0] < 380
    assert arterial[0] > arterial[1] + 40
    assert arterial[2] < 90
    assert excretory[2] > excretory[0] + 60
    assert abs(plain[0] - plain[1]) < 35
    assert 0 < plain[0] < 75


def test_the_same_seed_makes_the_same_case():
    settings = PhantomSettings(phase="venous", spacing=(2.5, 2.0, 2.0), variety="wide")
    first, second, other = (make_case(seed, settings) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.scan.hu, second.scan.hu)
    np.testing.assert_array_equal(first.annotation, second.annotation)
    assert first.record == second.record
    assert other.scan.shape != first.scan.shape or (other.scan.hu != first.scan.hu).mean() > 0.5


def test_thick_slices_keep_labels_on_the_scans_grid():
    case = make_case(5, PhantomSettings(spacing=(4.0, 2.0, 2.0)))
    assert case.scan.spacing == (4.0, 2.0, 2.0)
    assert case.record["physics"]["thick"] == 3
    assert case.truth.shape == case.scan.shape


def test_a_scanner_may_be_given():
    noisy = PhysicsSettings(noise_hu=30.0, grain_mm=0.5)
    clean = replace(noisy, noise_hu=2.0)
    made = [make_case(5, PhantomSettings(spacing=(4.0, 2.0, 2.0), physics=each)) for each in (noisy, clean)]
    assert made[0].record["physics"] == asdict(replace(noisy, thick=3))
    np.testing.assert_array_equal(made[0].truth, made[1].truth)
    apart = made[0].scan.hu.astype(float) - made[1].scan.hu
    assert 25 < apart.std() < 45


def test_a_written_case_is_read_back(tmp_path, renderings):
    case = renderings[0]
    path = write_case(tmp_path, case)
    (found,) = list_cases(tmp_path)
    assert found.name == case.scan.name
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.hu, case.scan.hu)
    assert scan.spacing == pytest.approx(SMALL)
    np.testing.assert_array_equal(read_labels(found.labels, like=scan), case.truth)
    np.testing.assert_array_equal(read_labels(found.kidneys, like=scan), case.kidneys)
    annotation = read_labels(tmp_path / f"{found.name}_annotation.nii.gz", like=scan)
    np.testing.assert_array_equal(annotation, case.annotation)
    record = json.loads((tmp_path / f"{found.name}.json").read_text())
    assert (record["seed"], record["phase"], record["anatomy"]) == (1003, "arterial", "procedural")
    assert not [file for file in tmp_path.iterdir() if "partial" in file.name]


def test_phantom_steps_reports_and_writes(tmp_path):
    steps = phantom_steps(tmp_path, 2, 30, PhantomSettings(spacing=(2.5, 2.5, 2.5)))
    reports = []
    while True:
        try:
            reports.append(next(steps))
        except StopIteration as stop:
            written = stop.value
            break
    assert [(r.done, r.total) for r in reports] == [(0, 2), (1, 2), (2, 2)]
    assert all(isinstance(r, Progress) for r in reports)
    assert [path.name for path in written] == [
        "phantom-0030-arterial_ct.nii.gz",
        "phantom-0031-arterial_ct.nii.gz",
    ]
    assert len(list_cases(tmp_path)) == 2


@pytest.mark.parametrize(
    "wrong",
    [{"phase": "late"}, {"field": "head"}, {"variety": "odd"}, {"spacing": (0.0, 1.0, 1.0)}],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        PhantomSettings(**wrong)


def test_no_cases_is_no_number_of_cases(tmp_path):
    with pytest.raises(SettingsError, match="at least 1"):
        next(phantom_steps(tmp_path, 0))
