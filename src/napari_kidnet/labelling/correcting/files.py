"""The files of an islands session: labels, and beside them the journal, the reviewed mask and the kidneys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.errors import KidnetError
from napari_kidnet.islands import VoxelState

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.labelling.correcting.session import IslandsSession

__all__ = ["journal_path", "kidneys_path", "labels_on_disk", "reviewed_on_disk", "reviewed_path"]


def journal_path(labels: Path) -> Path:
    """Return where the journal of a label file lies.

    Examples
    --------
    >>> from pathlib import Path
    >>> journal_path(Path("patient_labels.nii.gz")).name
    'patient_labels.journal'
    """
    return labels.with_name(_stem(labels) + ".journal")


def reviewed_path(labels: Path) -> Path:
    """Return where the reviewed mask of a label file lies.

    Examples
    --------
    >>> from pathlib import Path
    >>> reviewed_path(Path("patient_labels.nii.gz")).name
    'patient_reviewed.nii.gz'
    """
    return labels.with_name(_stem(labels).removesuffix("_labels") + "_reviewed.nii.gz")


def kidneys_path(labels: Path) -> Path | None:
    """Return where the kidneys of a label file's case lie; None where there are none."""
    name = _stem(labels).removesuffix("_labels") + "_kidneys"
    found = (labels.with_name(name + suffix) for suffix in (".nii.gz", ".nii"))
    return next((each for each in found if each.is_file()), None)


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".nii.gz", ".nii", ".tiff", ".tif"):
        name = name.removesuffix(suffix)
    return name


def labels_on_disk(session: IslandsSession) -> NDArray[Any]:
    """Return what the labels' file holds; zeros where there is none."""
    path = session.path
    if path is not None and path.is_file():
        from napari_kidnet.scans import read_labels

        try:
            return read_labels(path, session.scan).astype(session.known.dtype, copy=False)
        except KidnetError as error:
            session.warning = str(error)
    return np.zeros(session.known.shape, session.known.dtype)


def reviewed_on_disk(session: IslandsSession) -> NDArray[np.uint8]:
    """Return the reviewed mask that lies beside the labels' file; zeros where there is none."""
    states = np.zeros(session.known.shape, np.uint8)
    path = None if session.path is None else reviewed_path(session.path)
    if path is not None and path.is_file():
        from napari_kidnet.scans import read_labels

        try:
            states[read_labels(path, session.scan) != 0] = VoxelState.REVIEWED
        except KidnetError as error:
            session.warning = str(error)
    return states
