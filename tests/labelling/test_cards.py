"""What the list of checkpoints says."""

from __future__ import annotations

import json
import struct

import pytest

from napari_kidnet.labelling import list_cards, read_card
from napari_kidnet.network import default_checkpoint_path


@pytest.fixture
def checkpoint(tmp_path):
    """A file with a checkpoint's header (and no weights: a card does not read them)."""

    def write(name="mine.safetensors", **changes):
        record = {
            "format": 1,
            "network": {"base": 8, "levels": 4},
            "classes": ["background", "artery", "vein", "collecting_system"],
            "window": [-200.0, 500.0],
            "spacing": [1.5, 1.5, 1.5],
            "schema": {"V": [0.97, 0.01, 0.01, 0.01]},
            "sensitivity": 0.35,
            "temperature": 1.0,
            "record": {"steps": 12000, "validation": {"artery": 0.861, "vein": 0.702}},
            "parent": None,
            **changes,
        }
        header = json.dumps({"__metadata__": {"napari-kidnet": json.dumps(record)}}).encode()
        path = tmp_path / name
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        return path

    return write


def test_a_card_says_what_a_person_chooses_by(checkpoint):
    card = read_card(checkpoint())
    assert card.title == "mine"
    assert card.problem == ""
    assert card.sensitivity == 0.35
    assert card.facts == (
        "4 levels, 8 first channels",
        "works at 1.5 × 1.5 × 1.5 mm",
        "trained for 12,000 steps",
        "validation F1: artery 0.86, vein 0.70",
    )


def test_one_that_continues_another_was_not_fine_tuned_unless_it_says_so(checkpoint):
    facts = read_card(checkpoint(parent="abc", spacing=None, record={})).facts
    assert facts[1:] == ("works on the scan's own grid", "continues an earlier one")
    facts = read_card(checkpoint(parent="abc", spacing=None, record={"finetuning": {"scans": []}})).facts
    assert facts[-1] == "fine-tuned on corrected scans"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x80\x04 a pickle", b"short"])
def test_a_foreign_file_is_a_problem_and_not_a_crash(tmp_path, content):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    assert "foreign.safetensors" in read_card(path).problem
    assert read_card(tmp_path / "missing.safetensors").problem


def test_the_shipped_one_comes_first_and_none_comes_twice(checkpoint):
    mine = checkpoint()
    cards = list_cards(mine, mine)
    assert cards[0].path == default_checkpoint_path()
    assert [card.path for card in cards].count(mine) == 1
    assert cards[0].problem == "" or not default_checkpoint_path().exists()
