"""A bent space to draw bodies in.

Shapes are written in *body coordinates*: (z, y, x) in mm, upwards, backwards and to the patient's left, with
the origin in the middle of the disc between the first and second lumbar vertebra. A random smooth map leads
from the scan's voxels to body coordinates, so that nothing in the volume is a perfect ellipsoid::

    voxel ──spacing──► scan mm ──turn, scale, bend──► body mm ──shape──► inside?
    path  ◄───────────── inverse, point by point ──── body mm
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_kidnet.phantom.hilum import lookup
from napari_kidnet.phantom.tubes import Segment, draw_segments, path_through

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    Box = tuple[slice, slice, slice]
    Coordinates = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]

__all__ = ["Canvas", "smooth_noise"]


def smooth_noise(
    shape: tuple[int, ...], spacing: tuple[float, float, float], length_mm: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return smooth random values, about N(0, 1), float32 of the given shape (z, y, x).

    Random values on a coarse lattice of ``length_mm`` are spread by cubic B-splines, one axis after another:
    a field of 12 million voxels costs three small matrix products.
    """
    if 0 in shape:  # a tube may lie outside of the field
        return np.zeros(shape, np.float32)
    bases = []
    for size, voxel in zip(shape, spacing, strict=True):
        at = np.arange(size) * (voxel / length_mm) + rng.uniform(0.0, 1.0)
        knots = int(at[-1]) + 4
        away = np.abs(at[:, None] + 1.0 - np.arange(knots))
        basis = np.where(away < 1, 2 / 3 - away**2 + away**3 / 2, np.clip(2 - away, 0, None) ** 3 / 6)
        basis /= np.sqrt((basis**2).sum(axis=1).mean())
        bases.append(basis.astype(np.float32))
    coarse = rng.standard_normal(tuple(b.shape[1] for b in bases)).astype(np.float32)
    part = np.tensordot(bases[0], coarse, axes=(1, 0))  # (z, ky, kx)
    part = np.einsum("yk,zkj->zyj", bases[1], part, optimize=True)  # (z, y, kx)
    result: NDArray[np.float32] = part @ bases[2].T  # (z, y, x)
    return result


