"""R24, the strict preset of science.md §4, the recommended one, and settings that cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from napari_kidnet.classes import SOFT_TISSUE_WINDOW
from napari_kidnet.errors import SettingsError
from napari_kidnet.network import KidNetSettings
from napari_kidnet.training import SCHEMAS, Schema, TrainSettings


@pytest.mark.parametrize(
    ("name", "weighting", "sampling"),
    [("none", False, False), ("dw", True, False), ("rs", False, True), ("dw+rs", True, True)],
)
def test_R24_four_schemes(name: str, weighting: bool, sampling: bool) -> None:
    for schema in (Schema.published(name), Schema.recommended(name)):
        assert (schema.weighting, schema.sampling, schema.name) == (weighting, sampling, name)


def test_strict_is_the_paper() -> None:
    settings = TrainSettings(strict=True)
    schema = settings.details
    assert (schema.alpha, schema.start) == (0.001, "uniform")
    assert (schema.largest_class_weight, schema.largest_patch_weight) == (None, None)
    assert (schema.inner_radius, schema.outer_radius, schema.red_share, schema.free_share) == (
        2,
        4,
        0.2,
        0.01,
    )
    assert (schema.sampled, schema.unsampled, schema.hard_share) == ("fg_mean", "class", 0.0)
    assert settings.input_window == SOFT_TISSUE_WINDOW.limits == (-160.0, 240.0)
    assert settings.network.average == "mean_logits"
    assert settings.dice == settings.skeleton_recall == settings.deep_supervision == settings.ema == 0


@pytest.mark.parametrize(
    "change",
    [
        {"dice": 0.5},
        {"skeleton_recall": 1.0},
        {"deep_supervision": 0.1},
        {"ema": 0.99},
        {"freeze_norm": 0.5},
        {"spacing": (1.0, 1.0, 1.0)},
        {"window": (-200.0, 500.0)},
        {"precision": "bfloat16"},
        {"free_share": 0.5},
        {"schema": Schema(alpha=0.01)},
        {"schema": Schema(largest_class_weight=1000)},
        {"network": KidNetSettings(encoder_residual=True)},
        {"network": KidNetSettings(average="mean_softmax")},
    ],
)
def test_strict_refuses_every_improvement(change: dict[str, Any]) -> None:
    TrainSettings(**change)
    with pytest.raises(SettingsError, match=next(iter(change)) if "network" not in change else "paper"):
        TrainSettings(strict=True, **change)


@pytest.mark.parametrize(("patches", "alpha"), [(500, 0.01), (2000, 0.0025), (5000, 0.001), (50_000, 0.001)])
def test_A10_recommended_averages_settle_within_the_run(patches: int, alpha: float) -> None:
    schema = Schema.recommended(patches=patches)
    assert schema.alpha == pytest.approx(alpha)
    assert schema.start == "dataset"
    assert TrainSettings(steps=patches // 2, batch=2).details == schema


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    settings = TrainSettings(steps=100, warm_up=20, learning_rate=1.0)
    rates = [settings.learning_rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 20)
    assert rates[:20] == sorted(rates[:20])
    assert rates[50] == pytest.approx(0.5**0.9)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_settings_can_be_written_down() -> None:
    for name in SCHEMAS:
        values = TrainSettings(schema=name).as_dict()
        assert json.loads(json.dumps(values))["schema"]["name"] == name


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch": 0},
        {"patch_voxels": 20},
        {"patch_voxels": 8},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"clip_norm": -1.0},
        {"ema": 1.0},
        {"dice": -1.0},
        {"schema": "dwrs"},
        {"precision": "float16"},
        {"spacing": (1.0, 0.0, 1.0)},
        {"window": (5.0, 5.0)},
        {"free_share": 2.0},
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        TrainSettings(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.0},
        {"inner_radius": 4},
        {"outer_radius": 15},
        {"red_share": 1.5},
        {"sampled": "median"},
        {"unsampled": "half"},
        {"start": "zero"},
        {"largest_class_weight": 0.5},
    ],
)
def test_schemas_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        replace(Schema(), **change)
