from __future__ import annotations

import numpy as np
import pytest

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.structures import Anatomy, Structure
from napari_kidnet.phantom.tissue import PHASES, TissueSettings, paint

S = Structure

# Means of the science report (§3.1), written out again here: unenhanced, arterial, venous, excretory.
EXPECTED = {
    S.AORTA: (40, 300, 150, 110),
    S.RENAL_ARTERY_LEFT: (40, 280, 145, 108),
    S.RENAL_VEIN_LEFT: (40, 150, 165, 110),
    S.CORTEX_LEFT: (35, 180, 180, 130),
    S.MEDULLA_RIGHT: (35, 70, 160, 135),
    S.LIVER: (60, 75, 110, 90),
    S.SPLEEN: (45, 130, 120, 90),
    S.SUBCUTANEOUS_FAT: (-100, -100, -100, -100),
    S.MUSCLE: (58, 60, 63, 63),
    S.BONE_SPONGY: (170, 170, 170, 170),
    S.AIR: (-1000, -1000, -1000, -1000),
}


def blocks(structures=tuple(EXPECTED), edge=10):
    """An anatomy of cubes side by side, one for each structure."""
    volume = np.zeros((edge, edge, edge * len(structures)), np.uint8)
    for number, structure in enumerate(structures):
        volume[:, :, number * edge : (number + 1) * edge] = structure
    return Anatomy(volume, (2.0, 2.0, 2.0), "blocks")


def means(hu, anatomy):
    return {s: float(hu[anatomy.structures == s].mean()) for s in np.unique(anatomy.structures)}


@pytest.mark.parametrize("phase", PHASES)
def test_typical_tissue_has_the_literatures_hu(phase):
    anatomy = blocks()
    drawn = [means(paint(anatomy, phase, np.random.default_rng(seed)), anatomy) for seed in range(30)]
    for structure, expected in EXPECTED.items():
        found = np.mean([one[structure] for one in drawn])
        assert abs(found - expected[PHASES.index(phase)]) < 18, structure.name


def test_the_same_seed_paints_the_same():
    anatomy = blocks()
    settings = TissueSettings("wide")
    first, second = (paint(anatomy, "venous", np.random.default_rng(9), settings) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert (paint(anatomy, "venous", np.random.default_rng(10), settings) != first).mean() > 0.5


def test_wide_tissue_varies_far_more_than_typical():
    anatomy = blocks()
    spread = {}
    for variety in ("typical", "wide"):
        settings = TissueSettings(variety)
        drawn = [
            means(paint(anatomy, "arterial", np.random.default_rng(s), settings), anatomy) for s in range(30)
        ]
        spread[variety] = {s: np.std([one[s] for one in drawn]) for s in EXPECTED}
        top = max(one[S.AORTA] for one in drawn)
    assert top > 400
    for structure in (S.AORTA, S.RENAL_VEIN_LEFT, S.LIVER, S.MEDULLA_RIGHT):
        assert spread["wide"][structure] > 1.4 * spread["typical"][structure], structure.name


def test_in_wide_venous_scans_the_vein_may_be_darker_or_brighter_than_the_artery():
    anatomy = blocks((S.AORTA, S.VENA_CAVA, S.RENAL_VEIN_LEFT))
    signs = set()
    for seed in range(25):
        found = means(paint(anatomy, "venous", np.random.default_rng(seed), TissueSettings("wide")), anatomy)
        signs.add(found[S.RENAL_VEIN_LEFT] > found[S.AORTA])
    assert signs == {True, False}


def test_blood_brightens_in_the_cava_above_the_renal_veins():
    volume = np.full((60, 20, 30), S.VISCERAL_FAT, np.uint8)
    volume[:, 8:14, 8:14] = S.VENA_CAVA
    volume[28:32, 9:12, 14:28] = S.RENAL_VEIN_LEFT
    anatomy = Anatomy(volume, (2.0, 2.0, 2.0), "cava")
    gaps = []
    for seed in range(12):
        hu = paint(anatomy, "arterial", np.random.default_rng(seed))
        gaps.append(hu[48:, 9:13, 9:13].mean() - hu[:12, 9:13, 9:13].mean())
    assert 25 < np.mean(gaps) < 80  # 60 below and 110 above, in the mean


def test_excreted_contrast_lies_at_the_back():
    volume = np.full((24, 24, 24), S.SINUS_FAT_LEFT, np.uint8)
    volume[4:20, 4:20, 4:20] = S.COLLECTING_LEFT
    anatomy = Anatomy(volume, (1.0, 1.0, 1.0), "pelvis")
    backs, fronts = [], []
    for seed in range(12):
        hu = paint(anatomy, "excretory", np.random.default_rng(seed))
        fronts.append(hu[6:18, 5, 6:18].mean())
        backs.append(hu[6:18, 18, 6:18].mean())
    assert np.mean(backs) > 350
    assert np.all(np.array(backs) >= np.array(fronts) - 40)
    assert np.mean(fronts) < np.mean(backs) - 50


def test_urine_is_dark_before_it_is_excreted():
    anatomy = blocks((S.COLLECTING_LEFT, S.URETER_RIGHT))
    for phase in ("unenhanced", "arterial"):
        for seed in range(5):
            assert paint(anatomy, phase, np.random.default_rng(seed)).max() < 80


def test_a_vessel_thinner_than_a_voxel_is_not_painted_as_a_whole_one():
    volume = np.full((20, 20, 20), S.VISCERAL_FAT, np.uint8)
    volume[:, 4, 4] = S.RENAL_ARTERY_LEFT
    volume[:, 10:15, 10:15] = S.RENAL_ARTERY_LEFT
    hu = paint(Anatomy(volume, (1.0, 1.0, 1.0), "lines"), "arterial", np.random.default_rng(1))
    thick, line = hu[2:18, 12, 12].mean(), hu[2:18, 4, 4].mean()
    assert -60 < line < thick - 100


def test_wrong_settings_are_refused():
    with pytest.raises(SettingsError, match="variety"):
        TissueSettings("wild")
    with pytest.raises(SettingsError, match="phase"):
        paint(blocks(), "portal", np.random.default_rng(0))
