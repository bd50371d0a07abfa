"""Growing and shrinking an island by probability, and filling a missed branch from one click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands.edits import check_class
from napari_kidnet.islands.history import Edit
from napari_kidnet.islands.table import class_title
from napari_kidnet.islands.tubes import least_cost_path, radius_at, reach_of, tube

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands.table import Context, IslandTable

__all__ = ["fill_branch", "grow", "path_cost"]

COST_FLOOR: Final = 0.05
"""ε of science §2.7: a step through certain vessel is cheap, but not free."""
_WIDEST_BRANCH_MM: Final = 6.0
_NO_CONTRAST_HU: Final = 20.0
"""As much as the noise of a renal CT (science §3.1)."""
_DARKEST: Final = -12.0
"""Logarithms below are float16's underflow; a path may still cross a few such voxels."""


def grow(
    labels: NDArray[np.integer],
    table: IslandTable,
    island: int,
    threshold: float,
    context: Context,
    reach_mm: float = 5.0,
) -> Edit:
    """Make an island what is above a threshold of probability in its reach; a lower threshold only adds.

    Voxels that are kept hang together with the island's most probable voxel. Other islands stay as they are.

    Parameters
    ----------
    threshold : float
        0…1, on the probability of the island's class.
    context : Context
        With log_probabilities.
    reach_mm : float
        How far from the island's present voxels it may grow.
    """
    from scipy.ndimage import distance_transform_edt, label

    if context.log_probabilities is None:
        raise LabelsError("growing needs the probabilities of a prediction; segment the scan first.")
    row = table.row_of(island)
    class_id = int(table.class_id[row])
    if class_id >= len(context.log_probabilities):
        raise LabelsError(f"there are no probabilities for {class_title(class_id)}; choose another island.")
    margin = int(np.ceil(reach_mm / min(table.spacing)))
    box = table.box_of(row, margin)
    mask = table.mask_of(row, margin)
    log = context.log_probabilities[(class_id, *box)].astype(np.float32)
    within = distance_transform_edt(~mask, sampling=table.spacing) <= reach_mm
    free = mask | (labels[box] == 0)
    core = np.unravel_index(int(np.argmax(np.where(mask, log, -np.inf))), log.shape)
    allowed = within & free & (log >= np.log(max(threshold, 1e-7)))
    allowed[core] = True
    pieces, _ = label(allowed, np.ones((3, 3, 3)))
    after = pieces == pieces[core]
    change = after != mask
    at = np.argwhere(change) + [side.start for side in box]
    flat = np.ravel_multi_index(tuple(at.T), table.shape)
    gained, lost = int((after & ~mask).sum()), int((mask & ~after).sum())
    what = f"{class_title(class_id)} grown to probability {threshold:.2f}: {gained} voxels more, {lost} fewer"
    return Edit.of(labels, flat, np.where(after[change], class_id, 0), what)


def path_cost(
    context: Context, class_id: int, box: tuple[slice, slice, slice], hu_like: float | None = None
) -> NDArray[np.float32]:
    """Return what a mm of path costs: ε - log p, and more where the image is unlike the vessel.

    Parameters
    ----------
    hu_like : float, optional
        The HU of the vessel; used where the context has an image.
    """
    shape = tuple(side.stop - side.start for side in box)
    cost = np.full(shape, COST_FLOOR, np.float32)
    log = context.log_probabilities
    if log is not None and class_id < len(log):
        cost -= np.maximum(log[(class_id, *box)].astype(np.float32), _DARKEST)
    if context.hu is not None and hu_like is not None:
        # 60 HU is three times the noise of a renal CT (science §3.1): less is no difference.
        cost += np.minimum(((context.hu[box].astype(np.float32) - hu_like) / 60) ** 2, -_DARKEST)
    return cost


