"""The guard: a fine-tuned network is used only if it is not worse, on scans that nothing is learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.classes import VESSELS
from napari_kidnet.progress import Progress, drain, retell

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_kidnet.network.checkpoint import Checkpoint
    from napari_kidnet.segmentation.prediction import Prediction
    from napari_kidnet.training.corrections import Correction

__all__ = ["Figures", "Guard", "GuardCase", "split_roles", "verdict"]

SENSITIVITIES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Tried beside the checkpoint's own: another site has another best one, by up to .1 of the mean F1."""

HELD_OUT: Final = 4
"""One scan of so many is measured on and never learned from."""


@dataclass(frozen=True, slots=True)
class GuardCase:
    """A volume to measure on; ``new`` when it is one of the corrected scans of this fine-tuning."""

    correction: Correction
    new: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """What a checkpoint is worth.

    Attributes
    ----------
    f1 : dict of float
        Mean over cases by class name; a class that no case has is left out.
    mean_f1 : float
        The mean of those.
    old, new : float, optional
        The same of the earlier scans alone, and of the corrected scans alone; None where there are none.
    islands_to_delete : int
        Islands that share no voxel with a vessel of their class: a person would have to delete them.
    """

    f1: dict[str, float]
    mean_f1: float
    old: float | None
    new: float | None
    islands_to_delete: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {
            "f1": dict(self.f1),
            "mean_f1": self.mean_f1,
            "old": self.old,
            "new": self.new,
            "islands_to_delete": self.islands_to_delete,
        }


class Guard:
    """Measures checkpoints on a locked set.

    Parameters
    ----------
    cases : sequence of GuardCase
        The set.
    device : str
        As in `FinetuneSettings`.
    threads : int, optional
        CPU threads.
    lessons : sequence of Correction
        Scans that are learned from; they have a say in the sensitivity where no corrected scan is held out,
        and are never in the figures.
    """

    def __init__(
        self,
        cases: Sequence[GuardCase],
        device: str = "auto",
        threads: int | None = None,
        lessons: Sequence[Correction] = (),
    ) -> None:
        self._cases = tuple(cases)
        self._lessons = () if any(each.new for each in cases) else tuple(lessons)
        self._device = device
        self._threads = threads

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def hashes(self) -> list[str]:
        """The cases' hashes, in their order."""
        return [each.correction.hash for each in self._cases]

    def measure(self, checkpoint: Checkpoint) -> Figures:
        """Return the figures of a checkpoint at its own sensitivity."""
        return drain(self.measure_steps(checkpoint))

    def measure_steps(self, checkpoint: Checkpoint) -> Generator[Progress, object, Figures]:
        """Measure, reporting each tile, so that a person can cancel in between."""
        scores = np.full((len(self._cases), len(VESSELS)), np.nan)
        extra = 0
        for number, (row, case) in enumerate(zip(scores, self._cases, strict=True)):
            told = Progress(number, len(self), f"Measuring on {case.correction.name}")
            prediction = yield from self._predict_steps(case, checkpoint, told)
            row[:] = _f1(prediction.labels, case.correction)
            extra += _islands_to_delete(prediction.labels, case.correction)
        return self._figures(scores, extra)

    def choose_steps(self, checkpoint: Checkpoint) -> Generator[Progress, object, tuple[float, Figures]]:
        """Choose the sensitivity that is best for earlier and for new scans, and measure at it."""
        tried = sorted({*SENSITIVITIES, checkpoint.sensitivity})
        volumes = [*self._cases, *(GuardCase(each, True) for each in self._lessons)]
        scores = np.full((len(tried), len(volumes), len(VESSELS)), np.nan)
        predictions = []
        for number, case in enumerate(volumes):
            told = Progress(number, len(volumes), f"Measuring on {case.correction.name}")
            predictions.append((yield from self._predict_steps(case, checkpoint, told)))
            for row, sensitivity in zip(scores, tried, strict=True):
                row[number] = _f1(predictions[-1].at(sensitivity), case.correction)
        new = np.array([case.new for case in volumes], dtype=bool)
        best = int(np.argmax([_balanced(row, new) for row in scores]))
        extra = sum(
            _islands_to_delete(prediction.at(tried[best]), case.correction)
            for prediction, case in zip(predictions, self._cases, strict=False)
        )
        return tried[best], self._figures(scores[best, : len(self)], extra)

    def _predict_steps(
        self, case: GuardCase, checkpoint: Checkpoint, told: Progress
    ) -> Generator[Progress, object, Prediction]:
        from napari_kidnet.segmentation import SegmentSettings, segment_steps

        yield told
        settings = SegmentSettings(device=self._device, engine="torch", threads=self._threads)
        steps = segment_steps(case.correction.scan, checkpoint, settings)
        return (yield from retell(steps, lambda _: told))

    def _figures(self, scores: NDArray[np.float64], extra: int) -> Figures:
        new = np.array([case.new for case in self._cases], dtype=bool)
        f1, mean = _means(scores)
        old_mean, new_mean = _means(scores[~new]), _means(scores[new])
        return Figures(
            f1, mean, old_mean[1] if old_mean[0] else None, new_mean[1] if new_mean[0] else None, extra
        )


