"""Batches, prepared in a background thread while the network computes, and the same ones in every run.

All chance of a step comes from (seed, step), so a run that was broken off goes on with the batches it would
have had. The moving averages of Algorithm 1 are kept where the batches are made, in their order (reading A9);
each batch carries the averages after it, and a saved state takes them from there.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.scans.intensity import normalise
from napari_kidnet.training.augmentation import augment
from napari_kidnet.training.sampling import capped_squared_distance, voxel_weights
from napari_kidnet.training.weighting import DynamicWeighting, PatchWeights, patch_volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_kidnet.training.patches import PatchStore
    from napari_kidnet.training.schema import Schema
    from napari_kidnet.training.settings import TrainSettings

__all__ = ["Batch", "BatchMaker", "dataset_volumes"]

AHEAD = 4
"""Batches made before they are needed."""

ORDER = {"patch": 0, "weights": 1, "dataset": 2}
"""Streams of chance: what one draws does not move another."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's patches.

    Attributes
    ----------
    step : int
        Counted from 0.
    images : array of float32, (n, z, y, x)
        Normalised.
    labels, tubes : array of uint8, (n, z, y, x)
        Classes, and classes near their centrelines.
    weights : array of float32, (n, z, y, x)
        Voxel weights.
    volumes : list of float
        V after this batch.
    patches_seen : int
        Patches that V knows.
    """

    step: int
    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    tubes: NDArray[np.uint8]
    weights: NDArray[np.float32]
    volumes: list[float]
    patches_seen: int
    _parts: tuple[_Part, ...]

    @property
    def reviewed(self) -> NDArray[np.bool_]:
        """Where the labels are a person's, bool (n, z, y, x)."""
        whole = np.ones(self.labels.shape[1:], dtype=bool)
        return np.stack([whole if part.reviewed is None else part.reviewed for part in self._parts])


@dataclass(frozen=True, slots=True)
class _Part:
    labels: NDArray[np.uint8]
    distance: NDArray[np.uint8]
    reviewed: NDArray[np.bool_] | None
    weights: PatchWeights


class BatchMaker:
    """Makes batches in their order.

    Parameters
    ----------
    store : PatchStore
        The cases.
    settings : TrainSettings
        Patches, window, seed and schema.
    weighting : DynamicWeighting
        The moving averages; changed by every batch.
    """

    def __init__(self, store: PatchStore, settings: TrainSettings, weighting: DynamicWeighting) -> None:
        self._store = store
        self._settings = settings
        self._schema: Schema = settings.details
        self._weighting = weighting

    def batches(self, first: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of steps ``first`` to ``stop``, made ahead by one thread."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="kidnet-batches")
        waiting: deque[Future[Batch]] = deque()
        try:
            # one thread and one queue: the order of the steps is the order of the averages
            for step in range(first, stop):
                waiting.append(pool.submit(self.make, step))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
            pool.shutdown(wait=True)

    def make(self, step: int) -> Batch:
        """Make one step's batch; steps must come one after the other."""
        settings, schema = self._settings, self._schema
        margin = schema.outer_radius
        inner = (slice(margin, -margin),) * 3
        images, tubes, parts = [], [], []
        for number in range(settings.batch):
            rng = _stream(settings.seed, "patch", step, number)
            place = self._store.draw(rng, settings.free_share)
            patch = augment(self._store, place, margin, settings.augmentation, rng)
            distance = capped_squared_distance(patch.labels != 0, margin)
            labels = np.ascontiguousarray(patch.labels[inner])
            reviewed = None if patch.reviewed is None else patch.reviewed[inner]
            weights = self._weigh(labels, reviewed, self._store.known_classes(place.case))
            parts.append(_Part(labels, np.ascontiguousarray(distance[inner]), reviewed, weights))
            images.append(normalise(patch.hu[inner], settings.input_window))
            tubes.append(patch.tubes[inner])
        batch = Batch(
            step,
            np.stack(images),
            np.stack([part.labels for part in parts]),
            np.stack(tubes),
            np.empty((0,), np.float32),
            [float(each) for each in self._weighting.volumes],
            self._weighting.patches_seen,
            tuple(parts),
        )
        if schema.sampling and schema.hard_share:
            return batch  # its weights need the network's opinion first, see `with_weights`
        return self.with_weights(batch)

    def with_weights(self, batch: Batch, suspicion: NDArray[np.float32] | None = None) -> Batch:
        """Return the batch with voxel weights; ``suspicion`` (n, z, y, x): probability of foreground."""
        weights = []
        for number, part in enumerate(batch._parts):
            rng = _stream(self._settings.seed, "weights", batch.step, number)
            weights.append(
                voxel_weights(
                    part.labels,
                    part.distance,
                    self._schema,
                    part.weights,
                    rng,
                    part.reviewed,
                    None if suspicion is None else suspicion[number],
                )
            )
        return Batch(
            batch.step,
            batch.images,
            batch.labels,
            batch.tubes,
            np.stack(weights),
            batch.volumes,
            batch.patches_seen,
            batch._parts,
        )

    def _weigh(
        self,
        labels: NDArray[np.uint8],
        reviewed: NDArray[np.bool_] | None,
        known: NDArray[np.bool_] | None,
    ) -> PatchWeights:
        if not self._schema.weighting:
            # V stays 1/n: it says with which weights the network has learned, and the decision undoes them
            ones = np.ones_like(self._weighting.volumes)
            return PatchWeights(ones, ones, 1.0)
        found = self._weighting.weigh(labels, reviewed, known)
        cap = self._schema.largest_patch_weight
        if cap is None or found.patch <= cap:
            return found
        return PatchWeights(cap * found.class_, found.class_, cap)


def dataset_volumes(store: PatchStore, settings: TrainSettings, patches: int = 200) -> list[float]:
    """Return the classes' mean volumes in patches drawn as in training, for ``start="dataset"`` (A10)."""
    total = np.zeros_like(patch_volumes(np.zeros((1, 1, 1), np.uint8)))
    edge = settings.patch_voxels
    seen = 0
    for number in range(patches):
        rng = _stream(settings.seed, "dataset", 0, number)
        place = store.draw(rng, settings.free_share)
        block = store.cut(place.case, place.start, (edge, edge, edge))
        if block.reviewed is None or block.reviewed.any():
            total += patch_volumes(block.labels, block.reviewed)
            seen += 1
    if not seen:
        return [1.0 / len(total)] * len(total)
    # a class that no patch held counts as ten voxels of one, so that its weight stays a number (A24)
    volumes = np.maximum(total / seen, 10.0 / edge**3)
    return [float(each) for each in volumes / volumes.sum()]


def _stream(seed: int, what: str, step: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, ORDER[what], step, number])
