"""The scans of a folder and those below it: cases, other NIfTI files, TIFF stacks, folders with DICOM."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from napari_kidnet.errors import WorklistError
from napari_kidnet.scans.cases import Case
from napari_kidnet.scans.dicom_series import is_dicom
from napari_kidnet.scans.scan import name_of

__all__ = ["FoundScan", "case_at", "find_scans", "labels_path"]

_SUFFIXES: Final = (".nii.gz", ".nii", ".tif", ".tiff")
_LOOKED_AT: Final = 32
"""Files of a folder that are looked at before it is said to hold no DICOM."""
_DEPTH: Final = 3
"""Folders below the chosen one: FOLDER/patient/study/slices is as deep as DICOM is exported."""
_NOT_A_SCAN: Final = frozenset(
    "label labels seg segmentation mask reviewed annotation truth kidneys probability probabilities "
    "prediction".split()
)


@dataclass(frozen=True, slots=True)
class FoundScan:
    """A scan in a folder.

    Attributes
    ----------
    key : str
        Its path in the folder, with ``/`` on every system: what the worklist knows it by.
    case : Case
        Its file or DICOM folder, and the labels and reviewed mask that lie beside it.
    problem : str
        Why it cannot be worked on; empty where it can.
    """

    key: str
    case: Case
    problem: str = ""


def find_scans(folder: Path) -> list[FoundScan]:
    """Return the scans of a folder, in the order in which a person would list them.

    Raises
    ------
    WorklistError
        It is not a folder, cannot be read, or is itself one DICOM series.
    """
    if not folder.exists():
        raise WorklistError(f"{folder} does not exist; choose the folder that holds the scans.")
    if not folder.is_dir():
        raise WorklistError(f"{folder} is a file; choose the folder that holds the scans.")
    try:
        entries = _entries(folder)
    except OSError as error:
        raise WorklistError(
            f"{folder} cannot be read ({error.strerror or error}); choose a folder that you may read."
        ) from error
    if _holds_dicom(entries):
        raise WorklistError(
            f"{folder} is itself one DICOM series; choose the folder around it: labels will lie there."
        )
    paths = sorted(_scans_in(entries, _DEPTH), key=lambda path: _natural(path.relative_to(folder).as_posix()))
    owners: dict[Path, str] = {}
    found = []
    for path in paths:
        key = path.relative_to(folder).as_posix()
        labels = labels_path(path)
        other = owners.setdefault(labels, key)
        problem = ""
        if other != key:
            problem = f"{key} and {other} would share {labels.name}; rename one of them."
        found.append(FoundScan(key, case_at(path), problem))
    return found


def labels_path(scan: Path) -> Path:
    """Return where the labels of a scan are kept: beside it, by the names of a case.

    Examples
    --------
    >>> labels_path(Path("a/p01_ct.nii.gz")).name, labels_path(Path("a/series")).name
    ('p01_labels.nii.gz', 'series_labels.nii.gz')
    """
    return scan.with_name(f"{_name(scan)}_labels.nii.gz")


def _name(scan: Path) -> str:
    name = name_of(scan)
    return name.removesuffix("_ct") or name


def case_at(scan: Path) -> Case:
    """Return a scan with what lies beside it now."""
    name = _name(scan)
    beside = {}
    for kind in ("labels", "reviewed", "kidneys"):
        files = (scan.with_name(f"{name}_{kind}{suffix}") for suffix in (".nii.gz", ".nii"))
        beside[kind] = next((each for each in files if each.is_file()), None)
    return Case(name, scan, beside["labels"], beside["reviewed"], beside["kidneys"])


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted((each for each in found if not each.name.startswith(".")), key=lambda each: each.name)


def _scans_in(entries: list[os.DirEntry[str]], depth: int) -> list[Path]:
    paths = []
    for entry in entries:
        path = Path(entry.path)
        if entry.is_file() and _is_scan_file(entry.name):
            paths.append(path)
        elif entry.is_dir() and depth:
            try:
                inside = _entries(path)
            except OSError:
                continue  # a folder that belongs to somebody else does not spoil the others
            paths += [path] if _holds_dicom(inside) else _scans_in(inside, depth - 1)
    return paths


def _is_scan_file(name: str) -> bool:
    lower = name.lower()
    if not lower.endswith(_SUFFIXES):
        return False
    stem = name_of(Path(lower))
    return stem.endswith("_ct") or not _NOT_A_SCAN.intersection(re.split(r"[^a-z]+", stem))


def _holds_dicom(entries: list[os.DirEntry[str]]) -> bool:
    files = [Path(each.path) for each in entries if each.is_file()][:_LOOKED_AT]
    return any(is_dicom(each) for each in files if not each.name.lower().endswith(_SUFFIXES))


def _natural(key: str) -> list[tuple[int, str]]:
    """Order "scan 9" before "scan 10"."""
    parts = re.split(r"(\d+)", key.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
