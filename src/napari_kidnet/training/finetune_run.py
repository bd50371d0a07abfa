"""One fine-tuning, from the corrected scans to the verdict; `finetuning` starts it and acts on it."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from napari_kidnet.classes import CLASSES, VESSELS
from napari_kidnet.errors import LabelsError
from napari_kidnet.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from napari_kidnet.progress import Progress, retell
from napari_kidnet.training.corrections import (
    Correction,
    check_corrections,
    known_classes,
    read_correction,
    without_specks,
)
from napari_kidnet.training.finetune_settings import EXPECTED_STEPS, FinetuneSettings
from napari_kidnet.training.guard import Figures, Guard, GuardCase, split_roles, verdict
from napari_kidnet.training.learning_set import LearningSet, learning_set_steps
from napari_kidnet.training.lineage import scan_roles
from napari_kidnet.training.replay import MixedStore, ReplayStore, cropped
from napari_kidnet.training.tuner import Tuner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_kidnet.scans import Case

__all__ = ["FinetuneProgress", "FinetuneResult", "FinetuneRun", "Replay", "chance_of"]

Replay = Literal["beside"] | Sequence["Case"] | None
"""Earlier scans: those kept beside the checkpoint (phantoms at first), these cases, or none."""

STOP = "stop"
"""Sent into the generator: end now, and keep the best so far."""

PATIENCE = 2
"""Measurements, one after the other, that are worse than the best: then more steps do not help."""

LESSONS = 2
"""Scans learned from that have a say in the sensitivity; more would take longer than they help."""

OVERTIME = 1.3
"""A machine that got slower after the first steps still ends, by then."""


@dataclass(frozen=True, slots=True)
class FinetuneProgress(Progress):
    """Progress of a fine-tuning; the total is an estimate until the first steps are done.

    Attributes
    ----------
    loss : float
        Of this step; NaN while something else is done.
    class_loss : tuple of float or None
        Cross-entropy of each class's reviewed voxels.
    f1 : tuple of float or None
        Of the vessel classes in this step's patches.
    volumes, class_weights : tuple of float
        V and CW of Algorithm 1.
    seconds_left : float, optional
        As far as it is known.
    figures : Figures, optional
        On the guard's scans, when they were measured after this step (after none: the old checkpoint's).
    checkpoint : callable, optional
        After a step: returns the network as it is then, for a look at what it says. To be called before the
        next step; nothing is copied unless it is.
    """

    loss: float = math.nan
    class_loss: tuple[float | None, ...] = (None,) * len(CLASSES)
    f1: tuple[float | None, ...] = (None,) * len(VESSELS)
    volumes: tuple[float, ...] = ()
    class_weights: tuple[float, ...] = ()
    seconds_left: float | None = None
    figures: Figures | None = None
    checkpoint: Callable[[], Checkpoint] | None = None


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """What came out.

    Attributes
    ----------
    candidate : Path
        The new checkpoint; it is written whether it is used or not.
    activated : bool
        Whether it is in use now.
    before, after : Figures
        Of the old checkpoint and the new one, on the same scans.
    reason : str
        Why it is used, or why not.
    """

    candidate: Path
    activated: bool
    before: Figures
    after: Figures
    reason: str


class FinetuneRun:
    """The parts of one fine-tuning, in their order."""

    ring: ReplayStore
    guard: Guard
    tuner: Tuner
    before: Figures

    def __init__(self, parent: Checkpoint, out: Path, work: Path, settings: FinetuneSettings) -> None:
        self._parent, self._out, self._work, self._settings = parent, out, work, settings
        self._state = work / "state.safetensors"
        self._best = work / "best.safetensors"
        self._scans: list[dict[str, str]] = []
        self._began = time.monotonic()
        self.to_keep: Sequence[tuple[Correction, str]] = ()

    def prepare(
        self, cases: Sequence[Case | Correction], replay: Replay
    ) -> Generator[FinetuneProgress, object, None]:
        """Read, refuse, replay, measure."""
        settings, parent = self._settings, self._parent
        raw: list[Correction] = []
        for number, case in enumerate(cases, start=1):
            yield self._telling(f"Reading corrected scan {number} of {len(cases)}")
            raw.append(case if isinstance(case, Correction) else read_correction(case))
        if not raw:
            raise LabelsError(
                "There are no corrected scans; give a folder with NAME_ct and NAME_labels files."
            )
        clean = [without_specks(each) for each in raw]
        check_corrections(raw, clean)
        usable = [each for each in clean if each.reviewed.any()]
        self.ring = ReplayStore(self._out.parent, settings.patch_edge(parent), parent.spacing)
        roles = split_roles([each.hash for each in usable], self._roles_so_far())
        learned = [each for each in usable if roles[each.hash] == "training"]
        held = [each for each in usable if roles[each.hash] == "validation"]
        if not learned:
            raise LabelsError(
                f"All of {', '.join(each.name for each in usable)} are kept to measure on, since earlier "
                "fine-tunings; correct another scan too."
            )
        check_corrections(learned, learned)
        self._scans = [{"name": each.name, "hash": each.hash, "role": roles[each.hash]} for each in usable]

        pause = time.monotonic()
        yield from self._fill(replay)
        self._began += time.monotonic() - pause  # done once, and not on this fine-tuning's account
        given = {each.hash for each in usable}
        locked = [each for entry, each in self.ring.locked() if entry.source not in given]
        guarding = [GuardCase(each, False) for each in locked] + [GuardCase(each, True) for each in held]
        self.guard = Guard(
            guarding, settings.device, torch.get_num_threads(), [cropped(each) for each in learned[-LESSONS:]]
        )

        slicing = learning_set_steps(learned, parent, self._work, settings)
        found = yield from retell(slicing, lambda told: self._telling(told.what))
        store = MixedStore(found.store, self._known(found), found.edited, settings.edited_share)
        replaying: list[str] = []
        if replay is not None:
            blocks, entries = self.ring.blocks(leaving=given)
            store = store.replaying(blocks, entries, settings.replay_share)
            replaying = [each.name for each in entries]
            self.to_keep = [(each, roles[each.hash]) for each in usable]
        identity = {
            "settings": settings.as_dict(),
            "parent": parent.hash,
            "corrections": [each.fingerprint for each in usable],
            "replay": replaying,
            "guard": self.guard.hashes,
        }
        partial = any(not each.reviewed.all() for each in learned)
        self.tuner = Tuner(parent, store, settings, identity, distil=partial or replay is None)
        self._began -= self.tuner.resume(self._state)
        yield from self._measure_before()

    def train(self) -> Generator[FinetuneProgress, object, None]:
        """Do the steps, measuring on the way."""
        tuner = self.tuner
        if tuner.notes.get("ended"):
            return
        if self._due() and tuner.notes.get("judged") != tuner.done:
            yield from self._judge()  # it was cancelled in the middle of this
        with closing(tuner.batches(self._steps_that_fit)) as batches:
            try:
                for batch in batches:
                    step = tuner.step(batch)
                    figures = (yield from self._judge()) if self._due() else None
                    if figures is not None or tuner.done % self._settings.save_every == 0:
                        self._save()
                    told = self._telling(f"Fine-tuning ({tuner.where})")
                    waits = time.monotonic()
                    asked = yield replace(
                        told,
                        loss=step.loss,
                        class_loss=step.class_loss,
                        f1=step.f1,
                        volumes=step.volumes,
                        class_weights=step.class_weights,
                        figures=figures,
                        checkpoint=lambda: tuner.checkpoint(self._about(None), self._ancestry()),
                    )
                    # a pause, or a look at what it says: not the time of this fine-tuning
                    self._began += time.monotonic() - waits
                    if asked == STOP or self._enough():
                        break
            finally:
                self._save()
        if tuner.notes.get("judged") != tuner.done:
            yield from self._judge()
        tuner.notes["ended"] = True
        self._save()

    def conclude(self) -> FinetuneResult:
        """Decide, and write the checkpoint."""
        best = load_checkpoint(self._best)
        after = Figures(**self.tuner.notes["best"])
        reason = verdict(self.before, after, self._settings.largest_drop)
        activated = reason is None
        if reason is None:
            reason = (
                f"The mean F1 went from {self.before.mean_f1:.3f} to {after.mean_f1:.3f}, "
                f"and nothing fell by more than {self._settings.largest_drop:g}."
            )
        about = best.record["finetuning"] | {"activated": activated, "reason": reason}
        best = replace(best, record=best.record | {"finetuning": about})
        result = FinetuneResult(self._out, activated, self.before, after, reason)
        save_checkpoint(self._out, best)
        return result

    def _fill(self, replay: Replay) -> Generator[FinetuneProgress, object, None]:
        """Put earlier scans into the ring: the given ones, or phantoms where it is empty."""
        if replay is not None and replay != "beside":
            earlier = [read_correction(each) for each in replay]
            scans = {each["hash"]: each["role"] for each in self._scans}
            roles = split_roles([each.hash for each in earlier], self._roles_so_far() | scans)
            # those to measure on come first: a run killed in between splits the rest as it did before
            for each in sorted(earlier, key=lambda each: roles[each.hash] == "training"):
                if not self.ring.has(each.hash):
                    yield self._telling(f"Slicing {each.name} to replay")
                    self.ring.add(each, roles[each.hash], chance_of(each))
            if any(each.role == "validation" for each in self.ring.entries):
                return
        for step in self.ring.add_phantoms(locked_only=replay is None):
            yield self._telling(step.what)

    def _roles_so_far(self) -> dict[str, str]:
        # from the folder and from the checkpoint itself: either may have come alone
        return {each.source: each.role for each in self.ring.entries} | scan_roles(self._parent.record)

    def _known(self, found: LearningSet) -> list[Any]:
        if self._settings.strict:
            return [np.ones(len(CLASSES), dtype=bool) for _ in found.corrections]
        together = np.any([known_classes(each) for each in found.corrections], axis=0)
        # a class that somebody labels in one of the scans is looked for in all of them
        return [together for _ in found.corrections]

    def _measure_before(self) -> Generator[FinetuneProgress, object, None]:
        notes = self.tuner.notes
        if "before" not in notes:
            began = time.monotonic()
            figures = yield from self._measure(self._parent)
            notes |= {"before": figures.as_dict(), "measuring": time.monotonic() - began}
        self.before = Figures(**notes["before"])
        yield replace(self._telling("Measured before"), figures=self.before)

    def _measure(self, checkpoint: Checkpoint) -> Generator[FinetuneProgress, object, Figures]:
        steps = self.guard.measure_steps(checkpoint)
        return (yield from retell(steps, lambda told: self._telling(told.what)))

    def _judge(self) -> Generator[FinetuneProgress, object, Figures]:
        tuner = self.tuner
        now = tuner.checkpoint(self._about(None), self._ancestry())
        if self._settings.strict:
            figures = yield from self._measure(now)
        else:
            steps = self.guard.choose_steps(now)
            sensitivity, figures = yield from retell(steps, lambda told: self._telling(told.what))
            now = replace(now, sensitivity=sensitivity)
        worth = _worth(figures, self.before)
        # the file first: notes never name a best that is not there
        if "best" not in tuner.notes or worth > tuner.notes["best_worth"]:
            best = tuner.checkpoint(self._about(figures), self._ancestry())
            save_checkpoint(self._best, replace(best, sensitivity=now.sensitivity))
            tuner.notes |= {"best": figures.as_dict(), "best_worth": worth, "worse": 0}
        else:
            tuner.notes["worse"] = tuner.notes.get("worse", 0) + 1
        tuner.notes["judged"] = tuner.done
        return figures

    def _about(self, after: Figures | None) -> dict[str, Any]:
        return {
            "scans": self._scans,
            "seed": self._settings.seed,
            "settings": self._settings.as_dict(),
            "seconds": round(self._elapsed(), 1),
            "before": self.before.as_dict(),
            "after": None if after is None else after.as_dict(),
        }

    def _ancestry(self) -> list[dict[str, Any]]:
        record = self._parent.record
        own = record.get("finetuning")
        return [*record.get("ancestry", ()), *([{"hash": self._parent.hash, **own}] if own else ())]

    def _due(self) -> bool:
        total, count = self.tuner.total, self._settings.validations
        return total is not None and self.tuner.done in {
            round(total * n / count) for n in range(1, count + 1)
        }

    def _enough(self) -> bool:
        if self.tuner.notes.get("worse", 0) >= PATIENCE:
            return True
        return self._settings.steps is None and self._elapsed() > OVERTIME * 60 * self._settings.minutes

    def _steps_that_fit(self, seconds: float) -> int:
        measuring = self._settings.validations * self.tuner.notes["measuring"]
        return int((60 * self._settings.minutes - self._elapsed() - measuring) / seconds)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _save(self) -> None:
        self.tuner.save(self._state, self._elapsed())

    def _telling(self, what: str) -> FinetuneProgress:
        tuner = getattr(self, "tuner", None)
        total = tuner.total if tuner is not None else self._settings.steps
        left = None
        if tuner is not None and tuner.total is not None and tuner.done:
            rate = tuner.seconds_of_step
            left = (tuner.total - tuner.done) * rate + tuner.notes["measuring"] if rate == rate else None
        return FinetuneProgress(tuner.done if tuner else 0, total or EXPECTED_STEPS, what, seconds_left=left)


def chance_of(correction: Correction) -> np.random.Generator:
    """Return the source of chance that belongs to a scan."""
    return np.random.default_rng(int(correction.hash[:8], 16))


def _worth(figures: Figures, before: Figures) -> float:
    parts = [
        now - was
        for was, now in ((before.old, figures.old), (before.new, figures.new))
        if was is not None and now is not None
    ]
    # forgetting counts fully, gains on the mean
    return figures.mean_f1 + min(0.0, *parts) if parts else figures.mean_f1
