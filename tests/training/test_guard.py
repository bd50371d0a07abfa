"""The guard: its figures, its verdict, and a split that never mixes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_kidnet.segmentation as segmentation
from napari_kidnet.progress import Progress, drain
from napari_kidnet.training.guard import SENSITIVITIES, Figures, Guard, GuardCase, split_roles, verdict
from tests.training.finetuning_scenes import SHAPE, checkpoint, correction

if TYPE_CHECKING:
    from collections.abc import Generator

HASHES = st.lists(
    st.integers(0, 300).map(lambda number: hashlib.sha256(str(number).encode()).hexdigest()),
    min_size=1,
    max_size=6,
    unique=True,
)


@given(rounds=st.lists(HASHES, min_size=1, max_size=6))
def test_no_scan_is_ever_in_training_and_validation(rounds: list[list[str]]) -> None:
    known: dict[str, str] = {}
    for hashes in rounds:
        roles = split_roles(hashes, known)
        assert set(roles) == set(hashes)
        assert all(roles[each] == known[each] for each in hashes if each in known)
        if any(each not in known for each in hashes):
            assert "training" in roles.values()
        known |= roles


@given(hashes=HASHES)
def test_the_split_depends_on_the_scans_and_not_on_their_order(hashes: list[str]) -> None:
    assert split_roles(hashes, {}) == split_roles(hashes[::-1], {})


@given(hashes=HASHES.filter(lambda each: len(each) >= 2))
def test_of_two_scans_one_is_held_out(hashes: list[str]) -> None:
    assert set(split_roles(hashes, {}).values()) == {"training", "validation"}


@given(hashes=HASHES)
def test_a_split_that_was_broken_off_goes_on_as_it_would_have(hashes: list[str]) -> None:
    """Those to measure on are stored first; a process may be killed after any of them."""
    whole = split_roles(hashes, {})
    order = sorted(hashes, key=lambda each: whole[each] == "training")
    for stored in range(len(order) + 1):
        others = {"phantom-0500-arterial-typical": "validation"}
        known = {each: whole[each] for each in order[:stored]} | others
        assert split_roles(hashes, known) == whole


def figures(old: float | None, new: float | None) -> Figures:
    there = [each for each in (old, new) if each is not None]
    mean = sum(there) / len(there) if there else 0.0
    return Figures({"artery": mean}, mean, old, new, 0)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ((0.8, 0.3), (0.79, 0.5), None),
        ((0.8, 0.3), (0.75, 0.9), "earlier"),
        ((0.8, 0.3), (0.9, 0.2), "corrected"),
        ((0.8, None), (0.781, None), None),
        ((0.8, None), (0.779, None), "earlier"),
        ((None, None), (None, None), None),
    ],
)
def test_a_drop_on_old_or_new_scans_is_refused(
    before: tuple[float | None, float | None], after: tuple[float | None, float | None], word: str | None
) -> None:
    reason = verdict(figures(*before), figures(*after), 0.02)
    assert reason is None if word is None else word in str(reason)


def test_figures_count_reviewed_voxels_and_islands_to_delete(monkeypatch: pytest.MonkeyPatch) -> None:
    reviewed = np.zeros(SHAPE, dtype=bool)
    reviewed[:, :20] = True
    case = correction(1, reviewed)
    answer = np.where(reviewed, case.labels, 3).astype(np.uint8)  # nonsense where nobody looked
    answer[answer == 2] = 0  # the vein is missed
    answer[0:2, 2:4, 28:30] = 1  # and one island is invented

    def steps(*_: object) -> Generator[Progress, None, SimpleNamespace]:
        yield Progress(0, 1, "a tile")
        return SimpleNamespace(labels=answer)

    monkeypatch.setattr(segmentation, "segment_steps", steps)
    found = Guard([GuardCase(case, True)]).measure(SimpleNamespace())  # type: ignore[arg-type]
    artery = int((case.labels[reviewed] == 1).sum())
    assert found.f1 == {"artery": pytest.approx(2 * artery / (2 * artery + 8)), "vein": 0.0}
    assert found.islands_to_delete == 1
    assert found.old is None
    assert found.new == found.mean_f1


def test_the_chosen_sensitivity_is_the_best_one_and_measured_at() -> None:
    parent = replace(checkpoint(), sensitivity=0.0)
    cases = [GuardCase(correction(1), False), GuardCase(correction(2), True)]
    guard = Guard(cases, "cpu", 1)
    chosen, found = drain(guard.choose_steps(parent))
    assert found == guard.measure(replace(parent, sensitivity=chosen))
    others = [guard.measure(replace(parent, sensitivity=each)) for each in (0.0, *SENSITIVITIES)]
    assert (found.old or 0) + (found.new or 0) == max((each.old or 0) + (each.new or 0) for each in others)


def test_scans_that_are_learned_from_choose_and_are_not_in_the_figures() -> None:
    parent = replace(checkpoint(), sensitivity=0.0)
    alone = Guard([GuardCase(correction(1), False)], "cpu", 1)
    asked = Guard([GuardCase(correction(1), False)], "cpu", 1, [correction(2)])
    chosen, found = drain(asked.choose_steps(parent))
    assert found == alone.measure(replace(parent, sensitivity=chosen))
    assert found.new is None
