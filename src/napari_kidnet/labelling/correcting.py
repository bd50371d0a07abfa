"""One annotator's work on the islands of one scan: table, edits, undo, review, journal, saving.

Everything that takes time is a generator, and only one of them may run at a time; whoever drives it hands
each `Correction` to `IslandsSession.show`, which writes the edit to the labels that are on the screen. So a
window shows an edit at once, while journal and table are still being brought up to date in a worker::

    edit_steps ── worker: edit ─┬─ journal ── table ── review order ──▶ view
                                └─ Correction ▶ show: labels, repaint

Two volumes hold the labels. ``labels`` is the caller's, which a person may paint on at any time; ``known`` is
what history, journal and table describe. `absorb_steps` takes over what they differ by.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from psygnal import Signal, SignalGroup

from napari_kidnet.errors import KidnetError, LabelsError
from napari_kidnet.islands import (
    Bridge,
    Change,
    Context,
    Edit,
    History,
    IslandState,
    IslandTable,
    Journal,
    Review,
    VoxelState,
    find_islands,
    island_states,
    mark_edited,
    propose_bridges,
    review_order,
    trusted,
    update_islands,
)
from napari_kidnet.labelling.predicting import Report
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_kidnet.islands.journal import Restored
    from napari_kidnet.scans import Scan

__all__ = [
    "Correction",
    "IslandsSession",
    "IslandsView",
    "journal_path",
    "open_islands",
    "open_islands_steps",
]

Steps: TypeAlias = "Generator[Correction, None, str]"
Make: TypeAlias = "Callable[[IslandsSession], Edit]"
"""Makes an edit from ``known`` and ``view.table``; see `napari_kidnet.islands`."""

_FLAGGED: Final = "flagged"


@dataclass(frozen=True, slots=True, eq=False)
class Correction(Report):
    """One step of a session's work, and the edit that `IslandsSession.show` shall write, if any."""

    edit: Edit | None = None
    forward: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class IslandsView:
    """All that a window shows of a session, at one moment.

    Attributes
    ----------
    table : IslandTable
    review : Review
        The order, and why.
    states : ndarray of uint8, (row,)
        Of `IslandState`.
    bridges : tuple of Bridge
        Proposals that nobody has answered yet, the most confident first.
    reviewed_percent : float
        Of the voxels of the volume.
    """

    table: IslandTable
    review: Review
    states: NDArray[np.uint8]
    bridges: tuple[Bridge, ...]
    reviewed_percent: float

    @property
    def left(self) -> int:
        """How many islands nobody has judged wholly."""
        return int((self.states != IslandState.DONE).sum())

    def next_unreviewed(self, island: int | None, step: int = 1, skip: Iterable[int] = ()) -> int | None:
        """Return the id of the next island in the order that is not done, None where there is none.

        Parameters
        ----------
        island : int or None
            Where to go on from; None is the start.
        step : {1, -1}
            Forwards or backwards; the end meets the start.
        skip : iterable of int
            Ids to leave out.
        """
        rows = self.review.rows
        waiting = (self.states[rows] != IslandState.DONE) & ~np.isin(self.table.id[rows], list(skip))
        if not waiting.any():
            return None
        at = np.flatnonzero(self.table.id[rows] == island) if island is not None else rows[:0]
        here = int(at[0]) if at.size else (-1 if step > 0 else 0)
        order = (here + step * np.arange(1, len(rows) + 1)) % len(rows)
        return int(self.table.id[rows[order[np.argmax(waiting[order])]]])


