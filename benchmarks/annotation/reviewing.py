"""Going through the islands: what a person decides about each who sees what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from annotation.judging import pieces_of
from annotation.painting import strokes
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_kidnet.islands import IslandState, delete, fill_branch, relabel, split, swap_branch
from napari_kidnet.islands.sparse import coordinates

if TYPE_CHECKING:
    from collections.abc import Callable

    from annotation.judging import Piece
    from annotation.work import Work
    from numpy.typing import NDArray

    from napari_kidnet.islands import IslandTable

LEAST_VOXELS = 10
"""A piece that is wrong and smaller is not worth an action."""
WORTH_TRYING = 0.25
"""A result that repairs less of what it was meant for is undone."""
MOSTLY = 0.5
REACH_MM = 40.0
"""As far as a branch is filled from a click."""


@dataclass(slots=True)
class Reviewer:
    """One pass over the list of islands.

    Parameters
    ----------
    work : Work
    by_size : bool
        The largest island first, instead of the order of review.
    bridging : bool
        Look for gaps, and answer the proposals of the island at hand.
    tools : bool
        Split, swap and fill; without them what a key for the whole island cannot mend is painted.
    """

    work: Work
    by_size: bool = False
    bridging: bool = True
    tools: bool = True
    given_up: set[tuple[int, ...]] = field(default_factory=set)

    def run(self) -> None:
        """Work until the budget is spent or the list is done."""
        if self.bridging:
            self._look_for_gaps()
        island = None
        while not self.work.over:
            island = self._next(island)
            if island is None:
                return
            self._attend(island)

    def _next(self, island: int | None) -> int | None:
        view = self.work.session.view
        if not self.by_size:
            return view.next_unreviewed(None)
        rows = np.flatnonzero(view.states != IslandState.DONE)
        return int(view.table.id[rows[np.argmax(view.table.voxels[rows])]]) if rows.size else None

    def _attend(self, island: int) -> None:
        """Mend what is wrong about an island, the largest piece first, then accept it."""
        work = self.work
        while not work.over:
            table = work.session.view.table
            if island not in table.id:
                return
            row = table.row_of(island)
            class_id = int(table.class_id[row])
            becomes = self._wholly_wrong(table, row)
            if becomes == 0:
                work.edit("delete", lambda s: delete(s.known, s.view.table, [island]), work.times.delete)
                return
            if becomes is not None:
                new = becomes
                work.edit(
                    "relabel",
                    lambda s: relabel(s.known, s.view.table, [island], new),
                    work.times.relabel,
                )
                return
            piece = self._worst_piece(table, row, class_id)
            if piece is None:
                break
            self._mend(piece, island)
        if self.bridging and not work.over:
            self._answer_gaps(island)
        if not work.over and island in work.session.view.table.id:
            work.accept(island)

    def _wholly_wrong(self, table: IslandTable, row: int) -> int | None:
        """Return the class that most of an island should be, None where it is right as a whole."""
        work = self.work
        flat = table.voxels_of(row)
        wrong = work.wrong.reshape(-1)[flat]
        if wrong.sum() < MOSTLY * flat.size:
            return None
        true = np.bincount(work.case.truth.reshape(-1)[flat], minlength=4)
        return int(np.argmax(true))

    def _worst_piece(self, table: IslandTable, row: int, class_id: int) -> Piece | None:
        """Return the largest wrong piece of an island, or missed beside it, that was not given up."""
        work = self.work
        labels = work.session.known
        for piece in pieces_of(work.wrong, labels, work.case.truth, LEAST_VOXELS):
            if self._key(piece) in self.given_up:
                continue
            if piece.said == 0:
                mine = piece.true == class_id and _owner(table, piece) == row
            else:
                mine = piece.said == class_id and table.at(piece.voxels[0]) == row
            if mine:
                return piece
        return None

    def _key(self, piece: Piece) -> tuple[int, ...]:
        return (piece.said, piece.true, *np.median(piece.voxels, axis=0).astype(int).tolist())

    def _mend(self, piece: Piece, island: int) -> None:
        """Try what fits a piece; where all fails, or without tools, paint it."""
        work = self.work
        least = max(5, int(WORTH_TRYING * piece.size))
        if self.tools:
            for kind, make, seconds in self._ideas(piece, island):
                if work.over or work.try_edit(kind, make, seconds, least):
                    return
        wanted = np.zeros(work.case.truth.shape, bool)
        wanted[tuple(piece.voxels.T)] = True
        strokes(work, wanted)
        self.given_up.add(self._key(piece))

    def _ideas(self, piece: Piece, island: int) -> list[tuple[str, Callable, float]]:
        work, times = self.work, self.work.times
        table = work.session.view.table
        if piece.said == 0:
            row = table.row_of(island)
            click = _far_end(piece, coordinates(table.voxels_of(row), table.shape))
            return [
                (
                    "fill",
                    lambda s: fill_branch(s.known, s.view.table, click, piece.true, s.context),
                    times.fill,
                )
            ]
        row = table.row_of(island)
        flat = table.voxels_of(row)
        right = coordinates(flat[~work.wrong.reshape(-1)[flat]], table.shape)
        inside = _deepest(piece)
        ideas: list[tuple[str, Callable, float]] = []
        if len(right):
            keep = _beside(right, piece, table)
            ideas.append(
                (
                    "split",
                    lambda s: split(s.known, s.view.table, (keep, inside), piece.true),
                    times.split,
                )
            )
        if piece.true:
            ideas.append(
                (
                    "swap",
                    lambda s: swap_branch(s.known, s.view.table, inside, piece.true),
                    times.swap,
                )
            )
        return ideas

    def _look_for_gaps(self) -> None:
        session = self.work.session
        session.run(session.propose_steps())

    def _answer_gaps(self, island: int) -> None:
        """Accept or refuse what is proposed for an island."""
        from napari_kidnet.islands import accept_bridges

        work = self.work
        for bridge in work.session.view.bridges:
            if island not in bridge.islands or work.over:
                continue
            on = work.case.truth[tuple(bridge.path.T)] == bridge.class_id
            if on.mean() >= MOSTLY:
                spacing = work.case.scan.spacing
                work.edit(
                    "bridge", lambda s, b=bridge: accept_bridges(s.known, [b], spacing), work.times.bridge
                )
            else:
                work.refuse(bridge, work.times.refuse)


def _owner(table: IslandTable, piece: Piece) -> int | None:
    """Return the row of the nearest island of a missed piece's class, within reach of a filling."""
    spacing = np.asarray(table.spacing)
    best, owner = REACH_MM, None
    some = piece.voxels[:: max(1, piece.size // 200)] * spacing
    for row in np.flatnonzero(table.class_id == piece.true).tolist():
        tree = cKDTree(coordinates(table.voxels_of(row), table.shape) * spacing)
        distance = float(tree.query(some)[0].min())
        if distance < best:
            best, owner = distance, row
    return owner


def _inner(piece: Piece) -> NDArray[np.float64]:
    """Return how deep each voxel of a piece lies in it, in voxels."""
    low = piece.voxels.min(axis=0) - 1
    mask = np.zeros(piece.voxels.max(axis=0) - low + 2, bool)
    local = tuple((piece.voxels - low).T)
    mask[local] = True
    return np.asarray(ndimage.distance_transform_edt(mask)[local])


def _deepest(piece: Piece) -> tuple[int, ...]:
    return tuple(piece.voxels[int(np.argmax(_inner(piece)))].tolist())


def _far_end(piece: Piece, island: NDArray[np.int32]) -> tuple[int, ...]:
    """Return a voxel in the middle of the vessel, at the end of a missed piece that is far from the island."""
    away = np.asarray(cKDTree(island).query(piece.voxels)[0])
    far = away >= away.max() - 3
    deep = np.where(far, _inner(piece), -1)
    return tuple(piece.voxels[int(np.argmax(deep))].tolist())


def _beside(right: NDArray[np.int32], piece: Piece, table: IslandTable) -> tuple[int, ...]:
    """Return a right voxel of the island for the seed that stays: the nearest 3 voxels or more from the piece."""
    away = np.asarray(cKDTree(piece.voxels).query(right)[0])
    wanted = np.where(away >= 3, away, np.inf)
    if not np.isfinite(wanted).any():
        wanted = -away
    return tuple(right[int(np.argmin(wanted))].tolist())
