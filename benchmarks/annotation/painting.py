"""Voxel painting in a labels layer: slice after slice, one region after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_kidnet.islands import accept_box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annotation.work import Work
    from numpy.typing import NDArray

    from napari_kidnet.labelling.correcting import Make

LEAST_VOXELS = 3
"""Nobody paints less in a slice."""


def paint(work: Work, worst_first: bool = False) -> None:
    """Paint until the budget is spent or nothing is left to paint.

    A stroke makes one region of a slice exactly right, with a brush as wide as the region: more than a hand
    can do. A slice that is finished is declared reviewed.

    Parameters
    ----------
    work : Work
    worst_first : bool
        Go to the slice with most wrong voxels first, as if the annotator knew where that is; otherwise from
        the first slice to the last.
    """
    finished = np.zeros(len(work.wrong), bool)
    while True:
        here = _next_slice(work.wrong, finished, worst_first)
        if here is None:
            return
        finished[here] = True
        seconds = work.times.slice
        for flat, class_id, length_mm in list(_regions(work, here)):
            if work.over:
                return
            work.stroke(flat, class_id, seconds + work.times.stroke + work.times.per_mm * length_mm)
            seconds = 0.0
        work.session.run(work.session.edit_steps(_slice_is_right(here)))


def _slice_is_right(here: int) -> Make:
    whole = slice(None)
    return lambda session: accept_box(session.states, (slice(here, here + 1), whole, whole))


def strokes(work: Work, wanted: NDArray[np.bool_]) -> None:
    """Paint what is wanted, slice after slice, as far as the budget goes."""
    for here in np.flatnonzero(wanted.any(axis=(1, 2))).tolist():
        seconds = work.times.slice
        for flat, class_id, length_mm in list(_regions(work, here, wanted[here])):
            if work.over:
                return
            work.stroke(flat, class_id, seconds + work.times.stroke + work.times.per_mm * length_mm)
            seconds = 0.0


def _next_slice(wrong: NDArray[np.bool_], finished: NDArray[np.bool_], worst_first: bool) -> int | None:
    count = np.where(finished, 0, [_paintable(each) for each in wrong])
    if not count.any():
        return None
    return int(np.argmax(count if worst_first else count > 0))


def _paintable(plane: NDArray[np.bool_]) -> int:
    """Return the wrong voxels of a slice in regions that are worth a stroke."""
    if np.count_nonzero(plane) < LEAST_VOXELS:
        return 0
    ids, _ = ndimage.label(plane, np.ones((3, 3)))
    sizes = np.bincount(ids.ravel())[1:]
    return int(sizes[sizes >= LEAST_VOXELS].sum())


def _regions(
    work: Work, here: int, wanted: NDArray[np.bool_] | None = None
) -> Iterator[tuple[NDArray[np.int64], int, float]]:
    """Yield the regions to paint in a slice, the largest first: voxels, class, length in mm.

    A region that holds wrong voxels is painted up to the vessel's border, within the margin too.
    """
    labels, truth = work.session.labels[here], work.case.truth[here]
    wrong = work.wrong[here] if wanted is None else work.wrong[here] & wanted
    pace = work.case.scan.spacing[1:]
    found = []
    for class_id in np.unique(truth[wrong]).tolist():
        ids, n = ndimage.label((truth == class_id) & (labels != truth), np.ones((3, 3)))
        counts = np.bincount(ids[wrong & (truth == class_id)], minlength=n + 1)
        for region in (np.flatnonzero(counts[1:] >= LEAST_VOXELS) + 1).tolist():
            found.append((int(counts[region]), ids == region, class_id))
    found.sort(key=lambda each: -each[0])
    for _, mask, class_id in found:
        inner = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=pace).max()
        length = mask.sum() * pace[0] * pace[1] / (2 * inner)
        yield np.flatnonzero(mask) + here * mask.size, class_id, float(length)
