"""A folder of scans as a list of work: what is new, predicted, in work or done, and which comes next.

Three things are put together: the scans that are in the folder now, the worklist's file (`store`), and the
log (`activity`), whose lines alone are enough to make the file again. Every change is written to the log and
then to the file, merged with what another machine wrote meanwhile. Nothing of this needs an absolute path.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_kidnet.errors import KidnetError, WorklistError
from napari_kidnet.labelling.worklist.activity import LOG_FILE, ActivityLog, Tuning, read_activity
from napari_kidnet.labelling.worklist.order import next_row
from napari_kidnet.labelling.worklist.records import (
    PredictionPart,
    Record,
    ReviewPart,
    StatePart,
    WorkState,
    later,
    merge,
)
from napari_kidnet.labelling.worklist.rows import Row, row_of
from napari_kidnet.labelling.worklist.scans import FoundScan, case_at, find_scans
from napari_kidnet.labelling.worklist.store import LIST_FILE, copies_of, read_lists, write_list
from napari_kidnet.scans.writing import ensure_writable

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

    from napari_kidnet.scans.cases import Case

__all__ = ["Worklist"]


class Worklist:
    """The scans of one folder and how far the work on them is.

    Looking at a folder writes nothing to it; the first change makes the file. Methods may be called from any
    thread.

    Parameters
    ----------
    folder : path-like
        It holds NIfTI files, TIFF stacks or folders with DICOM, also in folders below it.

    Attributes
    ----------
    folder : Path
    warning : str
        What a person should know about the files of the worklist; empty where all is well.

    Raises
    ------
    WorklistError
        The folder cannot be read, or its worklist is of a later version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.warning = ""
        self._lock = threading.RLock()
        self._log = ActivityLog(self.folder / LOG_FILE)
        self._found: dict[str, FoundScan] = {}
        self._records: dict[str, Record] = {}
        self.refresh()

    # ------------------------------------------------------------------ what is there

    def refresh(self) -> None:
        """Look at the folder and its files again: others may have worked on it.

        Raises
        ------
        WorklistError
            As when it was opened.
        """
        with self._lock:
            self._found = {each.key: each for each in find_scans(self.folder)}
            stored = read_lists(self.folder / LIST_FILE)
            try:
                self._activity = read_activity(copies_of(self.folder / LOG_FILE))
            except OSError as error:
                why = error.strerror or str(error)
                raise WorklistError(f"{self.folder / LOG_FILE} cannot be read: {why}.") from error
            known = merge(stored.records, self._activity.records)
            self._records = merge(self._records, known)
            self.warning = ""
            if stored.damaged:
                names = " and ".join(each.name for each in stored.damaged)
                self.warning = (
                    f"{names} is damaged; the states were taken from {LOG_FILE}, and the damaged file is "
                    "kept when the next change is written."
                )

    def check_writable(self) -> None:
        """Warn where states could not be kept."""
        try:
            ensure_writable(self.folder / LIST_FILE)
        except KidnetError:
            self.warning = (
                f"{self.folder} is read-only: labels and states cannot be kept there; copy the scans to a "
                "folder that can be written to."
            )

    @property
    def rows(self) -> tuple[Row, ...]:
        """All scans: those in the folder, then those that are gone."""
        with self._lock:
            gone = [key for key in self._records if key not in self._found]
            return tuple(self.row(key) for key in [*self._found, *gone])

    def row(self, key: str) -> Row:
        """Return what is known of one scan."""
        with self._lock:
            minutes = self._activity.seconds.get(key, 0.0) / 60
            actions = self._activity.actions.get(key, 0)
            return row_of(key, self._found.get(key), self._records.get(key, Record()), minutes, actions)

    @property
    def tunings(self) -> tuple[Tuning, ...]:
        """Fine-tunings that were noted, in the order of time."""
        with self._lock:
            return tuple(self._activity.tunings)

    def next_scan(
        self,
        by: Literal["benefit", "order"] = "benefit",
        current: str | None = None,
        visited: Collection[str] = (),
    ) -> str | None:
        """Return the scan to open next; None where no other waits.

        Parameters
        ----------
        by : {"benefit", "order"}
            What was begun, then the one with the most wrong volume to be expected; or the next in the list.
        current : str, optional
            The scan that is open, which is not returned.
        visited : collection of str
            Scans that were opened and left already; by benefit they come last.
        """
        row = next_row(self.rows, by, current, visited)
        return None if row is None else row.key

    def corrected_cases(self) -> list[Case]:
        """Return the cases that something can be learned from: labelled, and at least in part judged."""
        rows = self.rows
        return [row.case for row in rows if row.case is not None and row.teaches]

    # ------------------------------------------------------------------ what is noted

    def set_state(self, key: str, state: WorkState) -> None:
        """Say how far a scan is."""
        with self._lock:
            before = self._records.get(key, Record()).state
            if before is None or before.value is not state:
                self._note(key, "state", StatePart(later(before), state))

    def note_prediction(self, key: str, **figures: Any) -> None:
        """Note what a run of a network left, or its ``problem``: the fields of `PredictionPart`."""
        with self._lock:
            self._look_again(key)
            before = self._records.get(key, Record())
            self._note(key, "prediction", PredictionPart(later(before.prediction), **figures))
            begun = before.state is not None and before.state.value in (WorkState.IN_WORK, WorkState.DONE)
            if not figures.get("problem") and not begun:
                self.set_state(key, WorkState.PREDICTED)

    def note_review(self, key: str, share: float | None, islands: int, islands_left: int) -> None:
        """Note how much is judged in the labels that were just saved."""
        with self._lock:
            self._look_again(key)
            before = self._records.get(key, Record()).review
            self._note(key, "review", ReviewPart(later(before), share, islands, islands_left))

    def add_work(self, key: str, seconds: float, actions: int) -> None:
        """Note time and actions that went into a scan."""
        if seconds <= 0 and actions <= 0:
            return
        with self._lock:
            self._activity.add_work(key, seconds, actions)
            self._write_log("work", scan=key, seconds=round(seconds, 3), actions=actions)

    def note_finetuning(self, checkpoint: str, activated: bool) -> None:
        """Note that a network learned from these scans; it is marked in the plot."""
        with self._lock:
            tuning = Tuning(later(), checkpoint, activated)
            self._activity.tunings.append(tuning)
            self._write_log("finetuning", at=tuning.at, checkpoint=checkpoint, activated=activated)

    # ------------------------------------------------------------------ inside

    def _note(self, key: str, name: str, part: StatePart | PredictionPart | ReviewPart) -> None:
        record = Record(**{name: part})  # type: ignore[arg-type]
        self._records[key] = self._records.get(key, Record()).merged(record)
        self._write_log(name, scan=key, **record.as_dict()[name])
        try:
            self._records = write_list(self.folder / LIST_FILE, self._records)
        except KidnetError as error:  # the work goes on, and the log still has it
            self.warning = str(error)

    def _write_log(self, event: str, **values: Any) -> None:
        try:
            self._log.write(event, **values)
        except KidnetError as error:
            self.warning = str(error)

    def _look_again(self, key: str) -> None:
        found = self._found.get(key)
        if found is not None:
            self._found[key] = FoundScan(key, case_at(found.case.ct), found.problem)
