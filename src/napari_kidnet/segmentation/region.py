"""Which part of the scan is worth looking at: the drawn box, and in it the body, not the air about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.segmentation.settings import Box

__all__ = ["AIR_HU", "body_box", "is_air", "slices_of_box"]

AIR_HU = -500.0
"""Nothing that a network should see is below this."""

SAMPLE_MM = 6.0
"""The body's extent is sought on every so many millimetres: 512×512×400 in a few hundredths of a second."""

SMALLEST_PART = 0.01
"""A part of the body is at least so large beside the largest one; what is smaller is bed, sheet or noise."""

Slices = tuple[slice, slice, slice]


def slices_of_box(box: Box | None, shape: tuple[int, int, int]) -> Slices:
    """Return a box as slices (z, y, x), cut to the scan; all of the scan for None.

    Raises
    ------
    SettingsError
        The box lies outside of the scan.
    """
    if box is None:
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    parts = [
        slice(max(0, start), min(length, stop))
        for start, stop, length in zip(box[::2], box[1::2], shape, strict=True)
    ]
    if any(part.start >= part.stop for part in parts):
        given = " ".join(str(value) for value in box)
        raise SettingsError(
            f"The box {given} (z0 z1 y0 y1 x0 x1) lies outside of the scan of "
            f"{shape[0]} × {shape[1]} × {shape[2]} voxels; choose one inside."
        )
    return parts[0], parts[1], parts[2]


def is_air(hu: NDArray[np.generic]) -> bool:
    """Return whether a block of HU (z, y, x) holds nothing but air."""
    return hu.size == 0 or float(hu.max()) < AIR_HU


def body_box(hu: NDArray[np.generic], spacing: tuple[float, float, float]) -> Slices | None:
    """Return the box of everything that can be body, with a margin, or None where there is only air.

    Parameters
    ----------
    hu : array, (z, y, x)
        The scan.
    spacing : tuple of float
        Millimetres (z, y, x).
    """
    from scipy import ndimage

    steps = [max(1, round(SAMPLE_MM / mm)) for mm in spacing]
    dense = np.asarray(hu[:: steps[0], :: steps[1], :: steps[2]], np.float32) > AIR_HU
    # Opened along y and x only: a crop of three slices is no thinner body than one of three hundred.
    opened = ndimage.binary_opening(dense, np.ones((1, 3, 3), bool))
    parts, count = ndimage.label(opened, np.ones((3, 3, 3), bool))
    if count == 0:
        parts, count = ndimage.label(dense)
        if count == 0:
            return None if is_air(hu) else slices_of_box(None, (hu.shape[0], hu.shape[1], hu.shape[2]))
    sizes = np.bincount(parts.ravel())[1:]
    kept = np.flatnonzero(sizes >= SMALLEST_PART * sizes.max()) + 1
    found = ndimage.find_objects(parts)
    box = []
    for axis, (step, length) in enumerate(zip(steps, hu.shape, strict=True)):
        low = min(found[part - 1][axis].start for part in kept) - 2
        high = max(found[part - 1][axis].stop for part in kept) + 2
        box.append(slice(max(0, low * step), min(length, high * step)))
    return box[0], box[1], box[2]
