"""Where the patient is: air, clothes and the bed are left out of the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["body_mask"]

AIR_HU = -500.0
"""Half-way between air and soft tissue."""

COARSE_MM = 3.0
"""The grid the body is found on; its outline need not be finer, and 512 × 512 × 400 voxels take moments."""

BED_MM = 6.0
"""Radius of the opening that parts the shell of the bed, a few mm thick, from the back on it."""


def body_mask(hu: NDArray[Any], spacing: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Find the patient's body, with lungs and bowel gas inside it and the bed outside.

    Parameters
    ----------
    hu : array
        Hounsfield units in (z, y, x).
    spacing : tuple of float
        (z, y, x) in mm.

    Returns
    -------
    array of bool
        (z, y, x); up to a few mm too large, so that no skin is lost. All False if there is only air.
    """
    from scipy import ndimage

    steps = [max(1, round(COARSE_MM / size)) for size in spacing]
    coarse = hu[:: steps[0], :: steps[1], :: steps[2]] > AIR_HU
    if not coarse.any():
        return np.zeros(hu.shape, bool)
    ball = _ball([size * step for size, step in zip(spacing, steps, strict=True)])
    # a rim that repeats the border: an opening must not eat a body that goes on beyond the field
    rim = [(size // 2, size // 2) for size in ball.shape]
    padded = np.pad(coarse, rim, mode="edge")
    core = _largest(ndimage.binary_opening(padded, ball))
    body = padded & ndimage.binary_dilation(core, ball)
    body = body[tuple(slice(low, size - high) for (low, high), size in zip(rim, padded.shape, strict=True))]
    if not body.any():
        body = coarse
    filled = np.stack([ndimage.binary_fill_holes(part) for part in body])
    grown = ndimage.binary_dilation(filled, np.ones((3, 3, 3), bool))
    return _finer(grown, steps, hu.shape)


def _ball(spacing: list[float]) -> NDArray[np.bool_]:
    """Return a ball of ``BED_MM`` on a grid of this spacing, an odd number of voxels along each axis."""
    reach = [int(BED_MM // size) for size in spacing]
    axes = np.ogrid[tuple(slice(-far, far + 1) for far in reach)]
    squares = [(axis * size) ** 2 for axis, size in zip(axes, spacing, strict=True)]
    return np.asarray(squares[0] + squares[1] + squares[2] <= BED_MM**2)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    components, _ = ndimage.label(mask)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return np.asarray(mask & (components == sizes.argmax()))


def _finer(mask: NDArray[np.bool_], steps: list[int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    for axis, step in enumerate(steps):
        mask = np.repeat(mask, step, axis)
    return np.ascontiguousarray(mask[: shape[0], : shape[1], : shape[2]])
