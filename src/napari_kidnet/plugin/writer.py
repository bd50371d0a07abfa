"""What napari calls to save labels: NIfTI on the grid of the scan that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_kidnet.errors import KidnetError, LabelsError
from napari_kidnet.plugin.layers import TOKEN, ScanTag
from napari_kidnet.plugin.telling import tell

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.scans import Scan

__all__ = ["write_labels_layer"]

FullLayerData: TypeAlias = tuple[Any, dict[str, Any], str]


def write_labels_layer(path: str, layers: list[FullLayerData]) -> list[str]:
    """Write the one labels layer among these layers; an image beside it says whose they are.

    Returns
    -------
    list of str
        What was written: the path, or nothing where it failed (and was told).
    """
    labels = next(each for each in layers if each[2] == "labels")
    images = [each for each in layers if each[2] == "image"]
    try:
        _write(Path(path), labels, images)
    except KidnetError as error:
        tell(error)
        return []
    return [path]


def _write(path: Path, labels: FullLayerData, images: list[FullLayerData]) -> None:
    from napari_kidnet.scans import write_labels

    data = np.asarray(labels[0])
    if data.ndim != 3:
        raise LabelsError(
            f"The labels layer {labels[1].get('name', '')} has {data.ndim} dimensions: only a volume "
            "(z, y, x) can be written as NIfTI labels."
        )
    write_labels(path, data, like=_scan_beside(data, labels, images))


def _scan_beside(data: NDArray[Any], labels: FullLayerData, images: list[FullLayerData]) -> Scan:
    """Return the scan that labels belong to: their own mark, an image's, or a bare grid."""
    for _, attributes, _ in (labels, *images):
        tag = attributes.get("metadata", {}).get(TOKEN)
        if isinstance(tag, ScanTag):
            return tag.scan
    from napari_kidnet.scans import Scan

    z, y, x = (float(s) for s in labels[1].get("scale", (1, 1, 1)))
    origin = np.asarray(labels[1].get("translate", (0, 0, 0)), float)
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = (-origin[2], -origin[1], origin[0])
    empty = np.zeros(data.shape, np.int16)
    return Scan.from_array(empty, (z, y, x), name="labels", affine=affine)
