"""Islands: the connected pieces of every class of a label volume (paper §3, "vessel islands").

Two voxels are of one island when they have the same class and touch by a face, an edge or a corner::

    26-connected          one island        two islands (two classes)
                            1 1 .              1 1 2
                            . . 1              . . 2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_kidnet.errors import LabelsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LabelledIslands", "keep_touching", "label_islands", "touching", "touching_same_class"]


class LabelledIslands(NamedTuple):
    """Every voxel's island.

    Attributes
    ----------
    ids : ndarray of int32, (z, y, x)
        1…n, and 0 in the background.
    n : int
        How many islands there are.
    class_of : ndarray, (n + 1,)
        The class of each island, in the dtype of the labels; ``class_of[0]`` is 0.
    """

    ids: NDArray[np.int32]
    n: int
    class_of: NDArray[np.integer]


def label_islands(labels: ArrayLike, connectivity: int = 26) -> LabelledIslands:
    """Give every island of every class its number, in one pass.

    Parameters
    ----------
    labels : array of integers or bool, (z, y, x)
        Class ids; 0 is background.
    connectivity : {26, 18, 6}
        Which neighbours touch: corners too, edges too, or faces only.

    Examples
    --------
    >>> ids, n, class_of = label_islands(np.array([[[1, 1, 2, 0, 2]]], np.uint8))
    >>> ids.tolist(), n, class_of.tolist()
    ([[[1, 1, 2, 0, 3]]], 3, [0, 1, 2, 2])
    """
    import cc3d

    values = integer_labels(labels)
    if values.size == 0 or not values.any():
        return LabelledIslands(np.zeros(values.shape, np.int32), 0, np.zeros(1, values.dtype))
    found, n = cc3d.connected_components(
        values, connectivity=connectivity, return_N=True, out_dtype=np.uint32
    )
    # One id cannot pass 2**31 before the volume has that many voxels, so the sign bit is free.
    ids = np.ascontiguousarray(found).view(np.int32)
    voxels = np.flatnonzero(ids)
    class_of = np.zeros(n + 1, values.dtype)
    class_of[ids.ravel()[voxels]] = values.ravel()[voxels]
    return LabelledIslands(ids, int(n), class_of)


def touching(ids: NDArray[np.int32], mask: ArrayLike) -> NDArray[np.bool_]:
    """Return, for each id 0…max, whether the island shares a voxel with the mask; 0 never does.

    Examples
    --------
    >>> touching(np.array([[[1, 1, 0, 2]]], np.int32), np.array([[[0, 1, 1, 0]]])).tolist()
    [False, True, False]
    """
    inside = np.asarray(mask)
    if inside.shape != ids.shape:
        raise LabelsError(
            f"the mask is of shape {inside.shape} and the islands are of {ids.shape}; give one grid."
        )
    hit = np.zeros(int(ids.max(initial=0)) + 1, bool)
    hit[ids[inside != 0]] = True
    hit[0] = False
    return hit


def touching_same_class(islands: LabelledIslands, truth: ArrayLike) -> NDArray[np.bool_]:
    """Return, for each id 0…n, whether the island shares a voxel with truth of its own class."""
    other = np.asarray(truth)
    if other.shape != islands.ids.shape:
        raise LabelsError(
            f"the truth is of shape {other.shape} and the labels are of {islands.ids.shape}; give one grid."
        )
    voxels = np.flatnonzero(other)
    owner = islands.ids.ravel()[voxels]
    hit = np.zeros(islands.n + 1, bool)
    hit[owner[islands.class_of[owner] == other.ravel()[voxels]]] = True
    hit[0] = False
    return hit


def keep_touching(labels: ArrayLike, truth: ArrayLike, connectivity: int = 26) -> NDArray[np.integer]:
    """Return the labels without the islands that share no voxel with truth of their class (the islands rule).

    Examples
    --------
    >>> keep_touching(np.array([[[1, 1, 0, 1, 2]]]), np.array([[[0, 1, 0, 0, 1]]])).tolist()
    [[[1, 1, 0, 0, 0]]]
    """
    islands = label_islands(labels, connectivity)
    kept = np.where(touching_same_class(islands, truth), islands.class_of, 0).astype(islands.class_of.dtype)
    return np.asarray(kept[islands.ids])


def integer_labels(labels: ArrayLike) -> NDArray[np.integer]:
    """Return the labels as a contiguous (z, y, x) array of integers; floats must hold whole numbers.

    Raises
    ------
    LabelsError
        The array is not three-dimensional, or holds something other than whole numbers ≥ 0.
    """
    values = np.asarray(labels)
    if values.ndim != 3:
        raise LabelsError(
            f"the labels have {values.ndim} axes where 3 (z, y, x) are needed; give one volume."
        )
    if values.dtype == np.bool_:
        return np.ascontiguousarray(values).view(np.uint8)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise LabelsError("the labels hold fractions where whole class numbers are needed; give labels.")
        values = values.astype(np.int32)
    if values.dtype.kind not in "iu":
        raise LabelsError(f"the labels are of type {values.dtype} where whole class numbers are needed.")
    if values.dtype.kind == "i" and values.min(initial=0) < 0:
        raise LabelsError(
            f"the labels hold {values.min()} where class numbers start at 0; give a label volume."
        )
    return np.ascontiguousarray(values)