def _balanced(scores: NDArray[np.float64], new: NDArray[np.bool_]) -> float:
    """Return the mean of earlier scans' mean F1 and that of new ones, however many there are of each."""
    parts = [_means(scores[which]) for which in (~new, new)]
    known = [mean for f1, mean in parts if f1]
    return float(np.mean(known)) if known else 0.0


def verdict(before: Figures, after: Figures, largest_drop: float) -> str | None:
    """Return why the old checkpoint must stay active; None where the new one may take its place."""
    for what, was, now in (
        ("earlier scans", before.old, after.old),
        ("held-out corrected scans", before.new, after.new),
        ("all scans measured on", before.mean_f1, after.mean_f1),
    ):
        if was is not None and now is not None and was - now > largest_drop:
            return (
                f"The mean F1 on {what} fell from {was:.3f} to {now:.3f}, by more than {largest_drop:g}; "
                "the old checkpoint stays active, and the new one is kept as a candidate."
            )
    return None


def split_roles(hashes: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return each scan's role, "training" or "validation", by its hash.

    A scan keeps the role that it once had. A new one's follows from its hash alone, but that there is always
    something to learn from, and something held out where two or more scans are new.

    Parameters
    ----------
    hashes : sequence of str
        Of the scans given now.
    known : mapping of str to str
        Roles in earlier fine-tunings.
    """
    roles = {each: known[each] for each in hashes if each in known}
    new = sorted({each for each in hashes if each not in known})
    for each in new:
        roles[each] = "validation" if int(each[:8], 16) % HELD_OUT == 0 else "training"
    if new and "training" not in roles.values():
        roles[new[-1]] = "training"
    if len(new) >= 2 and "validation" not in roles.values():
        roles[new[0]] = "validation"
    return roles


def _means(scores: NDArray[np.float64]) -> tuple[dict[str, float], float]:
    known = ~np.isnan(scores)
    f1 = {
        vessel.name: float(scores[known[:, n], n].mean())
        for n, vessel in enumerate(VESSELS)
        if known[:, n].any()
    }
    return f1, float(np.mean(list(f1.values()))) if f1 else 0.0


def _f1(found: NDArray[np.uint8], case: Correction) -> NDArray[np.float64]:
    guess, truth = found[case.reviewed], case.labels[case.reviewed]
    scores = np.full(len(VESSELS), np.nan)
    for n, vessel in enumerate(VESSELS):
        mine, theirs = guess == vessel.id, truth == vessel.id
        if theirs.any():
            both = int(np.count_nonzero(mine & theirs))
            scores[n] = 2 * both / int(np.count_nonzero(mine) + np.count_nonzero(theirs))
    return scores


def _islands_to_delete(found: NDArray[np.uint8], case: Correction) -> int:
    from napari_kidnet.islands.components import label_islands, touching_same_class

    islands = label_islands(np.where(case.reviewed, found, 0).astype(np.uint8))
    hit = touching_same_class(islands, np.where(case.reviewed, case.labels, 0))
    return int(islands.n - np.count_nonzero(hit))
