"""Drawn anatomy: repeatable, in the ranges of real people, and the right way round."""

from __future__ import annotations

import functools

import cc3d
import numpy as np
import pytest

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.field import Canvas, smooth_noise
from napari_kidnet.phantom.geometry import procedural_anatomy
from napari_kidnet.phantom.structures import Anatomy, kidneys_of, truth_of
from napari_kidnet.phantom.structures import Structure as S

FULL = (2.5, 2.2, 2.2)
CROP = (1.5, 1.2, 1.2)


@functools.cache
def full(seed: int) -> np.ndarray:
    return procedural_anatomy(np.random.default_rng(seed), "full", FULL).structures


@functools.cache
def crop(seed: int) -> np.ndarray:
    return procedural_anatomy(np.random.default_rng(seed), "crop", CROP).structures


def volume_ml(structures: np.ndarray, ids: list[int], spacing: tuple[float, float, float]) -> float:
    return float(np.isin(structures, ids).sum() * np.prod(spacing) / 1000)


def middle(structures: np.ndarray, *ids: int) -> np.ndarray:
    return np.argwhere(np.isin(structures, ids)).mean(axis=0)


def test_the_same_seed_gives_the_same_anatomy_and_another_another() -> None:
    again = procedural_anatomy(np.random.default_rng(0), "crop", CROP)
    assert np.array_equal(again.structures, crop(0))
    assert again.spacing == CROP
    assert again.source == "procedural"
    assert crop(0).shape != crop(1).shape or not np.array_equal(crop(0), crop(1))


@pytest.mark.parametrize("seed", range(3))
def test_volumes_are_those_of_people(seed: int) -> None:
    structures = full(seed)
    for side in ("LEFT", "RIGHT"):
        kidney = [
            S[f"{part}_{side}"] for part in ("CORTEX", "MEDULLA", "SINUS_FAT", "RENAL_ARTERY", "RENAL_VEIN")
        ]
        assert 90 <= volume_ml(structures, kidney, FULL) <= 270
        assert 1.0 <= volume_ml(structures, [S[f"RENAL_ARTERY_{side}"]], FULL) <= 14
        assert 1.5 <= volume_ml(structures, [S[f"RENAL_VEIN_{side}"]], FULL) <= 40
        assert 0.3 <= volume_ml(structures, [S[f"COLLECTING_{side}"]], FULL) <= 30
        assert 0.1 <= volume_ml(structures, [S[f"URETER_{side}"]], FULL) <= 12
    assert 20 <= volume_ml(structures, [S.AORTA], FULL) <= 190
    assert 15 <= volume_ml(structures, [S.VENA_CAVA], FULL) <= 170
    assert 400 <= volume_ml(structures, [S.LIVER], FULL) <= 3000
    assert 40 <= volume_ml(structures, [S.SPLEEN], FULL) <= 600


@pytest.mark.parametrize("seed", range(3))
def test_left_is_left_and_front_is_front(seed: int) -> None:
    structures = full(seed)
    spine = middle(structures, S.BONE_SPONGY)
    assert (
        middle(structures, S.CORTEX_LEFT)[2]
        > spine[2] + 15
        > spine[2] - 15
        > middle(structures, S.CORTEX_RIGHT)[2]
    )
    assert middle(structures, S.AORTA)[2] > middle(structures, S.VENA_CAVA)[2] + 5
    assert middle(structures, S.LIVER)[2] < spine[2] < middle(structures, S.SPLEEN)[2]
    assert middle(structures, S.AORTA)[1] < spine[1] < middle(structures, S.SPINAL_FLUID)[1]
    assert middle(structures, S.LIVER)[0] > middle(structures, S.PSOAS)[0]


