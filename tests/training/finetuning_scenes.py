"""Small corrected scans, a checkpoint that has seen the like, and phantoms that are made in a moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

import napari_kidnet.phantom as phantom
from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings
from napari_kidnet.network.checkpoint import network_weights
from napari_kidnet.scans import Scan
from napari_kidnet.training import replay
from napari_kidnet.training.augmentation import Augmentation
from napari_kidnet.training.corrections import Correction, scan_hash
from napari_kidnet.training.finetune_settings import FinetuneSettings

if TYPE_CHECKING:
    import pytest
    from numpy.typing import NDArray

SHAPE = (24, 32, 32)
NETWORK = KidNetSettings(base=2, levels=3, norm="batch")


def tubes(seed: int, shift_hu: int = 0) -> tuple[Scan, NDArray[np.uint8]]:
    """Three tubes along z, one of each class."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(size) for size in SHAPE)]
    hu = rng.normal(40, 10, SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    for each, (value, at) in enumerate([(280, 6), (170, 16), (10, 26)], start=1):
        inside = (y - at) ** 2 + (x - 10 - 2 * np.sin(z / 5 + seed)) ** 2 < 7
        labels[inside] = each
        hu[inside] += value - 40 + shift_hu
    hu[:, :, -4:] = -1000  # air: a file without any is not taken for HU
    return Scan.from_array(hu.astype(np.int16), (1.0, 1.0, 1.0), f"scan{seed}"), labels


def correction(seed: int, reviewed: NDArray[np.bool_] | None = None, **changes: object) -> Correction:
    scan, labels = tubes(seed)
    whole = np.ones(SHAPE, dtype=bool) if reviewed is None else reviewed
    made = Correction(f"scan{seed}", scan_hash(scan), scan, labels, whole)
    return replace(made, **changes)  # type: ignore[arg-type]


def checkpoint(norm: str = "batch") -> Checkpoint:
    torch.manual_seed(3)
    settings = replace(NETWORK, norm=norm)  # type: ignore[arg-type]
    net = KidNet(settings)
    schema = {"name": "dw+rs", "alpha": 0.002, "V": [0.9, 0.04, 0.05, 0.01], "patches_seen": 5000}
    return Checkpoint(settings, network_weights(net), schema=schema, sensitivity=1.0)


def quick(**changes: object) -> FinetuneSettings:
    """Settings of a fine-tuning of a second."""
    values: dict[str, object] = {
        "steps": 4,
        "patch_voxels": 16,
        "batch": 2,
        "warm_up": 2,
        "save_every": 1,
        "validations": 1,
        "largest_drop": 1.0,
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "augmentation": Augmentation(geometry=0.5, curve=0.5, noise=0.5, blur=0.0, thick_slices=0.0),
    }
    return FinetuneSettings(**(values | changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class FakePhantom:
    scan: Scan
    truth: NDArray[np.uint8]


def fake_phantom(seed: int, settings: object = None) -> FakePhantom:
    return FakePhantom(*tubes(seed + 100))


def few_phantoms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one phantom to replay and one to measure on, and few blocks of a scan: all in a moment."""
    monkeypatch.setattr(phantom, "make_case", fake_phantom)
    monkeypatch.setattr(replay, "PHANTOMS", ((0, "arterial", "typical"), (500, "arterial", "typical")))
    monkeypatch.setattr(replay, "BLOCKS_OF_SCAN", 2)
