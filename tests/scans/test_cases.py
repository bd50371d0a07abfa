"""Cases are found by the names of their files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_kidnet.errors import LabelsError, ScanError
from napari_kidnet.scans import (
    Scan,
    are_predicted,
    list_cases,
    read_case,
    write_labels,
    write_scan,
)


@pytest.fixture
def folder(tmp_path):
    names = ("b_ct.nii.gz", "b_labels.nii.gz", "b_kidneys.nii.gz", "a_ct.nii", "a_reviewed.nii.gz")
    for name in (*names, "c_labels.nii.gz", ".d_ct.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_cases_are_listed_by_name_with_what_lies_beside(folder):
    a, b = list_cases(folder)
    assert (a.name, a.ct, a.reviewed, a.labels) == (
        "a",
        folder / "a_ct.nii",
        folder / "a_reviewed.nii.gz",
        None,
    )
    assert (b.name, b.labels, b.kidneys) == ("b", folder / "b_labels.nii.gz", folder / "b_kidneys.nii.gz")
    assert b.reviewed is None


def test_a_case_is_read_by_prefix_or_ct(folder):
    assert read_case(folder / "b") == read_case(folder / "b_ct.nii.gz") == list_cases(folder)[1]


def test_a_folder_of_one_case_is_that_case(folder):
    with pytest.raises(ScanError, match="holds a, b"):
        read_case(folder)
    (folder / "a_ct.nii").unlink()
    assert read_case(folder).name == "b"


def test_what_is_not_there(folder):
    with pytest.raises(ScanError, match="does not exist"):
        read_case(folder / "c")
    with pytest.raises(ScanError, match="not a folder"):
        list_cases(folder / "none")


def test_a_prediction_that_nobody_reviewed_is_refused_until_somebody_vouches_for_it(tmp_path):
    scan = Scan.from_array(np.zeros((4, 5, 6), np.int16), (1.0, 1.0, 1.0))
    labels = np.ones(scan.shape, np.uint8)
    write_scan(tmp_path / "a_ct.nii.gz", scan)
    write_labels(tmp_path / "a_labels.nii.gz", labels, like=scan, predicted=True)
    case = read_case(tmp_path / "a")
    with pytest.raises(LabelsError, match=r"a_labels\.nii\.gz is a prediction.*--reviewed all"):
        case.check_reviewed()
    replace(case, all_reviewed=True).check_reviewed()
    write_labels(tmp_path / "a_reviewed.nii.gz", labels, like=scan)
    read_case(tmp_path / "a").check_reviewed()


def test_labels_of_a_person_and_of_other_programs_count_as_reviewed(tmp_path):
    scan = Scan.from_array(np.zeros((4, 5, 6), np.int16), (1.0, 1.0, 1.0))
    for name in ("a.nii.gz", "a.nii"):
        write_labels(tmp_path / name, np.ones(scan.shape, np.uint8), like=scan)
        assert not are_predicted(tmp_path / name)
        write_labels(tmp_path / name, np.ones(scan.shape, np.uint8), like=scan, predicted=True)
        assert are_predicted(tmp_path / name)
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:40])
    for absent in ("cut.nii.gz", "none.nii.gz"):
        assert not are_predicted(tmp_path / absent)
