"""docs/paper.md names tests that exist, and what no room's own tests say of the paper's statements."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def test_every_test_that_the_table_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs" / "paper.md").read_text("utf-8")))
    sources = "\n".join(path.read_text("utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert named - set(re.findall(r"def (test_\w+)", sources)) == set()


def test_every_statement_is_in_the_table():
    text = (REPOSITORY / "docs" / "paper.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:R\d+(?:, )?)+) \|", text, re.MULTILINE)
    assert ", ".join(rows).split(", ") == [f"R{number}" for number in range(1, 36)]


def test_R4_the_window_is_40_400_on_the_screen_and_in_the_network():
    from napari_kidnet.classes import SOFT_TISSUE_WINDOW
    from napari_kidnet.scans.intensity import normalise

    assert SOFT_TISSUE_WINDOW.limits == (-160.0, 240.0)
    values = normalise(np.array([-1000, -160, -60, 40, 240, 3000]), SOFT_TISSUE_WINDOW.limits)
    assert values == pytest.approx([-1, -1, -0.5, 0, 1, 1])


def test_R5_four_classes_in_the_papers_order_and_colours():
    from napari_kidnet.classes import CLASSES

    assert [each.id for each in CLASSES] == [0, 1, 2, 3]
    assert [each.name for each in CLASSES] == ["background", "artery", "vein", "collecting_system"]
    red, blue, orange = (np.array(each.colour[:3]) for each in CLASSES[1:])
    assert red.argmax() == 0
    assert red[1:].max() < 0.4
    assert blue.argmax() == 2
    assert orange[0] > orange[1] > orange[2]
    assert 0.4 < orange[1] < 0.8


def test_R27_a_step_is_adams():
    """Both trainings take Adam itself, and not one of its relatives that decay weights in another way."""
    from napari_kidnet.training import run, tuner

    for module in (run, tuner):
        source = Path(module.__file__).read_text("utf-8")
        assert "torch.optim.Adam(" in source
        assert not re.search(r"optim\.(?!Adam\b)\w+\(", source)


def test_R28_augmentation_is_on_unless_it_is_turned_off():
    from napari_kidnet.training.augmentation import Augmentation
    from napari_kidnet.training.settings import TrainSettings

    assert TrainSettings().augmentation == Augmentation()
    assert Augmentation() != Augmentation.off()


def test_R33_what_lies_between_the_kidneys_is_in_no_box():
    from napari_kidnet.evaluation import evaluate

    kidneys = np.zeros((10, 20, 30), np.uint8)
    kidneys[2:8, 5:15, 2:9], kidneys[2:8, 5:15, 21:28] = 1, 2
    truth = np.zeros_like(kidneys)
    truth[3:7, 8:10, 4:6] = truth[3:7, 8:10, 24:26] = 1
    labels = truth.copy()
    labels[3:7, 8:10, 12:18] = 1  # between the kidneys, in the slices that were annotated
    found = evaluate(labels, truth, (1, 1, 1), kidneys)["artery"]
    assert found["kidney_box"]["f1"] == 1.0
    assert found["whole_roi"]["f1"] < 1.0
