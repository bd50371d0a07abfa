"""The Fine-tune widget: tick scans, start, watch it learn, compare, and choose the checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QGroupBox, QScrollArea, QTabWidget, QVBoxLayout, QWidget

from napari_kidnet.errors import KidnetError
from napari_kidnet.labelling.in_use import own_folder
from napari_kidnet.labelling.predicting import Report
from napari_kidnet.labelling.tuning import Lesson, Tally, folder_steps, tally_steps
from napari_kidnet.network.header import default_checkpoint_path
from napari_kidnet.plugin.checkpoint_in_use import IN_USE
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.finetune_desk import AFTER, BEFORE, FinetuneDesk
from napari_kidnet.plugin.finetune_worklist import WorklistLessons
from napari_kidnet.plugin.idle import IdleRunner
from napari_kidnet.plugin.jobs import start_job
from napari_kidnet.plugin.settings import preferences
from napari_kidnet.plugin.widgets.finetune_bar import FinetuneBar
from napari_kidnet.plugin.widgets.finetune_cases import CasesList
from napari_kidnet.plugin.widgets.finetune_form import FinetuneForm
from napari_kidnet.plugin.widgets.finetune_plot import FinetunePlot
from napari_kidnet.plugin.widgets.finetune_result import ResultPart
from napari_kidnet.plugin.widgets.finetune_tree import CheckpointTree
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_kidnet.plugin.finetune_lessons import OpenScan
    from napari_kidnet.training.lineage import Node

__all__ = ["FinetuneWidget"]

_RECOUNT_MS: Final = 700
"""After an edit: reviewed voxels are counted once a person has paused."""

_REDRAW_MS: Final = 400
"""Curves are drawn at most this often: a step may take a tenth of that on a GPU."""

_GLANCE_MS: Final = 1000
"""Islands are corrected in sessions that come and go: to look at them costs less than to follow them all."""

_LAYERS: Final = {"before": BEFORE, "after": AFTER, "neither": None}


class FinetuneWidget(QWidget):  # type: ignore[misc]
    """Shows a viewer's `FinetuneDesk` and forwards to it.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer that it is docked in; a run that goes on there already is shown.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer: Any = napari_viewer
        self._desk = FinetuneDesk.of(napari_viewer)
        self._controller = Controller.of(napari_viewer)
        self._idle = IdleRunner(self)
        self._open: list[OpenScan] = []
        self._tallies: dict[str, Tally] = {}
        self._counted: object = None
        self._worklist = WorklistLessons(napari_viewer)
        self._in_folders: dict[str, Lesson] = {}
        self._was_busy = False
        self.is_closed = False
        self.cases = CasesList()
        self.form = FinetuneForm()
        self.bar = FinetuneBar()
        self.plot: FinetunePlot | None = None  # its library waits for the first run
        self.result = ResultPart()
        self.tree = CheckpointTree()
        self._recount = self._timer(_RECOUNT_MS, self._count)
        self._redraw = self._timer(_REDRAW_MS, self._draw)
        self._reveal = self._timer(_REDRAW_MS, self._show_result)
        self._glance = self._timer(_GLANCE_MS, self._on_glance, single=False)
        self._build()
        self._connect()
        self._count()
        self._show()
        self._redraw.start()
        self._glance.start()
        self._read_tree()

    def _timer(self, ms: int, slot: Any, single: bool = True) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(single)
        timer.setInterval(ms)
        timer.timeout.connect(slot)
        return timer

    def _build(self) -> None:
        learn, shelf = QWidget(), QWidget()
        column = QVBoxLayout(learn)
        for title, part in (("Learn from", self.cases), ("How", self.form)):
            column.addWidget(_boxed(title, part))
        column.addWidget(self.bar)
        self._plot_place = QVBoxLayout()
        column.addLayout(self._plot_place)
        column.addWidget(self.result)
        column.addStretch(1)
        below = QVBoxLayout(shelf)
        below.addWidget(self.tree)
        below.addStretch(1)
        self.tabs = QTabWidget()
        self.pages: list[QScrollArea] = []
        for title, page in (("Fine-tune", learn), ("Checkpoints", shelf)):
            scroll = QScrollArea()  # on a small screen the dock is shorter than all of this
            scroll.setWidgetResizable(True)
            scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            scroll.setWidget(page)
            self.tabs.addTab(scroll, title)
            self.pages.append(scroll)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.tabs)
        self.setMinimumWidth(470)

    def _connect(self) -> None:
        self.bar.start.clicked.connect(self._start)
        self.bar.pause.clicked.connect(self._pause)
        self.bar.stop.clicked.connect(lambda: self._desk.stop())
        self.bar.cancel.clicked.connect(lambda: self._desk.cancel())
        self.cases.changed.connect(self._show)
        self.cases.folder_asked.connect(self._add_folder)
        self.result.compare_asked.connect(lambda: self._on_open_scan(self._desk.compare))
        self.result.look_asked.connect(lambda name: self._desk.look_at(_LAYERS[name]))
        self.result.use_asked.connect(lambda new: self._try(lambda: self._desk.use(new)))
        self.result.again_asked.connect(lambda: self._on_open_scan(self._desk.predict_again))
        self.tree.use_asked.connect(lambda node: self._try(lambda: self._desk.use_checkpoint(node.path)))
        self.tree.note_asked.connect(self._on_note)
        self.tree.away_asked.connect(self._on_away)
        self._desk.changed.connect(self._on_desk)
        self._worklist.changed.connect(self._list)
        self._worklist.stirred.connect(self._on_labels)
        self._worklist.failed.connect(self._say)
        IN_USE.changed.connect(self._on_in_use)
        self._controller.labels_changed.connect(self._on_labels)
        events = self._viewer.layers.events
        for each in (events.inserted, events.removed):
            each.connect(self._on_labels)
        self.destroyed.connect(lambda: self._disconnect())

    def closeEvent(self, event: Any) -> None:
        """Let go of the viewer; a run goes on."""
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
        self.is_closed = True
        self._glance.stop()
        self._desk.changed.disconnect(self._on_desk, missing_ok=True)
        self._worklist.changed.disconnect(self._list, missing_ok=True)
        self._worklist.stirred.disconnect(self._on_labels, missing_ok=True)
        self._worklist.close()
        IN_USE.changed.disconnect(self._on_in_use, missing_ok=True)
        self._controller.labels_changed.disconnect(self._on_labels, missing_ok=True)
        events = self._viewer.layers.events
        for each in (events.inserted, events.removed):
            each.disconnect(self._on_labels)

    # ------------------------------------------------------------------ what to learn from

    def showEvent(self, event: Any) -> None:
        """Count again what was reviewed while the widget was hidden behind another."""
        super().showEvent(event)
        self._recount.start()

    def _on_labels(self, _: object = None) -> None:
        if not self.is_closed:
            self._recount.start()

    def _on_glance(self) -> None:
        here = self.isVisibleTo(self.window())
        if here and not self._recount.isActive() and self._done_so_far() != self._counted:
            self._recount.start()

    def _done_so_far(self) -> object:
        """Return what is another value after each action in the islands of an open scan."""
        sessions = [(each.key, each.session) for each in self._desk.lessons()]
        return [(key, id(each), each.unsaved, len(each.history.done)) for key, each in sessions if each]

    def _count(self) -> None:
        if self.is_closed or self._desk.busy:
            return
        self._counted = self._done_so_far()
        self._open = self._desk.lessons()
        self._list()
        self._idle.run(self._count_steps(), self._list)
        self._worklist.look()

    def _count_steps(self) -> Iterator[None]:
        tallies: dict[str, Tally] = {}
        for each in self._open:
            lesson, into = each.lesson, list[Tally]()
            if lesson.labels is not None and lesson.states is not None:
                yield from tally_steps(lesson.labels, lesson.states, into)
                tallies[each.key] = into[0]
        self._tallies = tallies

    def _list(self) -> None:
        if self.is_closed:
            return
        rows = {each.key: replace(each.lesson, tally=self._tallies.get(each.key)) for each in self._open}
        paths = {_place(each.lesson.scan.path) for each in self._open if each.lesson.scan is not None}
        files = {_place(each.case.ct): each for each in self._in_folders.values() if each.case is not None}
        files |= {_place(each.case.ct): each for each in self._worklist.lessons if each.case is not None}
        # an open scan may be further than its file
        rows |= {f"file {path}": each for path, each in files.items() if path not in paths}
        self.cases.show_lessons(rows, self._worklist.folder_name if self._worklist.lessons else "")

    def _add_folder(self, folder: Path) -> None:
        job = start_job(folder_steps(folder), f"Counting {folder.name}")
        job.returned.connect(lambda found: self._on_folder(folder, found))
        job.failed.connect(self._say)

    def _on_folder(self, folder: Path, found: list[Lesson]) -> None:
        self._in_folders |= {f"{folder}/{each.name}": each for each in found}
        self._list()

    def _open_scan(self) -> OpenScan | None:
        """Return the scan and the labels that a person means: those selected, else the first."""
        layers = self._viewer.layers
        there = [each for each in self._open if each.image in layers and each.labels in layers]
        active = layers.selection.active
        return next(
            (each for each in there if active is each.labels),
            next((each for each in there if active is each.image), there[0] if there else None),
        )

    def _on_open_scan(self, act: Callable[[OpenScan], None]) -> None:
        self._open = self._desk.lessons()  # a session may have begun or ended since they were listed
        scan = self._open_scan()
        if scan is not None:
            act(scan)

    # ------------------------------------------------------------------ the run

    def _start(self) -> None:
        scan = self._open_scan()
        image = None if scan is None else scan.image
        self._desk.start(self.form.request(self.cases.chosen), image, self.form.preview_every_s)

    def _pause(self) -> None:
        self._desk.resume() if self._desk.reins.paused else self._desk.pause()

    def _on_desk(self) -> None:
        if self.is_closed:
            return
        if self._was_busy and not self._desk.busy:
            self.form.renew()
            self._read_tree()
            self._recount.start()
            if self._desk.result is not None:
                self._reveal.start()
        self._was_busy = self._desk.busy
        self._show()
        if not self._redraw.isActive():
            self._redraw.start()

    def _show_result(self) -> None:
        """Scroll to what came of a run: it lies below the curves, and below the end of a small screen."""
        if not self.is_closed:
            self.pages[0].ensureWidgetVisible(self.result)

    def _draw(self) -> None:
        if self.is_closed or not (self._desk.losses or self._desk.scores):
            return
        if self.plot is None:
            self.plot = FinetunePlot()
            self._plot_place.addWidget(self.plot)
        self.plot.show_run(self._desk)

    def _show(self) -> None:
        desk, scan = self._desk, self._open_scan()
        may = bool(self.cases.chosen) and not desk.busy
        self.bar.show_state(desk.state, desk.reins.paused, may, desk.tuning)
        self.form.setEnabled(not desk.busy)
        self.cases.setEnabled(not desk.busy)
        used = desk.result is not None and preferences().checkpoint == desk.result.candidate
        can_compare = scan is not None and scan.lesson.scan is not None
        self.result.show_desk(desk, used, can_compare, desk.can_predict_again(scan))

    # ------------------------------------------------------------------ checkpoints

    def _on_in_use(self) -> None:
        if not self.is_closed:
            self.form.renew()
            self._read_tree()
            self._show()

    def _on_note(self, node: Node, text: str) -> None:
        from napari_kidnet.training.shelf import note_on

        self._try(lambda: note_on(node, text, self.form.out.parent))

    def _on_away(self, node: Node) -> None:
        from napari_kidnet.training.shelf import put_away

        self._try(lambda: put_away(node))

    def _try(self, act: Any) -> None:
        try:
            act()
        except KidnetError as error:
            self._say(error)
        self._read_tree()

    def _read_tree(self) -> None:
        job = start_job(_tree_steps(self.form.out.parent), "Reading checkpoints")
        job.returned.connect(self._on_tree)
        job.failed.connect(self._say)

    def _on_tree(self, nodes: list[Node]) -> None:
        if not self.is_closed:
            self.tree.show_nodes(nodes, preferences().checkpoint or default_checkpoint_path())

    def _say(self, error: Exception) -> None:
        if self.is_closed:
            return
        self.bar.status.setText(str(error))
        self.bar.status.setStyleSheet("color: #e0604c;")


def _tree_steps(folder: Path) -> Generator[Report, None, list[Node]]:
    yield Report(Progress(0, 0, "Reading checkpoints"))
    from napari_kidnet.training.lineage import lineage

    return lineage(folder) if folder.is_dir() else lineage(own_folder()) if own_folder().is_dir() else []


def _place(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _boxed(title: str, part: QWidget) -> QGroupBox:
    box = QGroupBox(title)
    column = QVBoxLayout(box)
    column.setContentsMargins(6, 6, 6, 6)
    column.addWidget(part)
    return box