def fill_branch(
    labels: NDArray[np.integer],
    table: IslandTable,
    point: Sequence[int],
    class_id: int,
    context: Context,
    reach_mm: float = 40.0,
) -> Edit:
    """Paint the vessel between a click and the nearest island of its class, along the most likely path.

    The tube is as wide as the probability is at each point of the path; other islands are not painted over.

    Parameters
    ----------
    point : (z, y, x)
        A voxel of the missed branch.
    reach_mm : float
        How far the island may be.
    """
    check_class(labels, class_id)
    click = np.asarray(point)
    spacing = np.asarray(table.spacing)
    reach = np.ceil(reach_mm / spacing).astype(int)
    low, high = np.maximum(click - reach, 0), np.minimum(click + reach + 1, table.shape)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    near = labels[box]
    targets = np.argwhere(near == class_id)
    if not targets.size:
        raise LabelsError(
            f"there is no {class_title(class_id)} within {reach_mm:g} mm of the click; click nearer to it."
        )
    like = None if context.hu is None else float(context.hu[tuple(click)])
    cost = path_cost(context, class_id, box, like)
    cost[(near != 0) & (near != class_id)] = np.inf
    start = click - low
    if not np.isfinite(cost[tuple(start)]):
        raise LabelsError("the click is on another class; relabel or delete that island first.")
    path, _ = least_cost_path(cost, [start], targets[_surface(near == class_id, targets)], table.spacing)
    if not path.size:
        raise LabelsError(
            "other classes stand between the click and the island; relabel or delete them first."
        )
    radii = _radii(path, context, class_id, box, table.spacing)
    flat = tube(path + low, radii, table.shape, table.spacing)
    flat = flat[np.isin(labels[np.unravel_index(flat, table.shape)], (0, class_id))]
    length = float(np.linalg.norm(np.diff(path, axis=0) * spacing, axis=1).sum())
    return Edit.of(labels, flat, class_id, f"Filled {length:.1f} mm of {class_title(class_id)}")


def _surface(mask: NDArray[np.bool_], voxels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which voxels of a mask lie on its surface: a path ends on no others."""
    from scipy.ndimage import binary_erosion

    return np.asarray(~binary_erosion(mask)[tuple(voxels.T)])


def _radii(
    path: NDArray[np.int32],
    context: Context,
    class_id: int,
    box: tuple[slice, slice, slice],
    spacing: tuple[float, float, float],
) -> NDArray[np.float64]:
    """Return the vessel's radius along a path, smoothed; half a voxel where nothing is known.

    A network that missed a vessel is unsure far around it, so probability alone would paint a branch of 1 mm
    as wide as the aorta; where there is a scan, the vessel is no wider than what stands out in it.
    """
    from scipy.ndimage import median_filter

    every = np.arange(0, len(path), 3)
    found = np.full(len(every), _WIDEST_BRANCH_MM)
    log = context.log_probabilities
    known = log is not None and class_id < len(log)
    if log is not None and known:
        strength = np.exp(log[(class_id, *box)].astype(np.float32))
        found = np.array([radius_at(strength, path[k], spacing, _WIDEST_BRANCH_MM) for k in every])
    if context.hu is not None:
        hu = context.hu[box].astype(np.float32)
        found = np.minimum(found, [_radius_in_scan(hu, path[k], spacing) for k in every])
    elif not known:
        return np.full(len(path), min(spacing))
    # Where the branch meets its parent the parent's radius would swell the tube.
    found = np.minimum(found, 1.25 * np.percentile(found, 40))
    return np.asarray(median_filter(np.interp(np.arange(len(path)), every, found), size=7, mode="nearest"))


def _radius_in_scan(
    hu: NDArray[np.float32], point: NDArray[np.int32], spacing: tuple[float, float, float]
) -> float:
    """Return how wide what stands out at a voxel is: brighter than around it, or darker, as urine can be."""
    reach = np.ceil(_WIDEST_BRANCH_MM / np.asarray(spacing)).astype(int)
    around = float(np.median(_about(hu, point, reach)[0]))
    middle = float(hu[tuple(point)])
    if abs(middle - around) < _NO_CONTRAST_HU:
        return min(spacing) / 2
    near, low = _about(hu, point, reach_of(spacing, _WIDEST_BRANCH_MM))
    return radius_at((near - around) / (middle - around), point - low, spacing, _WIDEST_BRANCH_MM)


def _about(
    hu: NDArray[np.float32], point: NDArray[np.int32], reach: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Return the part of a volume about a voxel, and its corner."""
    low, high = np.maximum(point - reach, 0), np.minimum(point + reach + 1, hu.shape)
    return hu[tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))], low
