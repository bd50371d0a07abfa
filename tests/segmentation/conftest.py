"""A checkpoint without a file, and an engine that smooths: its answers can be computed at once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

import napari_kidnet.network as network
from napari_kidnet.scans import Scan


@dataclass
class SmoothingEngine:
    """Vessel where the neighbourhood of 5 voxels is bright: an answer with a receptive field of 2."""

    device: str = "cpu"
    name: str = "smoothing"
    multiple: int = 8
    windows: list[tuple[int, ...]] = field(default_factory=list)
    closed: bool = False
    memory_voxels: int | None = None

    def logits(self, window: np.ndarray) -> np.ndarray:
        assert not self.closed
        assert all(size % self.multiple == 0 for size in window.shape)
        if self.memory_voxels is not None and window.size > self.memory_voxels:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.windows.append(window.shape)
        mean = ndimage.uniform_filter(window, 5, mode="nearest")
        dark = 1.2 - 20 * (mean + 0.7) ** 2
        return np.stack([np.zeros_like(mean), 4 * mean, 3 * mean + 0.2, dark]).astype(np.float32)

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class FakeCheckpoint:
    network: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(base=8, norm="batch"))
    window: tuple[float, float] = (-200.0, 500.0)
    spacing: tuple[float, float, float] | None = None
    schema: dict[str, object] = field(default_factory=lambda: {"V": [0.9, 0.05, 0.04, 0.01]})
    sensitivity: float = 1.0
    temperature: float = 1.0

    def but(self, **changes: object) -> FakeCheckpoint:
        return replace(self, **changes)


@pytest.fixture
def checkpoint() -> FakeCheckpoint:
    return FakeCheckpoint()


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[SmoothingEngine]:
    """Replace the network by smoothing; the list holds the engines that were opened."""
    opened: list[SmoothingEngine] = []

    def open_engine(checkpoint: object, device: str = "auto", **_: object) -> SmoothingEngine:
        opened.append(SmoothingEngine(device="cpu" if device == "auto" else device))
        return opened[-1]

    monkeypatch.setattr(network, "open_engine", open_engine, raising=False)
    return opened


@pytest.fixture
def scan() -> Scan:
    """Smooth blobs from −1000 to 1000 HU, no side of which is a multiple of anything."""
    noise = np.random.default_rng(3).normal(size=(53, 71, 61))
    hu = ndimage.gaussian_filter(noise, 3)
    return Scan.from_array((hu / np.abs(hu).max() * 1000).astype(np.int16), (1.0, 0.8, 0.8))
