"""Stitching: tiles come in, finished boxes of the scan go out, and nothing is kept longer than it is needed.

Only pieces that wait for a second tile are held in memory, so a plan without ramps holds nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_kidnet.segmentation.grid import NetworkGrid
    from napari_kidnet.segmentation.pieces import Piece, Plan, Tile, Triple

__all__ = ["Sink", "Stitcher"]

SLAB_VOXELS = 1 << 21
"""Pieces are interpolated and passed on in slabs of so many voxels: 32 MB of logits at a time."""

AIR_LOGITS = np.array([0.0, -20.0, -20.0, -20.0], dtype=np.float32)
"""What a tile of nothing but air, which is never computed, contributes to a ramp."""

Slices = tuple[slice, slice, slice]


class Sink(Protocol):
    """Who takes the finished logits."""

    def take(self, box: Slices, logits: NDArray[np.float32]) -> None:
        """Take the final logits (class, z, y, x) of a box of the scan; every voxel comes once."""


class Stitcher:
    """Mixes tiles into the scan's grid.

    Parameters
    ----------
    plan : Plan
        The tiles that will come, in any order, each once.
    grid : NetworkGrid
        The way from the network's grid to the scan's.
    sink : Sink
        Who takes what is finished.
    """

    def __init__(self, plan: Plan, grid: NetworkGrid, sink: Sink) -> None:
        self._grid = grid
        self._sink = sink
        self._coming = {tile.index for tile in plan.tiles}
        self._missing: dict[Piece, set[Triple]] = {}
        self._held: dict[Piece, NDArray[np.float32]] = {}

    @property
    def held_bytes(self) -> int:
        """Memory of the pieces that wait for another tile."""
        return sum(each.nbytes for each in self._held.values())

    def add(self, tile: Tile, logits: NDArray[np.float32]) -> list[Slices]:
        """Mix in one tile's logits (class, z, y, x) on its window; return the boxes that are now finished."""
        finished = []
        first = (tile.window[0].start, tile.window[1].start, tile.window[2].start)
        for piece in tile.pieces:
            if len(piece.tiles) == 1:
                for slab in _slabs(piece.box):
                    self._sink.take(slab, self._grid.write(logits, first, slab))
                finished.append(piece.box)
            elif self._mix(piece, tile.index, first, logits):
                for slab, part in zip(_slabs(piece.box), _slabs(_own(piece.box)), strict=True):
                    self._sink.take(slab, self._held[piece][(slice(None), *part)])
                del self._held[piece], self._missing[piece]
                finished.append(piece.box)
        return finished

    def _mix(self, piece: Piece, tile: Triple, first: Triple, logits: NDArray[np.float32]) -> bool:
        if piece not in self._held:
            self._missing[piece] = self._coming.intersection(piece.tiles)
            self._held[piece] = self._air(piece)
        held = self._held[piece]
        weight = piece.weight(tile)
        for slab, part in zip(_slabs(piece.box), _slabs(_own(piece.box)), strict=True):
            held[(slice(None), *part)] += weight[part] * self._grid.write(logits, first, slab)
        self._missing[piece].discard(tile)
        return not self._missing[piece]

    def _air(self, piece: Piece) -> NDArray[np.float32]:
        """Return the sum to start from: air, weighted by the tiles that are never computed."""
        left = np.zeros([share.stop - share.start for share in piece.shares], np.float32)
        for tile in piece.tiles:
            if tile not in self._coming:
                left += piece.weight(tile)
        return AIR_LOGITS[:, None, None, None] * left


def _own(box: Slices) -> Slices:
    z, y, x = (slice(0, part.stop - part.start) for part in box)
    return z, y, x


def _slabs(box: Slices) -> Iterator[Slices]:
    z, y, x = box
    step = max(1, SLAB_VOXELS // max(1, (y.stop - y.start) * (x.stop - x.start)))
    for start in range(z.start, z.stop, step):
        yield slice(start, min(start + step, z.stop)), y, x
