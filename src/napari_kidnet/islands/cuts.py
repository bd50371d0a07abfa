"""Cutting an island in two: between two clicks, or where a branch leaves for the other class.

The cut runs through the thinnest place on the way::

    ●━━━━━━╸╺━━━━━━●      two seeds flood the island, wide places first, and meet in the neck
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands.edits import check_class
from napari_kidnet.islands.history import Edit
from napari_kidnet.islands.table import class_title
from napari_kidnet.islands.tubes import least_cost_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_kidnet.islands.table import Context, IslandTable

__all__ = ["split", "swap_branch"]

_CONTACT_VOXELS: Final = 2
"""A path this near to another class runs along the contact."""
_OTHER_HU: Final = 50.0
"""Of two vessels: two and a half times the noise of a renal CT (science §3.1), before smoothing."""
_SMOOTHED_VOXELS: Final = 0.8
_WIDE_PART: Final = 0.7
"""Of the largest distance to the outside: as deep as this lies the trunk and nothing else."""


def split(
    labels: NDArray[np.integer],
    table: IslandTable,
    seeds: tuple[Sequence[int], Sequence[int]],
    class_id: int | None = None,
) -> Edit:
    """Cut an island at the thinnest place between two of its voxels.

    Parameters
    ----------
    labels : ndarray, (z, y, x)
    table : IslandTable
        Of these labels.
    seeds : two of (z, y, x)
        One on each side.
    class_id : int, optional
        What the second seed's part becomes. By default it keeps its class, and the layer of its voxels at the
        cut becomes background, so that two islands remain.
    """
    first, second = table.at(seeds[0]), table.at(seeds[1])
    if first is None or first != second or tuple(seeds[0]) == tuple(seeds[1]):
        raise LabelsError(
            "splitting needs two different voxels of one island; click on both sides of the cut."
        )
    corner = table.start[first]
    mask = table.mask_of(first)
    markers = np.zeros(mask.shape, np.int32)
    local = [tuple((np.asarray(seed) - corner).tolist()) for seed in seeds]
    markers[local[0]], markers[local[1]] = 1, 2
    sides = _flood(mask, markers, table.spacing)
    if class_id is not None:
        check_class(labels, class_id)
        what = f"Split an island of {_title(table, first)} and made one part {class_title(class_id)}"
        return Edit.of(labels, _flat(sides == 2, corner, table.shape), class_id, what)
    cut = _layer(sides, 2, 1)
    if cut[local[1]]:
        cut = _layer(sides, 1, 2)
    if cut[local[0]]:
        raise LabelsError("the two voxels are neighbours, so nothing lies between them; click further apart.")
    return Edit.of(labels, _flat(cut, corner, table.shape), 0, f"Split an island of {_title(table, first)}")


def swap_branch(
    labels: NDArray[np.integer],
    table: IslandTable,
    point: Sequence[int],
    class_id: int,
    context: Context | None = None,
) -> Edit:
    """Give the branch at a voxel to another class, and leave the trunk it hangs on.

    An island that is not rooted goes over as a whole. In a rooted one, where the scan is known and shows the
    branch in another brightness than the trunk, the branch is what hangs together in its own. Otherwise it
    ends on the way to the island's widest place: where the way touches the other class, or else where the
    vessel widens most.

    Parameters
    ----------
    point : (z, y, x)
        A voxel of the branch.
    class_id : int
        The class that the branch belongs to.
    context : Context, optional
        With hu. Two vessels that lie along each other are told apart by it, and by their shape they are not.
    """
    check_class(labels, class_id)
    row = table.at(point)
    if row is None:
        raise LabelsError("there is no vessel at this voxel; click on the branch that has the wrong class.")
    what = f"Swapped a branch of {_title(table, row)} to {class_title(class_id)}"
    if not table.rooted[row]:
        return Edit.of(labels, table.voxels_of(row), class_id, what)
    from scipy.ndimage import distance_transform_edt

    corner = table.start[row]
    mask = table.mask_of(row)
    inner = distance_transform_edt(np.pad(mask, 1), sampling=table.spacing)[1:-1, 1:-1, 1:-1]
    trunk = np.unravel_index(int(np.argmax(inner)), inner.shape)
    if context is not None and context.hu is not None:
        click = (int(point[0] - corner[0]), int(point[1] - corner[1]), int(point[2] - corner[2]))
        own = _of_own_brightness(mask, inner, context.hu[table.box_of(row)], click)
        if own is not None:
            return Edit.of(labels, _flat(own, corner, table.shape), class_id, what)
    cost = np.where(mask, 1 / np.maximum(inner, 1e-3) ** 2, np.inf)
    path, _ = least_cost_path(cost, [np.asarray(point) - corner], [trunk], table.spacing)
    if len(path) < 3:
        return Edit.of(labels, table.voxels_of(row), class_id, what)
    at = _place_of_cut(path, inner, labels[table.box_of(row)] == class_id)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(path[:at].T)] = 2
    markers[tuple(path[at:].T)] = 1
    # Where the branch enters, the whole ball of the trunk is trunk.
    branch = _flood(mask, markers, table.spacing) == 2
    return Edit.of(labels, _flat(branch, corner, table.shape), class_id, what)


def _of_own_brightness(
    mask: NDArray[np.bool_],
    inner: NDArray[np.float64],
    hu: NDArray[np.floating | np.integer],
    click: tuple[int, int, int],
) -> NDArray[np.bool_] | None:
    """Return what of a mask hangs together with a voxel and is as bright; None where the trunk is as bright.

    Parameters
    ----------
    inner : ndarray of float, (z, y, x)
        Distance to the outside of the mask.
    """
    from scipy.ndimage import gaussian_filter, label

    # Smoothed within the mask only: at its edge there is fat, which is like neither vessel.
    weight = gaussian_filter(mask.astype(np.float32), _SMOOTHED_VOXELS)
    smooth = gaussian_filter(np.where(mask, hu, 0).astype(np.float32), _SMOOTHED_VOXELS)
    smooth /= np.maximum(weight, 1e-3)
    beside = tuple(slice(max(each - 1, 0), each + 2) for each in click)
    branch = float(np.median(smooth[beside][mask[beside]]))
    trunk = float(np.median(smooth[inner >= _WIDE_PART * inner.max()]))
    if abs(branch - trunk) < _OTHER_HU:
        return None
    pieces, _ = label(mask & ((smooth > (branch + trunk) / 2) == (branch > trunk)))
    return np.asarray(pieces == pieces[click]) if pieces[click] else None


def _place_of_cut(path: NDArray[np.int32], inner: NDArray[np.float64], other: NDArray[np.bool_]) -> int:
    """Return the index in the path at which the trunk begins."""
    from scipy.ndimage import binary_dilation

    radius = inner[tuple(path.T)]
    ahead = np.concatenate([radius[2:], radius[-1:], radius[-1:]])
    widening = ahead / np.maximum(radius, 1e-6)
    places = np.arange(1, len(path) - 1)
    if other.any():
        near = binary_dilation(other, np.ones((3, 3, 3), bool), iterations=_CONTACT_VOXELS)
        touching = places[near[tuple(path[places].T)]]
        places = touching if touching.size else places
    return int(places[np.argmax(widening[places])]) + 1


def _flood(
    mask: NDArray[np.bool_], markers: NDArray[np.int32], spacing: tuple[float, float, float]
) -> NDArray[np.int32]:
    """Divide a mask between markers; the sides meet at the narrowest place between them."""
    from scipy.ndimage import distance_transform_edt
    from skimage.segmentation import watershed

    inner = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    return np.asarray(watershed(-inner, markers, mask=mask, connectivity=np.ones((3, 3, 3), bool)), np.int32)


def _layer(sides: NDArray[np.int32], mine: int, other: int) -> NDArray[np.bool_]:
    """Return the voxels of one side that touch the other by face, edge or corner."""
    from scipy.ndimage import binary_dilation

    return np.asarray((sides == mine) & binary_dilation(sides == other, np.ones((3, 3, 3), bool)))


def _flat(
    mask: NDArray[np.bool_], corner: NDArray[np.int32], shape: tuple[int, int, int]
) -> NDArray[np.int64]:
    return np.asarray(np.ravel_multi_index(tuple((np.argwhere(mask) + corner).T), shape), np.int64)


def _title(table: IslandTable, row: int) -> str:
    return class_title(int(table.class_id[row]))
