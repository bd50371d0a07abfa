"""A simulated annotator: works through one predicted case with the functions that the plugin's widget calls.

    from annotator import Budget, annotate, predict_case

    case = predict_case(read_case("cases/phantom-0510-venous"), checkpoint)
    done = annotate(case, "ours", Budget(actions=30))
    done.labels, trusted(done.states), done.actions, done.seconds, done.repaired, done.to_reach(0.6)

Policies:

``paint``
    Voxel painting in a labels layer, slice after slice.
``paint-worst``
    The same, but the slice with most wrong voxels first, as if the annotator knew.
``size``
    Islands in order of size: delete, relabel, accept; the rest of what is wrong about each is painted.
``size-tools``
    Islands in order of size, with split, swap and fill in place of painting.
``ours``
    Islands in our order of review, with all edits and with bridging.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

sys.path.insert(0, str(Path(__file__).resolve().parent))

from annotation.painting import paint
from annotation.reviewing import Reviewer
from annotation.work import Annotated, AnnotationCase, Budget, Step, Times, Work

if TYPE_CHECKING:
    from napari_kidnet.network import Checkpoint
    from napari_kidnet.scans import Case

__all__ = [
    "POLICIES",
    "Annotated",
    "AnnotationCase",
    "Budget",
    "Policy",
    "Step",
    "Times",
    "annotate",
    "predict_case",
]

Policy = Literal["paint", "paint-worst", "size", "size-tools", "ours"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


def predict_case(files: Case, checkpoint: Checkpoint | None = None, threads: int = 1) -> AnnotationCase:
    """Read a case and predict it, as the plugin does, with all that its islands are judged by.

    Parameters
    ----------
    files : Case
        With the complete truth as its labels.
    checkpoint : Checkpoint, optional
        The shipped one by default.
    """
    from napari_kidnet.islands import Context
    from napari_kidnet.progress import drain
    from napari_kidnet.scans import read_labels, read_scan
    from napari_kidnet.segmentation import SegmentSettings, segment_steps
    from napari_kidnet.segmentation.uncertainty import uncertainty_of

    scan = read_scan(files.ct)
    settings = SegmentSettings(threads=threads, keep_probabilities=True)
    prediction = drain(segment_steps(scan, checkpoint, settings))
    context = Context(
        spacing=scan.spacing,
        hu=scan.hu,
        log_probabilities=prediction.log_probabilities,
        uncertainty=uncertainty_of(prediction),
    )
    return AnnotationCase(files.name, scan, prediction.labels, read_labels(files.labels, like=scan), context)


def annotate(
    case: AnnotationCase,
    policy: Policy = "ours",
    budget: Budget | None = None,
    times: Times | None = None,
) -> Annotated:
    """Let the simulated annotator work on a case until the budget is spent or nothing is left to do.

    Parameters
    ----------
    case : AnnotationCase
        Not changed.
    policy : str
        One of `POLICIES`.
    budget : Budget, optional
        30 actions by default.
    times : Times, optional
        What each kind of action takes.
    """
    work = Work(case, budget or Budget(), times or Times())
    if policy in ("paint", "paint-worst"):
        paint(work, worst_first=policy == "paint-worst")
    else:
        Reviewer(work, by_size=policy != "ours", bridging=policy == "ours", tools=policy != "size").run()
    return work.result()
