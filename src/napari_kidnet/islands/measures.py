"""What each island is by itself: the columns of the table that need no other island.

Islands are measured in batches of a bounded number of voxels, so that memory beside the table stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.islands.skeletons import Skeleton, skeleton_of
from napari_kidnet.islands.sparse import SURFACE_VOXELS, coordinates, distance_to_outside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_kidnet.islands.table import Context

__all__ = ["measure", "measure_class", "surroundings"]

_BATCH_VOXELS: Final = 200_000
_NEAR_END_MM: Final = 6.0


def measure(
    flat: NDArray[np.int64], offsets: NDArray[np.int64], values: NDArray[np.integer], about: Context
) -> dict[str, Any]:
    """Return the columns of islands that are given by their voxels.

    Parameters
    ----------
    flat, offsets : ndarray of int64
        As in `IslandTable`.
    values : ndarray, (z, y, x)
        The labels.
    about : Context
        Spacing and what else is known.
    """
    parts = [
        _measure_batch(flat[offsets[a] : offsets[b]], offsets[a : b + 1] - offsets[a], values, about)
        for a, b in _batches(offsets)
    ]
    if not parts:
        parts = [_empty_columns()]
    joined: dict[str, Any] = {}
    for name, first in parts[0].items():
        columns = [part[name] for part in parts]
        joined[name] = sum(columns, ()) if isinstance(first, tuple) else np.concatenate(columns)
    return joined


def measure_class(
    flat: NDArray[np.int64], offsets: NDArray[np.int64], values: NDArray[np.integer], about: Context
) -> dict[str, Any]:
    """Return the columns that an island's class decides, as `measure` does for all."""
    shape = (values.shape[0], values.shape[1], values.shape[2])
    first, count = offsets[:-1], np.diff(offsets)
    owner = np.repeat(np.arange(len(count)), count)
    class_id = values.reshape(-1)[flat[first]].astype(np.int64)
    mean, least = _probabilities(flat, first, np.repeat(class_id, count), about)
    around = surroundings(flat, coordinates(flat, shape), owner, values, about)
    return {
        "class_id": class_id,
        "mean_probability": mean,
        "least_probability": least,
        "distance_mm": np.full(len(count), np.nan),
        **around,
    }


