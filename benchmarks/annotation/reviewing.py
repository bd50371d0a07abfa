"""Going through the islands: what a person decides about each who sees what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from annotation.judging import pieces_of
from annotation.painting import strokes
from annotation.tracing import trace
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_kidnet.islands import (
    IslandState,
    accept_bridges,
    delete,
    paint,
    relabel,
    split,
)
from napari_kidnet.islands.sparse import coordinates

if TYPE_CHECKING:
    from collections.abc import Callable

    from annotation.judging import Piece
    from annotation.work import Work
    from numpy.typing import NDArray

    from napari_kidnet.islands import Bridge, Edit, IslandTable
    from napari_kidnet.labelling.correcting import Make

Nearest = tuple[cKDTree, np.ndarray]
"""The voxels of all islands of a class, and the row that each belongs to."""

PASSES_ML = (0.15, 0.03)
"""The list is gone through twice: what is wrong and large first; then gaps, and what is left above the second
size."""
WORTH_TRYING = 0.25
"""A result that repairs less of what it was meant for is undone."""
MOSTLY = 0.5
NECK = 0.5
"""A piece hangs by a neck when it touches the rest with fewer voxels than this part of its cross-section."""
SURE_BRIDGE = 0.5
"""Proposals of less confidence are not looked at."""
REACH_MM = 40.0
"""A missed piece that is further from all islands of its class belongs to none of them."""


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
    _table: IslandTable | None = field(init=False, default=None)
    _nearest: dict[int, Nearest] = field(init=False, default_factory=dict)

    def run(self) -> None:
        """Work until the budget is spent or the list is done."""
        if self.bridging:
            self._look_for_gaps()
        for least_ml in PASSES_ML:
            least = self._voxels(least_ml)
            seen: set[int] = set()
            while not self.work.over:
                island = self._next(seen)
                if island is None:
                    break
                seen.add(island)
                self._attend(island, least)
            self._mend_strays(least)

    def _voxels(self, volume_ml: float) -> int:
        return max(3, round(1000 * volume_ml / float(np.prod(self.work.case.scan.spacing))))

    def _next(self, seen: set[int]) -> int | None:
        view = self.work.session.view
        if not self.by_size:
            return view.next_unreviewed(None, skip=seen)
        waiting = (view.states != IslandState.DONE) & ~np.isin(view.table.id, list(seen))
        rows = np.flatnonzero(waiting)
        return int(view.table.id[rows[np.argmax(view.table.voxels[rows])]]) if rows.size else None

    def _attend(self, island: int, least: int) -> None:
        """Mend what is wrong about an island, the largest piece first; accept it when nothing more is."""
        work = self.work
        while not work.over:
            table = work.session.view.table
            if island not in table.id:
                return
            row = table.row_of(island)
            becomes = self._wholly_wrong(table, row)
            if becomes is not None:
                if table.voxels[row] >= least:
                    self._replace(island, becomes)
                return
            piece = self._worst_piece(row, least)
            if piece is None:
                break
            self._mend(piece, island)
        smallest = self._voxels(PASSES_ML[-1])
        if self.bridging and least <= smallest:
            self._answer_gaps(island)
        table = work.session.view.table
        if not work.over and island in table.id:
            row = table.row_of(island)
            if self._worst_piece(row, smallest, even_given_up=True) is None:
                work.accept(island)

    def _replace(self, island: int, class_id: int) -> None:
        times = self.work.times
        if class_id == 0:
            self.work.edit("delete", lambda s: delete(s.known, s.view.table, [island]), times.delete)
        else:
            self.work.edit(
                "relabel", lambda s: relabel(s.known, s.view.table, [island], class_id), times.relabel
            )

    def _mend_strays(self, least: int) -> None:
        """Mend what is missed far from all islands of its class."""
        work = self.work
        while not work.over:
            pieces = pieces_of(work.wrong, work.session.known, work.case.truth, least)
            piece = next(
                (each for each in pieces if each.said == 0 and self._key(each) not in self.given_up), None
            )
            if piece is None:
                return
            self._mend(piece, None)

    def _wholly_wrong(self, table: IslandTable, row: int) -> int | None:
        """Return the class that most of an island should be, None where it is right as a whole."""
        work = self.work
        flat = table.voxels_of(row)
        wrong = work.wrong.reshape(-1)[flat]
        if wrong.sum() < MOSTLY * flat.size:
            return None
        true = np.bincount(work.case.truth.reshape(-1)[flat], minlength=4)
        return int(np.argmax(true))

    def _worst_piece(self, row: int, least: int, *, even_given_up: bool = False) -> Piece | None:
        """Return the largest wrong piece of an island, or missed beside it, that was not given up."""
        work, table = self.work, self.work.session.view.table
        class_id = int(table.class_id[row])
        for piece in pieces_of(work.wrong, work.session.known, work.case.truth, least):
            if self._key(piece) in self.given_up and not even_given_up:
                continue
            if piece.said == 0:
                mine = piece.true == class_id and _owner(table, piece, self._trees(table)) == row
            else:
                mine = piece.said == class_id and table.at(piece.voxels[0]) == row
            if mine:
                return piece
        return None

    def _trees(self, table: IslandTable) -> dict[int, Nearest]:
        if self._table is not table:
            self._table, self._nearest = table, {}
        return self._nearest

    def _key(self, piece: Piece) -> tuple[int, ...]:
        return (piece.said, piece.true, *np.median(piece.voxels, axis=0).astype(int).tolist())

    def _mend(self, piece: Piece, island: int | None) -> None:
        """Try what fits a piece; without tools, paint it; what nothing mends is given up."""
        work = self.work
        least = max(3, int(WORTH_TRYING * piece.size))
        if self.tools:
            for kind, make, seconds in self._ideas(piece, island):
                if work.over or work.try_edit(kind, make, seconds, least):
                    return
        else:
            wanted = np.zeros(work.case.truth.shape, bool)
            wanted[tuple(piece.voxels.T)] = True
            strokes(work, wanted)
        self.given_up.add(self._key(piece))

    def _ideas(self, piece: Piece, island: int | None) -> list[tuple[str, Callable[..., Edit], float]]:
        """Return what a person would try: a cut where a wrong part hangs by a neck, then the vessel brush."""
        work, times = self.work, self.work.times
        spacing = work.case.scan.spacing
        stroke = trace(piece, work.session.known, work.case.truth, spacing)
        brush = (
            "brush",
            lambda s: paint(s.known, stroke.points, piece.true, stroke.radii_mm, spacing),
            times.branch,
        )
        if island is None or piece.said == 0:
            return [brush]
        table = work.session.view.table
        flat = table.voxels_of(table.row_of(island))
        right = coordinates(flat[~work.wrong.reshape(-1)[flat]], table.shape)
        if not len(right) or _contact(right, piece) > NECK * piece.size ** (2 / 3):
            return [brush]  # no neck between the piece and the rest: a cut would go anywhere
        seeds = (_beside(right, piece), _deepest(piece))
        cut = ("split", lambda s: split(s.known, s.view.table, seeds, piece.true), times.split)
        return [cut, brush]

    def _look_for_gaps(self) -> None:
        session = self.work.session
        session.run(session.propose_steps())

    def _answer_gaps(self, island: int) -> None:
        """Accept or refuse what is proposed for an island."""
        work = self.work
        for bridge in work.session.view.bridges:
            if island not in bridge.islands or bridge.confidence < SURE_BRIDGE or work.over:
                continue
            on = work.case.truth[tuple(bridge.path.T)] == bridge.class_id
            if on.mean() >= MOSTLY:
                work.edit("bridge", _joined(bridge), work.times.bridge)
            else:
                work.refuse(bridge)


def _joined(bridge: Bridge) -> Make:
    return lambda session: accept_bridges(session.known, [bridge], session.view.table.spacing)


def _owner(table: IslandTable, piece: Piece, trees: dict[int, Nearest]) -> int | None:
    """Return the row of the nearest island of a missed piece's class, within reach of it."""
    if piece.true not in trees:
        rows = np.flatnonzero(table.class_id == piece.true)
        if not rows.size:
            return None
        at = np.concatenate([coordinates(table.voxels_of(row), table.shape) for row in rows.tolist()])
        at, owner = at[::2], np.repeat(rows, table.voxels[rows])[::2]  # every second voxel is near enough
        trees[piece.true] = (cKDTree(at * np.asarray(table.spacing)), owner)
    tree, owner = trees[piece.true]
    some = piece.voxels[:: max(1, piece.size // 60)] * np.asarray(table.spacing)
    distance, nearest = tree.query(some)
    closest = int(np.argmin(distance))
    return int(owner[nearest[closest]]) if distance[closest] < REACH_MM else None


def _inner(piece: Piece) -> NDArray[np.float64]:
    """Return how deep each voxel of a piece lies in it, in voxels."""
    low = piece.voxels.min(axis=0) - 1
    mask = np.zeros(piece.voxels.max(axis=0) - low + 2, bool)
    local = tuple((piece.voxels - low).T)
    mask[local] = True
    return np.asarray(ndimage.distance_transform_edt(mask)[local])


def _deepest(piece: Piece) -> tuple[int, ...]:
    return tuple(piece.voxels[int(np.argmax(_inner(piece)))].tolist())


def _contact(right: NDArray[np.int32], piece: Piece) -> int:
    """Return how many right voxels of the island touch a piece."""
    away = np.asarray(cKDTree(piece.voxels).query(right, distance_upper_bound=1.8)[0])
    return int(np.isfinite(away).sum())


def _beside(right: NDArray[np.int32], piece: Piece) -> tuple[int, ...]:
    """Return the seed that stays: a right voxel of the island, 3 voxels or a little more from the piece."""
    away = np.asarray(cKDTree(piece.voxels).query(right)[0])
    wanted = np.where(away >= 3, away, np.inf)
    if not np.isfinite(wanted).any():
        wanted = -away
    return tuple(right[int(np.argmin(wanted))].tolist())
