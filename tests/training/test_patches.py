"""The patch store: R25, R26, readings A12 and A20, partial labels, and cases on another grid."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from skimage.morphology import skeletonize

from napari_kidnet.errors import LabelsError, SettingsError
from napari_kidnet.scans import Scan, read_case, write_labels, write_scan
from napari_kidnet.training import PatchStore
from napari_kidnet.training.patches import AIR_HU, KINDS
from napari_kidnet.training.resampling import labels_on_grid, scan_on_grid
from tests.training.conftest import EDGE, SPACING, tubes

if TYPE_CHECKING:
    from pathlib import Path


def test_R25_kinds_are_drawn_alike(store: PatchStore) -> None:
    rng = np.random.default_rng(0)
    kinds = Counter(store.draw(rng).kind for _ in range(4000))
    assert set(kinds) == set(KINDS)
    assert all(abs(count / 4000 - 0.25) < 0.025 for count in kinds.values())


def test_R25_A20_vessel_patches_are_centred_on_their_class_centreline(store: PatchStore) -> None:
    rng = np.random.default_rng(1)
    volumes = [tubes(seed=seed)[1] for seed in range(2)]
    lines = [{each: skeletonize(labels == each) > 0 for each in (1, 2, 3)} for labels in volumes]
    for _ in range(300):
        place = store.draw(rng)
        label = KINDS.index(place.kind)
        if label:
            # thinning differs by a voxel with the box it is done in
            near = tuple(slice(max(0, at - 1), at + 2) for at in place.centre)
            assert lines[place.case][label][near].any()
            assert volumes[place.case][place.centre] == label
        else:
            assert volumes[place.case][place.centre] == 0


def test_patches_lie_within_the_scan(store: PatchStore) -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        place = store.draw(rng)
        for start, centre, size in zip(place.start, place.centre, (40, 48, 56), strict=True):
            assert 0 <= start <= size - EDGE
            assert start <= centre < start + EDGE


def test_R26_patches_without_vessels_are_found_and_can_be_asked_for(store: PatchStore) -> None:
    store.check(strict=True)
    rng = np.random.default_rng(3)
    free = 0
    for _ in range(200):
        place = store.draw(rng, free_share=1.0)
        if place.kind == "background":
            block = store.cut(place.case, place.start, (EDGE,) * 3)
            assert not block.labels.any()
            free += 1
    assert free > 20


def test_R26_no_place_without_vessels_is_told(tmp_path: Path) -> None:
    hu, labels = tubes((20, 44, 20))
    store = PatchStore(tmp_path, EDGE)
    store.add("narrow", hu, SPACING, labels)
    with pytest.raises(SettingsError, match="free of vessels"):
        store.check(strict=True)
    with pytest.warns(UserWarning, match="free of vessels"):
        store.check()
    with pytest.raises(SettingsError, match="no cases"):
        PatchStore(tmp_path / "none", EDGE).check()


def test_background_points_are_preferred_in_the_body(tmp_path: Path) -> None:
    hu, labels = tubes()
    hu[:, :, 28:] = -1000
    store = PatchStore(tmp_path, EDGE)
    store.add("half", hu, SPACING, labels)
    rng = np.random.default_rng(0)
    places = [place for place in (store.draw(rng) for _ in range(200)) if place.kind == "background"]
    assert all(place.centre[2] < 28 for place in places)


def test_A12_beyond_the_scan_is_air_and_not_reviewed(store: PatchStore) -> None:
    hu, labels = tubes(seed=0)
    block = store.cut(0, (-3, 10, 50), (8, 8, 10))
    assert (block.hu[:3] == AIR_HU).all()
    assert (block.hu[:, :, 6:] == AIR_HU).all()
    assert np.array_equal(block.hu[3:, :, :6], hu[:5, 10:18, 50:])
    assert np.array_equal(block.labels[3:, :, :6], labels[:5, 10:18, 50:])
    assert block.reviewed is not None
    assert int(block.reviewed.sum()) == 5 * 8 * 6
    assert store.cut(0, (0, 10, 40), (8, 8, 10)).reviewed is None
    outside = store.cut(0, (100, 0, 0), (4, 4, 4))
    assert (outside.hu == AIR_HU).all()


def test_unreviewed_parts_have_no_centres(tmp_path: Path) -> None:
    hu, labels = tubes()
    reviewed = np.zeros(labels.shape, bool)
    reviewed[:15] = True
    store = PatchStore(tmp_path, EDGE)
    store.add("part", hu, SPACING, labels, reviewed)
    rng = np.random.default_rng(0)
    assert all(store.draw(rng).centre[0] < 15 for _ in range(200))
    block = store.cut(0, (7, 0, 0), (16, 16, 16))
    assert block.reviewed is not None
    assert block.reviewed[:8].all()
    assert not block.reviewed[8:].any()


def test_tubes_follow_the_centreline_within_the_class(store: PatchStore) -> None:
    block = store.cut(0, (0, 0, 0), (40, 48, 56))
    assert ((block.tubes == 0) | (block.tubes == block.labels)).all()
    assert set(np.unique(block.tubes)) == {0, 1, 2, 3}
    assert (block.tubes == 2).sum() < (block.labels == 2).sum()  # the vein is wider than its tube


def test_files_are_stored_once(tmp_path: Path) -> None:
    hu, labels = tubes()
    hu[:, :, 50:] = -1000
    scan = Scan.from_array(hu, (1.0, 0.8, 0.8), "a")
    write_scan(tmp_path / "a_ct.nii.gz", scan)
    case = read_case(tmp_path / "a_ct.nii.gz")
    with pytest.raises(LabelsError, match="no labels"):
        PatchStore(tmp_path / "store", EDGE).add_files(case)
    write_labels(tmp_path / "a_labels.nii.gz", labels, like=scan)
    case = read_case(tmp_path / "a_ct.nii.gz")
    PatchStore(tmp_path / "store", EDGE).add_files(case)
    made = (tmp_path / "store" / "a" / "case.json").stat().st_mtime_ns
    again = PatchStore(tmp_path / "store", EDGE)
    again.add_files(case)
    assert (tmp_path / "store" / "a" / "case.json").stat().st_mtime_ns == made
    assert np.array_equal(again.cut(0, (0, 0, 0), labels.shape).labels, labels)
    with pytest.raises(SettingsError, match="Two cases"):
        again.add("a", hu, SPACING, labels)
    # another patch size needs other places, and changed labels another copy
    PatchStore(tmp_path / "store", 2 * EDGE).add_files(case)
    assert (tmp_path / "store" / "a" / "case.json").stat().st_mtime_ns != made
    labels[0, 0, 0] = 3
    write_labels(tmp_path / "a_labels.nii.gz", labels, like=scan)
    changed = PatchStore(tmp_path / "store", EDGE)
    changed.add_files(case)
    assert changed.cut(0, (0, 0, 0), (4, 4, 4)).labels[0, 0, 0] == 3
    write_labels(tmp_path / "a_labels.nii.gz", np.full_like(labels, 9), like=scan)
    with pytest.raises(LabelsError, match="class 9"):
        PatchStore(tmp_path / "store", EDGE).add_files(case)


def test_many_cases_hold_few_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_kidnet.training.patches.OPEN_CASES", 2)
    store = PatchStore(tmp_path, 8)
    for number in range(4):
        hu = np.full((12, 12, 12), number, np.int16)
        store.add(f"c{number}", hu, SPACING, np.zeros(hu.shape, np.uint8))
    for number in (0, 1, 2, 3, 0):
        assert int(store.cut(number, (0, 0, 0), (2, 2, 2)).hu[0, 0, 0]) == number
    assert len(store._open) == 2


def test_the_same_grid_is_left_alone() -> None:
    hu, labels = tubes()
    assert np.array_equal(scan_on_grid(hu, SPACING, None), hu)
    assert np.array_equal(labels_on_grid(labels, SPACING, (1.0, 1.0, 1.0)), labels)


def test_a_coarser_grid_keeps_thin_vessels_whole() -> None:
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[:, 20, 20] = 3  # one voxel wide: an eighth of a voxel of 2 × 2 × 2
    labels[:, 4:14, 4:14] = 2
    found = labels_on_grid(labels, SPACING, (2.0, 2.0, 2.0))
    assert found.shape == (20, 20, 20)
    assert (found == 3).any(axis=(1, 2)).all()
    assert int((found == 2).sum()) == pytest.approx((labels == 2).sum() / 8, rel=0.15)
    assert int((found == 3).sum()) <= 2 * 20


def test_a_coarser_grid_averages() -> None:
    noise = np.random.default_rng(0).normal(40, 20, (40, 40, 40)).astype(np.float32)
    coarse = scan_on_grid(noise, SPACING, (2.0, 2.0, 2.0))
    assert coarse.mean() == pytest.approx(40, abs=1)
    assert coarse.std() < 12  # picking every second voxel would keep 20


def test_a_finer_grid_keeps_places() -> None:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[4:6, 4:6, 4:6] = 1
    fine = labels_on_grid(labels, (2.0, 2.0, 2.0), SPACING)
    assert fine.shape == (20, 20, 20)
    centre = np.argwhere(fine == 1).mean(axis=0)
    assert centre == pytest.approx([9.5] * 3, abs=0.1)  # half a voxel off would be 9 or 10
