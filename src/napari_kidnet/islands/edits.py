"""What one key does to islands: delete, relabel, merge, keep the largest, paint.

Every function reads the labels and the table and returns an `Edit`; nothing is changed until it is applied.
Cutting is in `cuts`, growing and filling in `growing`, joining across gaps in `bridging`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands.history import Edit
from napari_kidnet.islands.sparse import coordinates
from napari_kidnet.islands.table import class_title
from napari_kidnet.islands.tubes import straight_line, tube

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_kidnet.islands.table import IslandTable

__all__ = ["delete", "keep_largest", "merge", "paint", "relabel", "stroke"]


def delete(labels: NDArray[np.integer], table: IslandTable, islands: Iterable[int]) -> Edit:
    """Make islands background.

    Parameters
    ----------
    labels : ndarray, (z, y, x)
    table : IslandTable
        Of these labels.
    islands : iterable of int
        Ids.

    Examples
    --------
    >>> from napari_kidnet.islands import find_islands
    >>> labels = np.array([[[2, 0, 1]]], np.uint8)
    >>> edit = delete(labels, find_islands(labels), [1])
    >>> edit.apply(labels)
    >>> edit.what, labels.tolist()
    ('Deleted 1 island of Vein (0.001 mL)', [[[0, 0, 1]]])
    """
    rows = _rows(table, islands)
    return Edit.of(labels, _voxels(table, rows), 0, f"Deleted {_said(table, rows)}")


def relabel(labels: NDArray[np.integer], table: IslandTable, islands: Iterable[int], class_id: int) -> Edit:
    """Give islands another class."""
    rows = _rows(table, islands)
    check_class(labels, class_id)
    what = f"Relabelled {_said(table, rows)} to {class_title(class_id)}"
    return Edit.of(labels, _voxels(table, rows), class_id, what)


def keep_largest(labels: NDArray[np.integer], table: IslandTable, class_id: int) -> Edit:
    """Delete all islands of a class but the largest."""
    largest = table.largest_of(class_id)
    if largest is None:
        raise LabelsError(f"there is no island of {class_title(class_id)} to keep.")
    rows = [row for row in np.flatnonzero(table.class_id == class_id).tolist() if row != largest]
    what = f"Kept the largest island of {class_title(class_id)}, deleted {len(rows)} others"
    return Edit.of(labels, _voxels(table, rows), 0, what)


def merge(labels: NDArray[np.integer], table: IslandTable, islands: Iterable[int]) -> Edit:
    """Make several islands one: of the largest's class, joined by straight tubes where they do not touch.

    A tube is as wide as the thinner of the two; other classes are never painted over. For a join that follows
    the vessel see `bridging`.
    """
    from scipy.spatial import cKDTree

    rows = sorted(_rows(table, islands), key=lambda row: (-int(table.voxels[row]), row))
    if len(rows) < 2:
        raise LabelsError("merging needs at least two islands; select more of them.")
    class_id = int(table.class_id[rows[0]])
    spacing = np.asarray(table.spacing)
    body = coordinates(table.voxels_of(rows[0]), table.shape)
    parts = [_voxels(table, rows)]
    for row in rows[1:]:
        piece = coordinates(table.voxels_of(row), table.shape)
        distance, nearest = (np.asarray(each) for each in cKDTree(body * spacing).query(piece * spacing))
        closest = int(np.argmin(distance))
        radius = float(min(table.mean_radius_mm[rows[0]], table.mean_radius_mm[row]))
        line = straight_line(body[nearest[closest]], piece[closest])
        # The line itself always joins; the tube around it takes only background.
        parts.append(np.ravel_multi_index(tuple(line.T), table.shape).astype(np.int64))
        if np.abs(piece[closest] - body[nearest[closest]]).max() > 1:
            around = tube(line, radius, table.shape, table.spacing)
            parts.append(around[labels[np.unravel_index(around, table.shape)] == 0])
        body = np.concatenate([body, piece])
    return Edit.of(labels, np.concatenate(parts), class_id, f"Merged {_said(table, rows)}")


def paint(
    labels: NDArray[np.integer],
    points: ArrayLike,
    class_id: int,
    radius_mm: float | Sequence[float],
    spacing: tuple[float, float, float],
) -> Edit:
    """Paint a tube along points, over everything; class 0 erases.

    Parameters
    ----------
    points : array of int, (point, 3)
        (z, y, x).
    radius_mm : float or one per point
        What `tubes.radius_at` finds there, for a brush as wide as the vessel.
    """
    check_class(labels, class_id)
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    flat = tube(points, radius_mm, shape, spacing)
    return Edit.of(labels, flat, class_id, f"Painted {flat.size} voxels of {class_title(class_id)}")


def stroke(labels: NDArray[np.integer], flat: ArrayLike, before: ArrayLike) -> Edit:
    """Describe a brush stroke that a viewer has applied already; for `History.record`.

    Parameters
    ----------
    labels : ndarray, (z, y, x)
        After the stroke.
    flat, before : array, (voxel,)
        Where, and the values before.
    """
    back = Edit.of(labels, flat, before, "Brush stroke")
    change = type(back.labels)(back.labels.flat, back.labels.after, back.labels.before)
    return Edit(f"Brush stroke of {change.flat.size} voxels", back.shape, change)


def check_class(labels: NDArray[np.integer], class_id: int) -> None:
    """Raise LabelsError when a class number does not fit into the labels."""
    if not 0 <= class_id <= np.iinfo(labels.dtype).max:
        raise LabelsError(
            f"class {class_id} does not fit into labels of type {labels.dtype}; choose another."
        )


def _rows(table: IslandTable, islands: Iterable[int]) -> list[int]:
    return [table.row_of(island) for island in dict.fromkeys(islands)]


def _voxels(table: IslandTable, rows: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *[table.voxels_of(row) for row in rows]])


def _said(table: IslandTable, rows: Sequence[int]) -> str:
    classes = sorted({int(table.class_id[row]) for row in rows})
    names = " and ".join(class_title(each) for each in classes)
    plural = "" if len(rows) == 1 else "s"
    return f"{len(rows)} island{plural} of {names} ({table.volume_ml[list(rows)].sum():.2g} mL)"