class IslandsEvents(SignalGroup):
    """What a session tells those who show it; emitted where `show` and `changed` are called."""

    shown = Signal(object)
    """The labels in this box (slices z, y, x) were written."""
    view = Signal(object)
    """The `IslandsView` is a new one."""


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
        What an earlier session left unsaved: answer by `restore_steps` or `discard_steps`.
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
        self._judged = 0

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
        where = np.asarray(flat, np.int64) if flat is not None else _differing(live, self.known.reshape(-1))
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
        return f"{'Flagged' if on else 'No longer flagged'}: {_count(len(chosen), 'island')}"

    def propose_steps(self) -> Steps:
        """Look for gaps to bridge; the proposals are in the view."""
        yield Correction(Progress(0, 0, "Looking for gaps"))
        found = propose_bridges(self.view.table, self.known, self.context)
        self._look(self.view.table, tuple(found))
        return f"{_count(len(self.view.bridges), 'gap')} that may be bridged"

    def refuse_steps(self, bridge: Bridge) -> Steps:
        """Drop a proposal."""
        self._refused.add(frozenset(bridge.islands))
        yield Correction(Progress(0, 1, "Refusing"))
        self._look(self.view.table)
        return "Refused to bridge this gap"

    def restore_steps(self) -> Steps:
        """Go on with what an earlier session left unsaved."""
        found = self.recoverable
        if found is None:
            return "Nothing to restore"
        where = _differing(found.labels.reshape(-1), self.known.reshape(-1))
        edit = Edit.of(self.known, where, found.labels.reshape(-1)[where], "Restored")
        self.known, self.states, self.history = found.labels, found.states, found.history
        self.unsaved, self.recoverable = found.actions, None
        yield Correction(Progress(0, 1, "Restoring"), edit=edit)
        self._judged = int(np.count_nonzero(self.states))
        table = find_islands(self.known, self.context)
        self._flag_at(table, found.notes)
        self._look(table)
        return f"Restored {_count(found.actions, 'action')} of an earlier session"

    def discard_steps(self) -> Steps:
        """Let go of what an earlier session left unsaved."""
        self.recoverable = None
        yield Correction(Progress(0, 1, "Starting anew"))
        base = _on_disk(self)
        self._write(lambda journal: journal.compact(self.known, self.states, base))
        return "Started from the labels as they are shown"

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
        self.unsaved = 0
        self._look(self.view.table)
        return f"Saved {target.name} and {reviewed_path(target).name}"

    def close(self) -> None:
        """Let another session in; the journal stays only where it holds something unsaved."""
        if self._journal is not None:
            with contextlib.suppress(OSError):
                self._journal.close() if self.unsaved or self.recoverable else self._journal.delete()
            self._journal = None

    # ------------------------------------------------------------------ inside

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
            more = np.count_nonzero(edit.states.after) - np.count_nonzero(edit.states.before)
            self._judged += int(more if forward else -more)
        table = self.view.table
        if edit.voxels:
            table = update_islands(table, self.known, edit.box, self.context)
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
        percent = 100 * self._judged / max(self.states.size, 1)
        done = island_states(table, self.states, self.flagged)
        self.view = IslandsView(table, review_order(table, waiting), done, waiting, percent)

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
            self._journal = Journal(journal_path(self.path), base)
        except KidnetError as error:
            self.warning = str(error)
            return None
        self.warning = ""
        return self._journal.restored


def open_islands_steps(
    labels: NDArray[Any], scan: Scan, path: Path | None = None, context: Context | None = None
) -> Generator[Correction, None, IslandsSession]:
    """Find the islands of labels and open their journal; the generator's result is the session.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
        On the scan's grid; the session writes its edits to them.
    scan : Scan
    path : Path, optional
        The labels' file, which need not be there yet; its journal lies beside it. None keeps no journal.
    context : Context, optional
        What is known beside the labels; by default spacing and HU.

    Raises
    ------
    LabelsError
        The labels are not one volume of whole numbers on the scan's grid.
    """
    if labels.ndim != 3 or labels.dtype.kind not in "iu":
        raise LabelsError(
            f"islands are found in one volume (z, y, x) of whole numbers, and these labels are {labels.ndim}-"
            f"dimensional {labels.dtype}; choose another labels layer."
        )
    if labels.shape != scan.shape:
        raise LabelsError(
            f"the labels are of shape {labels.shape} and {scan.name} is of {scan.shape} (z, y, x); choose the"
            " labels that belong to this scan."
        )
    yield Correction(Progress(0, 3, "Looking for earlier work"))
    session = IslandsSession(labels, scan, context or Context(spacing=scan.spacing, hu=scan.hu), path)
    base = _on_disk(session)
    found = None if session.warning else session._open_journal(base)
    _take_up(session, found, base)
    yield Correction(Progress(1, 3, "Finding islands"))
    table = find_islands(session.known, session.context)
    if found is not None and session.recoverable is None:
        session._flag_at(table, found.notes)
    yield Correction(Progress(2, 3, "Ordering islands"))
    session._judged = int(np.count_nonzero(session.states))
    nothing = Review(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), ())
    session.view = IslandsView(table, nothing, np.zeros(len(table), np.uint8), (), 0.0)
    session._look(table)
    return session