def _batches(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows of at most some voxels; a larger island comes alone."""
    begin, n = 0, len(offsets) - 1
    while begin < n:
        end = int(np.searchsorted(offsets, offsets[begin] + _BATCH_VOXELS, side="right")) - 1
        end = max(end, begin + 1)
        yield begin, end
        begin = end


def _measure_batch(
    flat: NDArray[np.int64], offsets: NDArray[np.int64], values: NDArray[np.integer], about: Context
) -> dict[str, Any]:
    shape = (values.shape[0], values.shape[1], values.shape[2])
    first, count = offsets[:-1], np.diff(offsets)
    spacing = np.asarray(about.spacing)
    at = coordinates(flat, shape)
    start = np.minimum.reduceat(at, first, axis=0)
    stop = np.maximum.reduceat(at, first, axis=0) + 1
    owner = np.repeat(np.arange(len(count)), count)
    class_id = values.reshape(-1)[flat[first]].astype(np.int64)
    inner = distance_to_outside(flat, owner, shape, about.spacing)
    radius = inner.astype(np.float64) - SURFACE_VOXELS * min(about.spacing)
    mean, least = _probabilities(flat, first, np.repeat(class_id, count), about)
    return {
        "class_id": class_id,
        "voxels": count,
        "volume_ml": count * float(spacing.prod()) / 1000,
        "start": start,
        "stop": stop,
        "centroid_mm": np.add.reduceat(at.astype(np.int64), first, axis=0) / count[:, None] * spacing,
        "extent_mm": (stop - start) * spacing,
        "mean_probability": mean,
        "least_probability": least,
        "uncertainty": _mean_of(about.uncertainty, flat, first, count),
        "max_radius_mm": np.maximum.reduceat(radius, first),
        **_skeletons(at, offsets, radius, about),
        **surroundings(flat, at, owner, values, about),
        "distance_mm": np.full(len(count), np.nan),
        "rooted": np.zeros(len(count), bool),
    }


def _probabilities(
    flat: NDArray[np.int64], first: NDArray[np.int64], classes: NDArray[np.int64], about: Context
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the least probability that each island's voxels have of being its class."""
    log = about.log_probabilities
    if log is None:
        unknown = np.full(len(first), np.nan)
        return unknown, unknown.copy()
    known = classes < len(log)
    sure = np.full(flat.size, np.nan)
    where = np.unravel_index(flat[known], log.shape[1:])
    sure[known] = np.exp(log[(classes[known], *where)].astype(np.float64))
    count = np.diff(np.append(first, flat.size))
    return np.add.reduceat(sure, first) / count, np.minimum.reduceat(sure, first)


def _mean_of(
    volume: NDArray[Any] | None, flat: NDArray[np.int64], first: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.float64]:
    if volume is None:
        return np.full(len(first), np.nan)
    values = volume[np.unravel_index(flat, volume.shape)].astype(np.float64)
    return np.asarray(np.add.reduceat(values, first) / count)


def _skeletons(
    at: NDArray[np.int32], offsets: NDArray[np.int64], radius: NDArray[np.float64], about: Context
) -> dict[str, Any]:
    """Return the columns that follow from each island's centre line; without it, the largest radius only."""
    n = len(offsets) - 1
    lengths = np.full(n, np.nan)
    radii = np.maximum.reduceat(radius, offsets[:-1])
    ends = [np.zeros((0, 3), np.int32)] * n
    directions = [np.zeros((0, 3), np.float32)] * n
    end_radii = [np.zeros(0)] * n
    for row in range(n) if about.skeletons else ():
        part = slice(int(offsets[row]), int(offsets[row + 1]))
        start = at[part].min(axis=0)
        local = at[part] - start
        mask = np.zeros(local.max(axis=0) + 1, bool)
        mask[tuple(local.T)] = True
        line = skeleton_of(mask, about.spacing)
        lengths[row], ends[row], directions[row] = line.length_mm, line.ends + start, line.directions
        # Both lists are in C order, so a voxel's place among the island's is found by its place in the box.
        keys = np.ravel_multi_index(tuple(local.T), mask.shape)
        on_line = np.searchsorted(keys, np.ravel_multi_index(tuple(line.points.T), mask.shape))
        radii[row] = radius[part][on_line].mean()
        end_radii[row] = _behind_ends(line, radius[part][on_line], about.spacing)
    return {
        "mean_radius_mm": radii,
        "length_mm": lengths,
        "end_points": tuple(ends),
        "directions": tuple(directions),
        "end_radii_mm": tuple(end_radii),
    }


def _behind_ends(
    line: Skeleton, radius: NDArray[np.float64], spacing: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return the upper quartile of the radii near each end: at the end itself the vessel's face is nearer."""
    away = np.linalg.norm((line.points[None] - line.ends[:, None]) * np.asarray(spacing), axis=2)
    return np.array([np.percentile(radius[near <= _NEAR_END_MM], 75) for near in away])


def surroundings(
    flat: NDArray[np.int64],
    at: NDArray[np.int32],
    owner: NDArray[np.int64],
    values: NDArray[np.integer],
    about: Context,
) -> dict[str, Any]:
    """Return the other classes that touch each island by a face, and whether a kidney does."""
    shape, labels = values.shape, values.reshape(-1)
    own = labels[flat]
    kidneys = None if about.kidneys is None else about.kidneys.reshape(-1)
    n = int(owner[-1]) + 1
    kidney = np.zeros(n, bool)
    pairs: list[NDArray[np.int64]] = []
    for axis, step in enumerate((shape[1] * shape[2], shape[2], 1)):
        for sign in (-1, 1):
            here = np.flatnonzero(at[:, axis] > 0 if sign < 0 else at[:, axis] < shape[axis] - 1)
            there = flat[here] + sign * step
            other = labels[there]
            foreign = (other != 0) & (other != own[here])
            pairs.append(np.stack([owner[here[foreign]], other[foreign].astype(np.int64)], axis=1))
            if kidneys is not None:
                kidney[owner[here[kidneys[there] != 0]]] = True
    if kidneys is not None:
        kidney[owner[kidneys[flat] != 0]] = True
    around: list[set[int]] = [set() for _ in range(n)]
    for row, neighbour in np.unique(np.concatenate(pairs), axis=0).tolist():
        around[row].add(neighbour)
    return {"neighbours": tuple(frozenset(each) for each in around), "touches_kidney": kidney}


def _empty_columns() -> dict[str, Any]:
    none = np.zeros(0)
    whole = np.zeros(0, np.int64)
    triple = np.zeros((0, 3))
    return {
        "class_id": whole,
        "voxels": whole,
        "volume_ml": none,
        "start": triple.astype(np.int32),
        "stop": triple.astype(np.int32),
        "centroid_mm": triple,
        "extent_mm": triple,
        "mean_probability": none,
        "least_probability": none,
        "uncertainty": none,
        "mean_radius_mm": none,
        "max_radius_mm": none,
        "length_mm": none,
        "end_points": (),
        "directions": (),
        "end_radii_mm": (),
        "neighbours": (),
        "touches_kidney": np.zeros(0, bool),
        "distance_mm": none,
        "rooted": np.zeros(0, bool),
    }
