"""One window's answer, on whatever the machine can give: smaller windows or the CPU when memory runs out."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.errors import DeviceError, SettingsError
from napari_kidnet.segmentation.tiles import TileShape, plan_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.network import Checkpoint, Engine
    from napari_kidnet.segmentation.settings import SegmentSettings

__all__ = ["Predictor"]

BYTES_PER_VOXEL_AND_CHANNEL = 30
"""Peak memory of a window per voxel and base channel in fp32: 27 B with OpenVINO, at base 8 and 16."""

CPU_BUDGET_BYTES = 0.75e9
"""146³ at base 8: about a second a tile on two cores, so that labels appear soon and Cancel is obeyed soon.
Larger windows would save little; a 256³ scan is done in eight of 144³."""

HALO = 16
"""A third of what four levels see to one side; what it costs in labels is measured by benchmarks/seams."""

HALO_OF_RAMP, RAMP = 4, 16
"""Under a ramp the outermost voxels count little anyway; together a quarter of 96, the usual overlap."""

LARGEST_WINDOW = 256**3
SMALLEST_WINDOW = 32**3


class Predictor:
    """Runs a network on windows of any size.

    Parameters
    ----------
    checkpoint : Checkpoint
        The network.
    settings : SegmentSettings
        Device, engine, threads, largest tile.

    Attributes
    ----------
    notes : list of str
        What had to be changed on the way, each as a part of a sentence for the user.
    """

    def __init__(self, checkpoint: Checkpoint, settings: SegmentSettings) -> None:
        self._checkpoint = checkpoint
        self._settings = settings
        self.notes: list[str] = []
        self._engine = self._open(settings.device, settings.engine)
        self._limit = self.window_voxels

    @property
    def engine(self) -> Engine:
        """The engine in use now."""
        return self._engine

    @property
    def window_voxels(self) -> int:
        """The largest window to plan for: the user's wish, or what the device's memory allows."""
        if self._settings.tile_voxels is not None:
            return self._settings.tile_voxels
        per_voxel = BYTES_PER_VOXEL_AND_CHANNEL * int(self._checkpoint.network.base)
        budget = CPU_BUDGET_BYTES
        if str(self._engine.device).startswith("cuda"):
            import torch

            if torch.cuda.is_available():
                budget = 0.5 * torch.cuda.mem_get_info()[0]
        return int(np.clip(budget / per_voxel, 64**3, LARGEST_WINDOW))

    @property
    def halo(self) -> int:
        """The halo that the settings ask for, or the one that goes with the ramp."""
        wished = self._settings.halo_voxels
        if wished is not None:
            return wished
        return HALO_OF_RAMP if self.blend else HALO

    @property
    def blend(self) -> int:
        """The ramp that the settings ask for, or the one that the network's normalisation needs.

        A network with batch normalisation answers the same whatever the tile; one with instance
        normalisation does not, and its tiles must be mixed.
        """
        if self._settings.blend_voxels is not None:
            return self._settings.blend_voxels
        return 0 if self._checkpoint.network.norm == "batch" else RAMP

    @property
    def where(self) -> str:
        """The device and engine, and what had to be changed, for a person."""
        return "; ".join([f"{self._engine.device}, {self._engine.name}", *self.notes])

    def logits(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (class, z, y, x) of a normalised window (z, y, x) that fits the network's stride.

        Raises
        ------
        DeviceError
            Not even the smallest window fits into the CPU's memory.
        """
        while True:
            try:
                if window.size <= self._limit:
                    logits: NDArray[np.float32] = self._engine.logits(window)
                    return logits
                return self._in_parts(window)
            except (DeviceError, MemoryError, RuntimeError) as error:
                self._retreat(window.size, error)

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def _in_parts(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        depth, height, width = window.shape
        shape = TileShape(int(self._engine.multiple), self._limit, self.halo, 0)
        try:
            plans = plan_axes((depth, height, width), ((0, depth), (0, height), (0, width)), shape)
        except SettingsError as error:
            raise MemoryError from error  # what fits into the memory is not even a halo
        whole: NDArray[np.float32] | None = None
        for index in product(*(range(len(plan.starts)) for plan in plans)):
            seen, kept, target = [], [slice(None)], [slice(None)]
            for plan, at in zip(plans, index, strict=True):
                first = plan.starts[at]
                low = plan.cuts[at - 1].start if at else first
                high = plan.cuts[at].start if at < len(plan.cuts) else first + plan.size
                seen.append(slice(first, first + plan.size))
                kept.append(slice(low - first, high - first))
                target.append(slice(low, high))
            part = self._engine.logits(np.ascontiguousarray(window[tuple(seen)]))
            if whole is None:
                whole = np.empty((len(part), *window.shape), np.float32)
            whole[tuple(target)] = part[tuple(kept)]
        if whole is None:  # pragma: no cover - a plan always has a tile
            raise DeviceError("The plan of tiles is empty; choose larger tiles.")
        return whole

    def _retreat(self, voxels: int, error: Exception) -> None:
        """Make the next try one that needs less; raise the error if there is none."""
        too_large = _says_too_large(error)
        smaller = min(self._limit, voxels) // 2
        if too_large and smaller >= SMALLEST_WINDOW:
            self._limit = smaller
            self._note("its memory was too small, so the tiles are smaller")
        elif str(self._engine.device) != "cpu" and (too_large or isinstance(error, DeviceError)):
            self._engine.close()
            self._engine = self._open("cpu", "auto")
            self._limit = self.window_voxels
            self.notes.clear()
            cause = "memory was too small" if too_large else "driver failed"
            self._note(f"the graphics card's {cause}, so the CPU goes on")
        elif too_large:
            raise DeviceError(
                f"The memory of this computer is too small for a tile of {voxels} voxels; "
                "close other programs, or choose a smaller box."
            ) from error
        else:
            raise error

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _open(self, device: str, engine: str) -> Engine:
        from napari_kidnet.network import open_engine

        return open_engine(self._checkpoint, device=device, engine=engine, threads=self._settings.threads)


def _says_too_large(error: Exception) -> bool:
    # PyTorch says "out of memory", "not enough memory" or "can't allocate".
    text = str(error).lower()
    return isinstance(error, MemoryError) or "memory" in text or "alloc" in text
