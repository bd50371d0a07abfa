"""Augmentation (R28): what may change and what may not."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_kidnet.errors import SettingsError
from napari_kidnet.training import Augmentation, PatchStore
from napari_kidnet.training.augmentation import augment, bend_intensities
from napari_kidnet.training.patches import Place
from tests.training.conftest import EDGE, SPACING, tubes

if TYPE_CHECKING:
    from pathlib import Path

OFF = Augmentation.off()
PLACE = Place(0, "artery", (20, 20, 20), (12, 12, 12))


def test_off_cuts_the_patch_and_its_margin(store: PatchStore) -> None:
    hu, labels = tubes(seed=0)
    patch = augment(store, PLACE, 4, OFF, np.random.default_rng(0))
    box = (slice(8, 32),) * 3
    assert np.array_equal(patch.hu, hu[box])
    assert np.array_equal(patch.labels, labels[box])
    assert patch.reviewed is None


def test_no_turn_and_no_scale_is_the_same_as_off(store: PatchStore) -> None:
    still = replace(OFF, geometry=1.0, rotation_degrees=0.0, scale=0.0, shift_voxels=0.0)
    moved, plain = (augment(store, PLACE, 4, each, np.random.default_rng(0)) for each in (still, OFF))
    assert np.abs(moved.hu - plain.hu).max() < 1e-2
    assert np.array_equal(moved.labels, plain.labels)
    assert np.array_equal(moved.tubes, plain.tubes)


def test_geometry_moves_image_and_labels_together(tmp_path: Path) -> None:
    """An image that is made of its labels still is, but for the voxels at the edges of structures."""
    _, labels = tubes()
    store = PatchStore(tmp_path, EDGE)
    store.add("c", labels.astype(np.int16) * 100, SPACING, labels)
    geometry = replace(OFF, geometry=1.0)
    moved = 0
    for seed in range(10):
        patch = augment(store, PLACE, 4, geometry, np.random.default_rng(seed))
        plain = augment(store, PLACE, 4, OFF, np.random.default_rng(seed))
        pure = np.isclose(patch.hu % 100, 0, atol=1e-2) | np.isclose(patch.hu % 100, 100, atol=1e-2)
        assert pure.mean() > 0.8
        assert np.array_equal(np.round(patch.hu[pure] / 100), patch.labels[pure])
        moved += not np.array_equal(patch.labels, plain.labels)
    assert moved == 10


def test_turns_follow_the_angle(tmp_path: Path) -> None:
    labels = np.zeros((32, 64, 64), np.uint8)
    labels[:, 31:33, :] = 1  # a plane along x
    store = PatchStore(tmp_path, EDGE)
    store.add("c", labels.astype(np.int16) * 100, SPACING, labels)
    place = Place(0, "artery", (16, 32, 32), (8, 24, 24))
    only = replace(OFF, geometry=1.0, scale=0.0, shift_voxels=0.0)
    slopes = []
    for seed in range(20):
        patch = augment(store, place, 4, only, np.random.default_rng(seed))
        y, x = np.nonzero(patch.labels[12])
        slopes.append(np.degrees(np.arctan(np.polyfit(x, y, 1)[0])))
    assert max(np.abs(slopes)) <= 10.5
    assert max(slopes) > 4
    assert min(slopes) < -4


def test_left_and_right_are_never_exchanged(tmp_path: Path) -> None:
    labels = np.zeros((32, 40, 40), np.uint8)
    labels[:, :, 10:14], labels[:, :, 26:30] = 2, 1
    store = PatchStore(tmp_path, EDGE)
    store.add("c", labels.astype(np.int16), SPACING, labels)
    place = Place(0, "artery", (16, 20, 20), (8, 12, 12))
    for seed in range(30):
        found = augment(store, place, 4, Augmentation(geometry=1.0), np.random.default_rng(seed)).labels
        assert np.nonzero(found == 2)[2].mean() < np.nonzero(found == 1)[2].mean()


def test_inside_of_a_scan_no_padding_is_seen(tmp_path: Path) -> None:
    hu = np.full((48, 48, 48), 40, np.int16)
    store = PatchStore(tmp_path, EDGE)
    store.add("c", hu, SPACING, np.zeros(hu.shape, np.uint8))
    place = Place(0, "background", (24, 24, 24), (16, 16, 16))
    for seed in range(20):
        patch = augment(store, place, 4, replace(OFF, geometry=1.0), np.random.default_rng(seed))
        assert patch.reviewed is None
        assert np.allclose(patch.hu, 40, atol=1e-2)


def test_at_the_border_padding_is_not_reviewed(store: PatchStore) -> None:
    corner = Place(0, "background", (0, 0, 0), (0, 0, 0))
    left_out = 0
    for seed in range(10):
        patch = augment(store, corner, 4, replace(OFF, geometry=1.0), np.random.default_rng(seed))
        assert patch.reviewed is not None
        assert not patch.reviewed[patch.hu < -1000].any()
        assert patch.reviewed[-4:, -4:, -4:].all()
        left_out += int((~patch.reviewed).sum())
    assert left_out > 1000


@pytest.mark.parametrize("name", ["curve", "gain", "noise", "blur", "thick_slices"])
def test_intensities_change_and_nothing_else(name: str, store: PatchStore) -> None:
    settings = replace(OFF, **{name: 1.0})
    plain = augment(store, PLACE, 4, OFF, np.random.default_rng(0))
    patch = augment(store, PLACE, 4, settings, np.random.default_rng(0))
    assert not np.array_equal(patch.hu, plain.hu)
    assert np.array_equal(patch.labels, plain.labels)
    assert patch.hu.dtype == np.float32
    assert np.isfinite(patch.hu).all()


def test_curves_are_monotone_and_keep_fat() -> None:
    hu = np.linspace(-1024, 2000, 5000, dtype=np.float32).reshape(10, 10, 50)
    for seed in range(20):
        bent = bend_intensities(hu, replace(OFF, curve=1.0), np.random.default_rng(seed)).ravel()
        assert (np.diff(bent) >= 0).all()
        assert np.interp(-100, hu.ravel(), bent) == pytest.approx(-100, abs=1)


def test_thick_slices_average_along_z_only() -> None:
    rng = np.random.default_rng(0)
    columns = np.broadcast_to(rng.normal(0, 50, (1, 20, 20)), (30, 20, 20)).astype(np.float32)
    same = bend_intensities(columns, replace(OFF, thick_slices=1.0), np.random.default_rng(1))
    assert np.allclose(same, columns, atol=1e-3)
    noise = rng.normal(0, 50, (30, 20, 20)).astype(np.float32)
    assert bend_intensities(noise, replace(OFF, thick_slices=1.0), np.random.default_rng(1)).std() < 40


def test_the_same_chance_gives_the_same_patch(store: PatchStore) -> None:
    everything = Augmentation(
        **{
            each.name: 1.0
            for each in fields(Augmentation)
            if each.name in ("geometry", "curve", "gain", "noise", "blur")
        }
    )
    first, again = (augment(store, PLACE, 4, everything, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first.hu, again.hu)
    assert np.array_equal(first.labels, again.labels)


def test_impossible_chances_are_refused() -> None:
    with pytest.raises(SettingsError, match="blur"):
        Augmentation(blur=1.5)
    with pytest.raises(SettingsError, match="size"):
        Augmentation(scale=0.9)
