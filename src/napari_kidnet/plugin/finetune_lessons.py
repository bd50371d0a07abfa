"""Which of a viewer's scans there is something to learn from, and which labels layer each lesson is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.labelling.tuning import Lesson
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.finetune_layers import is_look
from napari_kidnet.plugin.islands_desk import IslandsDesk
from napari_kidnet.plugin.layers import tag_of

if TYPE_CHECKING:
    from napari_kidnet.labelling.correcting import IslandsSession

__all__ = ["OpenScan", "open_scans"]

_NO_ISLANDS: Final = (
    "Choose these labels in the Islands widget first: it reads, and keeps, what of them is reviewed."
)
_NO_LABELS: Final = ("_reviewed", "_kidneys")
_TWO_SCANS: Final = "Two open scans fit these labels; close the one that they do not belong to."


@dataclass(frozen=True, slots=True, eq=False)
class OpenScan:
    """A scan in the viewer with one of its labels layers.

    Attributes
    ----------
    image, labels : napari layers
    lesson : Lesson
        What of them can be learned from; not counted yet.
    """

    image: Any
    labels: Any
    lesson: Lesson

    @property
    def key(self) -> str:
        """A name for it that stays for as long as the layer does."""
        return f"open {id(self.labels)}"

    @property
    def session(self) -> IslandsSession | None:
        """The islands session of its labels, if there is one."""
        desk = IslandsDesk._of.get(self.labels)
        return None if desk is None else desk.session


def open_scans(viewer: Any) -> list[OpenScan]:
    """Return the scans of a viewer that have labels: first those segmented here, then labels of files."""
    controller, layers = Controller.of(viewer), list(viewer.layers)
    found: list[OpenScan] = []
    for image in layers:
        sheet = controller.known(image)
        if sheet is None or sheet.labels is None:
            continue
        desk = IslandsDesk._of.get(sheet.labels)
        session = None if desk is None else desk.session
        own, scan = sheet.session, sheet.session.scan
        labels, states = (own.labels, own.touched) if session is None else (session.known, session.states)
        found.append(OpenScan(image, sheet.labels, Lesson(image.name, None, None, scan, labels, states)))
    taken = {id(each.labels) for each in found}
    for layer in layers:
        if layer._type_string == "labels" and not is_look(layer) and id(layer) not in taken:
            found += _from_file(layer, layers)
    return found


def _from_file(layer: Any, layers: list[Any]) -> list[OpenScan]:
    """Return what labels that no prediction fills are worth; nothing, where no open scan is theirs."""
    desk, tag = IslandsDesk._of.get(layer), tag_of(layer)
    if desk is None and (tag is None or tag.scan.name.endswith(_NO_LABELS)):
        return []  # nobody has said that they are a kidney's vessels
    images = _images_under(layer, layers)
    if not images:
        return []
    if len(images) > 1:
        return [OpenScan(images[0], layer, Lesson(layer.name, problem=_TWO_SCANS))]
    (image,) = images
    if desk is None or desk.session is None:
        why = _NO_ISLANDS if desk is None or not desk.refused else desk.refused
        return [OpenScan(image, layer, Lesson(layer.name, problem=why))]
    scan = tag_of(image).scan  # type: ignore[union-attr]
    session = desk.session
    return [OpenScan(image, layer, Lesson(layer.name, None, None, scan, session.known, session.states))]


def _images_under(layer: Any, layers: list[Any]) -> list[Any]:
    """Return the open scans that labels may belong to: by the names of a case, else by where they lie."""
    fitting = [
        each
        for each in layers
        if each._type_string == "image" and tag_of(each) is not None and each.data.shape == layer.data.shape
    ]
    mine = _case_of(layer)
    named = [each for each in fitting if mine is not None and _case_of(each) == mine]
    return named or [
        each
        for each in fitting
        if np.allclose(each.scale, layer.scale, atol=1e-3)
        and np.allclose(each.translate, layer.translate, atol=1e-2)
    ]


def _case_of(layer: Any) -> Any:
    """Return folder and NAME of NAME_ct or NAME_labels; None for a layer that is of no file."""
    tag = tag_of(layer)
    if tag is None or tag.scan.path is None:
        return None
    name = tag.scan.name
    for ending in ("_ct", "_labels"):
        name = name.removesuffix(ending)
    return tag.scan.path.absolute().parent, name
