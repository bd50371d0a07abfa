"""The keys of the Islands widget: none of them is one of napari's own, for any kind of layer."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ISLAND_KEYS", "IslandKey", "bind_island_keys"]


@dataclass(frozen=True, slots=True)
class IslandKey:
    """One action, its key and its words.

    Attributes
    ----------
    action : str
        The name of the widget's method.
    key : str
        As napari writes it, such as "Shift-N".
    title, tip : str
        What the button says, and its tooltip.
    """

    action: str
    key: str
    title: str
    tip: str

    @property
    def shown(self) -> str:
        """The key as a person reads it."""
        return self.key.replace("Control", "Ctrl").replace("-", "+")


ISLAND_KEYS: Final = (
    IslandKey("previous", "Shift-N", "‹ Previous", "Go back to the island before, of those not reviewed."),
    IslandKey("next", "N", "Next ›", "Go to the island that is worth most to look at next."),
    IslandKey("accept", "G", "Accept", "The island is right: mark it and 4 voxels around it as reviewed."),
    IslandKey("delete", "K", "Delete", "The island is no vessel: make it background."),
    IslandKey("flag", "Q", "Flag", "Come back to this island later; again takes the flag off."),
    IslandKey("to_artery", "Control-1", "Artery", "The island is an artery: relabel it."),
    IslandKey("to_vein", "Control-2", "Vein", "The island is a vein: relabel it."),
    IslandKey("to_collecting", "Control-3", "Collecting", "The island is collecting system: relabel it."),
    IslandKey(
        "keep_largest",
        "Shift-K",
        "Keep only the largest",
        "Delete all islands of this class but the largest.",
    ),
    IslandKey("undo", "U", "Undo", "Undo the latest action: island, bridge or brush stroke (also Ctrl+Z)."),
    IslandKey("redo", "Shift-U", "Redo", "Do the undone action again (also Ctrl+Shift+Z)."),
    IslandKey("find_gaps", "H", "Find gaps", "Look for broken vessels that may be joined."),
    IslandKey("join", "J", "Join", "Bridge the gap that is shown."),
    IslandKey("refuse", "Shift-J", "Refuse", "Do not bridge this gap; show the next one."),
    IslandKey("where", "W", "Where?", "Centre and zoom the view on the selected island."),
)


def bind_island_keys(viewer: Any, widget: Any) -> None:
    """Bind the keys in a viewer to a widget's methods, for as long as the widget lives."""
    alive = weakref.ref(widget)
    for each in ISLAND_KEYS:
        viewer.bind_key(each.key, _caller(alive, each.action), overwrite=True)


def _caller(alive: Callable[[], Any], action: str) -> Callable[[Any], None]:
    def press(viewer: Any) -> None:
        widget = alive()
        if widget is not None and not widget.is_closed:
            getattr(widget, action)()

    press.__doc__ = next(each.tip for each in ISLAND_KEYS if each.action == action)
    return press
