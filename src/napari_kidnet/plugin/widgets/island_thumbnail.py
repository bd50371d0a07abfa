"""Small pictures of islands: their voxels as seen from the front, patient upright, left on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.QtGui import QImage, QPixmap

from napari_kidnet.classes import CLASSES
from napari_kidnet.islands.sparse import coordinates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.islands import IslandTable

__all__ = ["island_picture"]

_MOST_VOXELS: Final = 30_000
"""More would not be seen in so few pixels; the aorta has half a million."""
_OTHER: Final = (0.8, 0.2, 0.8)
_GROUND: Final = (22, 24, 30, 255)


def island_picture(
    table: IslandTable, row: int, pixels: int, labels: NDArray[np.integer] | None = None
) -> QPixmap:
    """Draw an island, and around it what lies beside it.

    Parameters
    ----------
    table : IslandTable
    row : int
    pixels : int
        Width and height.
    labels : ndarray, (z, y, x), optional
        Where the neighbours are taken from; None draws the island alone.
    """
    image = np.empty((pixels, pixels, 4), np.uint8)
    image[:] = _GROUND
    margin_mm = 2.0 if labels is None else 8.0
    low = table.start[row] * np.asarray(table.spacing) - margin_mm
    high = table.stop[row] * np.asarray(table.spacing) + margin_mm
    frame = _Frame((low + high) / 2, float(max(high[0] - low[0], high[2] - low[2])), pixels)
    if labels is not None:
        margin = int(np.ceil(margin_mm / min(table.spacing)))
        box = table.box_of(row, margin)
        part = labels[box]
        at = _thinned(np.flatnonzero(part))
        corner = np.array([each.start for each in box])
        where = np.stack(np.unravel_index(at, part.shape), axis=1) + corner
        values = part.reshape(-1)[at] if part.flags.c_contiguous else part.flatten()[at]
        for value in np.unique(values).tolist():
            frame.draw(image, where[values == value], table.spacing, _colour(value), 0.4)
    voxels = coordinates(_thinned(table.voxels_of(row)), table.shape)
    frame.draw(image, voxels, table.spacing, _colour(int(table.class_id[row])), 1.0)
    picture = QImage(image.tobytes(), pixels, pixels, 4 * pixels, QImage.Format.Format_RGBA8888)
    return QPixmap.fromImage(picture.copy())


class _Frame:
    """A square window, in mm, seen from the front."""

    def __init__(self, centre: NDArray[np.float64], side_mm: float, pixels: int) -> None:
        self.centre, self.pixels = centre, pixels
        self.scale = pixels / max(side_mm, 4.0)

    def draw(
        self,
        image: NDArray[np.uint8],
        voxels: NDArray[Any],
        spacing: tuple[float, float, float],
        colour: tuple[float, float, float],
        strength: float,
    ) -> None:
        """Draw voxels (z, y, x) as squares of their size; nearer ones are brighter."""
        if not len(voxels):
            return
        mm = (voxels + 0.5) * np.asarray(spacing) - self.centre
        # z grows to the head, so rows go down as z goes up
        top = np.floor(self.pixels / 2 - (mm[:, 0] + spacing[0] / 2) * self.scale).astype(int)
        left = np.floor(self.pixels / 2 + (mm[:, 2] - spacing[2] / 2) * self.scale).astype(int)
        depth = (mm[:, 1] - mm[:, 1].min()) / max(float(np.ptp(mm[:, 1])), 1e-6)
        shade = np.zeros((self.pixels, self.pixels))
        height = max(1, int(np.ceil(spacing[0] * self.scale)))
        width = max(1, int(np.ceil(spacing[2] * self.scale)))
        # Many steps only where a voxel is many pixels wide; then there are few voxels.
        for down in range(min(height, self.pixels)):
            for right in range(min(width, self.pixels)):
                y, x = top + down, left + right
                seen = (y >= 0) & (y < self.pixels) & (x >= 0) & (x < self.pixels)
                np.maximum.at(shade, (y[seen], x[seen]), 1 - 0.5 * depth[seen])
        covered = shade > 0
        colours = shade[covered][:, None] * np.asarray(colour)[None] * 255 * strength
        image[covered, :3] = np.clip(colours + (1 - strength) * np.asarray(_GROUND[:3]), 0, 255)


def _thinned(flat: NDArray[np.int64]) -> NDArray[np.int64]:
    return flat[:: len(flat) // _MOST_VOXELS + 1]


def _colour(class_id: int) -> tuple[float, float, float]:
    red, green, blue = CLASSES[class_id].colour[:3] if class_id < len(CLASSES) else _OTHER
    return (red, green, blue)
