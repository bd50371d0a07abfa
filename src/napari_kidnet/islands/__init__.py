"""Vessel islands: found, measured, ordered, repaired and remembered (paper §3)."""

from __future__ import annotations

from napari_kidnet.islands.bridging import Bridge, BridgeSettings, accept_bridges, propose_bridges
from napari_kidnet.islands.components import keep_touching, label_islands, touching, touching_same_class
from napari_kidnet.islands.cuts import split, swap_branch
from napari_kidnet.islands.edits import delete, keep_largest, merge, paint, relabel, stroke
from napari_kidnet.islands.finding import find_islands
from napari_kidnet.islands.growing import fill_branch, grow
from napari_kidnet.islands.history import Change, Edit, History
from napari_kidnet.islands.journal import Journal
from napari_kidnet.islands.priority import Review, ReviewWeights, review_order
from napari_kidnet.islands.reviewed import (
    IslandState,
    VoxelState,
    accept_box,
    accept_islands,
    island_states,
    mark_edited,
    repredict,
    reviewed_percent,
    trusted,
)
from napari_kidnet.islands.table import Context, IslandTable, table_rows
from napari_kidnet.islands.updating import update_islands

__all__ = [
    "Bridge",
    "BridgeSettings",
    "Change",
    "Context",
    "Edit",
    "History",
    "IslandState",
    "IslandTable",
    "Journal",
    "Review",
    "ReviewWeights",
    "VoxelState",
    "accept_box",
    "accept_bridges",
    "accept_islands",
    "delete",
    "fill_branch",
    "find_islands",
    "grow",
    "island_states",
    "keep_largest",
    "keep_touching",
    "label_islands",
    "mark_edited",
    "merge",
    "paint",
    "propose_bridges",
    "relabel",
    "repredict",
    "review_order",
    "reviewed_percent",
    "split",
    "stroke",
    "swap_branch",
    "table_rows",
    "touching",
    "touching_same_class",
    "trusted",
    "update_islands",
]