def open_islands(
    labels: NDArray[Any], scan: Scan, path: Path | None = None, context: Context | None = None
) -> IslandsSession:
    """Run `open_islands_steps` to its end.

    Examples
    --------
    >>> from napari_kidnet.islands import delete
    >>> from napari_kidnet.scans import Scan
    >>> labels = np.array([[[2, 0, 1]]], np.uint8)
    >>> session = open_islands(labels, Scan.from_array(np.zeros((1, 1, 3)), (1.0, 1.0, 1.0)))
    >>> session.run(session.edit_steps(lambda s: delete(s.known, s.view.table, [1])))
    'Deleted 1 island of Vein (0.001 mL)'
    >>> labels.tolist(), session.run(session.undo_steps()), labels.tolist()
    ([[[0, 0, 1]]], 'Undone: Deleted 1 island of Vein (0.001 mL)', [[[2, 0, 1]]])
    """
    from napari_kidnet.progress import drain

    return drain(open_islands_steps(labels, scan, path, context))


def journal_path(labels: Path) -> Path:
    """Return where the journal of a label file lies.

    Examples
    --------
    >>> from pathlib import Path
    >>> journal_path(Path("patient_labels.nii.gz")).name
    'patient_labels.journal'
    """
    return labels.with_name(_stem(labels) + ".journal")


def reviewed_path(labels: Path) -> Path:
    """Return where the reviewed mask of a label file lies.

    Examples
    --------
    >>> from pathlib import Path
    >>> reviewed_path(Path("patient_labels.nii.gz")).name
    'patient_reviewed.nii.gz'
    """
    return labels.with_name(_stem(labels).removesuffix("_labels") + "_reviewed.nii.gz")


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".nii.gz", ".nii", ".tiff", ".tif"):
        name = name.removesuffix(suffix)
    return name


def _on_disk(session: IslandsSession) -> NDArray[Any]:
    """Return what the labels' file holds; zeros where there is none."""
    path = session.path
    if path is not None and path.is_file():
        from napari_kidnet.scans import read_labels

        try:
            return read_labels(path, session.scan).astype(session.known.dtype, copy=False)
        except KidnetError as error:
            session.warning = str(error)
    return np.zeros(session.known.shape, session.known.dtype)


def _take_up(session: IslandsSession, found: Restored | None, base: NDArray[Any]) -> None:
    """Go on from a journal: offer what is unsaved, else take its reviewed mask, else the saved one."""
    if found is None:
        return
    if found.actions:
        session.recoverable = found
        return
    mask = reviewed_path(session.path) if session.path is not None else None
    if found.states.any():
        session.states = found.states
    elif mask is not None and mask.is_file():
        from napari_kidnet.scans import read_labels

        try:
            session.states[read_labels(mask, session.scan) != 0] = VoxelState.REVIEWED
        except KidnetError as error:
            session.warning = str(error)
    if not np.array_equal(base, session.known):
        session._write(lambda journal: journal.compact(session.known, session.states, base))
        session.unsaved = 1


def _differing(one: NDArray[Any], other: NDArray[Any], at_once: int = 2**22) -> NDArray[np.int64]:
    """Return the flat indices at which two flat volumes differ, without a volume in between."""
    parts = [
        np.flatnonzero(one[low : low + at_once] != other[low : low + at_once]) + low
        for low in range(0, one.size, at_once)
    ]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
