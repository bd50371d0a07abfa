"""Tracing with the vessel brush: the way along a piece that is wrong, and how wide the brush is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from napari_kidnet.islands.sparse import SURFACE_VOXELS
from napari_kidnet.islands.tubes import least_cost_path, straight_line

if TYPE_CHECKING:
    from annotation.judging import Piece
    from numpy.typing import NDArray

STEP_MM = 6.0
"""The hand follows the vessel's middle in straight stretches of this length."""
WHEEL = 1.15
"""One notch of the wheel makes the brush wider by this."""


class Trace(NamedTuple):
    """A stroke: voxels (point, 3), and the brush's radius in mm at each."""

    points: NDArray[np.int32]
    radii_mm: NDArray[np.float64]


def trace(
    piece: Piece, labels: NDArray[np.integer], truth: NDArray[np.uint8], spacing: tuple[float, float, float]
) -> Trace:
    """Return the stroke from end to end of a piece, along the middle of what a person sees there.

    The brush is set by the wheel at every stretch, to the notch that comes nearest to the width.
    """
    reach = 8
    low = np.maximum(piece.voxels.min(axis=0) - reach, 0)
    high = np.minimum(piece.voxels.max(axis=0) + reach + 1, labels.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    seen = truth[box] == piece.true
    if piece.said:
        seen &= labels[box] == piece.said
    inner = ndimage.distance_transform_edt(np.pad(seen, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    mine = np.zeros(seen.shape, bool)
    mine[tuple((piece.voxels - low).T)] = True
    near = seen & ndimage.binary_dilation(mine, np.ones((3, 3, 3)), iterations=2)
    cost = np.where(near, 1 / np.maximum(inner, 0.1) ** 2, np.inf)
    first = _furthest(near, piece.voxels[0] - low, spacing, mine)
    last = _furthest(near, first, spacing, mine)
    path, _ = least_cost_path(cost, [first], [last], spacing)
    path = path if len(path) else np.array([first], np.int32)
    along = (
        np.linalg.norm(np.diff(path, axis=0) * np.asarray(spacing), axis=1).cumsum() if len(path) > 1 else []
    )
    stops = np.searchsorted(along, np.arange(0, along[-1] if len(along) else 0, STEP_MM))
    stops = np.unique(np.append(stops, len(path) - 1))
    widest = ndimage.maximum_filter(inner, size=3)
    radii = widest[tuple(path[stops].T)] - SURFACE_VOXELS * min(spacing)
    radii = np.maximum(radii, min(spacing) / 2)
    radii = min(spacing) / 2 * WHEEL ** np.rint(np.log(radii / (min(spacing) / 2)) / np.log(WHEEL))
    points, widths = [path[stops[:1]]], [radii[:1]]
    for k in range(len(stops) - 1):
        line = straight_line(path[stops[k]], path[stops[k + 1]])
        points.append(line[1:])
        widths.append(np.linspace(radii[k], radii[k + 1], len(line))[1:])
    return Trace((np.concatenate(points) + low).astype(np.int32), np.concatenate(widths))


def _furthest(
    mask: NDArray[np.bool_],
    start: NDArray[np.int32],
    spacing: tuple[float, float, float],
    among: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Return the voxel that is furthest from a start, on the way through the mask."""
    from skimage.graph import MCP_Geometric

    search = MCP_Geometric(np.where(mask, 1.0, -1.0), sampling=spacing)
    reached, _ = search.find_costs([tuple(np.asarray(start).tolist())])
    reached = np.where(among & np.isfinite(reached), reached, -1.0)
    return np.array(np.unravel_index(int(np.argmax(reached)), mask.shape), np.int32)
