"""Random sampling in bands: R17, R19–R24, readings A1, A2, A15–A19."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, distance_transform_edt

from napari_kidnet.training.sampling import capped_squared_distance, sample_bands, voxel_weights
from napari_kidnet.training.schema import Schema
from napari_kidnet.training.weighting import DynamicWeighting, PatchWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = Schema()
ONES = PatchWeights(np.ones(4), np.ones(4), 1.0)


def rod(edge: int = 40, label: int = 1, radius: float = 1.5) -> NDArray[np.uint8]:
    """A straight vessel along z in the middle."""
    _, y, x = np.ogrid[:edge, :edge, :edge]
    inside = (y - edge // 2) ** 2 + (x - edge // 2) ** 2 <= radius**2
    return np.where(np.broadcast_to(inside, (edge,) * 3), np.uint8(label), np.uint8(0))


def sampled(
    labels: NDArray[np.uint8], schema: Schema = SCHEMA, seed: int = 0, **more: object
) -> NDArray[np.intp]:
    distance = capped_squared_distance(labels != 0, schema.outer_radius)
    return sample_bands(labels, distance, schema, np.random.default_rng(seed), **more)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(1, 14)] * 3),
    st.integers(0, 14),
    st.sampled_from([0.0, 0.002, 0.02, 0.5]),
)
def test_R19_distances_are_scipys(seed: int, shape: tuple[int, int, int], radius: int, share: float) -> None:
    mask = np.random.default_rng(seed).random(shape) < share
    far = radius**2 + 1
    exact = distance_transform_edt(~mask) ** 2 if mask.any() else np.full(shape, far)
    expected = np.where(np.round(exact) <= radius**2, np.round(exact), far)
    assert np.array_equal(capped_squared_distance(mask, radius), expected)


def test_R19_the_bands_are_dilations_by_balls() -> None:
    labels = rod(24)
    distance = capped_squared_distance(labels != 0, 4)
    for radius in (2, 4):
        reach = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
        ball = sum(each**2 for each in reach) <= radius**2
        assert np.array_equal(distance <= radius**2, binary_dilation(labels != 0, ball))


def test_R20_R21_counts_and_bands() -> None:
    labels = rod()
    distance = distance_transform_edt(labels == 0).ravel()
    at = sampled(labels)
    foreground = int((labels != 0).sum())
    assert len(at) == len(np.unique(at)) == foreground
    assert distance[at].min() > 2  # A1: the first band is never sampled
    red = int((distance[at] <= 4).sum())
    assert red == round(0.2 * foreground)
    assert (labels.ravel()[at] == 0).all()


@pytest.mark.parametrize("foreground", range(1, 9))
def test_A18_tiny_vessels_are_rounded(foreground: int) -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[10, 10, 10 : 10 + foreground] = 3
    at = sampled(labels)
    distance = distance_transform_edt(labels == 0).ravel()[at]
    assert len(at) == foreground
    assert int((distance <= 4).sum()) == round(0.2 * foreground)


@pytest.mark.parametrize(("edge", "count"), [(96, 8847), (48, 1106), (20, 80)])
def test_R22_one_per_cent_of_a_patch_without_vessels(edge: int, count: int) -> None:
    at = sampled(np.zeros((edge,) * 3, np.uint8))
    assert len(np.unique(at)) == count
    halves = np.bincount(at * 2 // edge**3, minlength=2)
    assert abs(int(halves[0]) - count / 2) < 5 * np.sqrt(count)  # uniform over the patch


def test_R23_drawn_anew_each_time() -> None:
    labels = rod()
    first, again, other = sampled(labels, seed=1), sampled(labels, seed=1), sampled(labels, seed=2)
    assert np.array_equal(first, again)
    assert len(np.intersect1d(first, other)) < 0.5 * len(first)


def test_A15_bands_keep_clear_of_every_class() -> None:
    labels = rod()
    labels[:, 23:27, 18:22] = 2  # a vein within the artery's red band
    distance = distance_transform_edt(labels == 0).ravel()
    assert distance[sampled(labels)].min() > 2


def test_A16_a_vessel_just_outside_of_the_patch_counts() -> None:
    whole = np.zeros((24, 24, 28), np.uint8)
    whole[:, :, 2] = 1  # two voxels before the patch begins
    whole[8:10, 8:10, 16:18] = 2
    distance = capped_squared_distance(whole != 0, 4)
    inner = (slice(4, -4), slice(4, -4), slice(4, -4))
    labels = whole[inner]
    schema = replace(SCHEMA, red_share=1.0)
    for seed in range(5):
        at = sample_bands(labels, np.ascontiguousarray(distance[inner]), schema, np.random.default_rng(seed))
        assert distance_transform_edt(whole == 0)[inner].ravel()[at].min() > 2


def test_A17_a_short_band_is_filled_from_the_other_never_from_blue() -> None:
    labels = np.ones((24, 24, 24), np.uint8)
    labels[:, :, 16:] = 0  # eight layers of background: two blue, two red, four far
    at = sampled(labels)
    distance = distance_transform_edt(labels == 0).ravel()[at]
    assert len(at) == 24 * 24 * 6  # all there is
    assert distance.min() > 2
    many = np.zeros((30, 30, 30), np.uint8)
    many[:, :, :3] = 1
    schema = replace(SCHEMA, red_share=1.0)
    depth = distance_transform_edt(many == 0).ravel()[sampled(many, schema)]
    assert int((depth <= 4).sum()) == 2 * 900  # all of the red band
    assert len(depth) == 3 * 900  # the rest from beyond


def test_R17_without_sampling_a_patch_has_one_weight_per_class() -> None:
    labels = rod()
    labels[:, 2, 2] = 3
    weights = DynamicWeighting(alpha=0.5).weigh(labels)
    distance = capped_squared_distance(labels != 0, 4)
    found = voxel_weights(
        labels, distance, replace(SCHEMA, sampling=False), weights, np.random.default_rng(0)
    )
    assert np.allclose(found, weights.voxel[labels])
    assert len(np.unique(found)) == 3


def build(
    schema: Schema, labels: NDArray[np.uint8], weights: PatchWeights, **more: object
) -> NDArray[np.float32]:
    distance = capped_squared_distance(labels != 0, 4)
    return voxel_weights(labels, distance, schema, weights, np.random.default_rng(0), **more)  # type: ignore[arg-type]


def test_R23_A2_sampled_voxels_weigh_as_much_as_the_vessels() -> None:
    labels = rod()
    labels[:, 4, 4] = 3
    weights = DynamicWeighting(alpha=0.5).weigh(labels)
    found = build(SCHEMA, labels, weights)
    background = found[labels == 0]
    high = background > weights.voxel[0] * 1.001
    assert int(high.sum()) == int((labels != 0).sum())
    # equal volume at equal mean weight: the sampled background pulls as much as the foreground
    assert background[high].sum() == pytest.approx(found[labels != 0].sum(), rel=1e-4)
    assert background[~high] == pytest.approx(weights.voxel[0], rel=1e-5)  # and the rest keeps CW_0


def test_A2_options_of_sampled_and_unsampled_weights() -> None:
    labels = rod()
    labels[:, 4, 4] = 3
    weights = DynamicWeighting(alpha=0.5).weigh(labels)
    count = int((labels != 0).sum())
    zero = build(replace(SCHEMA, unsampled="zero"), labels, weights)
    assert int((zero[labels == 0] != 0).sum()) == count
    largest = build(replace(SCHEMA, sampled="fg_max"), labels, weights)[labels == 0].max()
    assert largest == pytest.approx(weights.voxel[[1, 3]].max(), rel=1e-5)
    policy = build(replace(SCHEMA, sampled="policy"), labels, weights)[labels == 0].max()
    assert policy == pytest.approx(weights.patch * labels.size / (4 * count), rel=1e-5)
    number = build(replace(SCHEMA, sampled=30.0), labels, weights)[labels == 0].max()
    assert number == pytest.approx(30 * weights.patch, rel=1e-5)


def test_A19_without_vessels_the_mean_of_their_class_weights() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    weights = DynamicWeighting(alpha=1e-6, volumes=[0.99, 0.004, 0.005, 0.001]).weigh(labels)
    found = build(SCHEMA, labels, weights)
    assert found.max() == pytest.approx((62.5 + 50 + 250) / 3, rel=1e-3)  # 121 in the report
    assert int((found > 1).sum()) == 80


def test_unreviewed_voxels_weigh_nothing_and_are_not_sampled() -> None:
    labels = rod()
    reviewed = np.zeros(labels.shape, bool)
    reviewed[:12] = True
    found = build(SCHEMA, labels, DynamicWeighting(alpha=0.5).weigh(labels, reviewed), reviewed=reviewed)
    assert not found[12:].any()
    at = sampled(labels, reviewed=reviewed)
    assert len(at) == int((labels[:12] != 0).sum())
    assert reviewed.ravel()[at].all()


def test_hard_negatives_come_from_where_the_network_errs() -> None:
    labels = rod()
    suspicion = np.full(labels.shape, 1e-4, np.float32)
    suspicion[:, :8, :8] = 0.99  # far from the vessel
    corner = np.zeros(labels.shape, bool)
    corner[:, :8, :8] = True
    schema = replace(SCHEMA, hard_share=0.5)
    soft = corner.ravel()[sampled(labels)].mean()
    hard_at = sampled(labels, schema, suspicion=suspicion)
    assert len(np.unique(hard_at)) == int((labels != 0).sum())
    assert corner.ravel()[hard_at].mean() > soft + 0.3


@pytest.mark.parametrize(("name", "distinct"), [("none", {1.0}), ("rs", {0.0, 1.0})])
def test_R24_without_weighting_all_weights_are_one_or_none(name: str, distinct: set[float]) -> None:
    labels = rod()
    schema = Schema.published(name)
    found = build(schema, labels, ONES)
    assert set(np.unique(found).tolist()) == distinct
    assert (found[labels != 0] == 1).all()
