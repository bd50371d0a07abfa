"""The plan on the scan: tiles in the order of their nearness, and the pieces of the scan they answer for.

A piece is a box of the scan's voxels for which the same one to eight tiles answer. The pieces are disjoint
and fill what is wanted, so each voxel is decided exactly once, when the last of its tiles is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.segmentation.region import is_air
from napari_kidnet.segmentation.tiles import AxisPlan, TileShape, plan_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.segmentation.grid import AxisGrid, NetworkGrid

__all__ = ["Piece", "Plan", "Share", "Tile", "plan_tiles"]

Triple = tuple[int, int, int]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Share:
    """A stretch of the scan along one axis, with the one or two tiles that answer for it."""

    start: int
    stop: int
    tiles: tuple[int, ...]

    def weight(self, tile: int) -> NDArray[np.float32]:
        """Return a tile's weight at each voxel; those of all tiles add up to 1."""
        length = self.stop - self.start
        if len(self.tiles) == 1:
            return np.ones(length, np.float32)
        rising = (np.arange(length, dtype=np.float32) + 0.5) / np.float32(length)
        return rising if tile == self.tiles[1] else 1.0 - rising


@dataclass(frozen=True, slots=True)
class Piece:
    """A box of the scan for which the same tiles answer.

    Attributes
    ----------
    shares : tuple of Share
        Its stretches along z, y, x.
    """

    shares: tuple[Share, Share, Share]

    @property
    def box(self) -> Slices:
        """Its voxels, (z, y, x)."""
        z, y, x = (slice(share.start, share.stop) for share in self.shares)
        return z, y, x

    @property
    def tiles(self) -> tuple[Triple, ...]:
        """The indices of its tiles, (z, y, x)."""
        z, y, x = (share.tiles for share in self.shares)
        return tuple(product(z, y, x))

    def weight(self, tile: Triple) -> NDArray[np.float32]:
        """Return a tile's weight at each voxel, float32 (z, y, x)."""
        z, y, x = (share.weight(at) for share, at in zip(self.shares, tile, strict=True))
        weight: NDArray[np.float32] = z[:, None, None] * y[None, :, None] * x[None, None, :]
        return weight


@dataclass(frozen=True, slots=True)
class Tile:
    """One look of the network.

    Attributes
    ----------
    index : tuple of int
        Its place in the plan, (z, y, x).
    window : tuple of slice
        What it sees, voxels of the network's grid; may reach beyond the volume's end.
    pieces : tuple of Piece
        What it answers for, alone or with its neighbours.
    """

    index: Triple
    window: Slices
    pieces: tuple[Piece, ...]

    @property
    def box(self) -> Slices:
        """The box about its pieces, voxels of the scan."""
        z, y, x = (
            slice(
                min(piece.box[axis].start for piece in self.pieces),
                max(piece.box[axis].stop for piece in self.pieces),
            )
            for axis in range(3)
        )
        return z, y, x


@dataclass(frozen=True, slots=True)
class Plan:
    """All tiles, in the order in which they are to be computed."""

    tiles: tuple[Tile, ...]

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def computed_voxels(self) -> int:
        """Voxels of all windows together: what the network will have to do."""
        sizes = ([part.stop - part.start for part in tile.window] for tile in self.tiles)
        return sum(int(np.prod(size)) for size in sizes)


def plan_tiles(
    grid: NetworkGrid, region: Slices, shape: TileShape, hu: NDArray[np.generic] | None, start: Triple | None
) -> Plan:
    """Return the tiles for a region of the scan.

    Parameters
    ----------
    grid : NetworkGrid
        The scan's and the network's grids.
    region : tuple of slice
        The voxels of the scan to answer for, (z, y, x).
    shape : TileShape
        Size, halo and ramp of the tiles, in voxels of the network's grid.
    hu : array, (z, y, x), optional
        The scan; tiles that would answer for nothing but air are left out. None keeps all.
    start : tuple of int, optional
        The voxel on the screen: tiles nearest to it come first. The region's middle by default.
    """
    wanted = tuple(
        axis.network_range(part.start, part.stop) for axis, part in zip(grid.axes, region, strict=True)
    )
    plans = plan_axes(grid.shape, wanted, shape)
    shares = [_shares(*each) for each in zip(plans, grid.axes, region, strict=True)]
    along_z, along_y, along_x = (range(len(plan.starts)) for plan in plans)
    tiles = []
    for index in product(along_z, along_y, along_x):
        of_z, of_y, of_x = (
            [share for share in along if at in share.tiles] for along, at in zip(shares, index, strict=True)
        )
        pieces = tuple(Piece(each) for each in product(of_z, of_y, of_x))
        if not pieces:
            continue
        z, y, x = (
            slice(plan.starts[at], plan.starts[at] + plan.size) for plan, at in zip(plans, index, strict=True)
        )
        tile = Tile(index, (z, y, x), pieces)
        if hu is None or not is_air(hu[tile.box]):
            tiles.append(tile)
    middle = tuple((part.start + part.stop) // 2 for part in region)
    tiles.sort(key=lambda tile: _nearness(tile.box, start or middle))
    return Plan(tuple(tiles))


def _shares(plan: AxisPlan, axis: AxisGrid, wanted: slice) -> tuple[Share, ...]:
    """Translate the cuts of one axis to the scan and cut them to what is wanted; empty stretches vanish."""
    shares = []
    at = wanted.start
    for tile, cut in enumerate(plan.cuts):
        for stop, tiles in ((axis.scan_cut(cut.start), (tile,)), (axis.scan_cut(cut.stop), (tile, tile + 1))):
            stop = min(max(stop, at), wanted.stop)
            shares.append(Share(at, stop, tiles))
            at = stop
    shares.append(Share(at, wanted.stop, (len(plan.starts) - 1,)))
    return tuple(share for share in shares if share.start < share.stop)


def _nearness(box: Slices, point: tuple[int, ...]) -> tuple[float, float]:
    # First the distance to the box, so that the tiles under the point lead; then the distance to its middle.
    outside = 0.0
    off_middle = 0.0
    for part, at in zip(box, point, strict=True):
        outside += float(max(part.start - at, at - (part.stop - 1), 0)) ** 2
        off_middle += (0.5 * (part.start + part.stop) - at) ** 2
    return outside, off_middle
