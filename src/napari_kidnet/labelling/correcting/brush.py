"""A brush as wide as the vessel under it, and what lies under a mouse that looks through a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.islands.tubes import radius_at, reach_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands import Context

__all__ = ["brightest_on", "vessel_radius"]

_WIDEST_MM: Final = 12.0
_LIKE_HU: Final = 60.0
"""Three times the noise of a renal CT (science §3.1): less is no difference."""


def vessel_radius(
    context: Context, labels: NDArray[np.integer], point: Sequence[int], class_id: int
) -> float:
    """Return the radius in mm of the vessel at a voxel (z, y, x).

    From the probability of the class where it is known there, else from the image, else from the labels.

    Examples
    --------
    >>> from napari_kidnet.islands import Context
    >>> hu = np.zeros((9, 40, 40), np.int16)
    >>> hu[:, 18:23, 18:23] = 300
    >>> round(vessel_radius(Context(hu=hu), np.zeros_like(hu), (4, 20, 20), 1), 1)
    2.8
    """
    reach = reach_of(context.spacing, _WIDEST_MM)
    at = np.asarray(point)
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, labels.shape)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    here = tuple((at - low).tolist())
    logs = context.log_probabilities
    strength: NDArray[Any] | None = None
    if logs is not None and 0 < class_id < len(logs):
        strength = np.exp(np.asarray(logs[(class_id, *box)], np.float32))
        if strength[here] < 0.1:  # a vessel that the network has missed
            strength = None
    if strength is None and context.hu is not None:
        near = context.hu[box].astype(np.float32)
        beside = tuple(slice(max(each - 1, 0), each + 2) for each in here)
        strength = np.exp(-(((near - np.median(near[beside])) / _LIKE_HU) ** 2))
    if strength is None:
        strength = (labels[box] == class_id).astype(np.float32)
    return radius_at(strength, here, context.spacing, _WIDEST_MM)


def brightest_on(ray: NDArray[np.integer], context: Context, labels: NDArray[np.integer]) -> int | None:
    """Return the index of the first labelled voxel on a ray, else of the brightest in the scan.

    Parameters
    ----------
    ray : ndarray of int, (point, 3)
        Voxels (z, y, x) within the volume, the nearest first.
    """
    if not len(ray):
        return None
    hit = np.flatnonzero(labels[tuple(ray.T)])
    if hit.size:
        return int(hit[0])
    return None if context.hu is None else int(np.argmax(context.hu[tuple(ray.T)]))
