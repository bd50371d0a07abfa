from __future__ import annotations

import numpy as np
import pytest

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.physics import PhysicsSettings, acquire, draw_physics, draw_spacing, thicken

SPACING = (1.0, 0.8, 0.8)


def test_noise_has_the_strength_asked_for():
    settings = PhysicsSettings(noise_hu=17.0, centre=0.0)
    noise = acquire(np.zeros((40, 60, 60), np.float32), SPACING, np.random.default_rng(0), settings)
    assert noise.std() == pytest.approx(17.0, rel=0.06)
    assert abs(noise.mean()) < 0.5


def test_noise_is_stronger_in_the_middle():
    settings = PhysicsSettings(noise_hu=15.0, centre=0.5)
    noise = acquire(np.zeros((40, 80, 80), np.float32), SPACING, np.random.default_rng(0), settings)
    assert noise[:, 35:45, 35:45].std() > 1.3 * noise[:, :8, :8].std()


def test_noise_has_a_grain_and_few_low_frequencies():
    settings = PhysicsSettings(noise_hu=15.0, grain_mm=1.4, centre=0.0)
    noise = acquire(np.zeros((30, 128, 128), np.float32), SPACING, np.random.default_rng(0), settings)
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(0)
    cycles = np.hypot(*np.meshgrid(np.fft.fftfreq(128, 0.8), np.fft.fftfreq(128, 0.8)))
    at = [power[(cycles > low) & (cycles < high)].mean() for low, high in ((0, 0.06), (0.2, 0.4), (0.6, 0.9))]
    assert at[1] > 2 * at[0]
    assert at[1] > 2 * at[2]


def test_a_point_is_blurred_to_the_width_asked_for_and_keeps_its_sum():
    point = np.zeros((21, 41, 41), np.float32)
    point[10, 20, 20] = 1000.0
    seen = acquire(point, (1.0, 0.4, 0.4), np.random.default_rng(0), PhysicsSettings(2.0, 0.0, 0.0))
    assert seen.sum() == pytest.approx(1000.0, rel=1e-3)
    line = seen[10, 20]
    width = (line > line.max() / 2).sum() * 0.4
    assert width == pytest.approx(2.0, abs=0.5)


def test_scanning_leaves_the_painted_body_as_it_was():
    body = np.random.default_rng(1).normal(0, 100, (8, 12, 12)).astype(np.float32)
    before = body.copy()
    acquire(body, SPACING, np.random.default_rng(0))
    acquire(body, SPACING, np.random.default_rng(0), PhysicsSettings(0.0, 0.0, 10.0))
    np.testing.assert_array_equal(body, before)


def test_thick_slices_are_averages_of_thin_ones():
    body = np.arange(7, dtype=np.float32)[:, None, None] * np.ones((1, 3, 3), np.float32)
    np.testing.assert_array_equal(thicken(body, 3)[:, 0, 0], [1.0, 4.0])
    seen = acquire(body, SPACING, np.random.default_rng(0), PhysicsSettings(0.0, 0.0, 0.0, thick=3))
    np.testing.assert_allclose(seen[:, 1, 1], [1.0, 4.0])


def test_spacing_has_the_papers_spread():
    drawn = np.array([draw_spacing(np.random.default_rng(seed)) for seed in range(400)])
    assert drawn[:, 1].mean() == pytest.approx(0.757, abs=0.02)
    assert drawn[:, 0].mean() == pytest.approx(0.92, abs=0.06)
    assert drawn[:, 0].min() >= 0.5
    assert drawn[:, 0].max() <= 2.5
    wide = np.array([draw_spacing(np.random.default_rng(seed), "wide")[0] for seed in range(200)])
    assert wide.max() > 3.5


def test_wide_image_quality_varies_more_than_typical():
    drawn = {
        variety: [draw_physics(np.random.default_rng(seed), variety) for seed in range(60)]
        for variety in ("typical", "wide")
    }
    for name in ("blur_mm", "noise_hu", "slice_mm"):
        spread = {variety: np.std([getattr(s, name) for s in all_]) for variety, all_ in drawn.items()}
        assert spread["wide"] > 2 * spread["typical"], name
    assert all(10 <= s.noise_hu <= 20 and 0.7 <= s.blur_mm <= 1.2 for s in drawn["typical"])


def test_the_same_seed_scans_the_same():
    body = np.zeros((10, 20, 20), np.float32)
    first, second = (acquire(body, SPACING, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("wrong", [{"noise_hu": -1.0}, {"thick": 0}, {"grain_mm": 9.0}, {"blur_mm": 7.0}])
def test_impossible_scanners_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        PhysicsSettings(**wrong)
