"""The long work of a session: predict a scan, decide it again with another sensitivity, save it.

All are generators, so that one loop can run them in a worker thread, on the command line, or in a
test; closing one cancels it. Networks are imported inside, in the thread that does the work:
importing PyTorch takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from napari_kidnet.labelling.session import Tile
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_kidnet.labelling.session import LabellingSession
    from napari_kidnet.network import Checkpoint
    from napari_kidnet.scans import Scan
    from napari_kidnet.segmentation import Prediction

__all__ = ["PredictRequest", "Report", "decide_steps", "predict_steps", "save_steps"]

_WORTH_A_GLANCE_VOXELS: Final = 96**3
"""A smaller scan is one ordinary tile."""

_GLANCE_VOXELS: Final = 32
_GLANCE_HALO: Final = 16
"""The first look and the context about it, on the network's grid: together 64, which every preset takes."""

_ROWS: Final = 8
"""Slices that are decided in one step."""


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """What to predict with, and where.

    Attributes
    ----------
    checkpoint : Path or None
        A checkpoint file; None is the one that is shipped.
    device, engine : str
        As in ``SegmentSettings``.
    sensitivity : float or None
        0…1; None is the checkpoint's own.
    box : tuple of int or None
        Voxels (z0, z1, y0, y1, x0, x1) to predict; None is the whole scan.
    start : tuple of int or None
        The voxel (z, y, x) to begin at: what a person is looking at.
    threads : int or None
        CPU threads; None leaves one core for the window.
    """

    checkpoint: Path | None = None
    device: str = "auto"
    engine: str = "auto"
    sensitivity: float | None = None
    box: tuple[int, int, int, int, int, int] | None = None
    start: tuple[int, int, int] | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One step of machine work: how far it is, and the tile that it has just finished, if any."""

    progress: Progress
    tile: Tile | None = None


def predict_steps(scan: Scan, request: PredictRequest) -> Generator[Report, None, Prediction]:
    """Predict a scan tile by tile; the generator's result is the ``Prediction``.

    Yields
    ------
    Report
        First one without a tile, before the network is loaded; then one for each tile.
    """
    yield Report(Progress(0, 0, "Loading the network"))
    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.segmentation import SegmentSettings, segment_steps

    checkpoint = load_checkpoint(request.checkpoint)
    if request.start is not None and request.box is None and scan.hu.size > _WORTH_A_GLANCE_VOXELS:
        yield from _glance_steps(scan, checkpoint, request)
    settings = SegmentSettings(
        device=request.device,
        engine=request.engine,
        sensitivity=request.sensitivity,
        box=request.box,
        start=request.start,
        threads=request.threads,
    )
    steps = segment_steps(scan, checkpoint, settings)
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                prediction: Prediction = stop.value
                return prediction
            tile = Tile(step.box, step.labels) if step.labels.size else None
            yield Report(Progress(step.done, step.total, step.what), tile)
    finally:
        steps.close()


def _glance_steps(
    scan: Scan, checkpoint: Checkpoint, request: PredictRequest
) -> Generator[Report, None, None]:
    """Predict one small tile where the person looks; the tiles that follow write over it.

    A full tile takes seconds on a CPU, so does a person's patience: this one takes 0.4 s of CPU.
    """
    from napari_kidnet.errors import SettingsError
    from napari_kidnet.segmentation import SegmentSettings, segment_steps

    start = request.start or tuple(n // 2 for n in scan.shape)
    box: list[int] = []
    for axis, voxel in enumerate(start):
        own = scan.spacing[axis]
        coarsest = own if checkpoint.spacing is None else max(own, checkpoint.spacing[axis])
        half = max(1, round(_GLANCE_VOXELS * coarsest / own / 2))
        box += [max(0, voxel - half), min(scan.shape[axis], voxel + half)]
    settings = SegmentSettings(
        device=request.device,
        engine=request.engine,
        sensitivity=request.sensitivity,
        box=(box[0], box[1], box[2], box[3], box[4], box[5]),
        start=request.start,
        threads=request.threads,
        tile_voxels=(_GLANCE_VOXELS + 2 * _GLANCE_HALO) ** 3,
        halo_voxels=_GLANCE_HALO,
    )
    steps = segment_steps(scan, checkpoint, settings)
    try:
        for step in steps:
            if step.labels.size:
                yield Report(Progress(0, 0, "A first look"), Tile(step.box, step.labels))
                return
    except SettingsError:
        return  # a network too deep for so small a tile; its ordinary tiles come at once
    finally:
        steps.close()


def decide_steps(
    prediction: Prediction,
    sensitivity: float,
    first_slice: int,
    box: tuple[int, int, int, int, int, int] | None = None,
) -> Generator[Report, None, None]:
    """Decide a prediction with another sensitivity, the slice on the screen first.

    Parameters
    ----------
    prediction : Prediction
        Which keeps what ``Prediction.at`` decides from.
    sensitivity : float
        0…1.
    first_slice : int
        The index along z to begin with; then outwards to both sides.
    box : tuple of int, optional
        Voxels (z0, z1, y0, y1, x0, x1) that were predicted; None is the whole scan.

    Yields
    ------
    Report
        With a tile of whole slices of the box.
    """
    depth, height, width = prediction.labels.shape
    z0, z1, y0, y1, x0, x1 = box or (0, depth, 0, height, 0, width)
    first = min(max(first_slice, z0), z1 - 1)
    blocks = [(z, min(z + _ROWS, first)) for z in range(z0, first, _ROWS)]
    blocks += [(z, min(z + _ROWS, z1)) for z in range(first + 1, z1, _ROWS)]
    blocks.sort(key=lambda block: abs((block[0] + block[1]) / 2 - first))
    for done, (low, high) in enumerate([(first, first + 1), *blocks], 1):
        part = (slice(low, high), slice(y0, y1), slice(x0, x1))
        tile = Tile(part, prediction.at(sensitivity, part))
        yield Report(Progress(done, len(blocks) + 1, "Applying the sensitivity"), tile)


def save_steps(session: LabellingSession, path: Path) -> Generator[Report, None, Path]:
    """Write a session's labels, as they are when this is called, on the scan's own grid."""
    labels = session.labels.copy()
    predicted = session.prediction is not None

    def write() -> Generator[Report, None, Path]:
        yield Report(Progress(0, 0, f"Saving {path.name}"))
        from napari_kidnet.scans import write_labels

        write_labels(path, labels, session.scan, predicted=predicted)
        return path

    return write()
