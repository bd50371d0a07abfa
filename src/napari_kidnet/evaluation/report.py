"""One prediction against the truth, as the figures of Table 1 and a few more (paper §3).

The keys are documented in ``docs/evaluation.md`` and stable: other programs read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_kidnet.classes import CLASSES, VESSELS
from napari_kidnet.errors import LabelsError
from napari_kidnet.evaluation.metrics import (
    RADIUS_BINS_MM,
    Centreline,
    Points,
    centreline_points,
    cldice,
    confusion,
    overlap,
    radii_mm,
    under_islands_rule,
)
from napari_kidnet.evaluation.regions import bounding_box, boxes_mask, kidney_boxes, truth_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_kidnet.islands.components import LabelledIslands

__all__ = ["FIGURES", "REGIONS", "evaluate", "mean_over_subjects"]

REGIONS = ("whole_roi", "kidney_box")
FIGURES = ("f1", "precision", "recall", "cldice")

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Prediction and truth in the region of interest, and what all classes share."""

    labels: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    within: NDArray[np.bool_] | None  # the kidney boxes
    own: LabelledIslands
    other: LabelledIslands
    hit: NDArray[np.bool_]  # per predicted island: does it touch truth of its class
    counts: NDArray[np.int64]  # (outside or within, unknown or known, truth, label)


def evaluate(
    labels: ArrayLike,
    truth: ArrayLike,
    spacing: Sequence[float],
    kidneys: ArrayLike | None = None,
) -> Figures:
    """Compare labels with the truth.

    Parameters
    ----------
    labels, truth : array of int, (z, y, x)
        Classes 0 to 3 on one grid.
    spacing : sequence of float
        Millimetres (z, y, x).
    kidneys : array of int, (z, y, x), optional
        1 left kidney, 2 right kidney; without it the kidney box's figures are None.

    Returns
    -------
    dict
        Per class and region ``f1``, ``precision``, ``recall``, ``cldice``, each also under
        ``islands_rule``; see ``docs/evaluation.md``. None stands where a figure has no meaning.

    Raises
    ------
    LabelsError
        The arrays are not on one grid, or hold something that is no class.
    """
    predicted, true, size_mm = _checked(labels, truth, spacing)
    z = truth_range(true)
    boxes = [] if kidneys is None else kidney_boxes(_on_grid(kidneys, "kidney mask", true.shape))
    within = boxes_mask(boxes, true.shape)[z] if boxes else None
    pair = _pair(predicted[z], true[z], within)
    figures: Figures = {}
    for vessel in VESSELS:
        figures[vessel.name] = _of_class(pair, vessel.id, size_mm)
    figures["mean"] = {region: _mean_of_classes(figures, region) for region in REGIONS}
    figures["regions"] = {
        "whole_roi": {"z": [z.start, z.stop]},
        "kidney_box": {"boxes": [[[part.start, part.stop] for part in box] for box in boxes]},
    }
    figures["spacing_mm"] = list(size_mm)
    return figures


def mean_over_subjects(reports: Sequence[Figures]) -> Figures:
    """Return mean, SD and number of each F1, precision, recall and clDice over subjects (A23).

    A subject for which a figure is None is left out of that figure.
    """
    table: Figures = {}
    for vessel in (*(each.name for each in VESSELS), "mean"):
        table[vessel] = {}
        for region in REGIONS:
            plain = {name: _spread([each[vessel][region][name] for each in reports]) for name in FIGURES}
            under = {
                name: _spread([each[vessel][region]["islands_rule"][name] for each in reports])
                for name in FIGURES
            }
            table[vessel][region] = {**plain, "islands_rule": under}
    return table


def _spread(values: list[float | None]) -> Figures:
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "sd": None, "n": 0}
    return {"mean": float(np.mean(known)), "sd": float(np.std(known)), "n": len(known)}


def _pair(labels: NDArray[np.uint8], truth: NDArray[np.uint8], within: NDArray[np.bool_] | None) -> _Pair:
    from napari_kidnet.islands.components import label_islands, touching_same_class

    # No vessel, no work: about the vessels' box there is nothing but background on both sides. One voxel of
    # it is kept, so that a vessel at the box's face is not taken for one that leaves the scan.
    around = bounding_box((labels | truth) != 0, margin=1)
    labels, truth = labels[around], truth[around]
    within = None if within is None else within[around]
    own, other = label_islands(labels), label_islands(truth)
    hit = touching_same_class(own, truth)
    return _Pair(labels, truth, within, own, other, hit, confusion(labels, truth, hit[own.ids], within))


