"""Algorithm 1, line by line: R12–R18, readings A6–A10 and A24, and the numbers of science.md §1.4."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_kidnet.errors import SettingsError
from napari_kidnet.training.weighting import DynamicWeighting, patch_volumes, patch_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray


def patch(artery: int = 0, vein: int = 0, ureter: int = 0, edge: int = 10) -> NDArray[np.uint8]:
    """A patch of edge³ voxels with so many of each class."""
    labels = np.zeros(edge**3, np.uint8)
    labels[:artery] = 1
    labels[artery : artery + vein] = 2
    labels[artery + vein : artery + vein + ureter] = 3
    return labels.reshape(edge, edge, edge)


def test_R12_the_state_begins_at_one_over_n() -> None:
    begin = DynamicWeighting()
    assert begin.volumes.tolist() == [0.25] * 4
    assert begin.class_weights.tolist() == [1.0] * 4
    assert begin.alpha == 0.001


def test_R13_volumes_are_parts_of_the_patch_and_zero_for_absent_classes() -> None:
    assert patch_volumes(patch(artery=10, ureter=5)).tolist() == [0.985, 0.01, 0.0, 0.005]


def test_R14_an_absent_class_shrinks_too() -> None:
    weighting = DynamicWeighting()
    weighting.weigh(patch())
    assert weighting.volumes == pytest.approx([0.25 * 0.999 + 0.001, *[0.25 * 0.999] * 3], abs=1e-15)


@given(st.lists(st.tuples(*[st.integers(0, 300)] * 3), min_size=1, max_size=20), st.floats(0.001, 1.0))
def test_R14_the_volumes_always_add_up_to_one(counts: list[tuple[int, int, int]], alpha: float) -> None:
    weighting = DynamicWeighting(alpha)
    for each in counts:
        weighting.weigh(patch(*each))
    assert weighting.volumes.sum() == pytest.approx(1.0, abs=1e-12)
    assert weighting.patches_seen == len(counts)


def test_R14_identical_patches_converge_geometrically() -> None:
    weighting, labels = DynamicWeighting(), patch(10, 20, 5)
    for _ in range(300):
        weighting.weigh(labels)
    mean = patch_volumes(labels)
    assert weighting.volumes == pytest.approx(mean + (0.25 - mean) * 0.999**300, abs=1e-12)


@pytest.mark.parametrize(
    ("seen", "weight"), [(100, 1.11), (300, 1.35), (1000, 2.70), (3000, 18.7), (10_000, 247)]
)
def test_R14_a_class_of_one_per_mille_warms_up_as_in_the_report(seen: int, weight: float) -> None:
    weighting = DynamicWeighting()
    for _ in range(seen):
        weighting.update(np.array([0.997, 0.001, 0.001, 0.001]))
    assert weighting.class_weights[1] == pytest.approx(weight, rel=0.01)


def test_R15_class_weights_are_those_after_the_update() -> None:
    weighting = DynamicWeighting(alpha=0.5)
    found = weighting.weigh(patch(artery=100))
    assert found.class_ * weighting.volumes == pytest.approx([0.25] * 4, abs=1e-12)
    assert found.class_[1] == pytest.approx(1 / (4 * (0.25 * 0.5 + 0.1 * 0.5)))


@pytest.mark.parametrize(
    ("foreground", "weight"),
    [(1e-4, 10.21), (1e-3, 7.91), (1e-2, 5.61), (3e-2, 4.51), (0.1, 3.30), (0.5, 1.69), (1, 1)],
)
def test_R16_A6_the_patch_weight_is_one_minus_the_natural_logarithm(foreground: float, weight: float) -> None:
    assert patch_weight(np.array([1 - foreground, foreground, 0, 0])) == pytest.approx(weight, abs=0.01)


def test_R16_background_only_weighs_one_and_a_single_voxel_nearly_fifteen() -> None:
    assert patch_weight(patch_volumes(patch())) == 1.0
    assert patch_weight(np.array([1 - 96.0**-3, 96.0**-3, 0, 0])) == pytest.approx(14.69, abs=0.01)
    assert patch_weight(np.array([1 - 96.0**-3, 96.0**-3, 0, 0]), cap=10.2) == 10.2
    assert patch_weight(np.array([0.9, 0.1, 0, 0]), base=10) == pytest.approx(2.0)


def test_R16_A7_all_vessel_classes_count_together() -> None:
    found = DynamicWeighting().weigh(patch(10, 20, 5))
    assert found.patch == pytest.approx(1 - math.log(0.035))


def test_R17_a_voxel_weighs_patch_times_class() -> None:
    found = DynamicWeighting(alpha=0.3).weigh(patch(10, 20, 5))
    assert found.voxel == pytest.approx(found.patch * found.class_)
    assert found.voxel[0] == pytest.approx(found.patch * found.class_[0])  # background as well


def test_the_asymptotic_weights_of_the_report() -> None:
    weighting = DynamicWeighting(alpha=1.0)
    volumes = np.array([0.99, 0.004, 0.005, 0.001])
    weighting.update(volumes)
    assert weighting.class_weights == pytest.approx([0.2525, 62.5, 50, 250], rel=1e-3)
    assert patch_weight(volumes) * weighting.class_weights == pytest.approx([1.4, 350, 280, 1401], rel=0.02)


def test_A9_patches_count_one_after_the_other() -> None:
    forward, backward = DynamicWeighting(alpha=0.5), DynamicWeighting(alpha=0.5)
    few, many = patch(artery=10), patch(artery=500)
    forward.weigh(few)
    forward.weigh(many)
    backward.weigh(many)
    backward.weigh(few)
    assert forward.volumes[1] > backward.volumes[1]  # the newest patch counts most


def test_A24_an_absent_class_inflates_only_up_to_the_cap() -> None:
    volumes = [0.997, 0.001, 0.001, 0.001]
    free, capped = (
        DynamicWeighting(volumes=volumes),
        DynamicWeighting(volumes=volumes, largest_class_weight=1000),
    )
    for _ in range(3000):
        for each in (free, capped):
            each.update(np.array([0.99, 0.005, 0.005, 0.0]))
    assert free.class_weights[3] == pytest.approx(5029, rel=0.01)
    assert capped.class_weights[3] == 1000
    nothing = DynamicWeighting(alpha=1.0)
    nothing.update(np.array([1.0, 0, 0, 0]))
    assert np.isfinite(nothing.class_weights).all()


def test_partial_labels_count_reviewed_voxels_only() -> None:
    labels = patch(artery=100)
    reviewed = np.zeros(labels.shape, bool)
    reviewed.ravel()[90:190] = True  # ten artery voxels and ninety of background
    assert patch_volumes(labels, reviewed).tolist() == [0.9, 0.1, 0.0, 0.0]
    weighting = DynamicWeighting(alpha=0.5)
    assert weighting.weigh(labels, reviewed).patch == pytest.approx(1 - math.log(0.1))
    before = weighting.volumes.copy()
    weighting.weigh(labels, np.zeros(labels.shape, bool))
    assert weighting.volumes.tolist() == before.tolist()  # nothing reviewed says nothing


def test_impossible_states_are_refused() -> None:
    with pytest.raises(SettingsError, match="alpha"):
        DynamicWeighting(alpha=0)
    with pytest.raises(SettingsError, match="volumes"):
        DynamicWeighting(volumes=[0.5, 0.5])
    with pytest.raises(SettingsError, match="label is 7"):
        patch_volumes(np.full((2, 2, 2), 7, np.uint8))
