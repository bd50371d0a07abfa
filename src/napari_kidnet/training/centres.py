"""Where patches are cut: centrelines of vessels, and background with and without vessels near (R25, A20)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_kidnet.classes import VESSELS

__all__ = ["FREE", "background_centres", "class_skeletons", "free_of_vessels", "vessel_centres"]

FREE: Final = "free"
"""The kind of background centre whose whole patch holds no vessel."""

MOST_CENTRES: Final = 20_000
"""Of each kind and case; more would be the same places again."""

IN_BODY_HU: Final = -500
"""Background centres are preferred above this: 20 % of an uncropped CT is air around the person."""

BLOCK: Final = 4
"""Voxels along each edge of the blocks in which vessels are looked up."""

Centres = NDArray[np.int16]


def class_skeletons(labels: NDArray[np.uint8]) -> dict[int, NDArray[np.bool_]]:
    """Return each vessel class's centreline, bool (z, y, x), by its id.

    Only the box around the class is thinned. What thinning would leave nothing of stays as it is.
    """
    from skimage.morphology import skeletonize

    skeletons = {}
    for vessel in VESSELS:
        mask = labels == vessel.id
        skeleton = np.zeros_like(mask)
        if mask.any():
            box = _box_of(mask)
            inner = np.pad(mask[box], 1)  # thinning needs background all around
            thin = skeletonize(inner)[1:-1, 1:-1, 1:-1] > 0
            skeleton[box] = thin if thin.any() else mask[box]
        skeletons[vessel.id] = skeleton
    return skeletons


def vessel_centres(
    skeleton: NDArray[np.bool_], reviewed: NDArray[np.bool_] | None, rng: np.random.Generator
) -> Centres:
    """Return reviewed voxels of a centreline, int16 (n, 3) in (z, y, x)."""
    points = np.argwhere(skeleton if reviewed is None else skeleton & reviewed)
    if len(points) > MOST_CENTRES:
        points = points[np.sort(rng.choice(len(points), MOST_CENTRES, replace=False))]
    return points.astype(np.int16)


def background_centres(
    hu: NDArray[Any],
    labels: NDArray[np.uint8],
    reviewed: NDArray[np.bool_] | None,
    rng: np.random.Generator,
    count: int = 4_000,
) -> Centres:
    """Return random reviewed background voxels, within the body where there are any, int16 (n, 3)."""
    tried = rng.integers(labels.size, size=20 * count)
    allowed = labels.ravel()[tried] == 0
    if reviewed is not None:
        allowed &= reviewed.ravel()[tried]
    tried = tried[allowed]
    body = tried[hu.ravel()[tried] > IN_BODY_HU]
    chosen = (body if len(body) else tried)[:count]
    return np.stack(np.unravel_index(chosen, labels.shape), axis=1).astype(np.int16).reshape(-1, 3)


def free_of_vessels(centres: Centres, labels: NDArray[np.uint8], patch_voxels: int) -> NDArray[np.bool_]:
    """Return which centres' patches surely hold no vessel, bool (n,).

    Vessels are counted in blocks of 4³ voxels by a summed-area table, so a patch that only comes within four
    voxels of one does not count as free.
    """
    size = np.array(labels.shape)
    padded = np.pad(labels != 0, [(0, -length % BLOCK) for length in labels.shape])
    z, y, x = (length // BLOCK for length in padded.shape)
    blocks = padded.reshape(z, BLOCK, y, BLOCK, x, BLOCK).any(axis=(1, 3, 5))
    table = np.zeros((z + 1, y + 1, x + 1), dtype=np.int32)
    table[1:, 1:, 1:] = blocks.cumsum(0).cumsum(1).cumsum(2)
    start = np.clip(centres.astype(int) - patch_voxels // 2, 0, np.maximum(size - patch_voxels, 0))
    low, high = start // BLOCK, -(-np.minimum(start + patch_voxels, size) // BLOCK)
    total = np.zeros(len(centres), dtype=np.int64)
    for corner in range(8):
        ends = [(corner >> axis) & 1 for axis in range(3)]
        at = [np.where(end, high[:, axis], low[:, axis]) for axis, end in enumerate(ends)]
        total += (-1) ** (3 - sum(ends)) * table[at[0], at[1], at[2]]
    free: NDArray[np.bool_] = total == 0
    return free


def _box_of(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)