def _of_class(pair: _Pair, vessel: int, spacing: tuple[float, float, float]) -> Figures:
    voxel_ml = float(np.prod(spacing)) / 1000.0
    mine, theirs = pair.own.class_of == vessel, pair.other.class_of == vessel
    of_predicted = centreline_points(pair.own.ids, mine)
    of_truth = centreline_points(pair.other.ids, theirs)
    figures: Figures = {}
    for region in REGIONS:
        plain = _in_region(pair, vessel, region, False, of_predicted, of_truth)
        figures[region] = {
            **plain,
            "islands_rule": _in_region(pair, vessel, region, True, of_predicted, of_truth),
        }
    everywhere = pair.counts.sum(axis=0)
    under = figures["whole_roi"]["islands_rule"]
    under["dropped_islands"] = int(np.count_nonzero(mine & ~pair.hit))
    under["dropped_volume_ml"] = int(everywhere[0, :, vessel].sum()) * voxel_ml
    figures["false_positive_volume_ml"] = overlap(everywhere, vessel).false * voxel_ml
    figures["islands"] = int(np.count_nonzero(mine))
    figures["truth_islands"] = int(np.count_nonzero(theirs))
    figures["beta0_error"] = abs(figures["islands"] - figures["truth_islands"])
    figures["skeleton_recall"] = _recall_by_radius(pair, vessel, of_truth, spacing)
    return figures


def _in_region(
    pair: _Pair, vessel: int, region: str, rule: bool, of_predicted: Points, of_truth: Points
) -> Figures:
    """Return the four figures of a class in a region, with or without the islands rule."""
    counts = pair.counts.sum(axis=0) if region == "whole_roi" else pair.counts[1]
    here: list[NDArray[np.bool_]] = []
    for points in (of_predicted, of_truth):
        if region == "whole_roi":
            here.append(np.ones(points[0].size, bool))
        elif pair.within is None:
            return dict.fromkeys(FIGURES)
        else:
            here.append(pair.within[points])
    mine, theirs = here
    found = pair.labels[of_truth] == vessel
    if rule:
        counts = under_islands_rule(counts)
        mine = mine & pair.hit[pair.own.ids[of_predicted]]
        found &= pair.hit[pair.own.ids[of_truth]]
    right = pair.truth[of_predicted] == vessel
    voxels = overlap(counts, vessel)
    line = Centreline(int(mine.sum()), int((mine & right).sum()))
    line_of_truth = Centreline(int(theirs.sum()), int((theirs & found).sum()))
    return {
        "f1": voxels.f1,
        "precision": voxels.precision,
        "recall": voxels.recall,
        "cldice": cldice(line, line_of_truth),
    }


def _recall_by_radius(
    pair: _Pair, vessel: int, of_truth: Points, spacing: tuple[float, float, float]
) -> Figures:
    radius = radii_mm(pair.truth == vessel, of_truth, spacing)
    found = pair.labels[of_truth] == vessel
    recall: Figures = {}
    for name, low, high in RADIUS_BINS_MM:
        here = (radius >= low) & (radius < high) if low else radius < high
        recall[name] = float(found[here].mean()) if here.any() else None
    return recall


def _mean_of_classes(figures: Figures, region: str) -> Figures:
    plain = {name: _mean([figures[each.name][region][name] for each in VESSELS]) for name in FIGURES}
    under = {
        name: _mean([figures[each.name][region]["islands_rule"][name] for each in VESSELS])
        for name in FIGURES
    }
    return {**plain, "islands_rule": under}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _checked(
    labels: ArrayLike, truth: ArrayLike, spacing: Sequence[float]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[float, float, float]]:
    sizes = tuple(float(each) for each in spacing)
    if len(sizes) != 3 or not all(np.isfinite(each) and each > 0 for each in sizes):
        raise LabelsError(f"The spacing is {sizes}; give three positive numbers of millimetres (z, y, x).")
    true = _on_grid(truth, "truth", None)
    predicted = _on_grid(labels, "labels", true.shape)
    for name, array in (("labels", predicted), ("truth", true)):
        _check_classes(name, array)
    return predicted.astype(np.uint8), true.astype(np.uint8), (sizes[0], sizes[1], sizes[2])


def _on_grid(array: ArrayLike, name: str, shape: tuple[int, ...] | None) -> NDArray[np.integer]:
    values = np.asarray(array)
    if values.ndim != 3:
        raise LabelsError(f"The {name} array has {values.ndim} axes; give one volume with three (z, y, x).")
    if shape is not None and values.shape != shape:
        raise LabelsError(
            f"The {name} array of {' × '.join(map(str, values.shape))} voxels and the truth of "
            f"{' × '.join(map(str, shape))} (z, y, x) are not on one grid; resample one of them to the other."
        )
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise LabelsError(
                f"The {name} array holds fractions; give whole class numbers, not probabilities."
            )
        return values.astype(np.int32)
    return values


def _check_classes(name: str, values: NDArray[np.integer]) -> None:
    found = np.unique(values)
    foreign = found[(found < 0) | (found > CLASSES[-1].id)]
    if foreign.size:
        shown = ", ".join(str(value) for value in foreign[:8]) + (", …" if foreign.size > 8 else "")
        classes = ", ".join(f"{each.id} {each.title.lower()}" for each in CLASSES)
        raise LabelsError(
            f"The {name} array holds {shown} where only classes are allowed; change its values to {classes}."
        )
