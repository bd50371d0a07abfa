"""What label maps lack and no case varies: spinal canal, discs, lungs, hull, depths, kidneys' outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.ndimage import (
    binary_closing,
    binary_fill_holes,
    distance_transform_edt,
    find_objects,
    gaussian_filter,
    gaussian_filter1d,
    label,
)

from napari_kidnet.phantom.splines import expand, linear_matrix
from napari_kidnet.phantom.structures import Structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["add_canal_and_discs", "add_lungs", "body_hull", "depths", "kidney_sides", "refine"]

_S = Structure

_WITH_DEPTH: Final = (_S.BONE_SPONGY, _S.BOWEL_FLUID, _S.SPINAL_FLUID)


def refine(
    coarse: NDArray[np.float32], coarse_mm: float, shape: tuple[int, ...], spacing: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return a coarse isotropic field on a finer grid with the same corner, linearly, (z, y, x)."""
    weights = [
        linear_matrix((np.arange(n, dtype=np.float64) + 0.5) * size / coarse_mm - 0.5, have)
        for n, size, have in zip(shape, spacing, coarse.shape, strict=True)
    ]
    return expand(coarse, (weights[0], weights[1], weights[2]))


def add_canal_and_discs(codes: NDArray[np.uint8], label_of: NDArray[np.uint16], fine: float) -> None:
    """Fill the vertebrae's canal with fluid and the gaps between their bodies with discs, in place.

    The canal is found slice by slice as the hole within the ring of a vertebra; between the rings, and where
    an arch is open, its centre is interpolated along the spine.

    Parameters
    ----------
    codes, label_of : uint8 and uint16 arrays (z, y, x)
        Structures and running label numbers.
    fine : float
        Voxel edge in mm.
    """
    aorta = np.argwhere(codes[::4, ::4, ::4] == _S.AORTA) * 4
    middle = aorta.mean(0)
    reach = int(60 / fine)
    x0, x1 = max(0, int(middle[2]) - reach), int(middle[2]) + reach
    y0 = max(0, int(middle[1]) - int(20 / fine))
    y1 = min(codes.shape[1], int(middle[1]) + int(130 / fine))
    part = codes[:, y0:y1, x0:x1]
    spine = (part == _S.BONE_SPONGY) | (part == _S.DISC) | (part == _S.SPINAL_FLUID)
    # An arch may be open by some 4 mm; a wider closing would close the canal itself.
    bridge = np.ones((2 * round(2.0 / fine) + 1,) * 2, bool)
    rim = len(bridge)
    centres: list[tuple[float, float, float]] = []
    for z in range(0, len(part), 2):
        solid = part[z] == _S.BONE_SPONGY
        ring = binary_closing(np.pad(solid, rim), bridge)[rim:-rim, rim:-rim]
        numbered, count = label(binary_fill_holes(ring) & ~solid)
        sizes = np.bincount(numbered.ravel())[1:] * fine**2
        good = [i + 1 for i in range(count) if 60 < sizes[i] < 600]
        if good:
            best = max(good, key=lambda i: sizes[i - 1])
            y, x = (float(axis.mean()) for axis in np.nonzero(numbered == best))
            centres.append((float(z), y, x))
    if len(centres) < 5:
        return
    found = np.array(centres)
    # One outlier (a foramen, a gap beside the sacrum) must not bend the canal.
    steady = np.abs(found[:, 2] - np.median(found[:, 2])) < 12 / fine
    found = found[steady]
    levels = np.arange(len(part))
    cy = gaussian_filter1d(np.interp(levels, found[:, 0], found[:, 1]), 8 / fine, mode="nearest")
    cx = gaussian_filter1d(np.interp(levels, found[:, 0], found[:, 2]), 8 / fine, mode="nearest")
    cx = cx.astype(np.float64)
    yy, xx = np.ogrid[: part.shape[1], : part.shape[2]]
    for z in range(len(part)):
        from_centre = ((yy - cy[z]) * fine / 8.0) ** 2 + ((xx - cx[z]) * fine / 10.5) ** 2
        canal = (from_centre < 1.0) & ((part[z] == 0) | ((part[z] == _S.BONE_SPONGY) & (from_centre < 0.45)))
        part[z][canal] = _S.SPINAL_FLUID
        # The gap between two bodies lies in front of the canal and is at most 14 mm high; a body reaches at
        # most 40 mm forwards.
        ahead = (yy < cy[z] - 8 / fine) & (yy > cy[z] - 40 / fine) & (np.abs(xx - cx[z]) < 26 / fine)
        box = slice(max(0, z - int(14 / fine)), z + int(14 / fine) + 1)
        above, below = spine[z : box.stop], spine[box.start : z + 1]
        between = ahead & (part[z] == 0) & above.any(0) & below.any(0)
        part[z][between] = _S.DISC


