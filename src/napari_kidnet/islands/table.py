"""The table of islands: what each is, how large, how sure, and how it lies to the rest of its class."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.classes import CLASSES
from napari_kidnet.errors import LabelsError
from napari_kidnet.islands.sparse import coordinates, in_sorted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Context", "IslandTable", "PER_ISLAND", "class_title", "table_rows"]

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]

_TITLES: Final = {each.id: each.title for each in CLASSES}


def class_title(class_id: int) -> str:
    """Return how a person calls the class, also for classes that are not ours.

    Examples
    --------
    >>> class_title(2), class_title(57)
    ('Vein', 'Class 57')
    """
    return _TITLES.get(class_id, f"Class {class_id}")


@dataclass(frozen=True, slots=True)
class Context:
    """What is known beside the labels; all arrays on their grid.

    Attributes
    ----------
    spacing : tuple of float
        (z, y, x) in mm.
    log_probabilities : ndarray of float, (class, z, y, x) or None
        Natural logarithms, of the prediction.
    kidneys : ndarray, (z, y, x) or None
        Not 0 inside of a kidney.
    hu : ndarray, (z, y, x) or None
        The scan.
    uncertainty : ndarray of float, (z, y, x) or None
        0 sure … 1 unsure; disagreement of scales, flips or checkpoints.
    skeletons : bool
        Measure lengths and end points too.
    """

    spacing: Spacing = (1.0, 1.0, 1.0)
    log_probabilities: NDArray[np.floating] | None = None
    kidneys: NDArray[np.integer] | None = None
    hu: NDArray[np.floating | np.integer] | None = None
    uncertainty: NDArray[np.floating] | None = None
    skeletons: bool = True

    def __post_init__(self) -> None:
        if len(self.spacing) != 3 or not all(pace > 0 for pace in self.spacing):
            raise LabelsError(f"the spacing is {self.spacing} where three sizes in mm above 0 are needed.")

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise LabelsError when an array lies on another grid than the labels."""
        for name in ("log_probabilities", "kidneys", "hu", "uncertainty"):
            array = getattr(self, name)
            if array is not None and array.shape[-3:] != shape:
                raise LabelsError(
                    f"{name} is of shape {array.shape[-3:]} and the labels are of {shape}; give one grid."
                )


