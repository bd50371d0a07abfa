"""The network's grid: the scan at the checkpoint's spacing, and the way back to the scan's own voxels.

Both grids share their centre, so a flipped scan has a flipped network grid. A voxel ``i`` of a grid of
``n`` voxels of ``s`` mm has its *centre* at ``(i + ½ − n/2) · s`` mm from there; a shift of half a voxel
between the grids, which is what forgetting the ½ makes, would move a thin vessel off itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AxisGrid", "NetworkGrid"]

SAME_SPACING = 0.02
"""Spacings closer than this, as a ratio, count as equal: no vessel's width changes by a visible amount."""

Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class AxisGrid:
    """One axis of both grids.

    Attributes
    ----------
    scan_length, length : int
        Voxels of the scan and of the network's grid.
    ratio : float
        Network voxels per scan voxel; 1 when the grids are the same.
    """

    scan_length: int
    length: int
    ratio: float

    @classmethod
    def of(cls, scan_length: int, spacing_mm: float, wanted_mm: float | None) -> AxisGrid:
        """Return the axis whose voxels are ``wanted_mm`` long, covering the scan."""
        if wanted_mm is None or abs(spacing_mm / wanted_mm - 1.0) < SAME_SPACING:
            return cls(scan_length, scan_length, 1.0)
        ratio = spacing_mm / wanted_mm
        return cls(scan_length, max(1, int(np.ceil(scan_length * ratio - 1e-6))), ratio)

    @property
    def same(self) -> bool:
        """Whether both grids have the same voxels."""
        return self.ratio == 1.0

    def to_network(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where scan voxels lie on the network's grid, in its (fractional) voxels."""
        return (index + 0.5 - self.scan_length / 2) * self.ratio + self.length / 2 - 0.5

    def to_scan(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where network voxels lie on the scan's grid."""
        return (index + 0.5 - self.length / 2) / self.ratio + self.scan_length / 2 - 0.5

    def scan_cut(self, cut: int) -> int:
        """Return the first scan voxel whose centre is at or beyond the network voxel ``cut``'s lower face."""
        if self.same:
            return cut
        edge = float(self.to_scan(np.array([cut - 0.5]))[0])
        return int(np.clip(np.ceil(edge - 1e-9), 0, self.scan_length))

    def network_range(self, start: int, stop: int) -> tuple[int, int]:
        """Return the network voxels that scan voxels ``start`` to ``stop`` are interpolated from."""
        if self.same:
            return start, stop
        ends = self.to_network(np.array([start, stop - 1], dtype=np.float64))
        low = int(np.clip(np.floor(ends[0]), 0, self.length - 1))
        high = int(np.clip(np.floor(ends[1]) + 2, low + 1, self.length))
        return low, high

    def reading_weights(self, start: int, stop: int) -> tuple[int, int, NDArray[np.float32]]:
        """Return the scan range and the matrix (network voxel, scan voxel) that resample onto ``start…stop``.

        Linear where the network's voxels are the finer ones. Where they are coarser, the linear interpolant
        is averaged over a stretch, so that what lies between two of them is not skipped (antialiasing). A
        widened triangle, the usual way, would shift edges to and fro by up to 6 % of a voxel.
        """
        if self.same:
            return start, stop, np.eye(stop - start, dtype=np.float32)
        centres = self.to_scan(np.arange(start, stop, dtype=np.float64))
        # The variance of a coarse voxel is that of a scan's voxel and of this stretch together.
        stretch = np.sqrt(max(0.0, self.ratio**-2 - 1.0))
        reach = 1.0 + stretch / 2
        low = int(np.clip(np.floor(centres[0] - reach), 0, self.scan_length - 1))
        high = int(np.clip(np.ceil(centres[-1] + reach) + 1, low + 1, self.scan_length))
        centres = np.clip(centres, 0.0, self.scan_length - 1.0)
        distance = np.arange(low, high)[None, :] - centres[:, None]
        if stretch < 1e-6:
            weights = np.maximum(0.0, 1.0 - np.abs(distance))
        else:
            weights = _below(distance + stretch / 2) - _below(distance - stretch / 2)
        weights /= weights.sum(axis=1, keepdims=True)
        return low, high, weights.astype(np.float32)

    def writing_weights(self, start: int, stop: int, first: int, size: int) -> NDArray[np.float32]:
        """Return the matrix (scan voxel, window voxel) that interpolates a window linearly.

        The window holds ``size`` voxels from ``first`` on; beyond the volume its outermost voxel is repeated.
        """
        at = self.to_network(np.arange(start, stop, dtype=np.float64))
        at = np.clip(at, 0.0, self.length - 1.0) - first
        at = np.clip(at, 0.0, size - 1.0)
        below = np.minimum(at.astype(np.intp), max(size - 2, 0))
        part = at - below
        weights = np.zeros((stop - start, size), dtype=np.float32)
        rows = np.arange(stop - start)
        weights[rows, below] += 1.0 - part
        weights[rows, np.minimum(below + 1, size - 1)] += part
        return weights


@dataclass(frozen=True, slots=True)
class NetworkGrid:
    """The three axes, in the order z, y, x."""

    axes: tuple[AxisGrid, AxisGrid, AxisGrid]

    @classmethod
    def of(
        cls, shape: Triple, spacing: tuple[float, float, float], wanted: tuple[float, float, float] | None
    ) -> NetworkGrid:
        """Return the grid of a scan's shape and spacing for a checkpoint's spacing (None: the scan's own)."""
        z, y, x = (
            AxisGrid.of(length, mm, None if wanted is None else wanted[axis])
            for axis, (length, mm) in enumerate(zip(shape, spacing, strict=True))
        )
        return cls((z, y, x))

    @property
    def shape(self) -> Triple:
        """Voxels of the network's grid, (z, y, x)."""
        z, y, x = (axis.length for axis in self.axes)
        return z, y, x

    @property
    def same(self) -> bool:
        """Whether the network's grid is the scan's own."""
        return all(axis.same for axis in self.axes)

    def read(self, hu: NDArray[np.generic], window: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        """Return a window of the network's grid, HU float32 (z, y, x), cut off where the volume ends."""
        ranges = [
            (part.start, min(part.stop, axis.length)) for part, axis in zip(window, self.axes, strict=True)
        ]
        if self.same:
            return hu[tuple(slice(*each) for each in ranges)].astype(np.float32)
        readings = [axis.reading_weights(*each) for axis, each in zip(self.axes, ranges, strict=True)]
        block = hu[tuple(slice(low, high) for low, high, _ in readings)].astype(np.float32)
        along_z, along_y, along_x = (weights for _, _, weights in readings)
        if not self.axes[0].same:
            block = _mix_planes(along_z, block)
        if not self.axes[1].same:
            block = np.matmul(along_y, block)
        if not self.axes[2].same:
            block = block @ along_x.T
        return np.ascontiguousarray(block)

    def write(
        self, logits: NDArray[np.float32], first: Triple, box: tuple[slice, slice, slice]
    ) -> NDArray[np.float32]:
        """Return a window's logits on a box of the scan's grid.

        Parameters
        ----------
        logits : array of float32, (class, z, y, x)
            The window's answer, on the network's grid.
        first : tuple of int
            The window's first voxel on the network's grid.
        box : tuple of slice
            Voxels of the scan, all of which the window covers.

        Returns
        -------
        array of float32, (class, z, y, x)
            The box's logits; a view when the grids are the same.
        """
        inner = []
        for axis, start, part in zip(self.axes, first, box, strict=True):
            low, high = axis.network_range(part.start, part.stop)
            inner.append((low, slice(low - start, high - start)))
        block = logits[:, inner[0][1], inner[1][1], inner[2][1]]
        if self.same:
            return block
        z, y, x = self.axes
        size = block.shape
        if not x.same:
            block = block @ x.writing_weights(box[2].start, box[2].stop, inner[2][0], size[3]).T
        if not y.same:
            block = np.matmul(y.writing_weights(box[1].start, box[1].stop, inner[1][0], size[2]), block)
        if not z.same:
            along = z.writing_weights(box[0].start, box[0].stop, inner[0][0], size[1])
            block = np.stack([_mix_planes(along, each) for each in block])
        return block


def _below(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area of the triangle of linear interpolation, from −1 to 1, up to a distance."""
    at = np.clip(distance, -1.0, 1.0)
    area: NDArray[np.float64] = np.where(at < 0.0, 0.5 * (1.0 + at) ** 2, 1.0 - 0.5 * (1.0 - at) ** 2)
    return area


def _mix_planes(weights: NDArray[np.float32], block: NDArray[np.float32]) -> NDArray[np.float32]:
    # Few weights of a row are not zero: whole planes are added, which is faster than a product of matrices.
    mixed = np.zeros((len(weights), *block.shape[1:]), dtype=np.float32)
    for plane, row in zip(mixed, weights, strict=True):
        for at in np.flatnonzero(row):
            if row[at] == 1.0:
                plane += block[at]
            else:
                plane += row[at] * block[at]
    return mixed
