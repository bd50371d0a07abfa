"""The Islands widget: which island is next, why, and one key for what to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut, QVBoxLayout, QWidget

from napari_kidnet.labelling.correcting import discard_steps, restore_steps
from napari_kidnet.plugin.collecting import CollectorPause
from napari_kidnet.plugin.finetune_layers import is_look
from napari_kidnet.plugin.island_canvas import OWN_LAYERS, IslandCanvas
from napari_kidnet.plugin.island_keys import bind_island_keys
from napari_kidnet.plugin.island_pointer import IslandPointer
from napari_kidnet.plugin.island_tools import ToolBelt
from napari_kidnet.plugin.islands_desk import IslandsDesk
from napari_kidnet.plugin.widgets.island_pages import add_shortcuts
from napari_kidnet.plugin.widgets.island_verbs import LOOKING, VERBS
from napari_kidnet.plugin.widgets.islands_panel import IslandsPanel

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from napari_kidnet.islands import Bridge, Edit
    from napari_kidnet.labelling.correcting import IslandsSession, IslandsView, Make
    from napari_kidnet.plugin.island_pointer import Voxel

__all__ = ["IslandsWidget"]

_BEFORE: Final = "Labels as they were opened or predicted. 0 shows them as they are now."


class IslandsWidget(QWidget):  # type: ignore[misc]
    """Shows the islands of a labels layer, and forwards to its `IslandsDesk`.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer that it is docked in.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer: Any = napari_viewer
        self.canvas: IslandCanvas | None = None
        self.selected: int | None = None
        self.bridge: Bridge | None = None
        self.is_closed = self._at_gaps = False
        self._desk: IslandsDesk | None = None
        self._pointer: IslandPointer | None = None
        self._answered: set[int] = set()  # acted on, but the worker has not come to it yet
        self._outlined: tuple[int | None, int] | None = None
        self._goes_to: tuple[int | None] | None = None  # as soon as an answer is shown
        self._collector = CollectorPause(self)
        self.tools = ToolBelt(self)
        self.panel = IslandsPanel(self.act)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.panel)
        self._connect()
        self._list_layers()

    # ------------------------------------------------------------------ begin and end

    def _connect(self) -> None:
        panel = self.panel
        panel.layers.currentIndexChanged.connect(self._choose_layer)
        panel.restore.clicked.connect(lambda: self.do(restore_steps))
        panel.discard.clicked.connect(lambda: self.do(discard_steps))
        panel.listing.picked.connect(self._on_picked)
        panel.listing.wanted.connect(lambda: self.act("where"))
        panel.pages.settings_changed.connect(self._on_settings)
        panel.pages.sure.valueChanged.connect(lambda _: panel.show_gaps(self.view))
        panel.pages.around.valueChanged.connect(lambda _: self._follow_slice())
        self.tools.changed.connect(self._show_tool)
        for event, answer in self._events():
            event.connect(answer)
        # Not the method itself: Qt drops an object's own slots before it says that it is destroyed.
        self.destroyed.connect(lambda: self._disconnect())
        bind_island_keys(self.viewer, self)
        add_shortcuts(self, self.act)
        self._escape = QShortcut(QKeySequence("Esc"), self)
        self._escape.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self._escape.activated.connect(self.tools.leave)
        self._escape.setEnabled(False)

    def _events(self) -> list[tuple[Any, Callable[..., None]]]:
        """Return the viewer's events that are listened to, and what answers each."""
        layers, dims = self.viewer.layers.events, self.viewer.dims.events
        return [
            (layers.inserted, self._list_layers),
            (layers.removed, self._list_layers),
            (dims.point, self._follow_slice),
            (dims.order, self._follow_slice),
            (dims.ndisplay, self._on_ndisplay),
        ]

    def closeEvent(self, event: Any) -> None:
        """Take the outlines off the canvas; the session goes on."""
        self._disconnect()
        super().closeEvent(event)

    def changeEvent(self, event: Any) -> None:
        """Do the same when napari takes the widget out of its dock, which closes nothing."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._disconnect()
        super().changeEvent(event)

    def _disconnect(self) -> None:
        if self.is_closed:
            return
        self.tools.leave()
        self.is_closed = True
        self._collector.release()
        for event, answer in self._events():
            event.disconnect(answer)
        self._leave()

    # ------------------------------------------------------------------ which labels

    def _list_layers(self, event: Any = None) -> None:
        if self.panel.list_layers([layer for layer in self.viewer.layers if _may_hold_islands(layer)]):
            # A layer that is on its way in or out: after the event loop has turned.
            QTimer.singleShot(0, self._choose_layer)

    def _choose_layer(self) -> None:
        if self.is_closed:
            return
        layer = self.panel.layers.currentData()
        if self.canvas is not None and self.canvas.layer is layer:
            return
        self._leave()
        if layer is not None:
            self._desk = IslandsDesk.of(self.viewer, layer)
            self._desk.view_changed.connect(self._show)
            self._desk.shown.connect(self._go_on)
            self._desk.told.connect(self.tell)
            self._desk.ghost.connect(self._on_ghost)
            self._desk.before.connect(self._on_before)
            self.canvas = IslandCanvas(self.viewer, layer)
            self._pointer = IslandPointer(self.viewer, layer, self.tools)
            self._follow_slice()
        self._show()

    def _leave(self) -> None:
        self.tools.leave()
        if self._desk is not None:
            self._desk.view_changed.disconnect(self._show, missing_ok=True)
            self._desk.shown.disconnect(self._go_on, missing_ok=True)
            self._desk.told.disconnect(self.tell, missing_ok=True)
            self._desk.ghost.disconnect(self._on_ghost, missing_ok=True)
            self._desk.before.disconnect(self._on_before, missing_ok=True)
        if self.canvas is not None:
            self.canvas.close()
        if self._pointer is not None:
            self._pointer.close()
        self._desk = self.canvas = self._pointer = self.selected = self.bridge = self._outlined = None
        self._goes_to = None
        self._answered.clear()

    # ------------------------------------------------------------------ show

    @property
    def view(self) -> IslandsView | None:
        """What is shown."""
        return None if self._desk is None else self._desk.view

    @property
    def session(self) -> IslandsSession | None:
        """The islands; None until they are found."""
        return None if self._desk is None else self._desk.session

    def _show(self) -> None:
        if self.is_closed:
            return
        view, session, desk = self.view, self.session, self._desk
        if desk is None or not desk.busy:
            self._go_on()
            self._answered.clear()
        if self._pointer is not None and session is not None:
            self._pointer.context = session.context
        if view is not self.panel.listing.model.view:
            self.panel.listing.show_view(view)
            self._keep_selection(view)
            self._show_bridge(view)
        waiting = None if desk is None else "Finding the islands …" if desk.busy else desk.refused
        self.panel.show_session(session, waiting, self.selected)

    def tell(self, text: str, failed: bool = False) -> None:
        """Say something in the last line."""
        if not self.is_closed:
            self.panel.tell(text, failed)

    # ------------------------------------------------------------------ select

    def _keep_selection(self, view: IslandsView | None) -> None:
        if view is None or self.selected is None or self.selected in view.table.id:
            self.select(self.selected if view is not None else None, go=False)
        else:
            self.select(view.next_unreviewed(None), go=True)

    def select(self, island: int | None, go: bool = True) -> None:
        """Select an island; go to it on the canvas, too."""
        view = self.view
        there = view is not None and island is not None and island in view.table.id
        changed = self.selected != island
        self.selected = island if there else None
        if view is None or self.canvas is None:
            return
        row = view.table.row_of(island) if there and island is not None else None
        if row is not None and go:
            self.canvas.go_to(view.table, row)
        self.panel.listing.select(self.selected)
        self.panel.show_details(view, row)
        shape = None if row is None else (island, int(view.table.voxels[row]))
        if shape != self._outlined:  # to draw it costs more than all the rest
            self._outlined = shape
            self.canvas.outline(view.table, row)
            self.panel.show_close_up(view.table, row, self.canvas.layer.data)
        if changed:
            self.tools.refresh()

    def pick(self, voxel: Voxel) -> None:
        """Select the island at a voxel, and no other."""
        view = self.view
        row = None if view is None else view.table.at(voxel)
        if view is not None and row is not None:
            island = int(view.table.id[row])
            self.panel.listing.choose(island)
            self.select(island, go=False)
            self._show()

    def _on_picked(self, island: int) -> None:
        self.select(island)
        self._show()

    def chosen(self) -> list[int]:
        """Return the ids of the chosen rows."""
        return self.panel.listing.chosen()

    def step(self, step: int) -> None:
        """Go on to the next island that is not reviewed, or back."""
        view = self.view
        if view is not None:
            self.select(view.next_unreviewed(self.selected, step, self._answered))
            self._show()

    # ------------------------------------------------------------------ do

    def act(self, action: str) -> None:
        """Do what a key says; see `island_verbs`."""
        if self.is_closed:
            return
        self._collector.hold()
        self._go_on()
        self._at_gaps = False
        if action not in LOOKING:
            self.show_before(False)
        VERBS[action](self)

    def answer(self, make: Callable[[IslandsSession, list[int]], Edit]) -> None:
        """Do something to the selected islands and go on to the next, without waiting for the worker."""
        view, ids = self.view, self.chosen()
        if view is None or not ids:
            return
        self._answered.update(ids)
        # Shown together with what the edit changes: to paint both at once takes half as long.
        self._goes_to = (view.next_unreviewed(ids[-1], 1, self._answered),)
        if self._desk is not None and self._desk.busy:
            self._go_on()
        self.edit(lambda session: make(session, ids))

    def _go_on(self) -> None:
        """Go to the island after the answered ones."""
        if self._goes_to is not None:
            (island,), self._goes_to = self._goes_to, None
            self.select(island)

    def edit(self, make: Make) -> None:
        """Do an edit."""
        self.do(lambda session: session.edit_steps(make))

    def preview(self, make: Make) -> None:
        """Show what an edit would do; the newest wish counts."""
        if self._desk is not None:
            self._desk.preview(make)

    def do(self, make: Callable[[IslandsSession], Any]) -> None:
        """Do something in the worker."""
        if self._desk is not None and self._desk.session is not None:
            self._desk.do(make)

    # ------------------------------------------------------------------ tools

    def take(self, tool: str) -> None:
        """Take a tool in hand, with the class of the selected island."""
        view = self.view
        if view is not None and self.selected is not None and not self.tools.armed:
            at = self.panel.pages.paint_as.findData(
                int(view.table.class_id[view.table.row_of(self.selected)])
            )
            self.panel.pages.paint_as.setCurrentIndex(max(at, 0))
        if self.canvas is not None:
            self.canvas.layer.mode = "pan_zoom"
        self.tools.arm(tool)

    def _show_tool(self) -> None:
        if self.is_closed:
            return
        self.panel.show_tool(self.tools)
        armed, said = bool(self.tools.armed), self.tools.sentence
        if self.canvas is None:
            return
        self.canvas.tell(said or (_BEFORE if self.canvas.shows_before else ""))
        if armed != self._escape.isEnabled():
            self._escape.setEnabled(armed)
            # The layer's own Esc would come first; it matters only while a polygon is drawn.
            for each in (self.viewer, self.canvas.layer):
                each.bind_key("Escape", (lambda _: self.tools.leave()) if armed else None, overwrite=True)

    def _on_settings(self) -> None:
        self.tools.class_id = int(self.panel.pages.paint_as.currentData())
        threshold = self.panel.pages.threshold.value() / 100
        if threshold != self.tools.threshold:
            self.tools.threshold = threshold
            self.tools.refresh()
        else:
            self.tools.changed.emit()

    def _on_ghost(self, edit: Edit) -> None:
        if self.canvas is not None and self.tools.armed == "grow":
            self.canvas.ghost(edit)
            self.tell(f"{edit.what}. Shift+G does it.")

    def slab(self) -> tuple[int, slice]:
        """Return the axis that is not shown, and the slices along it that are meant."""
        return self._axis(), self.panel.pages.slices

    def _axis(self) -> int:
        dims = self.viewer.dims
        return max(int(dims.order[0]) - (dims.ndim - 3), 0) if dims.ndim >= 3 else 0

    def _follow_slice(self, event: Any = None) -> None:
        if self.canvas is None or self.is_closed:
            return
        layer, axis = self.canvas.layer, self._axis()
        here = np.rint(layer.world_to_data(np.asarray(self.viewer.dims.point)[-3:]))[axis]
        self.panel.pages.follow(int(here), layer.data.shape[axis])

    def _on_ndisplay(self, event: Any = None) -> None:
        self.panel.close_up.turn(self.viewer.dims.ndisplay == 3)

    # ------------------------------------------------------------------ before and after

    def show_before(self, on: bool) -> None:
        """Show the labels as they were, or as they are."""
        canvas = self.canvas
        if canvas is None or self._desk is None or canvas.shows_before == on:
            return
        if on:
            self._desk.show_before()
        else:
            canvas.show_before(None)
            self._show_tool()

    def _on_before(self, labels: Any) -> None:
        if self.canvas is not None and not self.canvas.shows_before:
            self.canvas.show_before(labels)
            self._show_tool()

    # ------------------------------------------------------------------ bridges

    def _show_bridge(self, view: IslandsView | None) -> None:
        before = self.bridge
        self.bridge = view.bridges[0] if view is not None and view.bridges else None
        self.panel.show_gaps(view)
        if view is not None and self.canvas is not None:
            self.canvas.bridge(self.bridge, view.table)
            if self._at_gaps and self.bridge is not None and self.bridge is not before:
                self.canvas.go_to_bridge(self.bridge)

    def look_at_gaps(self) -> None:
        """Go to the gap that is the first when the next action is done."""
        self._at_gaps = True
        self.panel.pages.show_page("Gaps")


def _may_hold_islands(layer: Any) -> bool:
    return (
        layer._type_string == "labels"
        and layer.ndim == 3
        and not layer.multiscale
        and layer.name not in OWN_LAYERS
        and not is_look(layer)
    )
