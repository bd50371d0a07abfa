"""An annotator's work on one case: what may be spent, what each action takes, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from annotation.judging import Judge

from napari_kidnet.errors import KidnetError
from napari_kidnet.islands import Context, accept_islands
from napari_kidnet.labelling.correcting import open_islands

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from napari_kidnet.islands import Bridge, Edit
    from napari_kidnet.labelling.correcting import IslandsSession
    from napari_kidnet.scans import Scan


@dataclass(frozen=True, slots=True)
class AnnotationCase:
    """A predicted scan, and the truth that only the simulated annotator sees.

    Attributes
    ----------
    name : str
    scan : Scan
    labels : ndarray of uint8, (z, y, x)
        The prediction; it is copied, not changed.
    truth : ndarray of uint8, (z, y, x)
    context : Context
        What the plugin would know: spacing, HU, probabilities, uncertainty.
    """

    name: str
    scan: Scan
    labels: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    context: Context


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that an action takes; assumptions (no person was timed), the same for all policies.

    Attributes
    ----------
    scan : float
        Opening a scan and looking it over.
    accept, delete, relabel, bridge, refuse : float
        One look at what is selected, and one key.
    split : float
        A click on each side of the cut, and a key.
    swap : float
        A click on a branch, and a key.
    grow : float
        Turning the wheel until the outline fits.
    branch : float
        A stroke of the vessel brush along a whole branch or part of a vessel: finding its ends, turning the
        view, setting the width by the wheel, following it (the report's "add a branch").
    undo : float
        Seeing that a result is wrong, and one key.
    stroke, per_mm, slice : float
        A stroke of the brush: choosing class and size and aiming; each mm that it is long; coming to another
        slice.
    """

    scan: float = 30.0
    accept: float = 2.0
    delete: float = 4.0
    relabel: float = 6.0
    bridge: float = 8.0
    refuse: float = 2.0
    split: float = 10.0
    swap: float = 8.0
    grow: float = 8.0
    branch: float = 20.0
    undo: float = 2.0
    stroke: float = 2.0
    per_mm: float = 0.05
    slice: float = 1.5


