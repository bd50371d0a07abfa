"""Cases on the training grid: the same way to it as a scan takes when it is segmented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.classes import CLASSES, VESSELS
from napari_kidnet.segmentation.grid import NetworkGrid
from napari_kidnet.training.centres import class_skeletons

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["labels_on_grid", "scan_on_grid"]

Spacing = tuple[float, float, float]


def scan_on_grid(values: NDArray[Any], spacing: Spacing, wanted: Spacing | None) -> NDArray[np.int16]:
    """Return HU (or a mask, times 255) on a grid of ``wanted`` mm, int16 (z, y, x); averaged if coarser."""
    if values.dtype == bool:
        values = values.astype(np.int16) * 255
    grid = NetworkGrid.of(_shape(values), spacing, wanted)
    if not grid.same:
        values = grid.read(values, _whole(grid))
    return np.clip(np.round(values), -32768, 32767).astype(np.int16)


def labels_on_grid(labels: NDArray[np.uint8], spacing: Spacing, wanted: Spacing | None) -> NDArray[np.uint8]:
    """Return labels on a grid of ``wanted`` mm, uint8 (z, y, x).

    A voxel takes the class that fills most of it. A vessel thinner than a voxel of a coarser grid never does
    so; the voxels that its centreline runs through take its class where no other vessel is, so that it stays
    whole.
    """
    grid = NetworkGrid.of(_shape(labels), spacing, wanted)
    if grid.same:
        return labels.astype(np.uint8, copy=True)
    best = np.full(grid.shape, 0.5, dtype=np.float32)
    result = np.zeros(grid.shape, dtype=np.uint8)
    foreground = np.zeros(grid.shape, dtype=np.float32)
    largest = np.zeros(grid.shape, dtype=np.float32)
    for each in CLASSES[1:]:
        share = grid.read((labels == each.id).astype(np.float32), _whole(grid))
        foreground += share
        winner = share > largest
        result[winner] = each.id
        largest[winner] = share[winner]
    result[foreground < best] = 0
    skeletons = class_skeletons(labels)
    for vessel in VESSELS:
        points = np.argwhere(skeletons[vessel.id])
        at = tuple(
            np.clip(
                np.round(axis.to_network(points[:, n].astype(np.float64))).astype(int), 0, axis.length - 1
            )
            for n, axis in enumerate(grid.axes)
        )
        missed = result[at] == 0
        result[tuple(index[missed] for index in at)] = vessel.id
    return result


def _shape(values: NDArray[Any]) -> tuple[int, int, int]:
    z, y, x = values.shape
    return z, y, x


def _whole(grid: NetworkGrid) -> tuple[slice, slice, slice]:
    z, y, x = grid.shape
    return slice(0, z), slice(0, y), slice(0, x)
