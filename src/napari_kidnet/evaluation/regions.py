"""Where a prediction is judged: the truth's region of interest, and the kidneys' boxes (R32, R33)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.errors import LabelsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bounding_box", "boxes_mask", "kidney_boxes", "truth_range"]

Slices = tuple[slice, slice, slice]

SECOND_KIDNEY = 0.2
"""In a mask with one value for both kidneys, a piece of this share of the largest is a kidney too."""


def truth_range(truth: NDArray[np.integer]) -> slice:
    """Return the slices along z in which the truth (z, y, x) has any vessel; all of them if it has none.

    The annotators marked a stretch of the scan; what lies above and below was never judged (A21).

    Examples
    --------
    >>> truth_range(np.array([[[0]], [[1]], [[0]], [[3]], [[0]]]))
    slice(1, 4, None)
    """
    marked = np.flatnonzero(truth.any(axis=(1, 2)))
    if marked.size == 0:
        return slice(0, len(truth))
    return slice(int(marked[0]), int(marked[-1]) + 1)


def kidney_boxes(kidneys: NDArray[np.integer]) -> list[Slices]:
    """Return one box for each kidney of a mask (z, y, x): 1 left, 2 right, or one value for both.

    Raises
    ------
    LabelsError
        The mask is empty.
    """
    from scipy import ndimage

    values = np.unique(kidneys)
    values = values[values != 0]
    if values.size == 0:
        raise LabelsError("The kidney mask has no voxel that is not 0; give one with 1 (left) and 2 (right).")
    if values.size > 1:
        return [bounding_box(kidneys == value) for value in values]
    pieces, count = ndimage.label(kidneys != 0)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    largest = np.argsort(sizes)[::-1][:2]
    if count > 1 and sizes[largest[1]] >= SECOND_KIDNEY * sizes[largest[0]]:
        return [bounding_box(pieces == piece + 1) for piece in largest]
    return [bounding_box(kidneys != 0)]


def boxes_mask(boxes: list[Slices], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the union of boxes as a mask (z, y, x)."""
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> Slices:
    """Return the smallest box about a mask (z, y, x), grown by a margin; all of it if the mask is empty."""
    parts = []
    for axis in range(3):
        marked = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if marked.size == 0:
            return slice(0, mask.shape[0]), slice(0, mask.shape[1]), slice(0, mask.shape[2])
        parts.append(
            slice(max(0, int(marked[0]) - margin), min(mask.shape[axis], int(marked[-1]) + 1 + margin))
        )
    return parts[0], parts[1], parts[2]
