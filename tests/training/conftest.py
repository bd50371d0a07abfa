"""Small scans that are made in a moment, and a store of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_kidnet.network import KidNetSettings
from napari_kidnet.training import Augmentation, PatchStore, TrainSettings

SPACING = (1.0, 1.0, 1.0)
EDGE = 16

Volume = tuple[NDArray[np.int16], NDArray[np.uint8]]


def tubes(shape: tuple[int, int, int] = (40, 48, 56), seed: int = 0) -> Volume:
    """Three winding tubes along z, one of each class, at low x; the other side is free of vessels."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(size) for size in shape)]
    hu = rng.normal(40, 10, shape)
    labels = np.zeros(shape, np.uint8)
    for each, (radius, value, at) in enumerate([(2.5, 280, 12), (3, 170, 24), (1.5, 10, 36)], start=1):
        inside = (y - at - 3 * np.sin(z / 7 + seed)) ** 2 + (x - 10 - seed) ** 2 < radius**2
        labels[inside] = each
        hu[inside] += value - 40
    return hu.astype(np.int16), labels


@pytest.fixture(scope="session")
def volume() -> Volume:
    return tubes()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    made = PatchStore(tmp_path_factory.mktemp("store"), EDGE)
    for seed in range(2):
        hu, labels = tubes(seed=seed)
        made.add(f"case{seed}", hu, SPACING, labels)
    return made


def quick(**changes: object) -> TrainSettings:
    """Settings of a run of a second."""
    values: dict[str, object] = {
        "network": KidNetSettings(base=2, levels=3, norm="batch"),
        "patch_voxels": EDGE,
        "steps": 6,
        "save_every": 2,
        "precision": "float32",
        "threads": 1,
        "device": "cpu",
        "augmentation": Augmentation(geometry=0.5, curve=0.5, blur=0.5, thick_slices=0.5),
    }
    return TrainSettings(**(values | changes))  # type: ignore[arg-type]
