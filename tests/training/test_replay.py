"""Replay: what is kept, what goes first, and what is never mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_kidnet.phantom as phantom
from napari_kidnet.errors import OutputError
from napari_kidnet.training import replay
from napari_kidnet.training.patches import PatchStore
from napari_kidnet.training.replay import MixedStore, ReplayStore, cropped
from tests.training.finetuning_scenes import SHAPE, correction, fake_phantom

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the phantoms that were made."""
    seeds: list[int] = []

    def make(seed: int, settings: object = None) -> object:
        seeds.append(seed)
        return fake_phantom(seed)

    monkeypatch.setattr(phantom, "make_case", make)
    return seeds


def test_phantoms_are_made_once_and_apart(tmp_path: Path, drawn: list[int]) -> None:
    for _ in range(2):
        store = ReplayStore(tmp_path, 16)
        list(store.add_phantoms())
    assert len(drawn) == len(set(drawn)) == 6
    blocks, entries = store.blocks()
    assert len(blocks) == len(entries) == 4
    locked = {entry.source for entry, _ in store.locked()}
    assert len(locked) == 2
    assert not locked & {each.source for each in entries}
    assert all(int(each.source.split("-")[1]) < 500 for each in entries)


def test_an_interrupted_making_goes_on(tmp_path: Path, drawn: list[int]) -> None:
    making = ReplayStore(tmp_path, 16).add_phantoms()
    next(making)
    next(making)
    making.close()
    list(ReplayStore(tmp_path, 16).add_phantoms())
    assert len(drawn) == len(set(drawn)) == 6


def test_the_ring_forgets_blocks_and_no_scan_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "CAPACITY", 10)
    store = ReplayStore(tmp_path, 16)
    for seed in range(4):
        store.add(correction(seed), "training", np.random.default_rng(0))
    again = ReplayStore(tmp_path, 16)
    blocks, entries = again.blocks()
    assert len(blocks) == len(entries) == 10
    assert {each.source for each in entries} == {correction(seed).hash for seed in range(4)}
    on_disk = {path.name for path in (again.folder / "blocks").iterdir()}
    assert on_disk == {each.name for each in entries}


def test_a_scan_corrected_further_replaces_itself(tmp_path: Path) -> None:
    store = ReplayStore(tmp_path, 16)
    first = correction(1)
    other = correction(1, labels=np.where(first.labels == 1, 2, first.labels).astype(np.uint8))
    for each in (first, other):
        store.add(each, "training", np.random.default_rng(0))
    blocks, entries = store.blocks()
    assert len(entries) == 8
    for number in range(len(blocks)):
        assert not (blocks.cut(number, (0, 0, 0), blocks.shape_of(number)).labels == 1).any()
    assert store.blocks(leaving={first.hash})[1] == []


def test_blocks_are_pieces_of_the_scan_with_its_labels(tmp_path: Path) -> None:
    each = correction(1)
    store = ReplayStore(tmp_path, 16)
    store.add(each, "training", np.random.default_rng(0))
    blocks, _ = store.blocks()
    values = each.scan.hu
    block = blocks.cut(0, (0, 0, 0), (24, 24, 24))
    # a row of noisy values is found at one place only
    middle = block.hu[12, 12, 8:16]
    rows = np.lib.stride_tricks.sliding_window_view(values, 8, axis=2)
    hits = np.argwhere((rows == middle).all(axis=-1))
    assert len(hits) == 1
    z, y, x = hits[0]
    assert np.array_equal(block.labels[12, 12, 8:16], each.labels[z, y, x : x + 8])


def test_locked_volumes_come_back_as_they_were(tmp_path: Path) -> None:
    reviewed = np.zeros(SHAPE, dtype=bool)
    reviewed[3:20, 2:30, 1:31] = True
    each = correction(1, reviewed)
    ReplayStore(tmp_path, 16).add(each, "validation", np.random.default_rng(0))
    ((entry, back),) = ReplayStore(tmp_path, 16).locked()
    assert entry.source == each.hash
    for one, other in ((back.scan.hu, each.scan.hu), (back.labels, each.labels), (back.reviewed, reviewed)):
        assert np.array_equal(one, other)
    assert back.scan.spacing == each.scan.spacing


def test_a_crop_is_about_the_reviewed_vessels() -> None:
    part = cropped(correction(1), 16)
    assert part.scan.shape == part.labels.shape == part.reviewed.shape == (16, 16, 16)
    assert part.labels.any()


def test_other_grids_have_other_folders(tmp_path: Path) -> None:
    ReplayStore(tmp_path, 16).add(correction(1), "training", np.random.default_rng(0))
    assert ReplayStore(tmp_path, 32).entries == []
    assert ReplayStore(tmp_path, 16, (1.0, 1.0, 1.0)).entries == []


def test_a_damaged_list_is_told(tmp_path: Path) -> None:
    store = ReplayStore(tmp_path, 16)
    (store.folder / "replay.json").write_text("{")
    with pytest.raises(OutputError, match="damaged"):
        ReplayStore(tmp_path, 16)


def test_half_of_the_patches_are_replayed(tmp_path: Path, drawn: list[int]) -> None:
    store = ReplayStore(tmp_path, 16)
    list(store.add_phantoms())
    blocks, entries = store.blocks()
    each = correction(1)
    corrected = PatchStore(tmp_path / "corrected", 16)
    corrected.add(each.name, each.scan.hu, each.scan.spacing, each.labels)
    mixture = MixedStore(corrected, [np.ones(4, dtype=bool)], [np.zeros((0, 3), np.int16)], 0.5)
    mixture = mixture.replaying(blocks, entries, 0.5)
    rng = np.random.default_rng(0)
    cases = [mixture.draw(rng).case for _ in range(400)]
    assert 160 < sum(case > 0 for case in cases) < 240
    assert set(cases) == {0, 1, 2, 3, 4}
    cut = mixture.cut(2, (0, 0, 0), SHAPE)
    assert np.array_equal(cut.hu, blocks.cut(1, (0, 0, 0), SHAPE).hu)
