"""The keys of the Islands widget: none of them is one of napari's own, for any kind of layer."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ISLAND_KEYS", "PAGES", "IslandKey", "bind_island_keys", "key_of"]


@dataclass(frozen=True, slots=True)
class IslandKey:
    """One action, its key and its words.

    Attributes
    ----------
    action : str
        Its name in `island_verbs.VERBS`.
    key : str
        As napari writes it, such as "Shift-N".
    title, tip : str
        What the button says, and its tooltip.
    needs : str
        What there must be: "island" (a selected one), "gap", "labels" or "" (nothing).
    """

    action: str
    key: str
    title: str
    tip: str
    needs: str = "labels"

    @property
    def shown(self) -> str:
        """The key as a person reads it."""
        return self.key.replace("Control", "Ctrl").replace("-", "+")


PAGES: Final = {
    "Judge": (
        IslandKey("previous", "Shift-N", "‹ Previous", "Go back to the island before that is not reviewed."),
        IslandKey("next", "N", "Next ›", "Go to the island that is worth most to look at next."),
        IslandKey(
            "accept", "G", "Accept", "The island is right: mark it and 4 voxels around it reviewed.", "island"
        ),
        IslandKey("delete", "K", "Delete", "The island is no vessel: make it background.", "island"),
        IslandKey("to_artery", "Control-1", "Artery", "The island is an artery: relabel it.", "island"),
        IslandKey("to_vein", "Control-2", "Vein", "The island is a vein: relabel it.", "island"),
        IslandKey(
            "to_collecting",
            "Control-3",
            "Collecting",
            "The island is collecting system.",
            "island",
        ),
        IslandKey(
            "keep_largest",
            "Shift-K",
            "Only largest",
            "Delete all islands of this class but the largest.",
            "island",
        ),
        IslandKey("where", "W", "Where?", "Centre and zoom the view on the selected island.", "island"),
        IslandKey("flag", "Q", "Flag", "Come back to this island later; again takes the flag off.", "island"),
        IslandKey(
            "before",
            "0",
            "Before / after",
            "Show the labels as they were opened or predicted; again shows them as they are now.",
        ),
        IslandKey(
            "close_up",
            "Shift-W",
            "Turn close-up",
            "Let the small picture of the island and its neighbours turn, or stand still.",
            "island",
        ),
    ),
    "Repair": (
        IslandKey(
            "merge",
            "Shift-M",
            "Merge",
            "Join the selected islands into one, of the largest's class; select them with Ctrl in the table.",
            "island",
        ),
        IslandKey("swap", "Shift-X", "Swap branch…", "Give the branch that is clicked to the other class."),
        IslandKey("split", "Shift-S", "Split…", "Cut an island at its thinnest place between two clicks."),
        IslandKey(
            "grow",
            "Shift-G",
            "Grow, shrink…",
            "Let the selected island follow the probability: Shift + wheel or the slider, shown before it is"
            " done.",
            "island",
        ),
        IslandKey(
            "fill",
            "Shift-F",
            "Fill branch…",
            "Paint a missed branch from one click to the nearest island of the class.",
        ),
        IslandKey(
            "brush",
            "Shift-B",
            "Vessel brush…",
            "Paint as wide as the vessel under the mouse, by dragging.",
        ),
    ),
    "Gaps": (
        IslandKey("find_gaps", "H", "Find gaps", "Look for broken vessels that may be joined."),
        IslandKey(
            "join_sure", "Shift-H", "Join the sure", "Bridge all gaps of at least this confidence.", "gap"
        ),
        IslandKey("join", "J", "Join", "Bridge the gap that is shown.", "gap"),
        IslandKey("refuse", "Shift-J", "Refuse", "Do not bridge this gap; show the next one.", "gap"),
    ),
    "Review": (
        IslandKey("slab", "Shift-R", "Slices are right", "Declare the slices from … to … reviewed."),
        IslandKey(
            "box", "Shift-D", "Box is right…", "Declare a box reviewed: drag it in 2D, in these slices."
        ),
        IslandKey(
            "kidneys",
            "Shift-I",
            "Kidneys' box…",
            "Draw a box around the kidneys, to see how much of it is reviewed.",
        ),
    ),
    "": (
        IslandKey(
            "undo", "U", "Undo", "Undo the latest action: island, bridge or brush stroke (also Ctrl+Z).", ""
        ),
        IslandKey("redo", "Shift-U", "Redo", "Do the undone action again (also Ctrl+Shift+Z).", ""),
        IslandKey("save", "Control-K", "Save", "Save labels and reviewed mask beside the scan.", ""),
    ),
}
"""The actions by the page of the widget on which their buttons are; those of "" are always in sight."""

ISLAND_KEYS: Final = tuple(each for page in PAGES.values() for each in page)


def key_of(action: str) -> IslandKey:
    """Return the key of an action."""
    return next(each for each in ISLAND_KEYS if each.action == action)


def bind_island_keys(viewer: Any, widget: Any) -> None:
    """Bind the keys in a viewer to a widget's actions, for as long as the widget lives."""
    alive = weakref.ref(widget)
    for each in ISLAND_KEYS:
        viewer.bind_key(each.key, _caller(alive, each), overwrite=True)


def _caller(alive: Callable[[], Any], key: IslandKey) -> Callable[[Any], None]:
    def press(viewer: Any) -> None:
        widget = alive()
        if widget is not None and not widget.is_closed:
            widget.act(key.action)

    press.__doc__ = key.tip
    return press
