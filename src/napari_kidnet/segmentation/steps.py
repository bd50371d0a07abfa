"""Segmentation as a generator: plan, predict, stitch, decide, tile after tile (paper §2, "stitching")."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.progress import Progress, drain
from napari_kidnet.segmentation.decision import class_weights
from napari_kidnet.segmentation.grid import NetworkGrid
from napari_kidnet.segmentation.pieces import Plan, plan_tiles
from napari_kidnet.segmentation.predict import Predictor
from napari_kidnet.segmentation.prediction import Answer, Prediction
from napari_kidnet.segmentation.region import body_box, slices_of_box
from napari_kidnet.segmentation.settings import SegmentSettings
from napari_kidnet.segmentation.stitching import Stitcher
from napari_kidnet.segmentation.tiles import TileShape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.network import Checkpoint
    from napari_kidnet.scans import Scan

__all__ = ["SegmentProgress", "segment", "segment_steps"]

Slices = tuple[slice, slice, slice]

NOTHING: Slices = (slice(0, 0), slice(0, 0), slice(0, 0))
AIR = np.float32(-1.0)
"""Beyond the volume's end there is air, as a normalised value (A12)."""


@dataclass(frozen=True, slots=True)
class SegmentProgress(Progress):
    """Progress, with labels that will not change any more.

    Attributes
    ----------
    box : tuple of slice
        Voxels of the scan (z, y, x); empty in the first report.
    labels : array of uint8, (z, y, x)
        Their labels.
    """

    box: Slices = NOTHING
    labels: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint8))


SegmentSteps = Generator[SegmentProgress, None, Prediction]


def segment_steps(
    scan: Scan, checkpoint: Checkpoint | None = None, settings: SegmentSettings | None = None
) -> SegmentSteps:
    """Segment a scan, reporting each finished box.

    Closing the generator cancels the work and frees the engine.

    Parameters
    ----------
    scan : Scan
        The CT.
    checkpoint : Checkpoint, optional
        The network; the shipped one by default.
    settings : SegmentSettings, optional
        Device, sensitivity, box and so on.

    Yields
    ------
    SegmentProgress
        First one with an empty box and the total, then at least one for each tile.

    Returns
    -------
    Prediction
        Labels on the scan's own grid and what is needed to move the sensitivity.
    """
    settings = SegmentSettings() if settings is None else settings
    region = slices_of_box(settings.box, scan.shape)
    if checkpoint is None:
        from napari_kidnet.network import load_checkpoint

        checkpoint = load_checkpoint()
    sensitivity = checkpoint.sensitivity if settings.sensitivity is None else settings.sensitivity
    answer = Answer(
        scan.shape,
        class_weights(checkpoint.schema.get("V", [0.25] * 4)),
        float(sensitivity),
        float(checkpoint.temperature or 1.0),
        settings.keep_probabilities,
    )
    grid = NetworkGrid.of(scan.shape, scan.spacing, checkpoint.spacing)
    predictor = Predictor(checkpoint, settings)
    try:
        plan = _plan(scan, grid, region, predictor, settings)
        yield SegmentProgress(0, len(plan), f"Segmenting ({predictor.where})")
        stitcher = Stitcher(plan, grid, answer)
        for done, tile in enumerate(plan.tiles, start=1):
            window = _window(scan.hu, grid, tile.window, checkpoint.window)
            for box in stitcher.add(tile, predictor.logits(window)):
                what = f"Segmenting ({predictor.where})"
                yield SegmentProgress(done, len(plan), what, box, answer.labels[box].copy())
        return answer.finish(predictor.where)
    finally:
        predictor.close()


def segment(
    scan: Scan, checkpoint: Checkpoint | None = None, settings: SegmentSettings | None = None
) -> NDArray[np.uint8]:
    """Segment a scan and return its labels, uint8 (z, y, x), on the scan's own grid.

    See `segment_steps` for the parameters.
    """
    return drain(segment_steps(scan, checkpoint, settings)).labels


def _plan(
    scan: Scan, grid: NetworkGrid, region: Slices, predictor: Predictor, settings: SegmentSettings
) -> Plan:
    if settings.skip_air:
        body = body_box(scan.hu, scan.spacing)
        parts = (
            []
            if body is None
            else [
                slice(max(want.start, own.start), min(want.stop, own.stop))
                for want, own in zip(region, body, strict=True)
            ]
        )
        if not parts or any(part.start >= part.stop for part in parts):
            return Plan(())
        region = (parts[0], parts[1], parts[2])
    shape = TileShape(
        int(predictor.engine.multiple), predictor.window_voxels, predictor.halo, predictor.blend
    )
    return plan_tiles(grid, region, shape, scan.hu if settings.skip_air else None, settings.start)


def _window(
    hu: NDArray[np.generic], grid: NetworkGrid, window: Slices, limits: tuple[float, float]
) -> NDArray[np.float32]:
    """Return a tile's normalised input, float32 (z, y, x), with air where the window leaves the volume."""
    from napari_kidnet.scans import normalise

    inside = normalise(grid.read(hu, window), limits)
    missing = [(0, part.stop - part.start - size) for part, size in zip(window, inside.shape, strict=True)]
    if not any(after for _, after in missing):
        return np.ascontiguousarray(inside)
    return np.pad(inside, missing, constant_values=AIR)