def body_hull(codes: NDArray[np.uint8], fine: float, coarse: float) -> NDArray[np.float32]:
    """Return the signed distance (mm, negative inside) to the hull of all structures, on a coarse grid.

    Parameters
    ----------
    codes : uint8 array (z, y, x)
        Structures on the fine grid.
    fine, coarse : float
        Voxel edges of the two grids, in mm.
    """
    shape = tuple(int(np.ceil(n * fine / coarse)) for n in codes.shape)
    index = [
        np.minimum(((np.arange(n) + 0.5) * coarse / fine).astype(int), m - 1)
        for n, m in zip(shape, codes.shape, strict=True)
    ]
    solid = codes[np.ix_(*index)] > 0
    margin = int(np.ceil(75 / coarse))
    padded = np.pad(solid, ((0, 0), (margin, margin), (margin, margin)))
    # A wide closing slice by slice is almost the convex hull, and keeps the hollow of the back.
    closed = np.empty_like(padded)
    for z in range(len(padded)):
        around = np.asarray(padded[max(0, z - 5) : z + 6].any(0))  # ribs leave gaps from slice to slice
        grown = distance_transform_edt(~around) <= 60 / coarse
        closed[z] = distance_transform_edt(np.pad(grown, 1))[1:-1, 1:-1] > 60 / coarse
    inside = distance_transform_edt(closed, sampling=coarse)
    outside = distance_transform_edt(~closed, sampling=coarse)
    signed = gaussian_filter((outside - inside).astype(np.float32), (4.0, 2.0, 2.0), mode="nearest")
    return np.ascontiguousarray(signed[:, margin:-margin, margin:-margin])


def add_lungs(codes: NDArray[np.uint8], hull: NDArray[np.float32], fine: float, coarse: float) -> None:
    """Fill what lies above the dome of liver, spleen and stomach with lung and a thin diaphragm, in place.

    Does nothing to a map that has lungs. Parameters as in ``body_hull``.
    """
    if (codes == _S.LUNG).any():
        return
    stride = max(1, round(coarse / fine))
    small = codes[::stride, ::stride, ::stride]
    organ = np.isin(
        small, [_S.LIVER, _S.SPLEEN, _S.BOWEL_FLUID, _S.PANCREAS, _S.CORTEX_LEFT, _S.CORTEX_RIGHT]
    )
    top = np.where(organ.any(0), len(small) - 1 - np.argmax(organ[::-1], axis=0), 0).astype(np.float32)
    have = organ.any(0).astype(np.float32)
    spread = gaussian_filter(top * have, 5.0) / np.maximum(gaussian_filter(have, 5.0), 1e-3)
    dome = gaussian_filter(np.where(have > 0, top, spread), 2.0)
    levels = np.arange(len(small))[:, None, None]
    depth = -refine(hull, coarse, small.shape, (fine * stride,) * 3)
    step = fine * stride
    core = np.isin(small, [_S.BONE_SPONGY, _S.AORTA, _S.VENA_CAVA])
    # Vertebrae keep the lung further off than ribs: muscles of the back, crura and mediastinum lie about
    # them.
    spine = small == _S.SPINAL_FLUID
    back = np.ones(small.shape[1:], bool)
    if spine.any():
        y, x = (float(np.median(axis)) for axis in np.nonzero(spine)[1:])
        rows, columns = np.ogrid[: small.shape[1], : small.shape[2]]
        back = (np.abs(columns - x) > 48 / step) | (rows < y - 45 / step)
    from_core = distance_transform_edt(~core, sampling=step)
    # The recess beside the dome reaches some 40 mm lower than its top; flanks below the ribs are no lung.
    floor = float(np.quantile(top[have > 0], 0.97)) - 40 / step
    lung = ((levels > np.maximum(dome + 1, floor)) & (depth > 12) & (from_core > 5) & back).astype(np.float32)
    rim = (levels > np.maximum(dome - 0.5, floor - 1.5)) & (depth > 10) & (from_core > 5) & back
    for mask, structure in ((rim.astype(np.float32), _S.MUSCLE), (lung, _S.LUNG)):
        smooth = refine(gaussian_filter(mask, 0.7), fine * stride, codes.shape, (fine,) * 3) > 0.5
        codes[smooth & ((codes == 0) | (codes == _S.MUSCLE) & (structure == _S.LUNG) & smooth)] = structure


