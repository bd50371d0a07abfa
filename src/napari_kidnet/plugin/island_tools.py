"""The armed tools: what a click, a stroke or the wheel does to islands while one of them is in hand.

A tool stays in hand until it is left by Esc, its own key, or another tool; `ToolBelt.sentence` always says
what to click next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from psygnal import Signal

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import accept_box, fill_branch, grow, paint, split, swap_branch
from napari_kidnet.islands.table import class_title
from napari_kidnet.islands.tubes import tube
from napari_kidnet.labelling.correcting.brush import vessel_radius

if TYPE_CHECKING:
    from napari_kidnet.islands import Edit
    from napari_kidnet.labelling.correcting import IslandsSession, Make
    from napari_kidnet.plugin.island_canvas import IslandCanvas
    from napari_kidnet.plugin.island_pointer import Gesture, Voxel

__all__ = ["TOOLS", "Bench", "ToolBelt"]

TOOLS: Final = ("split", "swap", "grow", "fill", "brush", "box")
_OTHER: Final = {1: 2, 2: 1}
_WHEEL_PROBABILITY: Final = 0.05
_WHEEL_WIDTH: Final = 1.15
_LEAST: Final = 0.01


class Bench(Protocol):
    """Where the tools work: the widget."""

    @property
    def session(self) -> IslandsSession | None:
        """The islands."""

    @property
    def selected(self) -> int | None:
        """The id of the selected island."""

    @property
    def canvas(self) -> IslandCanvas | None:
        """Where ghosts are drawn."""

    def edit(self, make: Make) -> None:
        """Do an edit."""

    def preview(self, make: Make) -> None:
        """Show what an edit would do."""

    def pick(self, voxel: Voxel) -> None:
        """Select the island at a voxel."""

    def slab(self) -> tuple[int, slice]:
        """Return the axis that is not shown, and the slices along it that are meant."""


class ToolBelt:
    """Holds at most one tool.

    Attributes
    ----------
    armed : str
        One of `TOOLS`, or empty.
    class_id : int
        What is filled and painted; 0 erases.
    threshold : float
        Probability, for growing.
    width : float
        Times the vessel's own radius, for painting.
    """

    changed = Signal()
    """Another tool, step, or setting."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.armed = ""
        self.class_id = 1
        self.threshold = 0.5
        self.width = 1.0
        self.radius_mm: float | None = None
        self._first: Voxel | None = None
        self._radii: list[float] = []

    @property
    def gesture(self) -> Gesture:
        """What a drag means to the tool in hand."""
        return "stroke" if self.armed == "brush" else "box" if self.armed == "box" else "click"

    # ------------------------------------------------------------------ taking and leaving

    def arm(self, tool: str) -> None:
        """Take a tool; its own key again does what is previewed, or else leaves it."""
        if self.armed == tool:
            self.do() if tool == "grow" else self.leave()
            return
        self._clear()
        self.armed = tool
        self.refresh()

    def leave(self) -> None:
        """Put the tool away; what is not done is forgotten."""
        if self.armed:
            self._clear()
            self.armed = ""
            self.changed.emit()

    def refresh(self) -> None:
        """Preview again: another island is selected, or a setting has changed."""
        session, island = self._bench.session, self._bench.selected
        if self.armed == "grow" and session is not None and island is not None:
            self._bench.preview(_growing(island, self.threshold))
        self.changed.emit()

    def do(self) -> None:
        """Do what is previewed."""
        island = self._bench.selected
        if self.armed == "grow" and island is not None:
            self._bench.edit(_growing(island, self.threshold))
            self.leave()

    def _clear(self) -> None:
        self._first, self._radii, self.radius_mm = None, [], None
        if self._bench.canvas is not None:
            self._bench.canvas.ghost(None)

    @property
    def sentence(self) -> str:
        """What the tool in hand waits for; empty where there is none."""
        title = class_title(self.class_id) if self.class_id else "background"
        _, slices = self._bench.slab()
        said = {
            "": "",
            "split": "Split: click the island on one side of the cut."
            if self._first is None
            else "Split: now click the same island on the other side.",
            "swap": "Swap branch: click the branch; it goes from artery to vein, or from vein to artery.",
            "fill": f"Fill branch: click the far end of the missed {title.lower()}; it is painted from there"
            f" to the nearest {title.lower()}.",
            "grow": "Grow, shrink: first click an island."
            if self._bench.selected is None
            else f"Grow, shrink to probability {self.threshold:.2f}: Shift + wheel changes, Shift+G does it.",
            "brush": f"Vessel brush: drag along the vessel to paint {title.lower()}"
            + (f", {self.radius_mm:.1f} mm in radius" if self.radius_mm is not None else "")
            + "; Shift + wheel makes it wider.",
            "box": f"Box is right: drag a box in 2D; it holds slices {slices.start} to {slices.stop - 1}.",
        }[self.armed]
        return said and f"{said} Esc leaves."

    # ------------------------------------------------------------------ the mouse (see `island_pointer`)

    def clicked(self, voxel: Voxel) -> None:
        """Give the tool a voxel; without a tool, select the island there."""
        bench = self._bench
        if self.armed == "split":
            if self._first is None:
                self._first = voxel
                if bench.canvas is not None:
                    bench.canvas.ghost_voxels(np.array([self._flat(voxel)], np.int64))
            else:
                seeds = (self._first, voxel)
                self._clear()
                bench.edit(lambda s: split(s.known, s.view.table, seeds))
        elif self.armed == "swap":
            bench.edit(lambda s: _swapped(s, voxel))
        elif self.armed == "fill":
            class_id = self.class_id or 1
            bench.edit(lambda s: fill_branch(s.known, s.view.table, voxel, class_id, s.context))
        else:
            bench.pick(voxel)
        self.changed.emit()

    def dragged(self, voxels: list[Voxel], *, done: bool) -> None:
        """Follow a stroke or a box; do it when the button is released."""
        session, canvas = self._bench.session, self._bench.canvas
        if session is None or canvas is None:
            return
        if self.armed == "box":
            box = self._box(voxels)
            canvas.ghost_box(box)
            if done:
                canvas.ghost(None)
                self._bench.edit(lambda s: accept_box(s.states, box))
        elif self.armed == "brush":
            self._measure(session, voxels)
            shape, spacing = session.view.table.shape, session.view.table.spacing
            if done:
                radii, class_id = self._radii, self.class_id
                self._clear()
                self._bench.edit(lambda s: paint(s.known, voxels, class_id, radii, s.view.table.spacing))
            else:
                canvas.ghost_voxels(tube(voxels, self._radii, shape, spacing))
        self.changed.emit()

    def moved(self, voxel: Voxel | None) -> None:
        """Show what the brush would cover."""
        session, canvas = self._bench.session, self._bench.canvas
        if session is None or canvas is None or self.armed != "brush":
            return
        if voxel is None:
            canvas.ghost(None)
            return
        self._radii = []
        self._measure(session, [voxel])
        canvas.ghost_voxels(tube([voxel], self._radii, session.view.table.shape, session.view.table.spacing))
        self._radii = []
        self.changed.emit()

    def wheeled(self, steps: float) -> None:
        """Change the tool's one number."""
        if self.armed == "grow":
            self.threshold = float(
                np.clip(self.threshold - _WHEEL_PROBABILITY * np.sign(steps), _LEAST, 0.99)
            )
            self.refresh()
        elif self.armed == "brush":
            self.width = float(np.clip(self.width * _WHEEL_WIDTH ** np.sign(steps), 0.25, 4))
            if self.radius_mm is not None:
                self.radius_mm *= _WHEEL_WIDTH ** float(np.sign(steps))
            self.changed.emit()

    # ------------------------------------------------------------------ inside

    def _measure(self, session: IslandsSession, voxels: list[Voxel]) -> None:
        """Find the vessel's radius at the voxels of a stroke that are new; at every third of a long jump."""
        new = voxels[len(self._radii) :]
        class_id = self.class_id or int(session.known[voxels[-1]]) or 1
        for k, voxel in enumerate(new):
            if k % 3 == 0 or not self._radii:
                found = vessel_radius(session.context, session.known, voxel, class_id)
                self._radii.append(self.width * found)
            else:
                self._radii.append(self._radii[-1])
        self.radius_mm = self._radii[-1]

    def _box(self, voxels: list[Voxel]) -> tuple[slice, slice, slice]:
        axis, slices = self._bench.slab()
        first, last = np.asarray(voxels[0]), np.asarray(voxels[-1])
        low, high = np.minimum(first, last), np.maximum(first, last) + 1
        sides = [slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        sides[axis] = slices
        return (sides[0], sides[1], sides[2])

    def _flat(self, voxel: Voxel) -> int:
        session = self._bench.session
        return 0 if session is None else int(np.ravel_multi_index(voxel, session.view.table.shape))


def _growing(island: int, threshold: float) -> Make:
    return lambda session: grow(session.known, session.view.table, island, threshold, session.context)


def _swapped(session: IslandsSession, voxel: Voxel) -> Edit:
    class_id = int(session.known[voxel])
    if class_id not in _OTHER:
        what = class_title(class_id) if class_id else "background"
        raise LabelsError(f"the click is on {what}; click on an artery or a vein to swap it with the other.")
    return swap_branch(session.known, session.view.table, voxel, _OTHER[class_id], session.context)