@pytest.mark.parametrize(
    ("field", "seed"), [("full", 0), ("full", 1), ("full", 2), ("crop", 0), ("crop", 1), ("crop", 2)]
)
def test_labelled_vessels_hang_together_with_their_origins(field: str, seed: int) -> None:
    structures = full(seed) if field == "full" else crop(seed)
    for drawn, origins in (
        ([S.RENAL_ARTERY_LEFT, S.RENAL_ARTERY_RIGHT], [S.AORTA, S.PLAQUE]),
        ([S.RENAL_VEIN_LEFT, S.RENAL_VEIN_RIGHT], [S.VENA_CAVA]),
        ([S.URETER_LEFT, S.URETER_RIGHT], [S.COLLECTING_LEFT, S.COLLECTING_RIGHT, S.STONE]),
    ):
        assert np.isin(structures, drawn).any()
        labels = cc3d.connected_components(
            np.isin(structures, drawn + origins).astype(np.uint8), connectivity=26
        )
        reached = np.unique(labels[np.isin(structures, origins)])
        assert np.isin(labels[np.isin(structures, drawn)], reached).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_crop_holds_one_kidney_and_both_great_vessels(seed: int) -> None:
    structures = crop(seed)
    anatomy_ml = [
        volume_ml(structures, [S[f"CORTEX_{s}"], S[f"MEDULLA_{s}"]], CROP) for s in ("LEFT", "RIGHT")
    ]
    assert max(anatomy_ml) > 55
    assert min(anatomy_ml) < 0.5 * max(anatomy_ml)
    assert volume_ml(structures, [S.AORTA], CROP) > 5
    assert volume_ml(structures, [S.VENA_CAVA], CROP) > 3
    extent = np.array(structures.shape) * CROP
    assert (extent > 85).all()
    assert (extent < 150).all()
    labelled = (truth := truth_of(_anatomy(structures))) > 0
    assert set(np.unique(truth)) == {0, 1, 2, 3}
    assert 0.01 < labelled.mean() < 0.2


def test_what_deceives_networks_is_there_and_unlabelled() -> None:
    """Science §6: canal with fluid and cord, facet joints, bowel with even content, other vessels."""
    found = np.zeros(256, int)
    for seed in range(3):
        found[np.unique(full(seed))] += 1
    for structure in (
        S.SPINAL_FLUID, S.SPINAL_CORD, S.CARTILAGE, S.OTHER_ARTERY, S.OTHER_VEIN, S.PORTAL_VEIN,
        S.BOWEL_CHYME, S.BOWEL_GAS, S.BOWEL_WALL, S.PANCREAS, S.ADRENAL, S.GALLBLADDER, S.BED, S.LUNG, S.DISC,
    ):  # fmt: skip
        assert found[structure] >= 2, structure.name
    anatomy = _anatomy(full(0))
    assert (truth_of(anatomy)[np.isin(full(0), [S.OTHER_ARTERY, S.OTHER_VEIN, S.PORTAL_VEIN])] == 0).all()
    assert set(np.unique(kidneys_of(anatomy))) == {0, 1, 2}


def test_the_bed_lies_outside_and_behind_the_body() -> None:
    structures = full(0)
    bed = np.argwhere(structures == S.BED)
    assert bed[:, 1].min() > np.argwhere(structures == S.SKIN)[:, 1].mean()


@pytest.mark.parametrize(
    ("field", "spacing", "words"),
    [("half", (1.0, 1.0, 1.0), "'crop' or 'full'"), ("crop", (0.0, 1.0, 1.0), r"\(0\.0, 1\.0, 1\.0\)")],
)
def test_wrong_wishes_are_refused(field: str, spacing: tuple[float, float, float], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        procedural_anatomy(np.random.default_rng(0), field, spacing)


def test_smooth_noise_is_smooth_and_of_unit_size() -> None:
    noise = smooth_noise((60, 60, 60), (1.0, 1.0, 1.0), 8.0, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1.0, abs=0.2)
    assert np.abs(np.diff(noise, axis=1)).max() < 1.0
    assert np.ptp(noise) > 3


def test_paths_and_shapes_of_one_canvas_meet() -> None:
    """A point sent to the scan by ``to_scan`` lies in the ellipsoid drawn about the same body point."""
    canvas = Canvas((60, 70, 80), (2.0, 1.5, 1.5), (10.0, -5.0, 3.0), np.random.default_rng(4))
    for place in ((10.0, -5.0, 3.0), (40.0, 20.0, -30.0), (-25.0, -30.0, 40.0)):
        canvas.structures[:] = 0
        canvas.ellipsoid(place, (6.0, 6.0, 6.0), 9)
        drawn = np.argwhere(canvas.structures == 9).mean(axis=0) * canvas.spacing
        assert canvas.to_scan(np.array([place]))[0] == pytest.approx(drawn, abs=0.8)


def _anatomy(structures: np.ndarray) -> Anatomy:
    return Anatomy(structures, FULL, "test")
