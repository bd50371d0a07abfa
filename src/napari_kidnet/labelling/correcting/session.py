"""The islands of one label volume while a person corrects them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from napari_kidnet.errors import KidnetError, LabelsError
from napari_kidnet.islands import (
    Bridge,
    Change,
    Context,
    Edit,
    History,
    IslandTable,
    Journal,
    island_states,
    mark_edited,
    propose_bridges,
    review_order,
    trusted,
    update_islands,
)
from napari_kidnet.labelling.correcting.comparing import count_of, differing
from napari_kidnet.labelling.correcting.files import journal_path, reviewed_path
from napari_kidnet.labelling.correcting.judged import Judged
from napari_kidnet.labelling.correcting.view import Correction, IslandsEvents, IslandsView
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.islands.journal import Restored
    from napari_kidnet.scans import Scan

__all__ = ["IslandsSession", "Make", "Steps"]

Steps: TypeAlias = "Generator[Correction, None, str]"
Make: TypeAlias = "Callable[[IslandsSession], Edit]"
"""Makes an edit from ``known`` and ``view.table``; see `napari_kidnet.islands`."""

_FLAGGED: Final = "flagged"


class IslandsSession:
    """The islands of one label volume while a person corrects them; made by `open_islands_steps`.

    Attributes
    ----------
    labels : ndarray of integers, (z, y, x)
        The caller's, written by `show` alone.
    known : ndarray of integers, (z, y, x)
        What history, journal and table describe.
    states : ndarray of uint8, (z, y, x)
        The reviewed mask, of `VoxelState`.
    view : IslandsView
        Replaced as a whole after each step.
    history : History
    recoverable : Restored or None
        What an earlier session left unsaved: answer by `restore_steps` or `discard_steps` of `recovery`.
    warning : str
        Why edits are not kept beside the scan; empty where they are.
    unsaved : int
        Actions since the last save.
    """

    def __init__(self, labels: NDArray[Any], scan: Scan, context: Context, path: Path | None) -> None:
        self.labels = labels
        self.known: NDArray[Any] = np.ascontiguousarray(labels).copy()
        self.states: NDArray[np.uint8] = np.zeros(labels.shape, np.uint8)
        self.scan, self.context, self.path = scan, context, path
        self.history = History()
        self.flagged: set[int] = set()
        self.recoverable: Restored | None = None
        self.warning = ""
        self.unsaved = 0
        self.events = IslandsEvents()
        self.view: IslandsView
        self._journal: Journal | None = None
        self._refused: set[frozenset[int]] = set()
        self._judged = Judged(self.states)

    # ------------------------------------------------------------------ in the caller's thread

    def run(self, steps: Steps) -> str:
        """Run steps to their end, without a window; return what was done, in words."""
        while True:
            try:
                self.show(next(steps))
            except StopIteration as stop:
                self.changed()
                return str(stop.value)

    def show(self, correction: Correction) -> None:
        """Write an edit to the labels; a voxel that was painted meanwhile keeps its paint."""
        edit = correction.edit
        if correction.ghost is not None:
            self.events.ghost.emit(correction.ghost)
        if edit is None or not edit.voxels:
            return
        change = edit.labels
        old, new = (change.before, change.after) if correction.forward else (change.after, change.before)
        where = np.unravel_index(change.flat, self.labels.shape)
        self.labels[where] = np.where(self.labels[where] == old, new, self.labels[where])
        self.events.shown.emit(edit.box)

    def changed(self) -> None:
        """Tell that the view is a new one."""
        self.events.view.emit(self.view)

    # ------------------------------------------------------------------ steps

    def edit_steps(self, make: Make) -> Steps:
        """Do an island edit or a review: ``lambda s: delete(s.known, s.view.table, [7])``."""
        self._answered()
        edit = make(self)
        if edit.states is None:
            edit = mark_edited(edit, self.states)
        if not edit.nbytes:
            return f"{edit.what}: nothing changed"
        self.history.do(edit, self.known, self.states)
        yield from self._settle(edit, "do")
        return edit.what

    def undo_steps(self) -> Steps:
        """Undo the latest action."""
        edit = self.history.undo(self.known, self.states)
        if edit is None:
            return "Nothing to undo"
        yield from self._settle(edit, "undo")
        return f"Undone: {edit.what}"

    def redo_steps(self) -> Steps:
        """Do the action again that was undone last."""
        edit = self.history.redo(self.known, self.states)
        if edit is None:
            return "Nothing to redo"
        yield from self._settle(edit, "redo")
        return f"Redone: {edit.what}"

    def absorb_steps(
        self, flat: NDArray[np.integer] | None = None, by: Literal["person", "model"] = "person"
    ) -> Steps:
        """Take over what was written to ``labels`` directly: a brush stroke, or a model's run.

        Parameters
        ----------
        flat : ndarray of int, (voxel,), optional
            Where; None compares everything.
        by : {"person", "model"}
        """
        live = self.labels.reshape(-1) if self.labels.flags.c_contiguous else self.labels.flatten()
        # One pass without a volume in between: a slice at a time.
        where = np.asarray(flat, np.int64) if flat is not None else differing(live, self.known.reshape(-1))
        change = Change.of(self.known, where, live[where])
        if not change.flat.size:
            return ""
        who = "Brush stroke" if by == "person" else "Prediction"
        what = f"{who} of {change.flat.size} voxels"
        edit = Edit(what, self.view.table.shape, change, by=by)
        if by == "person":
            edit = mark_edited(edit, self.states)
        self.history.do(edit, self.known, self.states)
        yield from self._settle(edit, "do", show=False)
        return what

    def flag_steps(self, islands: Iterable[int]) -> Steps:
        """Mark islands to come back to, or take the mark off where all have it."""
        chosen = set(islands)
        on = not chosen <= self.flagged
        self.flagged = self.flagged | chosen if on else self.flagged - chosen
        yield Correction(Progress(0, 1, "Flagging"))
        self._write(lambda journal: journal.note(_FLAGGED, self._flagged_voxels()))
        self._look(self.view.table)
        return f"{'Flagged' if on else 'No longer flagged'}: {count_of(len(chosen), 'island')}"

    def propose_steps(self) -> Steps:
        """Look for gaps to bridge; the proposals are in the view."""
        yield Correction(Progress(0, 0, "Looking for gaps"))
        found = propose_bridges(self.view.table, self.known, self.context)
        self._look(self.view.table, tuple(found))
        return f"{count_of(len(self.view.bridges), 'gap')} that may be bridged"

    def refuse_steps(self, bridge: Bridge) -> Steps:
        """Drop a proposal."""
        self._refused.add(frozenset(bridge.islands))
        yield Correction(Progress(0, 1, "Refusing"))
        self._look(self.view.table)
        return "Refused to bridge this gap"

    def save_steps(self, path: Path | None = None) -> Steps:
        """Write labels and reviewed mask, each in one step, and start the journal over.

        Raises
        ------
        LabelsError
            There is no path to save to.
        OutputError
            They cannot be written there.
        """
        from napari_kidnet.scans import write_labels

        self._answered()
        target = path or self.path
        if target is None:
            raise LabelsError("these labels have no file yet; choose where to save them.")
        yield Correction(Progress(0, 2, f"Saving {target.name}"))
        write_labels(target, self.known, like=self.scan)
        write_labels(reviewed_path(target), trusted(self.states), like=self.scan)
        yield Correction(Progress(1, 2, f"Saving {target.name}"))
        if target != self.path:
            self.close()
            self.path = target
            self._open_journal(self.known)
        self._write(lambda journal: journal.compact(self.known, self.states))
        if self.flagged:
            self._write(lambda journal: journal.note(_FLAGGED, self._flagged_voxels()))
        self.unsaved = 0
        self._look(self.view.table)
        return f"Saved {target.name} and {reviewed_path(target).name}"

    def close(self) -> None:
        """Let another session in; the journal stays only where it holds something unsaved, or flags."""
        if self._journal is not None:
            keep = self.unsaved or self.recoverable or self.flagged
            with contextlib.suppress(OSError):
                self._journal.close() if keep else self._journal.delete()
            self._journal = None

    # ------------------------------------------------------------------ inside

    def _count_anew(self, kidneys: Sequence[tuple[slice, slice, slice]] | None = None) -> None:
        self._judged = Judged(self.states, self._judged.kidneys if kidneys is None else kidneys)

    def _answered(self) -> None:
        if self.recoverable is not None:
            raise LabelsError("an earlier session left unsaved work; first choose to restore or discard it.")

    def _settle(
        self, edit: Edit, verb: Literal["do", "undo", "redo"], show: bool = True
    ) -> Generator[Correction, None, None]:
        """Bring journal and view up to date after an edit of ``known``."""
        forward = verb != "undo"
        yield Correction(Progress(0, 1, edit.what), edit=edit if show else None, forward=forward)
        self.unsaved += 1
        self._write(lambda journal: getattr(journal, verb)(edit))
        if edit.states is not None:
            self._judged.add(edit.states, forward=forward)
        table = self.view.table
        if edit.voxels:
            table = update_islands(table, self.known, edit.box, self.context, edit.labels.flat)
        self._look(table)

    def _look(self, table: IslandTable, bridges: tuple[Bridge, ...] | None = None) -> None:
        waiting = self.view.bridges if bridges is None else bridges
        there = set(table.id.tolist())
        waiting = tuple(
            each
            for each in waiting
            if there.issuperset(each.islands) and frozenset(each.islands) not in self._refused
        )
        self.flagged &= there
        done = island_states(table, self.states, self.flagged)
        self.view = IslandsView(
            table,
            review_order(table, waiting),
            done,
            waiting,
            self._judged.percent,
            self._judged.kidney_percent,
        )

    def _flagged_voxels(self) -> list[int]:
        """Return a voxel of each flagged island: ids are given anew when the labels are opened again."""
        table = self.view.table
        rows = np.flatnonzero(np.isin(table.id, list(self.flagged))).tolist()
        return [int(table.voxels_of(row)[0]) for row in rows]

    def _flag_at(self, table: IslandTable, notes: dict[str, Any]) -> None:
        points = [np.unravel_index(flat, table.shape) for flat in notes.get(_FLAGGED, ())]
        rows = [table.at(int(each) for each in point) for point in points]
        self.flagged = {int(table.id[row]) for row in rows if row is not None}

    def _write(self, entry: Callable[[Journal], None]) -> None:
        """Write to the journal; where it fails the work goes on, and says so."""
        if self._journal is None or self.recoverable is not None:
            return  # nothing may follow on the old entries before it is decided what becomes of them
        try:
            entry(self._journal)
        except KidnetError as error:
            self.warning = str(error)
            self._journal.close()
            self._journal = None

    def _open_journal(self, base: NDArray[Any]) -> Restored | None:
        if self.path is None:
            self.warning = "These labels have no file yet, so edits are not kept until they are saved."
            return None
        try:
            self._journal = Journal(journal_path(self.path), base, self.states)
        except KidnetError as error:
            self.warning = str(error)
            return None
        self.warning = ""
        return self._journal.restored