class Canvas:
    """A volume of structures and its bent body coordinates.

    Parameters
    ----------
    shape : tuple of int
        Voxels (z, y, x).
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    middle_mm : tuple of float
        Body coordinates of the volume's middle.
    rng : numpy Generator
        Source of all randomness.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing: tuple[float, float, float],
        middle_mm: tuple[float, float, float],
        rng: np.random.Generator,
    ) -> None:
        self.structures: NDArray[np.uint8] = np.zeros(shape, np.uint8)
        self.spacing = spacing
        self.rng = rng
        self.middle_mm = np.asarray(middle_mm, np.float64)
        self._voxel = np.asarray(spacing, np.float64)
        self._centre = 0.5 * (np.asarray(shape) - 1) * self._voxel
        self._turn = _small_turn(rng) @ np.diag(1.0 / rng.uniform((0.93, 0.9, 0.9), (1.07, 1.12, 1.12)))
        strength = rng.uniform(1.5, 5.0)
        self._bend = [strength * smooth_noise(shape, spacing, rng.uniform(60, 110), rng) for _ in range(3)]
        z = (np.arange(shape[0]) * spacing[0] - self._centre[0] + self.middle_mm[0]).astype(np.float32)
        lordosis, scoliosis = rng.uniform(2.0, 12.0), rng.normal(0.0, 4.0)
        self._bend[1] += (lordosis * np.cos((z + 50.0) / 75.0))[:, None, None]
        self._bend[2] += (scoliosis * np.sin(z / rng.uniform(60.0, 110.0)))[:, None, None]
        self._reach = max(float(np.abs(b).max()) for b in self._bend)

    def box(self, low_mm: Collection[float], high_mm: Collection[float]) -> Box | None:
        """Return the voxels that may lie between two corners given in body mm; None outside of the volume."""
        low, high = np.asarray(list(low_mm)) - self._reach, np.asarray(list(high_mm)) + self._reach
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), -1).reshape(-1, 3)
        scan = (corners - self.middle_mm) @ np.linalg.inv(self._turn).T + self._centre
        start = np.maximum(np.floor(scan.min(axis=0) / self._voxel).astype(int), 0)
        stop = np.minimum(np.ceil(scan.max(axis=0) / self._voxel).astype(int) + 1, self.structures.shape)
        if np.any(stop <= start):
            return None
        return slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2])

    def coordinates(self, box: Box) -> Coordinates:
        """Return the body coordinates z, y, x in mm of a box's voxels, each float32 (z, y, x)."""
        axes = [
            (np.arange(part.start, part.stop) * voxel - centre).astype(np.float32)
            for part, voxel, centre in zip(box, self._voxel, self._centre, strict=True)
        ]
        grid = np.ix_(*axes)
        result = []
        for row in range(3):
            value = self._bend[row][box] + np.float32(self.middle_mm[row])
            for column in range(3):
                value = value + np.float32(self._turn[row, column]) * grid[column]
            result.append(value)
        return result[0], result[1], result[2]

    def to_scan(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where points (n, 3) given in body mm lie in the scan, in mm from voxel (0, 0, 0)."""
        body = np.atleast_2d(np.asarray(points_mm, np.float64))
        back = np.linalg.inv(self._turn)
        scan = (body - self.middle_mm) @ back.T + self._centre
        for _ in range(6):  # the bend is small and smooth: this contracts quickly
            index = (scan / self._voxel).T
            bend = np.stack(
                [ndimage.map_coordinates(b, index, order=1, mode="nearest") for b in self._bend], axis=1
            )
            scan = (body - self.middle_mm - bend) @ back.T + self._centre
        return scan

    def paint(
        self, where: NDArray[np.bool_], box: Box, structure: int, over: Collection[int] | None = None
    ) -> None:
        """Write a structure where a mask of a box is true, over the given ids only."""
        part = self.structures[box]
        if over is not None:
            where = where & lookup(list(over))[part]
        part[where] = structure

    def ellipsoid(
        self,
        centre_mm: Collection[float],
        radii_mm: Collection[float],
        structure: int,
        over: Collection[int] | None = None,
        *,
        rough: float = 0.0,
        axes: NDArray[np.float64] | None = None,
    ) -> None:
        """Draw an ellipsoid given in body mm, ``rough`` being the relative unevenness of its surface."""
        centre, radii = np.asarray(list(centre_mm), np.float64), np.asarray(list(radii_mm), np.float64)
        size = np.full(3, radii.max()) if axes is not None else radii
        size = size * (1.0 + 3.0 * rough)
        box = self.box(centre - size, centre + size)
        if box is None:
            return
        away = [c - np.float32(m) for c, m in zip(self.coordinates(box), centre, strict=True)]
        if axes is not None:
            away = [sum(np.float32(row[k]) * away[k] for k in range(3)) for row in axes]  # type: ignore[misc]
        square = np.zeros(self.structures[box].shape, np.float32)
        for a, r in zip(away, radii, strict=True):
            square += (a * np.float32(1.0 / r)) ** 2
        limit: NDArray[np.float32] | float = 1.0
        if rough:
            noise = smooth_noise(
                self.structures[box].shape, self.spacing, 0.45 * float(np.median(radii)), self.rng
            )
            limit = (1.0 + rough * noise) ** 2
        self.paint(square < limit, box, structure, over)

    def path(
        self,
        points_mm: Collection[Collection[float]],
        radius_mm: Collection[float] | float,
        wander_mm: float = 0.0,
    ) -> Segment:
        """Return a smooth path, in scan mm, through waypoints given in body mm."""
        points = self.to_scan(np.asarray([list(p) for p in points_mm], np.float64))
        points[1:-1] += self.rng.normal(0.0, 1.0, points[1:-1].shape) * wander_mm
        radii = np.asarray(radius_mm, np.float64) if np.ndim(radius_mm) else np.float64(float(radius_mm))  # type: ignore[arg-type]
        return path_through(points, radii)

    def draw(
        self,
        segments: Collection[Segment],
        structure: int,
        over: Collection[int] | None = None,
        flatten: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """Draw tubes given in scan mm."""
        draw_segments(self.structures, self.spacing, segments, structure, over=over, flatten=flatten)

    def around(self, segments: Collection[Segment]) -> NDArray[np.uint8]:
        """Return the part of the volume (a view) that holds tubes given in scan mm."""
        low = np.min([(s.points_mm - s.radius_mm[:, None]).min(axis=0) for s in segments], axis=0)
        high = np.max([(s.points_mm + s.radius_mm[:, None]).max(axis=0) for s in segments], axis=0)
        start = np.clip(np.floor(low / self._voxel).astype(int) - 1, 0, self.structures.shape)
        stop = np.clip(np.ceil(high / self._voxel).astype(int) + 2, 0, self.structures.shape)
        return self.structures[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]


def _small_turn(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a rotation by a few degrees about each axis, as a patient lies on a bed."""
    turn = np.eye(3)
    for axis, degrees in enumerate(rng.normal(0.0, (4.0, 3.0, 3.0))):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        one = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        one[i, i], one[i, j], one[j, i], one[j, j] = c, -s, s, c
        turn = turn @ one
    return turn