@dataclass(frozen=True, slots=True)
class Budget:
    """When the annotator stops; what is None does not count. An action that is begun is finished.

    Attributes
    ----------
    actions : int or None
    seconds : float or None
        The scan's opening included.
    repaired : float or None
        This share of the wrong voxels, 0…1.
    """

    actions: int | None = 30
    seconds: float | None = None
    repaired: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One action: what was done, how long it took, and how many voxels are wrong afterwards."""

    kind: str
    what: str
    seconds: float
    wrong: int


@dataclass(frozen=True, slots=True)
class Annotated:
    """What an annotator leaves.

    Attributes
    ----------
    labels : ndarray of uint8, (z, y, x)
    states : ndarray of uint8, (z, y, x)
        `VoxelState`: 0 predicted, 1 edited, 2 reviewed as it is; `trusted(states)` is what fine-tuning takes.
    steps : list of Step
    wrong_before : int
        Wrong voxels outside of the margin in the prediction.
    opening : float
        Seconds before the first action.
    """

    labels: NDArray[np.uint8]
    states: NDArray[np.uint8]
    steps: list[Step]
    wrong_before: int
    opening: float

    @property
    def actions(self) -> int:
        """How many actions were done."""
        return len(self.steps)

    @property
    def seconds(self) -> float:
        """Simulated seconds, the opening included."""
        return self.opening + sum(step.seconds for step in self.steps)

    @property
    def repaired(self) -> float:
        """Share of the wrong voxels that are right now; below 0 where it got worse."""
        return self._share(self.steps[-1].wrong if self.steps else self.wrong_before)

    @property
    def voxels_per_minute(self) -> float:
        """Wrong voxels fewer per minute, the opening included."""
        left = self.steps[-1].wrong if self.steps else self.wrong_before
        return 60 * (self.wrong_before - left) / self.seconds

    def to_reach(self, repaired: float) -> tuple[int, float] | None:
        """Return after how many actions and seconds a share was repaired; None where it never was."""
        if self._share(self.wrong_before) >= repaired:
            return 0, self.opening
        seconds = self.opening
        for number, step in enumerate(self.steps, start=1):
            seconds += step.seconds
            if self._share(step.wrong) >= repaired:
                return number, seconds
        return None

    def _share(self, left: int) -> float:
        return (self.wrong_before - left) / self.wrong_before if self.wrong_before else 1.0


@dataclass(slots=True)
class Work:
    """One case under correction, by the same session that the plugin's widget drives."""

    case: AnnotationCase
    budget: Budget
    times: Times
    session: IslandsSession = field(init=False)
    judge: Judge = field(init=False)
    wrong: NDArray[np.bool_] = field(init=False)
    steps: list[Step] = field(init=False, default_factory=list)
    wrong_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.session = open_islands(self.case.labels.copy(), self.case.scan, context=self.case.context)
        self.judge = Judge(self.case.truth)
        self.wrong = self.judge.wrong(self.session.known)
        self.wrong_before = int(self.wrong.sum())

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        budget, left = self.budget, int(self.wrong.sum())
        return (
            (budget.actions is not None and len(self.steps) >= budget.actions)
            or (budget.seconds is not None and self.seconds >= budget.seconds)
            or (budget.repaired is not None and left <= (1 - budget.repaired) * self.wrong_before)
        )

    @property
    def seconds(self) -> float:
        """Simulated seconds until now."""
        return self.times.scan + sum(step.seconds for step in self.steps)

    def edit(self, kind: str, make: Callable[[IslandsSession], Edit], seconds: float) -> None:
        """Do one action with the session."""
        self._count(kind, self.session.run(self.session.edit_steps(make)), seconds)

    def try_edit(self, kind: str, make: Callable[[IslandsSession], Edit], seconds: float, least: int) -> bool:
        """Do an action, undo it where it makes fewer voxels right than it should; say whether it stays."""
        done = len(self.session.history.done)
        try:
            said = self.session.run(self.session.edit_steps(make))
        except KidnetError as error:
            self._remember("refused", str(error), seconds)
            return False
        changed = len(self.session.history.done) > done
        after = self._judged() if changed else self.wrong
        if int(self.wrong.sum()) - int(after.sum()) >= least:
            self._count(kind, said, seconds)
            return True
        if changed:
            self.session.run(self.session.undo_steps())
        self._remember("undone", f"{said} (undone)", seconds + self.times.undo)
        return False

    def stroke(self, flat: NDArray[np.int64], class_id: int, seconds: float) -> None:
        """Paint on the labels as a person does in the labels layer; the session takes the stroke over."""
        self.session.labels.reshape(-1)[flat] = class_id
        self._count("stroke", self.session.run(self.session.absorb_steps(flat)), seconds)

    def accept(self, island: int) -> None:
        """Declare an island right."""
        self.edit("accept", lambda s: accept_islands(s.view.table, [island], s.states), self.times.accept)

    def refuse(self, bridge: Bridge) -> None:
        """Refuse a bridge."""
        self._remember("refuse", self.session.run(self.session.refuse_steps(bridge)), self.times.refuse)

    def result(self) -> Annotated:
        """Return what was done."""
        return Annotated(
            self.session.labels, self.session.states, self.steps, self.wrong_before, self.times.scan
        )

    def _count(self, kind: str, what: str, seconds: float) -> None:
        self.wrong = self._judged()
        self._remember(kind, what, seconds)

    def _remember(self, kind: str, what: str, seconds: float) -> None:
        self.steps.append(Step(kind, what, seconds, int(self.wrong.sum())))

    def _judged(self) -> NDArray[np.bool_]:
        """Return what is wrong after the latest edit."""
        edit = self.session.history.done[-1]
        return self.judge.after(self.session.known, self.wrong, edit.box) if edit.voxels else self.wrong