@dataclass(frozen=True, slots=True)
class IslandTable:
    """Islands as columns: row i of every array is island i, in the order of the islands' first voxels.

    Attributes
    ----------
    shape, spacing : tuple
        Of the volume, (z, y, x); mm.
    id : ndarray of int64
        Stays with an island through edits elsewhere, and is never given twice.
    class_id, voxels : ndarray of int64
    volume_ml : ndarray of float64
    start, stop : ndarray of int32, (island, 3)
        The box, half open.
    centroid_mm, extent_mm : ndarray of float64, (island, 3)
        From the first voxel of the volume, (z, y, x); the sides of the box.
    mean_probability, least_probability, uncertainty : ndarray of float64
        Of the island's class on its voxels; NaN where none is known.
    mean_radius_mm, max_radius_mm : ndarray of float64
        From the distance transform: along the centre line (where none is measured, the largest); the largest.
    length_mm : ndarray of float64
        Of the centre line; NaN where not measured.
    end_points : tuple of ndarray of int32, (end, 3)
        Free ends of the centre line, (z, y, x) in the volume.
    directions : tuple of ndarray of float32, (end, 3)
        Unit vectors in mm that point out of the ends.
    end_radii_mm : tuple of ndarray of float64, (end,)
        How wide the vessel is behind each end; an island's mean says little where it holds the aorta.
    distance_mm : ndarray of float64
        To the largest island of the class; 0 for itself.
    neighbours : tuple of frozenset of int
        Other classes that touch the island by a face.
    touches_kidney, rooted : ndarray of bool
        Rooted: the trunk of its class, or large enough to be a second one (`finding.TRUNK_SHARE`).
    flat : ndarray of int64
        The voxels of all islands, sorted within each; ``offsets[i]:offsets[i + 1]`` are those of row i.
    offsets : ndarray of int64, (island + 1,)
    next_id : int
    """

    shape: Shape
    spacing: Spacing
    id: NDArray[np.int64]
    class_id: NDArray[np.int64]
    voxels: NDArray[np.int64]
    volume_ml: NDArray[np.float64]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    centroid_mm: NDArray[np.float64]
    extent_mm: NDArray[np.float64]
    mean_probability: NDArray[np.float64]
    least_probability: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    mean_radius_mm: NDArray[np.float64]
    max_radius_mm: NDArray[np.float64]
    length_mm: NDArray[np.float64]
    end_points: tuple[NDArray[np.int32], ...]
    directions: tuple[NDArray[np.float32], ...]
    end_radii_mm: tuple[NDArray[np.float64], ...]
    distance_mm: NDArray[np.float64]
    neighbours: tuple[frozenset[int], ...]
    touches_kidney: NDArray[np.bool_]
    rooted: NDArray[np.bool_]
    flat: NDArray[np.int64]
    offsets: NDArray[np.int64]
    next_id: int

    def __len__(self) -> int:
        return len(self.id)

    def row_of(self, island: int) -> int:
        """Return the row of an island's id."""
        found = np.flatnonzero(self.id == island)
        if found.size == 0:
            raise LabelsError(f"there is no island {island} any more; choose another from the table.")
        return int(found[0])

    def voxels_of(self, row: int) -> NDArray[np.int64]:
        """Return the flat indices of a row's voxels."""
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def box_of(self, row: int, margin: int = 0) -> tuple[slice, slice, slice]:
        """Return a row's box, widened by a margin of voxels within the volume."""
        low = np.maximum(self.start[row] - margin, 0).tolist()
        high = np.minimum(self.stop[row] + margin, self.shape).tolist()
        return (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))

    def mask_of(self, row: int, margin: int = 0) -> NDArray[np.bool_]:
        """Return the island alone, as a mask of its box."""
        box = self.box_of(row, margin)
        mask = np.zeros([side.stop - side.start for side in box], bool)
        at = coordinates(self.voxels_of(row), self.shape) - [side.start for side in box]
        mask[tuple(at.T)] = True
        return mask

    def at(self, point: Iterable[int]) -> int | None:
        """Return the row of the island at a voxel (z, y, x), or None in the background."""
        where = np.fromiter((int(each) for each in point), np.int64)
        if ((where < 0) | (where >= self.shape)).any():
            return None
        flat = np.array([np.ravel_multi_index(tuple(where), self.shape)], np.int64)
        for row in np.flatnonzero(((where >= self.start) & (where < self.stop)).all(axis=1)).tolist():
            if in_sorted(self.voxels_of(row), flat)[0] >= 0:
                return int(row)
        return None

    def largest_of(self, class_id: int) -> int | None:
        """Return the row of the largest island of a class; of equals the first."""
        rows = np.flatnonzero(self.class_id == class_id)
        return int(rows[np.argmax(self.voxels[rows])]) if rows.size else None


PER_ISLAND: Final = tuple(
    each.name
    for each in fields(IslandTable)
    if each.name not in {"shape", "spacing", "flat", "offsets", "next_id"}
)


def table_rows(table: IslandTable) -> list[dict[str, Any]]:
    """Return the table as plain values for JSON: lists in the order (z, y, x), NaN as None.

    Examples
    --------
    >>> from napari_kidnet.islands import find_islands
    >>> row = table_rows(find_islands(np.ones((1, 2, 3), np.uint8)))[0]
    >>> row["class"], row["voxels"], row["stop"], row["mean_probability"]
    ('Artery', 6, [1, 2, 3], None)
    """
    rows = []
    for i in range(len(table)):
        row: dict[str, Any] = {"id": int(table.id[i]), "class": class_title(int(table.class_id[i]))}
        for name in PER_ISLAND[1:]:
            row[name] = _plain(getattr(table, name)[i])
        rows.append(row)
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    plain = value.item()
    return None if isinstance(plain, float) and plain != plain else plain
