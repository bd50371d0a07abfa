"""The corrected scans on the training grid, presliced, with the voxels where the person disagreed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from napari_kidnet.progress import Progress, drain, retell
from napari_kidnet.training.corrections import check_exchanged, disagreement, with_suspected
from napari_kidnet.training.patches import PatchStore
from napari_kidnet.training.resampling import scan_on_grid

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.network.checkpoint import Checkpoint
    from napari_kidnet.segmentation.prediction import Prediction
    from napari_kidnet.training.corrections import Correction
    from napari_kidnet.training.finetune_settings import FinetuneSettings

__all__ = ["LearningSet", "learning_set", "learning_set_steps"]

MOST_EDITED: Final = 20_000
"""Centres kept of each scan."""

LONGEST_LOOK: Final = 192
"""Voxels along each edge of what the network before is asked about: more would take longer than learning."""


@dataclass(frozen=True, slots=True)
class LearningSet:
    """What is learned from.

    Attributes
    ----------
    store : PatchStore
        The scans, presliced.
    corrections : tuple of Correction
        The same, in the same order.
    edited : list of array of int16, (n, 3)
        Voxels (z, y, x) of each on the training grid where the person disagreed.
    """

    store: PatchStore
    corrections: tuple[Correction, ...]
    edited: list[NDArray[np.int16]]


def learning_set(
    corrections: Sequence[Correction], before: Checkpoint, folder: Path, settings: FinetuneSettings
) -> LearningSet:
    """Ask the network before about each scan, and slice it; see `learning_set_steps`."""
    return drain(learning_set_steps(corrections, before, folder, settings))


def learning_set_steps(
    corrections: Sequence[Correction], before: Checkpoint, folder: Path, settings: FinetuneSettings
) -> Generator[Progress, object, LearningSet]:
    """Ask the network before about each scan, and slice it, reporting each tile.

    Parameters
    ----------
    corrections : sequence of Correction
        Scans to learn from.
    before : Checkpoint
        The network before.
    folder : Path
        Where the patches are kept.
    settings : FinetuneSettings
        Device and size of the patches.
    """
    store = PatchStore(folder / "patches", settings.patch_edge(before), before.spacing)
    edited = []
    for number, each in enumerate(corrections):
        told = Progress(number, len(corrections), f"Slicing {each.name}")
        box = _looked_at(each, settings.patch_edge(before) // 2)
        prediction = yield from _opinion_steps(each, before, box, settings, told)
        check_exchanged(each, prediction.labels)
        labels = with_suspected(each, prediction)
        seen = None if each.reviewed.all() else each.reviewed
        store.add(each.name, each.scan.hu, each.scan.spacing, labels, seen, [[each.fingerprint, before.hash]])
        inside = np.zeros(each.scan.shape, dtype=bool)
        inside[tuple(slice(*ends) for ends in zip(box[::2], box[1::2], strict=True))] = True
        edited.append(_on_grid(inside & disagreement(each, prediction), each, before))
    return LearningSet(store, tuple(corrections), edited)


def _looked_at(correction: Correction, margin: int) -> tuple[int, int, int, int, int, int]:
    """Return the box (z0, z1, y0, y1, x0, x1) about what is reviewed, and not too large."""
    box: list[int] = []
    vessels = correction.reviewed & (correction.labels != 0)
    points = np.argwhere(correction.reviewed)
    low, high = points.min(axis=0) - margin, points.max(axis=0) + 1 + margin
    middle = np.median(np.argwhere(vessels) if vessels.any() else points, axis=0)
    for start, stop, at, size in zip(low, high, middle, correction.scan.shape, strict=True):
        first, last = max(0, int(start)), min(size, int(stop))
        if last - first > LONGEST_LOOK:
            first = int(min(max(first, at - LONGEST_LOOK // 2), last - LONGEST_LOOK))
            last = first + LONGEST_LOOK
        box += [first, last]
    return (box[0], box[1], box[2], box[3], box[4], box[5])


def _opinion_steps(
    correction: Correction,
    before: Checkpoint,
    box: tuple[int, int, int, int, int, int],
    settings: FinetuneSettings,
    told: Progress,
) -> Generator[Progress, object, Prediction]:
    from napari_kidnet.segmentation import SegmentSettings, segment_steps

    threads = settings.training(before).threads
    wish = SegmentSettings(device=settings.device, engine="torch", box=box, threads=threads)
    yield told
    prediction = yield from retell(segment_steps(correction.scan, before, wish), lambda _: told)
    return prediction


def _on_grid(mask: NDArray[np.bool_], correction: Correction, before: Checkpoint) -> NDArray[np.int16]:
    points = np.argwhere(scan_on_grid(mask, correction.scan.spacing, before.spacing) > 0)
    if len(points) > MOST_EDITED:
        rng = np.random.default_rng(int(correction.hash[:8], 16))
        points = points[np.sort(rng.choice(len(points), MOST_EDITED, replace=False))]
    return points.astype(np.int16)