def kidney_sides(
    codes: NDArray[np.uint8], fine: float, kidneys: Sequence[tuple[int, int, int, int, int]]
) -> NDArray[np.uint8]:
    """Return the kidneys with all that lies inside them: 1 left, 2 right, 0 elsewhere, uint8 (z, y, x).

    A closing by a ball of 10 mm takes in the sinus and the vessels within it.

    Parameters
    ----------
    codes : uint8 array (z, y, x)
        Structures.
    fine : float
        Voxel edge in mm.
    kidneys : sequence of tuple
        Side, then the ids of cortex, medulla, sinus fat and collecting system.
    """
    sides = np.zeros(codes.shape, np.uint8)
    reach = 10.0
    for side, cortex, medulla, sinus, collecting in kidneys:
        boxes = find_objects((codes == cortex).astype(np.uint8))
        if not boxes:
            continue
        grow = int(np.ceil(reach / fine)) + 2
        box = tuple(slice(max(0, b.start - grow), b.stop + grow) for b in boxes[0])
        part = codes[box]
        body = (part == cortex) | (part == medulla) | (part == sinus)
        closed = distance_transform_edt(~body, sampling=fine) <= reach
        closed = distance_transform_edt(np.pad(closed, 1), sampling=fine)[1:-1, 1:-1, 1:-1] > reach
        within = (
            (part == 0)
            | (part == collecting)
            | np.isin(
                part, [_S.RENAL_ARTERY_LEFT, _S.RENAL_ARTERY_RIGHT, _S.RENAL_VEIN_LEFT, _S.RENAL_VEIN_RIGHT]
            )
        )
        sides[box][body | closed & within] = side
    return sides


def depths(
    codes: NDArray[np.uint8], label_of: NDArray[np.uint16], sides: NDArray[np.uint8], fine: float
) -> NDArray[np.float32]:
    """Return each voxel's depth under the surface of its kidney, bone or bowel in mm, float32; 0 elsewhere.

    Bones touch each other, and each has its own shell: depths are taken label by label.
    """
    depth = np.zeros(codes.shape, np.float32)
    wanted = np.isin(codes, [int(s) for s in _WITH_DEPTH])
    canal = codes == _S.SPINAL_FLUID
    for volume, mask in ((label_of, wanted & ~canal), (sides, sides > 0), (canal.astype(np.uint8), canal)):
        numbered = np.where(mask, volume, 0)
        boxes: Sequence[tuple[slice, ...] | None] = find_objects(numbered)
        for number, box in enumerate(boxes, start=1):
            if box is None:
                continue
            part = numbered[box] == number
            found = distance_transform_edt(np.pad(part, 1), sampling=fine)[1:-1, 1:-1, 1:-1]
            depth[box][part] = found[part] - 0.5 * fine
    return depth
