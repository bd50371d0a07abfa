"""``kidnet finetune``: from files to files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_kidnet.cli import main
from napari_kidnet.network import load_checkpoint, save_checkpoint
from napari_kidnet.scans import write_labels, write_scan
from tests.training.finetuning_scenes import SHAPE, checkpoint, few_phantoms, tubes

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("--steps", 2, "--patch-voxels", 16, "--validations", 1, "--threads", 1, "--device", "cpu", "--quiet")


@dataclass(frozen=True)
class Place:
    cases: Path
    checkpoint: Path
    out: Path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    few_phantoms(monkeypatch)
    cases = tmp_path / "cases"
    cases.mkdir()
    scan, labels = tubes(1)
    write_scan(cases / "a_ct.nii.gz", scan)
    write_labels(cases / "a_labels.nii.gz", labels, like=scan)
    reviewed = np.zeros(SHAPE, np.uint8)
    reviewed[:, :20] = 1
    write_labels(cases / "a_reviewed.nii.gz", reviewed, like=scan)
    save_checkpoint(tmp_path / "mine.safetensors", checkpoint())
    return Place(cases, tmp_path / "mine.safetensors", tmp_path / "mine-2.safetensors")


def run(*words: object) -> int:
    return main([str(each) for each in words])


def test_files_in_a_checkpoint_out_and_json(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("finetune", "--checkpoint", place.checkpoint, "--cases", place.cases, "--out", place.out)
    assert run(*words, *QUICK, "--largest-drop", 1, "--json", "-") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["candidate"] == str(place.out)
    assert told["activated"] is True
    assert set(told["before"]) == set(told["after"]) == {"f1", "mean_f1", "old", "new", "islands_to_delete"}
    made = load_checkpoint(place.out)
    assert made.parent == load_checkpoint(place.checkpoint).hash
    assert made.record["finetuning"]["scans"][0]["name"] == "a"
    assert run("checkpoint", "--tree", place.out.parent) == 0
    told_tree = capsys.readouterr().out
    assert told_tree.startswith("- mine.safetensors")
    assert "\n  * mine-2.safetensors" in told_tree
    assert json.loads((place.out.parent / "active.json").read_text())["active"] == place.out.name
    assert run(*words, *QUICK) == 1
    assert "never writes over" in capsys.readouterr().err


def test_without_replay_no_scan_is_kept(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("finetune", "--checkpoint", place.checkpoint, "--cases", place.cases, "--out", place.out)
    assert run(*words, *QUICK, "--no-replay") == 0
    assert "mean F1, earlier scans" in capsys.readouterr().out
    kept = [path.name for path in (place.out.parent / "kidnet.replay").rglob("*")]
    assert not [name for name in kept if name.startswith("scan-")]
    assert [name for name in kept if name.startswith("phantom-0500")]


def test_own_earlier_cases_are_replayed(place: Place, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    for seed in (5, 6):
        scan, labels = tubes(seed)
        write_scan(earlier / f"old{seed}_ct.nii.gz", scan)
        write_labels(earlier / f"old{seed}_labels.nii.gz", labels, like=scan)
    words = ("finetune", "--checkpoint", place.checkpoint, "--cases", place.cases, "--out", place.out)
    assert run(*words, *QUICK, "--replay", earlier) == 0
    names = {path.name for path in (tmp_path / "kidnet.replay").rglob("*")}
    assert not [name for name in names if name.startswith("phantom")]
    assert len([name for name in names if name.startswith("scan-") and not name.endswith(".npz")]) == 4


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--out", "x.txt"), 2, "safetensors"),
        (("--out", "x.safetensors", "--steps", 3, "--minutes", 1), 2, "exclude"),
        (("--out", "x.safetensors", "--replay", "a", "--no-replay"), 2, "not allowed"),
        (("--out", "nowhere/x.safetensors"), 1, "does not exist"),
        (("--out", "x.safetensors", "--minutes", -1), 1, "minutes"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(place.out.parent)
    assert run("finetune", "--cases", place.cases, *words) == status
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_folder_without_labels(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run("finetune", "--cases", tmp_path / "empty", "--out", place.out) == 1
    assert "no labelled case" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["finetune", "train"])
def test_a_prediction_nobody_reviewed_is_refused_with_the_option_that_vouches_for_it(
    place: Place, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    scan, labels = tubes(1)
    (place.cases / "a_reviewed.nii.gz").unlink()
    write_labels(place.cases / "a_labels.nii.gz", labels, like=scan, predicted=True)
    words = (verb, "--cases", place.cases, "--out", place.out, "--threads", 1, "--quiet")
    if verb == "finetune":
        words = (*words, "--checkpoint", place.checkpoint, *QUICK, "--largest-drop", 1)
    else:
        words = (*words, "--steps", 1, "--batch", 1, "--patch-voxels", 16, "--preset", "tiny")
    assert run(*words) == 1
    said = capsys.readouterr().err
    assert "a_labels.nii.gz is a prediction" in said
    assert "--reviewed all" in said
    assert not place.out.exists()
    assert run(*words, "--reviewed", "all") == 0
    assert place.out.exists()
