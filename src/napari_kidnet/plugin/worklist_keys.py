"""The one key of the Worklist widget; it is none of napari's own and none of the Islands widget's."""

from __future__ import annotations

import weakref
from typing import Any, Final

__all__ = ["DONE_AND_NEXT", "DONE_AND_NEXT_SHOWN", "bind_worklist_key"]

DONE_AND_NEXT: Final = "Shift-E"
"""E for end."""
DONE_AND_NEXT_SHOWN: Final = "Shift+E"


def bind_worklist_key(viewer: Any, widget: Any) -> None:
    """Bind the key in a viewer to the widget, for as long as it lives."""
    alive = weakref.ref(widget)

    def press(viewer: Any) -> None:
        """Save the open scan, call it done, and open the next one."""
        target = alive()
        if target is not None and not target.is_closed:
            target.done_and_next()

    viewer.bind_key(DONE_AND_NEXT, press, overwrite=True)
