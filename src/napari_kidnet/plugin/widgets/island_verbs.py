"""What each key and button of the Islands widget does: one function an action."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from qtpy.QtWidgets import QFileDialog

from napari_kidnet.errors import KidnetError
from napari_kidnet.islands import (
    accept_box,
    accept_bridges,
    accept_islands,
    delete,
    keep_largest,
    merge,
    relabel,
)
from napari_kidnet.labelling.correcting import accept_above, kidneys_steps
from napari_kidnet.plugin.island_tools import TOOLS
from napari_kidnet.plugin.regions import add_region_layer, box_of_shapes, is_region_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_kidnet.plugin.widgets.islands import IslandsWidget

__all__ = ["LOOKING", "VERBS"]

LOOKING: Final = ("previous", "next", "where", "before", "close_up", "find_gaps", "refuse", "flag", "save")
"""They change no label, so that the labels as they were before may stay in sight."""


def _next(widget: IslandsWidget) -> None:
    widget.step(1)


def _previous(widget: IslandsWidget) -> None:
    widget.step(-1)


def _where(widget: IslandsWidget) -> None:
    widget.select(widget.selected)


def _accept(widget: IslandsWidget) -> None:
    widget.answer(lambda s, ids: accept_islands(s.view.table, ids, s.states))


def _delete(widget: IslandsWidget) -> None:
    widget.answer(lambda s, ids: delete(s.known, s.view.table, ids))


def _flag(widget: IslandsWidget) -> None:
    ids = widget.chosen()
    if ids:
        widget.do(lambda session: session.flag_steps(ids))


def _relabel(class_id: int) -> Callable[[IslandsWidget], None]:
    return lambda widget: widget.answer(lambda s, ids: relabel(s.known, s.view.table, ids, class_id))


def _keep_largest(widget: IslandsWidget) -> None:
    view = widget.view
    if view is not None and widget.selected is not None:
        class_id = int(view.table.class_id[view.table.row_of(widget.selected)])
        widget.edit(lambda s: keep_largest(s.known, s.view.table, class_id))


def _merge(widget: IslandsWidget) -> None:
    ids = widget.chosen()
    widget.edit(lambda s: merge(s.known, s.view.table, ids))


def _tool(name: str) -> Callable[[IslandsWidget], None]:
    def take(widget: IslandsWidget) -> None:
        if widget.view is not None and len(widget.view.table) + (name in ("brush", "box")):
            widget.take(name)

    return take


def _before(widget: IslandsWidget) -> None:
    widget.show_before(not (widget.canvas is not None and widget.canvas.shows_before))


def _close_up(widget: IslandsWidget) -> None:
    widget.panel.close_up.turn(not widget.panel.close_up.turning)


def _undo(widget: IslandsWidget) -> None:
    widget.do(lambda session: session.undo_steps())


def _redo(widget: IslandsWidget) -> None:
    widget.do(lambda session: session.redo_steps())


def _find_gaps(widget: IslandsWidget) -> None:
    widget.look_at_gaps()
    widget.do(lambda session: session.propose_steps())


def _join(widget: IslandsWidget) -> None:
    bridge = widget.bridge
    if bridge is not None:
        widget.look_at_gaps()
        widget.edit(lambda s: accept_bridges(s.known, [bridge], s.context.spacing))


def _refuse(widget: IslandsWidget) -> None:
    bridge = widget.bridge
    if bridge is not None:
        widget.look_at_gaps()
        widget.do(lambda session: session.refuse_steps(bridge))


def _join_sure(widget: IslandsWidget) -> None:
    confidence = widget.panel.pages.sure.value()
    if widget.bridge is not None:
        widget.edit(lambda s: accept_above(s, confidence))


def _slab(widget: IslandsWidget) -> None:
    if widget.view is None:
        return
    axis, slices = widget.slab()
    sides = [slice(0, n) for n in widget.view.table.shape]
    sides[axis] = slices
    box = (sides[0], sides[1], sides[2])
    widget.edit(lambda s: accept_box(s.states, box))


def _kidneys(widget: IslandsWidget) -> None:
    """Take up the box that is drawn, or let the person draw one."""
    if widget.canvas is None or widget.view is None:
        return
    viewer, labels = widget.viewer, widget.canvas.layer
    drawn = [each for each in viewer.layers if is_region_layer(each) and len(each.data)]
    if not drawn:
        add_region_layer(viewer, labels)
        widget.tell(
            "Drag a rectangle around the kidneys, in a second direction too for its depth; then press again."
        )
        return
    try:
        z0, z1, y0, y1, x0, x1 = box_of_shapes(drawn, labels)
    except KidnetError as error:
        widget.tell(str(error), failed=True)
        return
    viewer.layers.selection.active = labels
    box = (slice(z0, z1), slice(y0, y1), slice(x0, x1))
    widget.do(lambda session: kidneys_steps(session, [box]))


def _save(widget: IslandsWidget) -> None:
    session = widget.session
    if session is None:
        return
    path = session.path
    if path is None:
        name, _ = QFileDialog.getSaveFileName(
            widget, "Save labels", "labels.nii.gz", "NIfTI (*.nii.gz *.nii)"
        )
        if not name:
            return
        path = Path(name if ".nii" in name else f"{name}.nii.gz")
    widget.do(lambda each: each.save_steps(path))


VERBS: Final[dict[str, Callable[[IslandsWidget], None]]] = {
    "previous": _previous,
    "next": _next,
    "where": _where,
    "accept": _accept,
    "delete": _delete,
    "flag": _flag,
    "to_artery": _relabel(1),
    "to_vein": _relabel(2),
    "to_collecting": _relabel(3),
    "keep_largest": _keep_largest,
    "before": _before,
    "close_up": _close_up,
    "merge": _merge,
    **{name: _tool(name) for name in TOOLS},
    "find_gaps": _find_gaps,
    "join": _join,
    "refuse": _refuse,
    "join_sure": _join_sure,
    "slab": _slab,
    "kidneys": _kidneys,
    "undo": _undo,
    "redo": _redo,
    "save": _save,
}
