"""The other verbs: what they write, what they print, and that programs can read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from napari_kidnet.cli import main
from napari_kidnet.scans import Scan, write_labels, write_probabilities

if TYPE_CHECKING:
    from pathlib import Path

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


def save(path: Path, values: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values.astype(np.uint8), AFFINE), path)
    return path


@pytest.fixture
def labels(tmp_path) -> Path:
    """An artery in two pieces, a vein in one; (i, j, k) of 1 × 1 × 2 mm."""
    values = np.zeros((20, 20, 10), np.uint8)
    values[2:4, 2:4, :] = 1
    values[10, 10, 5] = 1
    values[15:18, 15:18, 2:8] = 2
    return save(tmp_path / "labels.nii.gz", values)


@pytest.fixture
def run(capsys):
    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*map(str, words)])
        return status, *capsys.readouterr()

    return run


def test_islands_are_listed_for_people_and_programs(labels, run, tmp_path):
    status, said, _ = run("islands", labels, "--json", tmp_path / "islands.json")
    table = json.loads((tmp_path / "islands.json").read_text())
    assert status == 0
    assert table["spacing_mm"] == [2.0, 1.0, 1.0]
    assert [(row["class"], row["voxels"]) for row in table["islands"]] == [
        ("Artery", 40),
        ("Artery", 1),
        ("Vein", 54),
    ]
    assert table["islands"][0]["volume_ml"] == pytest.approx(0.08)
    assert len(said.splitlines()) == 4


def probabilities_of(labels: np.ndarray, sure: float) -> np.ndarray:
    """(class, z, y, x): what is labelled has this probability, the rest is shared out."""
    found = np.full((4, *labels.shape), (1 - sure) / 3, np.float32)
    np.put_along_axis(found, labels[None].astype(np.int64), sure, axis=0)
    return found


def test_islands_know_how_unsure_the_network_was_from_the_file_beside_them(run, tmp_path):
    values = np.zeros((10, 12, 40), np.uint8)  # (z, y, x): a trunk and two loose islands
    values[2:8, 2:8, :] = 1
    values[3:5, 10, 5:8] = 2
    values[3:5, 10, 20:24] = 2
    scan = Scan.from_array(np.zeros(values.shape, np.int16), (2.0, 1.0, 1.0))
    probabilities = probabilities_of(values, 0.97)
    unsure = np.s_[:, 3:5, 10, 5:8]
    probabilities[unsure] = np.array([0.3, 0.15, 0.4, 0.15])[:, None, None]
    out = tmp_path / "a_labels.nii.gz"
    write_labels(out, values, scan)
    before = json.loads(run("islands", out, "--json", "-")[1])
    assert before["probabilities"] is None
    assert before["islands"][0]["uncertainty"] is None
    beside = tmp_path / "a_probabilities.nii.gz"
    write_probabilities(beside, probabilities, scan, ([1.0, 1.0, 1.0, 1.0], 0.5))
    status, said, told = run("islands", out, "--json", "-")
    assert (status, told) == (0, f"Probabilities: {beside}\n")
    rows = {row["voxels"]: row for row in json.loads(said)["islands"]}
    assert rows[6]["mean_probability"] == pytest.approx(0.4, abs=1e-3)
    assert rows[6]["least_probability"] == pytest.approx(0.4, abs=1e-3)
    assert rows[8]["mean_probability"] == pytest.approx(0.97, abs=1e-3)
    assert rows[6]["uncertainty"] > 0.9 > rows[8]["uncertainty"]
    assert "disagreement high" in rows[6]["reasons"]
    assert "disagreement high" not in rows[8]["reasons"]
    assert sorted(row["review"] for row in rows.values()) == [1, 2, 3]


def test_islands_refuse_probabilities_of_another_scan(labels, run, tmp_path):
    other = Scan.from_array(np.zeros((3, 4, 5), np.int16), (1.0, 1.0, 1.0))
    write_probabilities(tmp_path / "p.nii.gz", np.full((4, *other.shape), 0.25), other)
    for wrong, word in ((tmp_path / "p.nii.gz", "3 × 4 × 5"), (labels, "fourth axis")):
        status, said, told = run("islands", labels, "--probabilities", wrong)
        assert (status, said) == (1, "")
        assert word in told
        assert "Traceback" not in told


def test_islands_of_an_empty_file(run, tmp_path):
    status, said, _ = run("islands", save(tmp_path / "none.nii.gz", np.zeros((4, 4, 4))))
    assert (status, said) == (0, "No islands: all is background.\n")


def test_evaluate_against_itself_is_perfect(labels, run, tmp_path):
    figures, report = tmp_path / "figures.json", tmp_path / "report.html"
    status, said, _ = run(
        *("evaluate", "--labels", labels, "--truth", labels, "--json", figures, "--html", report)
    )
    found = json.loads(figures.read_text())
    assert status == 0
    assert found["artery"]["whole_roi"]["f1"] == 1.0
    assert found["vein"]["whole_roi"]["islands_rule"]["cldice"] == 1.0
    assert found["artery"]["islands"] == 2
    assert found["artery"]["kidney_box"]["f1"] is None
    assert set(found) >= {"artery", "vein", "collecting_system"}
    assert "1.000" in said
    assert report.read_text().lower().startswith("<!doctype html>")


def test_evaluate_prints_json_alone(labels, run):
    status, said, err = run("evaluate", "--labels", labels, "--truth", labels, "--json", "-")
    assert (status, err) == (0, "")
    assert "artery" in json.loads(said)


def test_evaluate_finds_the_kidney_box(labels, run, tmp_path):
    kidneys = np.zeros((20, 20, 10), np.uint8)
    kidneys[0:8, 0:8] = 1
    words = ("evaluate", "--labels", labels, "--truth", labels, "--json", "-")
    status, said, _ = run(*words, "--kidneys", save(tmp_path / "kidneys.nii.gz", kidneys))
    assert status == 0
    assert json.loads(said)["artery"]["kidney_box"]["f1"] == 1.0


def test_a_checkpoint_s_card(run, tmp_path):
    from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings, save_checkpoint
    from napari_kidnet.network.checkpoint import network_weights

    settings = KidNetSettings(base=4, levels=2)
    path = tmp_path / "tiny.safetensors"
    network = KidNet(settings)
    save_checkpoint(path, Checkpoint(network=settings, weights=network_weights(network)))
    status, said, _ = run("checkpoint", path, "--json")
    card = json.loads(said)
    assert status == 0
    assert card["network"]["base"] == 4
    assert card["classes"] == ["background", "artery", "vein", "collecting_system"]
    assert card["parameters"] >= sum(each.numel() for each in network.parameters())
    assert card["bytes"] == path.stat().st_size
    status, said, _ = run("checkpoint", path)
    assert status == 0
    assert card["hash"] in said


def test_prefer_puts_us_first_and_undo_leaves_others_alone(tmp_path):
    """In a process of its own: napari keeps the settings of the whole process."""
    settings = tmp_path / "settings.yaml"
    code = f"""
