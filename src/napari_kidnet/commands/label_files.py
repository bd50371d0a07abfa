"""Label files without their scan: the grid that they lie on is their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_kidnet.errors import LabelsError, ScanError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_kidnet.scans import Scan

__all__ = ["check_classes", "grid_of"]


def grid_of(path: Path) -> Scan:
    """Return a label file's grid, as a scan whose voxels mean nothing.

    Raises
    ------
    LabelsError
        The file cannot be read.
    """
    from napari_kidnet.scans.nifti import read_nifti
    from napari_kidnet.scans.scan import Scan, compact
    from napari_kidnet.scans.tiff import is_tiff, read_tiff

    try:
        volume = read_tiff(path, None) if is_tiff(path) else read_nifti(path)
    except ScanError as error:
        raise LabelsError(str(error)) from error
    return Scan.from_stored(volume, compact(volume.values), path, ())


def check_classes(labels: Any, path: Path) -> None:
    """Refuse labels, (z, y, x), that hold more than our four classes: they are of another project."""
    import numpy as np

    from napari_kidnet.classes import CLASSES

    highest = int(np.max(labels, initial=0))
    if highest >= len(CLASSES):
        legend = ", ".join(f"{each.id} {each.title.lower()}" for each in CLASSES)
        found = ", ".join(str(value) for value in np.unique(labels)[:12])
        raise LabelsError(f"{path} holds the classes {found}, and only {legend} are known: give such labels.")
