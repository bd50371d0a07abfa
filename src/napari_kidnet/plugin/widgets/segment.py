"""The Segment widget: choose, run, watch, adjust, save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_kidnet.errors import KidnetError
from napari_kidnet.labelling import PredictRequest
from napari_kidnet.plugin.checkpoint_in_use import IN_USE
from napari_kidnet.plugin.controller import Controller, Status, Worksheet
from napari_kidnet.plugin.idle import IdleRunner
from napari_kidnet.plugin.settings import is_preferred, prefer_reader, preferences
from napari_kidnet.plugin.telling import tell
from napari_kidnet.plugin.widgets.legend import Legend
from napari_kidnet.plugin.widgets.network_picker import DevicePicker, NetworkPicker
from napari_kidnet.plugin.widgets.region_picker import RegionPicker
from napari_kidnet.plugin.widgets.result_box import ResultBox
from napari_kidnet.plugin.widgets.run_bar import RunBar
from napari_kidnet.plugin.widgets.sensitivity_slider import SensitivitySlider

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

__all__ = ["SegmentWidget"]

_INVITATION = "Open a CT scan: drop a NIfTI file or a DICOM folder here, or try File ▸ Open Sample ▸ Kid-Net."


class SegmentWidget(QWidget):  # type: ignore[misc]
    """Shows a viewer's controller and forwards to it.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer that it is docked in; a job that runs there already is shown.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer: Any = napari_viewer
        self._controller = Controller.of(napari_viewer)
        self._idle = IdleRunner(self)
        chosen = preferences()
        self.scans = QComboBox()
        # a scan with a long name must not make the dock wider than the window
        self.scans.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.scans.setMinimumContentsLength(12)
        self.scans.setToolTip("The scan to segment: an image layer with three dimensions.")
        self.network = NetworkPicker(chosen.checkpoint)
        self.device = DevicePicker(chosen.device)
        self.region = RegionPicker(napari_viewer)
        self.run_bar = RunBar()
        self.sensitivity = SensitivitySlider()
        self.legend = Legend()
        self.result = ResultBox()
        self.prefer = QPushButton("Open NIfTI files with Kid-Net from now on")
        self.prefer.setToolTip("Then “napari scan.nii.gz” opens without asking which reader to use.")
        self.prefer.setVisible(not is_preferred())
        self._build()
        self._connect()
        self._show_tuned_sensitivity()
        if chosen.sensitivity is not None:
            self.sensitivity.set_value(chosen.sensitivity)
        self._list_scans()

    def _build(self) -> None:
        choices = QFormLayout()
        choices.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        choices.addRow("Scan", self.scans)
        choices.addRow("Network", self.network)
        choices.addRow("Device", self.device)
        choices.addRow("Region", self.region)
        labels = QGroupBox("Labels")
        inside = QVBoxLayout(labels)
        inside.addWidget(self.legend)
        heading = QLabel("Sensitivity")
        inside.addWidget(heading)
        inside.addWidget(self.sensitivity)
        inside.addWidget(self.result)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addLayout(choices)
        column.addWidget(self.run_bar)
        column.addWidget(labels)
        column.addWidget(self.prefer)
        column.addStretch(1)  # an aligned layout would cut word-wrapped labels off
        scroll = QScrollArea()  # on a small screen the dock is shorter than all of this
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self.setMinimumWidth(300)

    def _connect(self) -> None:
        self.scans.currentIndexChanged.connect(self._show_sheet)
        self.run_bar.run.clicked.connect(self._run)
        self.run_bar.cancel.clicked.connect(lambda: self._controller.cancel())
        self.prefer.clicked.connect(self._prefer)
        self.region.on_draw(self._draw)
        self.network.changed.connect(self._show_tuned_sensitivity)
        self.sensitivity.changed.connect(self._decide)
        self.result.save_asked.connect(self._save)
        layers = self._viewer.layers.events
        layers.inserted.connect(self._list_scans)
        layers.removed.connect(self._list_scans)
        layers.reordered.connect(self._list_scans)
        controller = self._controller
        controller.status_changed.connect(self._show_status)
        controller.progressed.connect(self.run_bar.show_progress)
        controller.labels_changed.connect(self._on_labels)
        IN_USE.changed.connect(self._on_in_use)
        # Not the method itself: Qt drops an object's own slots before it says that it is destroyed.
        self.destroyed.connect(lambda: self._disconnect())

    def _disconnect(self) -> None:
        """Leave the controller and the viewer's layers, which outlive this widget."""
        controller, layers = self._controller, self._viewer.layers.events
        for signal, slot in (
            (controller.status_changed, self._show_status),
            (controller.progressed, self.run_bar.show_progress),
            (controller.labels_changed, self._on_labels),
            (IN_USE.changed, self._on_in_use),
        ):
            signal.disconnect(slot, missing_ok=True)
        for emitter in (layers.inserted, layers.removed, layers.reordered):
            emitter.disconnect(self._list_scans)

    def closeEvent(self, event: Any) -> None:
        """Leave the controller and the viewer's layers."""
        self._idle.stop()
        self._disconnect()
        super().closeEvent(event)

    # ------------------------------------------------------------------ show

    @property
    def image(self) -> Any:
        """The chosen image layer, or None."""
        return self.scans.currentData()

    def _list_scans(self, _: object = None) -> None:
        chosen = self.image
        images = [each for each in self._viewer.layers if _may_be_scan(each)]
        self.scans.blockSignals(True)
        self.scans.clear()
        for each in images:
            self.scans.addItem(each.name, each)
        if images:
            self.scans.setCurrentIndex(images.index(chosen) if chosen in images else len(images) - 1)
        self.scans.blockSignals(False)
        self._show_sheet()

    def _show_sheet(self, _: object = None) -> None:
        image = self.image
        sheet = self._controller.known(image) if image is not None else None
        self._show_status(self._controller.status)
        self.result.show_sheet(sheet)
        self._count(sheet)

    def _show_status(self, status: Status) -> None:
        image = self.image
        self.scans.setEnabled(image is not None)
        if image is None and not status.failed:
            status = Status(_INVITATION)
        self.run_bar.show_status(status)
        self.run_bar.run.setEnabled(image is not None and not self._controller.running_on(image))

    def _on_labels(self, sheet: Worksheet) -> None:
        if sheet.image is self.image:
            self.result.show_sheet(self._controller.known(sheet.image))
            self._count(self._controller.known(sheet.image))

    def _count(self, sheet: Worksheet | None) -> None:
        if sheet is None or sheet.labels is None:
            self._idle.stop()
            self.legend.show_volumes(None)
            return
        counted: dict[str, float] = {}
        steps = sheet.session.volume_steps(counted)
        self._idle.run(steps, lambda: self.legend.show_volumes(counted))

    def _on_in_use(self) -> None:
        self.network.show_cards(preferences().checkpoint)

    def _show_tuned_sensitivity(self) -> None:
        tuned = self.network.card.sensitivity
        if tuned is not None:
            self.sensitivity.set_value(tuned)

    # ------------------------------------------------------------------ forward

    def _run(self) -> None:
        try:
            box = self.region.box_on(self.image)
        except KidnetError as error:
            tell(error)
            self.run_bar.show_status(Status(str(error), failed=True))
            return
        request = PredictRequest(
            checkpoint=self.network.path,
            device=self.device.device,
            engine=preferences().engine,
            sensitivity=self.sensitivity.value,
            box=box,
        )
        self._controller.segment(self.image, request)

    def _draw(self) -> None:
        if self.image is not None:
            self.region.draw_on(self.image)

    def _decide(self, sensitivity: float) -> None:
        if self.image is not None:
            self._controller.decide(self.image, sensitivity)

    def _save(self, path: Path) -> None:
        if self.image is not None:
            self._controller.save(self.image, path)

    def _prefer(self) -> None:
        prefer_reader()
        self.prefer.hide()
        self.run_bar.show_status(Status("NIfTI files now open with Kid-Net."))


def _may_be_scan(layer: Any) -> bool:
    return layer._type_string == "image" and layer.ndim == 3 and not layer.rgb and not layer.multiscale