from pathlib import Path
from napari.settings import get_settings
from napari_kidnet.cli import main
readers = lambda: get_settings().plugins.extension2reader
get_settings().plugins.extension2reader = {{"*.gz": "other", "*.nii": "other", "*.czi": "czi"}}
assert main(["prefer"]) == 0
assert main(["prefer"]) == 0
assert list(readers())[:2] == ["*.nii.gz", "*.nii"], readers()
assert readers()["*.nii.gz"] == readers()["*.nii"] == "napari-kidnet"
assert (readers()["*.gz"], readers()["*.czi"]) == ("other", "czi")
assert "napari-kidnet" in Path({str(settings)!r}).read_text()
assert main(["prefer", "--undo"]) == 0
assert readers() == {{"*.gz": "other", "*.czi": "czi"}}
assert "napari-kidnet" not in Path({str(settings)!r}).read_text()
"""
    environment = {**os.environ, "NAPARI_CONFIG": str(settings)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a display be missing")
def test_open_without_a_display_says_so(run, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    status, _, err = run("open", tmp_path / "scan.nii.gz")
    assert status == 1
    assert err.count("\n") == 1
    assert "display" in err


def test_a_phantom_is_a_case_and_its_seed_decides(run, tmp_path):
    from napari_kidnet.scans import list_cases

    for folder in ("first", "second"):
        words = ("phantom", "--out", tmp_path / folder, "--seed", 7, "--spacing", 4, 4, 4, "--quiet")
        assert run(*words)[0] == 0
    (case,), (same,) = list_cases(tmp_path / "first"), list_cases(tmp_path / "second")
    assert case.labels is not None
    assert case.kidneys is not None
    for one, other in ((case.ct, same.ct), (case.labels, same.labels)):
        assert np.array_equal(nib.load(one).dataobj, nib.load(other).dataobj)
    status, _, err = run("phantom", "--out", tmp_path / "first", "--seed", 7)
    assert status == 1
    assert "--overwrite" in err


@pytest.fixture
def cases(tmp_path) -> Path:
    """Two small cases: tubes of each class in a body."""
    folder = tmp_path / "cases"
    folder.mkdir()
    for number in range(2):
        chance = np.random.default_rng(number)
        labels = np.zeros((40, 40, 40), np.uint8)
        for each in (1, 2, 3):
            x, y = chance.integers(10, 28, 2)
            labels[x : x + 3, y : y + 3, 4:36] = each
        hu = chance.normal(40, 20, labels.shape) + 100 * labels
        hu[:3] = -1000
        nib.save(nib.Nifti1Image(hu.astype(np.int16), AFFINE), folder / f"c{number}_ct.nii.gz")
        save(folder / f"c{number}_labels.nii.gz", labels)
    return folder


def test_train_writes_a_checkpoint_that_segments(cases, run, tmp_path):
    out = tmp_path / "mine.safetensors"
    words = ("train", "--cases", cases, "--out", out, "--preset", "tiny", "--patch-voxels", 32, "--steps", 2)
    status, said, err = run(*words, "--threads", 1, "--seed", 3, "--quiet")
    assert (status, err) == (0, "")
    assert "2 cases" in said
    _, card, _ = run("checkpoint", out, "--json")
    record = json.loads(card)["record"]
    assert (record["steps"], record["seed"], len(record["cases"])) == (2, 3, 2)
    assert run(*words)[0] == 1  # there already
    labels = tmp_path / "labels.nii.gz"
    words = ("segment", cases / "c0_ct.nii.gz", "--out", labels, "--checkpoint", out, "--engine", "torch")
    assert run(*words, "--device", "cpu")[0] == 0
    assert nib.load(labels).shape == (40, 40, 40)


def test_the_demo_ends_in_a_report(run, tmp_path, monkeypatch):
    import napari_kidnet.phantom
    from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings, save_checkpoint
    from napari_kidnet.network.checkpoint import network_weights

    settings = KidNetSettings(base=4, levels=2)
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, Checkpoint(network=settings, weights=network_weights(KidNet(settings))))
    make_case = napari_kidnet.phantom.make_case
    monkeypatch.setattr(
        napari_kidnet.phantom,
        "make_case",
        lambda seed, settings: make_case(seed, replace(settings, spacing=(3.0, 3.0, 3.0))),  # seconds
    )
    out = tmp_path / "demo"
    status, said, err = run("demo", "--out", out, "--checkpoint", path, "--engine", "torch", "--quiet")
    assert (status, err) == (0, "")
    names = {
        "scan.nii.gz",
        "truth.nii.gz",
        "kidneys.nii.gz",
        "labels.nii.gz",
        "evaluation.json",
        "report.html",
    }
    assert {each.name for each in out.iterdir()} == names
    assert all(name in said for name in names)
    assert (out / "report.html").read_text().count("<img") >= 3
    assert nib.load(out / "labels.nii.gz").shape == nib.load(out / "scan.nii.gz").shape
    assert run("demo", "--out", out)[0] == 1
