"""How to learn: where to start, the schema, what learns, for how long, what is replayed, and the new file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QWidget,
)

from napari_kidnet.labelling.in_use import next_name, own_folder
from napari_kidnet.labelling.tuning import TuneRequest
from napari_kidnet.labelling.tuning.running import DEFAULT_MINUTES
from napari_kidnet.network.header import default_checkpoint_path
from napari_kidnet.plugin.settings import preferences
from napari_kidnet.plugin.widgets.network_picker import NetworkPicker

if TYPE_CHECKING:
    from napari_kidnet.labelling.tuning import Lesson

__all__ = ["FinetuneForm"]

_SCHEMAS: Final = (
    ("as the checkpoint's", None),
    ("none: plain cross-entropy", "none"),
    ("DW: dynamic weighting", "dw"),
    ("RS: random sampling", "rs"),
    ("DW + RS", "dw+rs"),
)
_DEFAULT_STEPS: Final = 100


class FinetuneForm(QWidget):  # type: ignore[misc]
    """A form with defaults that fit most."""

    def __init__(self) -> None:
        super().__init__()
        self.network = NetworkPicker(preferences().checkpoint)
        self.schema = QComboBox()
        for title, name in _SCHEMAS:
            self.schema.addItem(title, name)
        self.schema.setToolTip("Dynamic weighting (Algorithm 1) and random sampling bands of the paper.")
        self.strict = QCheckBox("strict")
        self.strict.setToolTip("Exactly as published: no caps on class and patch weights.")
        self.mode = QComboBox()
        self.mode.addItem("the whole network", "whole")
        self.mode.addItem("the decoder only", "decoder")
        self.mode.setToolTip("The decoder alone forgets less, and adapts less.")
        self.budget = QComboBox()
        self.budget.addItems(["minutes", "steps"])
        self.budget.setToolTip("A time for all of it, measuring included, or a number of steps.")
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.5, 600)
        self.minutes.setDecimals(1)
        self.minutes.setValue(DEFAULT_MINUTES)
        self.steps = QSpinBox()
        self.steps.setRange(1, 100_000)
        self.steps.setValue(_DEFAULT_STEPS)
        self.steps.hide()
        self.budget.currentIndexChanged.connect(self._show_budget)
        self.replay = QComboBox()
        self.replay.addItem("earlier scans (at first phantoms)", "beside")
        self.replay.addItem("a folder of earlier cases …", "folder")
        self.replay.addItem("off: hold to the old opinion", "none")
        self.replay.setToolTip("Learned again beside the new scans, so that it is not forgotten.")
        self.replay.activated.connect(self._on_replay)
        self._replay_folder: Path | None = None
        self.preview = QCheckBox("show what it says every")
        self.preview.setToolTip("Segments the middle of the view now and then; each look takes some seconds.")
        self.every = QSpinBox()
        self.every.setRange(5, 600)
        self.every.setValue(20)
        self.every.setSuffix(" s")
        self.name = QLineEdit(next_name(own_folder()))
        self.name.setToolTip("The new checkpoint's name; nothing is overwritten.")
        self._folder = own_folder()
        self.browse = QToolButton()
        self.browse.setText("…")
        self.browse.clicked.connect(self._ask_folder)
        self.anew = QCheckBox("forget the interrupted run of this name")
        self.anew.setToolTip("Otherwise it goes on from where it was.")
        self.name.textChanged.connect(self.show_leftover)
        self._build()
        self.show_folder()

    def _build(self) -> None:
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Start from", self.network)
        form.addRow("Schema", _row(self.schema, self.strict))
        form.addRow("Learns", self.mode)
        form.addRow("For", _row(self.minutes, self.steps, self.budget))
        form.addRow("Replay", self.replay)
        form.addRow("Preview", _row(self.preview, self.every))
        form.addRow("Save as", _row(self.name, self.browse))
        form.addRow("", self.anew)
        for each in (self.schema, self.replay, self.mode):
            each.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            each.setMinimumContentsLength(10)

    @property
    def out(self) -> Path:
        """The file of the new checkpoint."""
        name = self.name.text().strip().removesuffix(".safetensors") or next_name(self._folder)
        return self._folder / f"{Path(name).name}.safetensors"

    @property
    def leftover(self) -> bool:
        """Whether an interrupted run of this name can go on."""
        return (self.out.with_suffix(".finetuning") / "state.safetensors").exists() and not self.out.exists()

    @property
    def preview_every_s(self) -> float:
        """Seconds between two looks; 0 is none."""
        return float(self.every.value()) if self.preview.isChecked() else 0.0

    def request(self, lessons: list[Lesson]) -> TuneRequest:
        """Return what a person chose."""
        replay = self.replay.currentData()
        if replay == "folder" and self._replay_folder is not None:
            replay = self._replay_folder
        by_steps = self.budget.currentIndex() == 1
        return TuneRequest(
            self.network.path or default_checkpoint_path(),
            self.out,
            tuple(lessons),
            self.schema.currentData(),
            self.strict.isChecked(),
            str(self.mode.currentData()),
            float(self.minutes.value()),
            int(self.steps.value()) if by_steps else None,
            replay,
            preferences().device,
            not self.anew.isChecked(),
        )

    def renew(self) -> None:
        """Propose the next name, and start from what is in use now."""
        self.network.show_cards(preferences().checkpoint)
        if self.out.exists():
            self.name.setText(next_name(self._folder))
        self.anew.setChecked(False)
        self.show_leftover()

    def show_leftover(self) -> None:
        """Offer to forget an interrupted run, where there is one."""
        self.anew.setVisible(self.leftover)

    def show_folder(self) -> None:
        """Say where the new checkpoint goes."""
        self.browse.setToolTip(f"New checkpoints go to {self._folder}; choose another folder.")
        self.name.setToolTip(f"The new checkpoint's name in {self._folder}; nothing is overwritten.")
        self.show_leftover()

    def _show_budget(self, index: int) -> None:
        self.minutes.setVisible(index == 0)
        self.steps.setVisible(index == 1)

    def _on_replay(self, _: int) -> None:
        if self.replay.currentData() != "folder":
            return
        name = QFileDialog.getExistingDirectory(self, "Folder of earlier cases")
        self._replay_folder = Path(name) if name else None
        if name:
            self.replay.setItemText(1, f"cases in {Path(name).name} …")
        else:
            self.replay.setCurrentIndex(0)

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder of checkpoints", str(self._folder))
        if name:
            self._folder = Path(name)
            self.name.setText(next_name(self._folder))
            self.show_folder()


def _row(*widgets: QWidget) -> QWidget:
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    for number, each in enumerate(widgets):
        row.addWidget(each, 1 if number == 0 else 0)
    return holder
