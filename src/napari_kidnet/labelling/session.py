"""A labelling session: the labels of one scan, and which of their voxels belong to a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from psygnal import Signal, SignalGroup

from napari_kidnet.classes import VESSELS
from napari_kidnet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_kidnet.scans import Scan
    from napari_kidnet.segmentation import Prediction

__all__ = ["Box", "LabellingSession", "SessionEvents", "Tile"]

Box: TypeAlias = tuple[slice, slice, slice]
"""Part of a volume, in voxels: slices along (z, y, x)."""

# A machine result is laid over the labels in pieces of about this many voxels, so that whoever
# drives `replace_steps` from an event loop is never held up for more than some milliseconds.
_PIECE_VOXELS = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A machine's labels of one box.

    Attributes
    ----------
    box : tuple of slice
        Where, in voxels of the scan, (z, y, x).
    labels : ndarray of uint8, (z, y, x)
        What, for each voxel of the box.
    """

    box: Box
    labels: NDArray[np.uint8]


class SessionEvents(SignalGroup):
    """What a session tells those who show it."""

    labels = Signal(object)
    """The labels in this box changed, by a machine or by an undo."""

    prediction = Signal()
    """A prediction that can be decided again is there (or gone)."""


class LabellingSession:
    """The labels of one scan while a person and a network both write to them.

    Three volumes on the scan's grid, (z, y, x): ``labels`` is what is shown and saved,
    ``predicted`` the newest opinion of the machine, ``touched`` where a person has had a say. The
    law that every method keeps: ``labels == predicted`` wherever nothing is touched, and a machine
    never writes where something is.

    A person's edit is found in two ways. Whoever knows of one calls `touch`; and a voxel that
    differs from the machine's last word was changed by someone, so `receive` protects it too, even
    if no event ever told of it (an edit in the middle of a stroke, or by a script).

    Parameters
    ----------
    scan : Scan
        The scan that is labelled.
    labels : ndarray of integers, (z, y, x), optional
        Labels to go on with; all of them count as a person's. None starts empty.

    Raises
    ------
    LabelsError
        The labels are not on the scan's grid.
    """

    def __init__(self, scan: Scan, labels: NDArray[Any] | None = None) -> None:
        if labels is not None and labels.shape != scan.shape:
            raise LabelsError(
                f"The labels are {labels.shape} voxels and the scan {scan.name} is {scan.shape} (z, y, x): "
                "open the labels that belong to this scan."
            )
        self.scan = scan
        self.labels: NDArray[Any] = np.zeros(scan.shape, np.uint8) if labels is None else labels
        self.predicted: NDArray[np.uint8] = np.zeros(scan.shape, np.uint8)
        self.touched: NDArray[np.bool_] = np.zeros(scan.shape, np.bool_)
        if labels is not None:
            self.touched[...] = labels != 0
        self.prediction: Prediction | None = None
        self.sensitivity: float | None = None
        self.events = SessionEvents()

    # ------------------------------------------------------------------ the machine writes

    def receive(self, tile: Tile) -> None:
        """Take a machine's labels of one box, except where a person has had a say."""
        box = tile.box
        held = self.held(box)
        self.touched[box] = held
        np.copyto(self.labels[box], tile.labels, where=~held, casting="unsafe")
        self.predicted[box] = tile.labels
        self.events.labels.emit(box)

    def replace_steps(self, labels: NDArray[np.uint8], box: Box | None = None) -> Iterator[Box]:
        """Lay a whole result over the labels, a few slices at each step.

        Parameters
        ----------
        labels : ndarray of uint8, (z, y, x)
            The machine's labels of the whole scan.
        box : tuple of slice, optional
            The part to take over; None is all of it.

        Yields
        ------
        tuple of slice
            The box that was just written.
        """
        z, y, x = box or tuple(slice(0, n) for n in self.scan.shape)
        rows = max(1, _PIECE_VOXELS // max(1, (y.stop - y.start) * (x.stop - x.start)))
        for first in range(z.start, z.stop, rows):
            piece: Box = (slice(first, min(first + rows, z.stop)), y, x)
            if not np.array_equal(self.predicted[piece], labels[piece]):
                self.receive(Tile(piece, labels[piece]))
            yield piece

    def keep_prediction(self, prediction: Prediction | None) -> None:
        """Hold on to a prediction, which `predicting.decide_steps` can decide again."""
        self.prediction = prediction
        if prediction is not None:
            self.sensitivity = float(prediction.sensitivity)
        self.events.prediction.emit()

    # ------------------------------------------------------------------ a person writes

    def held(self, box: Box) -> NDArray[np.bool_]:
        """Where in a box no machine may write: bool (z, y, x), True = a person's voxel."""
        held: NDArray[np.bool_] = self.touched[box] | (self.labels[box] != self.predicted[box])
        return held

    def touch(self, where: NDArray[np.intp]) -> NDArray[np.intp]:
        """Give voxels to the person.

        Parameters
        ----------
        where : ndarray of int
            Flat (C-order) indices into the scan's grid.

        Returns
        -------
        ndarray of int
            Those of them that were the machine's until now: what `release` must be given to take
            this touch back.
        """
        flat = self.touched.reshape(-1)
        new = where[~flat[where]]
        flat[new] = True
        return new

    def release(self, where: NDArray[np.intp]) -> None:
        """Give voxels back to the machine, whose newest opinion they then show (an undone edit)."""
        if not where.size:
            return
        self.touched.reshape(-1)[where] = False
        self.labels.reshape(-1)[where] = self.predicted.reshape(-1)[where]
        corners = np.unravel_index(where, self.scan.shape)
        self.events.labels.emit(tuple(slice(int(c.min()), int(c.max()) + 1) for c in corners))

    def adopt(self, labels: NDArray[Any]) -> None:
        """Show another array of labels from now on; where it differs, a person made it so.

        Raises
        ------
        LabelsError
            It is not on the scan's grid.
        """
        if labels.shape != self.scan.shape:
            raise LabelsError(
                f"The labels are {labels.shape} voxels and the scan {self.scan.name} is {self.scan.shape} "
                "(z, y, x): they cannot be its labels."
            )
        self.labels = labels

    # ------------------------------------------------------------------ what is there

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each vessel class in the labels, in mL, by class name."""
        volumes: dict[str, float] = {}
        for _ in self.volume_steps(volumes):
            pass
        return volumes

    def volume_steps(self, into: dict[str, float]) -> Iterator[None]:
        """Count the volumes some slices at a time; ``into`` is filled at the end (mL, by class name)."""
        voxel_ml = float(np.prod(self.scan.spacing)) / 1000.0
        counts = dict.fromkeys((each.id for each in VESSELS), 0)
        rows = max(1, _PIECE_VOXELS // max(1, self.labels[0].size))
        for first in range(0, len(self.labels), rows):
            piece = self.labels[first : first + rows]
            for each in counts:
                counts[each] += int(np.count_nonzero(piece == each))
            yield
        into.update({each.name: counts[each.id] * voxel_ml for each in VESSELS})
