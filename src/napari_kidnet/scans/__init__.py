"""Scans in and out: NIfTI, TIFF stacks and DICOM series as ``Scan``, labels on the scan's own grid.

The readers' libraries (nibabel, pydicom, tifffile) are loaded when a file of theirs is read.
"""

from __future__ import annotations

from napari_kidnet.scans.body import body_mask
from napari_kidnet.scans.cases import Case, list_cases, read_case
from napari_kidnet.scans.dicom_series import SeriesInfo, list_series
from napari_kidnet.scans.intensity import normalise
from napari_kidnet.scans.labels import are_predicted, read_labels, write_labels
from napari_kidnet.scans.probabilities import (
    KeptProbabilities,
    probabilities_beside,
    read_probabilities,
    write_probabilities,
)
from napari_kidnet.scans.reading import read_scan, write_scan
from napari_kidnet.scans.scan import Scan, StoredGrid
from napari_kidnet.scans.writing import ensure_writable, write_atomically

__all__ = [
    "Case",
    "KeptProbabilities",
    "Scan",
    "SeriesInfo",
    "StoredGrid",
    "are_predicted",
    "body_mask",
    "ensure_writable",
    "list_cases",
    "list_series",
    "normalise",
    "probabilities_beside",
    "read_case",
    "read_labels",
    "read_probabilities",
    "read_scan",
    "write_atomically",
    "write_labels",
    "write_probabilities",
    "write_scan",
]
