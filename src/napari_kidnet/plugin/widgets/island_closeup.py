"""The selected island and its neighbours from all sides: a small picture that turns.

It is drawn from points, without OpenGL: so it costs the canvas nothing, also where there is no graphics card,
and needs nothing to be cleaned up but its timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel

from napari_kidnet.classes import CLASSES
from napari_kidnet.islands.sparse import coordinates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.islands import IslandTable

__all__ = ["IslandCloseUp"]

_PIXELS: Final = 132
_AROUND_MM: Final = 8.0
_SIDE: Final = 96
"""Voxels along the longest side that are looked at; larger islands are thinned."""
_TURN_DEGREES: Final = 5.0
_EVERY_MS: Final = 80
_GROUND: Final = (22, 24, 30)
_OTHER: Final = (0.8, 0.2, 0.8)
_WIDEST_SPLAT: Final = 12


class IslandCloseUp(QLabel):  # type: ignore[misc]
    """Shows an island from the front, patient upright, and turns it about that axis when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(_PIXELS, _PIXELS)
        self.setToolTip("The island and its neighbours, as seen from the front; Shift+W lets it turn.")
        self.turning = False
        self._degrees = 0.0
        self._cloud: _Cloud | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self._turn_on)

    def show_island(self, table: IslandTable, row: int, labels: NDArray[np.integer]) -> None:
        """Show the island in a row of the table, and the labels around it."""
        self._degrees = 0.0
        self._cloud = _cloud_of(table, row, labels)
        self._draw()
        self._start_or_stop()

    def clear(self) -> None:
        """Show nothing."""
        self._cloud = None
        super().clear()
        self._start_or_stop()

    def turn(self, on: bool) -> None:
        """Let it turn, or stand still as seen from the front."""
        self.turning = on
        if not on:
            self._degrees = 0.0
            self._draw()
        self._start_or_stop()

    def showEvent(self, event: Any) -> None:
        """Go on turning."""
        super().showEvent(event)
        self._start_or_stop()

    def hideEvent(self, event: Any) -> None:
        """Stop: nobody looks."""
        super().hideEvent(event)
        self._timer.stop()

    def _start_or_stop(self) -> None:
        if self.turning and self._cloud is not None and self.isVisible():
            self._timer.start()
        else:
            self._timer.stop()

    def _turn_on(self) -> None:
        self._degrees = (self._degrees + _TURN_DEGREES) % 360
        self._draw()

    def _draw(self) -> None:
        if self._cloud is not None:
            image = self._cloud.seen_from(self._degrees, _PIXELS)
            picture = QImage(image.tobytes(), _PIXELS, _PIXELS, 3 * _PIXELS, QImage.Format.Format_RGB888)
            self.setPixmap(QPixmap.fromImage(picture.copy()))


@dataclass(frozen=True, slots=True)
class _Cloud:
    """Points on the surfaces of an island and its neighbours.

    Attributes
    ----------
    mm : ndarray of float32, (point, 3)
        From the middle, (z, y, x).
    colours : ndarray of float32, (point, 3)
        0…255.
    radius_mm, grain_mm : float
        Of the sphere that is shown; of a point.
    """

    mm: NDArray[np.float32]
    colours: NDArray[np.float32]
    radius_mm: float
    grain_mm: float

    def seen_from(self, degrees: float, pixels: int) -> NDArray[np.uint8]:
        """Return an image (row, column, RGB); 0 degrees is the front."""
        image = np.empty((pixels * pixels, 3), np.uint8)
        image[:] = _GROUND
        turned = np.deg2rad(degrees)
        z, y, x = self.mm.T
        right = np.cos(turned) * x + np.sin(turned) * y
        depth = np.cos(turned) * y - np.sin(turned) * x  # y grows to the back
        scale = pixels / (2 * self.radius_mm)
        order = np.argsort(-depth)  # the near ones last, over the far ones
        shade = 1 - 0.55 * np.clip((depth[order] / self.radius_mm + 1) / 2, 0, 1)
        colours = (self.colours[order] * shade[:, None]).astype(np.uint8)
        size = int(np.clip(np.ceil(self.grain_mm * scale), 1, _WIDEST_SPLAT))
        down = np.floor(pixels / 2 - z[order] * scale - size / 2).astype(np.int32)
        across = np.floor(pixels / 2 + right[order] * scale - size / 2).astype(np.int32)
        steps = np.arange(size)
        rows = (down[:, None, None] + steps[:, None]).clip(-1, pixels)
        columns = (across[:, None, None] + steps[None, :]).clip(-1, pixels)
        rows, columns = np.broadcast_arrays(rows, columns)
        inside = (rows >= 0) & (rows < pixels) & (columns >= 0) & (columns < pixels)
        point = np.broadcast_to(np.arange(len(order))[:, None, None], rows.shape)[inside]
        image[rows[inside] * pixels + columns[inside]] = colours[point]
        return image.reshape(pixels, pixels, 3)


def _cloud_of(table: IslandTable, row: int, labels: NDArray[np.integer]) -> _Cloud:
    spacing = np.asarray(table.spacing, np.float32)
    box = table.box_of(row, int(np.ceil(_AROUND_MM / min(table.spacing))))
    step = -(-max(side.stop - side.start for side in box) // _SIDE)
    corner = np.array([side.start for side in box])
    part = labels[tuple(slice(side.start, side.stop, step) for side in box)]
    own = np.zeros(part.shape, bool)
    voxels = table.voxels_of(row)
    at = (coordinates(voxels[:: max(1, len(voxels) // 200_000)], table.shape) - corner) // step
    own[tuple(np.minimum(at, np.array(part.shape) - 1).T)] = True
    others = np.where(own, 0, part)
    parts = [(own, int(table.class_id[row]), 1.0)]
    parts += [(others == value, value, 0.45) for value in np.unique(others).tolist() if value]
    places, colours = [], []
    for mask, value, strength in parts:
        found = np.argwhere(_surface(mask))
        places.append(found)
        tone = (1 - strength) * np.asarray(_GROUND) + strength * 255 * np.asarray(_colour(value))
        colours.append(np.broadcast_to(tone, (len(found), 3)))
    middle = (table.start[row] + table.stop[row]) / 2
    mm = ((np.concatenate(places) * step + corner + 0.5 * step - middle) * spacing).astype(np.float32)
    half = float(np.linalg.norm((table.stop[row] - table.start[row]) * spacing) / 2)
    grain = float(step * spacing.max())
    return _Cloud(mm, np.concatenate(colours).astype(np.float32), half + 0.5 * _AROUND_MM, grain)


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels that have a face to something else."""
    inner = mask.copy()
    for axis in range(3):
        ahead: list[Any] = [slice(None)] * 3
        behind: list[Any] = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        inner[tuple(ahead)] &= mask[tuple(behind)]
        inner[tuple(behind)] &= mask[tuple(ahead)]
        first: list[Any] = [slice(None)] * 3
        last: list[Any] = [slice(None)] * 3
        first[axis], last[axis] = 0, -1
        inner[tuple(first)] = inner[tuple(last)] = False
    return mask & ~inner


def _colour(class_id: int) -> tuple[float, float, float]:
    red, green, blue = CLASSES[class_id].colour[:3] if class_id < len(CLASSES) else _OTHER
    return (red, green, blue)
