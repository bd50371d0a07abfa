"""Vessel trees: Murray's law, unbroken drawing, and renal vessels that hang together with their origins."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_kidnet.errors import SettingsError
from napari_kidnet.phantom.structures import Structure as S
from napari_kidnet.phantom.vessels import (
    Segment,
    TreeSettings,
    draw_segments,
    grow_renal_vessels,
    grow_tree,
    path_through,
)

SPACING = (1.0, 1.0, 1.0)


def torso(shift: float = 0.0) -> np.ndarray:
    """Two ellipsoid kidneys with a sinus, aorta, vena cava, spine and psoas in fat."""
    structures = np.full((120, 100, 160), S.VISCERAL_FAT, np.uint8)
    z, y, x = np.ogrid[:120, :100, :160]
    structures[((y - 85) ** 2 + (x - 80) ** 2 < 20**2) & (z >= 0)] = S.BONE_SPONGY
    for side, cx, out in (("LEFT", 132, 1), ("RIGHT", 28, -1)):
        structures[((y - 80) / 14) ** 2 + ((x - 80 - 34 * out) / 11) ** 2 + 0 * z < 1] = S.PSOAS
        level = ((z - 65 - shift) / 48) ** 2 + ((y - 62) / 24) ** 2 + ((x - cx) / 21) ** 2
        structures[level < 1] = S[f"CORTEX_{side}"]
        structures[level < 0.6] = S[f"MEDULLA_{side}"]
        hollow = ((z - 65 - shift) / 26) ** 2 + ((y - 62) / 9) ** 2 + ((x - cx + 12 * out) / 14) ** 2
        structures[hollow < 1] = S[f"SINUS_FAT_{side}"]
    structures[(y - 54) ** 2 + (x - 88) ** 2 + 0 * z < 9**2] = S.AORTA
    structures[(y - 54) ** 2 / 0.6 + (x - 62) ** 2 + 0 * z < 10**2] = S.VENA_CAVA
    return structures


def pieces_without(structures: np.ndarray, drawn: list[int], origins: list[int]) -> int:
    """Number of 26-connected pieces of ``drawn`` and ``origins`` together that hold no voxel of an origin."""
    labels = cc3d.connected_components(np.isin(structures, drawn + origins).astype(np.uint8), connectivity=26)
    return len(set(np.unique(labels)) - set(np.unique(labels[np.isin(structures, origins)])) - {0})


def children_of(tree: list[Segment], parent: Segment) -> list[Segment]:
    return [s for s in tree if s is not parent and np.array_equal(s.points_mm[0], parent.points_mm[-1])]


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 60),
    radius=st.floats(0.6, 6.0),
    exponent=st.floats(2.4, 3.2),
)
@settings(max_examples=40, deadline=None)
def test_murrays_law_holds_at_every_branching(seed: int, count: int, radius: float, exponent: float) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.uniform(-40, 40, (count, 3))
    tree = grow_tree(
        np.zeros(3), np.ones(3), targets, radius, rng, TreeSettings(murray_exponent=exponent, tip_taper=1.0)
    )
    assert tree[0].radius_mm[0] == pytest.approx(radius)
    assert min(s.radius_mm.min() for s in tree) >= 0.35 - 1e-9
    branchings = 0
    for parent in tree:
        children = children_of(tree, parent)
        if children:
            branchings += 1
            total = sum(c.radius_mm[0] ** exponent for c in children)
            assert total == pytest.approx(parent.radius_mm[-1] ** exponent)
    assert len(tree) == 2 * branchings + 1  # a binary tree, none of it cut off from the root


def test_a_tree_reaches_all_its_targets_and_repeats_by_seed() -> None:
    targets = np.random.default_rng(3).uniform(-30, 30, (32, 3))
    first, second = (grow_tree(np.zeros(3), np.ones(3), targets, 3.0, np.random.default_rng(5)) for _ in "ab")
    tips = np.stack([s.points_mm[-1] for s in first if not children_of(first, s)])
    assert {tuple(t) for t in tips} == {tuple(t) for t in targets}
    assert all(np.array_equal(a.points_mm, b.points_mm) for a, b in zip(first, second, strict=True))
    other = grow_tree(np.zeros(3), np.ones(3), targets, 3.0, np.random.default_rng(6))
    assert not np.array_equal(first[0].points_mm, other[0].points_mm)


@given(
    points=st.lists(
        st.tuples(*[st.floats(2, 26)] * 3),
        min_size=2,
        max_size=5,
        unique_by=lambda p: tuple(round(v) for v in p),
    ),
    radius=st.floats(0.05, 2.0),
    spacing=st.tuples(st.floats(0.6, 3.0), st.floats(0.4, 1.5), st.floats(0.4, 1.5)),
)
@settings(max_examples=60, deadline=None)
def test_however_thin_a_vessel_is_drawn_unbroken(
    points: list[tuple[float, float, float]], radius: float, spacing: tuple[float, float, float]
) -> None:
    shape = tuple(int(30 / s) + 1 for s in spacing)
    structures = np.zeros(shape, np.uint8)
    path = path_through(np.array(points), radius)
    draw_segments(structures, spacing, [path], 7)
    assert cc3d.connected_components(structures, connectivity=26).max() == 1
    for end in (points[0], points[-1]):
        assert structures[tuple(np.rint(np.array(end) / spacing).astype(int))] == 7


def test_a_straight_tube_has_the_volume_of_a_cylinder_with_round_ends() -> None:
    structures = np.zeros((80, 40, 40), np.uint8)
    spacing = (1.0, 0.5, 0.8)
    tube = Segment(np.array([[15.0, 10.0, 16.0], [60.0, 10.0, 16.0]]), np.array([5.0, 5.0]))
    draw_segments(structures, spacing, [tube], 1)
    expected = np.pi * 25 * 45 + 4 / 3 * np.pi * 125
    assert (structures > 0).sum() * np.prod(spacing) == pytest.approx(expected, rel=0.03)


def test_drawing_spares_what_may_not_be_overwritten() -> None:
    structures = np.full((20, 20, 20), S.VISCERAL_FAT, np.uint8)
    structures[:, :, 10:] = S.AORTA
    tube = Segment(np.array([[10.0, 10.0, 2.0], [10.0, 10.0, 18.0]]), np.array([3.0, 3.0]))
    draw_segments(structures, SPACING, [tube], S.RENAL_VEIN_LEFT, over=[S.VISCERAL_FAT])
    assert (structures[:, :, 10:] == S.AORTA).all()
    assert (structures[:, :, :10] == S.RENAL_VEIN_LEFT).any()


@pytest.mark.parametrize("seed", range(3))
def test_renal_vessels_hang_together_with_their_origins(seed: int) -> None:
    structures = torso()
    rng = np.random.default_rng(seed)
    for side in ("left", "right"):
        grow_renal_vessels(structures, SPACING, side, rng)
    for side in ("LEFT", "RIGHT"):
        artery, vein = S[f"RENAL_ARTERY_{side}"], S[f"RENAL_VEIN_{side}"]
        pelvis, ureter = S[f"COLLECTING_{side}"], S[f"URETER_{side}"]
        for structure, least_ml in ((artery, 1.0), (vein, 2.0), (pelvis, 0.2), (ureter, 0.03)):
            assert (structures == structure).sum() >= 1000 * least_ml
        assert pieces_without(structures, [artery], [S.AORTA]) == 0
        assert pieces_without(structures, [vein], [S.VENA_CAVA]) == 0
        assert pieces_without(structures, [ureter], [pelvis]) == 0


def test_the_right_artery_passes_behind_the_vena_cava_and_the_left_vein_before_the_aorta() -> None:
    behind = before = 0
    for seed in range(3):
        structures = torso()
        rng = np.random.default_rng(seed)
        grow_renal_vessels(structures, SPACING, "right", rng)
        grow_renal_vessels(structures, SPACING, "left", rng)
        artery = np.argwhere(structures == S.RENAL_ARTERY_RIGHT)
        artery = artery[np.abs(artery[:, 2] - 62) < 4]
        vein = np.argwhere(structures == S.RENAL_VEIN_LEFT)
        vein = vein[np.abs(vein[:, 2] - 88) < 4]
        behind += bool(len(artery)) and bool((artery[:, 1] > 56).all())
        before += bool(len(vein)) and bool((vein[:, 1] < 54).all())
    assert (behind, before) == (3, 3)


def test_vessels_stay_on_their_own_side_and_the_ureter_runs_down_to_the_field_s_end() -> None:
    structures = torso(shift=8.0)
    grow_renal_vessels(structures, SPACING, "left", np.random.default_rng(1))
    assert not np.isin(structures, [S.RENAL_ARTERY_RIGHT, S.RENAL_VEIN_RIGHT, S.COLLECTING_RIGHT]).any()
    ureter = np.argwhere(structures == S.URETER_LEFT)
    assert ureter[:, 0].min() == 0
    assert (ureter[:, 2] > 88).all()
    assert (np.argwhere(structures == S.COLLECTING_LEFT)[:, 2] > 88).all()


def test_a_kidney_of_a_label_map_without_a_sinus_gets_vessels_through_its_concavity() -> None:
    structures = torso()
    structures[structures == S.SINUS_FAT_LEFT] = S.MEDULLA_LEFT
    z, y, x = np.ogrid[:120, :100, :160]
    notch = ((z - 65) / 16) ** 2 + ((y - 62) / 8) ** 2 + ((x - 112) / 12) ** 2 < 1
    structures[notch] = S.VISCERAL_FAT
    kidney = np.isin(structures, [S.CORTEX_LEFT, S.MEDULLA_LEFT])
    grow_renal_vessels(structures, SPACING, "left", np.random.default_rng(2))
    pelvis = np.argwhere(structures == S.COLLECTING_LEFT)
    assert len(pelvis) > 200
    inside = kidney & np.isin(structures, [S.RENAL_ARTERY_LEFT, S.RENAL_VEIN_LEFT])
    assert inside.sum() > 500
    # The artery enters where the notch is, not through the back or a pole.
    border = np.argwhere((structures == S.RENAL_ARTERY_LEFT) & ~kidney)
    near = border[(border[:, 2] > 106) & (border[:, 2] < 120)]
    assert len(near)
    assert np.abs(near[:, 0] - 65).mean() < 25


@pytest.mark.parametrize("missing", [S.AORTA, S.VENA_CAVA, "kidney"])
def test_what_has_no_counterpart_is_left_out(missing: object) -> None:
    structures = torso()
    gone = [S.CORTEX_LEFT, S.MEDULLA_LEFT, S.SINUS_FAT_LEFT] if missing == "kidney" else [missing]
    structures[np.isin(structures, gone)] = S.VISCERAL_FAT
    grow_renal_vessels(structures, SPACING, "left", np.random.default_rng(0))
    assert (structures == S.RENAL_ARTERY_LEFT).any() == (missing == S.VENA_CAVA)
    assert (structures == S.RENAL_VEIN_LEFT).any() == (missing == S.AORTA)
    assert (structures == S.COLLECTING_LEFT).any() == (missing != "kidney")


def test_only_what_is_asked_for_is_grown() -> None:
    structures = torso()
    grow_renal_vessels(structures, SPACING, "left", np.random.default_rng(0), artery=False, collecting=False)
    assert (structures == S.RENAL_VEIN_LEFT).any()
    assert not np.isin(structures, [S.RENAL_ARTERY_LEFT, S.COLLECTING_LEFT, S.URETER_LEFT]).any()


def test_settings_name_the_field_that_is_wrong() -> None:
    with pytest.raises(SettingsError, match=r"murray_exponent is 9.*2\.0 to 4\.0"):
        TreeSettings(murray_exponent=9)


def test_the_ureter_passes_a_vessel_that_lies_across() -> None:
    for seed in range(3):
        structures = torso(shift=8.0)
        structures[20:26, 20:96, 90:158] = S.OTHER_ARTERY
        grow_renal_vessels(structures, SPACING, "left", np.random.default_rng(seed))
        assert np.argwhere(structures == S.URETER_LEFT)[:, 0].min() == 0
        assert pieces_without(structures, [S.URETER_LEFT], [S.COLLECTING_LEFT]) == 0


def test_a_psoas_in_two_parts_does_not_stop_the_ureter() -> None:
    structures = torso()
    x = np.arange(160)
    structures[np.broadcast_to((x > 108) & (x < 120), structures.shape) & (structures == S.PSOAS)] = (
        S.VISCERAL_FAT
    )
    grow_renal_vessels(structures, SPACING, "left", np.random.default_rng(0))
    assert (structures == S.URETER_LEFT).any()
