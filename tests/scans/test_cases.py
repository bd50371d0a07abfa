"""Cases are found by the names of their files."""

from __future__ import annotations

import pytest

from napari_kidnet.errors import ScanError
from napari_kidnet.scans import list_cases, read_case


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
