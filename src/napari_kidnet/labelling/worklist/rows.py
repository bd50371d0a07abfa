"""One line of a worklist: what the folder holds and what is known, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_kidnet.labelling.worklist.records import Record, WorkState

if TYPE_CHECKING:
    from napari_kidnet.labelling.worklist.scans import FoundScan
    from napari_kidnet.scans.cases import Case

__all__ = ["Row", "row_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """A scan of a worklist at one moment.

    Attributes
    ----------
    key : str
        Its path in the folder.
    case : Case or None
        Its files; None where the scan is gone.
    state : WorkState
    blocked : bool
        It cannot be opened or predicted, as ``problem`` says.
    problem : str
        What is wrong with it, in a sentence; empty where nothing is.
    expected_wrong_ml, entropy : float or None
        How uncertain its prediction is; None where there is no prediction, or none that is known of.
    reviewed : float or None
        Share of the labelled voxels that a person has judged; None where nothing is labelled.
    islands, islands_left : int or None
        All, and those that nobody has judged wholly.
    minutes : float
    actions : int
    done_at : str
        When it was called done; empty where it is not.
    teaches : bool
        Whether a network can learn from it.
    """

    key: str
    case: Case | None
    state: WorkState
    blocked: bool = False
    problem: str = ""
    expected_wrong_ml: float | None = None
    entropy: float | None = None
    reviewed: float | None = None
    islands: int | None = None
    islands_left: int | None = None
    minutes: float = 0.0
    actions: int = 0
    done_at: str = ""
    teaches: bool = False

    @property
    def benefit_ml(self) -> float | None:
        """The wrong volume that is still to be expected, in mL; None where it is not known."""
        if self.expected_wrong_ml is None:
            return None
        return self.expected_wrong_ml * (1.0 - (self.reviewed or 0.0))


def row_of(key: str, found: FoundScan | None, record: Record, minutes: float, actions: int) -> Row:
    """Put together what the folder holds and what is known."""
    state, problem = _state_of(found, record), _problem_of(key, found, record)
    prediction, review = record.prediction, record.review
    reviewed: float | None = None
    islands = islands_left = None
    if prediction is not None and prediction.islands is not None:
        islands = islands_left = prediction.islands
        reviewed = 0.0 if prediction.islands else None
    if review is not None:
        islands, islands_left, reviewed = review.islands, review.islands_left, review.share
    if state is WorkState.NEW:
        reviewed = islands = islands_left = None
    stated_done = state is WorkState.DONE and record.state is not None
    return Row(
        key,
        None if found is None else found.case,
        state,
        blocked=found is None or bool(found.problem),
        problem=problem,
        expected_wrong_ml=None if prediction is None else prediction.expected_wrong_ml,
        entropy=None if prediction is None else prediction.entropy,
        reviewed=reviewed,
        islands=islands,
        islands_left=islands_left,
        minutes=minutes,
        actions=actions,
        done_at=record.state.at if stated_done and record.state is not None else "",
        teaches=_teaches(found, record, state),
    )


def _state_of(found: FoundScan | None, record: Record) -> WorkState:
    stated = None if record.state is None else record.state.value
    if found is None or stated in (WorkState.IN_WORK, WorkState.DONE):
        return stated or WorkState.NEW
    if found.case.labels is None:
        return WorkState.NEW
    if stated is None and record.prediction is None and found.case.reviewed is not None:
        return WorkState.IN_WORK  # somebody worked on it before there was a worklist
    return WorkState.PREDICTED


def _problem_of(key: str, found: FoundScan | None, record: Record) -> str:
    if found is None:
        return f"{key} is not in the folder any more; put it back, or go on without it."
    if found.problem:
        return found.problem
    state = _state_of(found, record)
    if state is WorkState.DONE and found.case.labels is None:
        return f"{key} is done, but its labels are not in the folder any more."
    if state is WorkState.NEW and record.prediction is not None:
        return record.prediction.problem
    return ""


def _teaches(found: FoundScan | None, record: Record, state: WorkState) -> bool:
    if found is None or found.problem or found.case.labels is None:
        return False
    if state not in (WorkState.IN_WORK, WorkState.DONE):
        return False
    # Without a mask all counts as judged; with one, unless it is known to be empty.
    return found.case.reviewed is None or record.review is None or bool(record.review.share)
