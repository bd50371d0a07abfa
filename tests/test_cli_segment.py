"""``kidnet segment``: where labels go, what is said about them, and what a killed run leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from napari_kidnet.cli import main

if TYPE_CHECKING:
    from pathlib import Path

AFFINE = np.array([[0.0, -0.8, 0.0, 30.0], [0.9, 0.0, 0.0, -20.0], [0.0, 0.0, -2.0, 7.0], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A tiny network that nobody trained, with every class as likely: it labels a good deal."""
    from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings, save_checkpoint
    from napari_kidnet.network.checkpoint import network_weights

    settings = KidNetSettings(base=4, levels=2)
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    save_checkpoint(path, Checkpoint(network=settings, weights=network_weights(KidNet(settings))))
    return path


@pytest.fixture
def scans(tmp_path) -> list[Path]:
    """Two scans, stored in an unusual order of axes."""
    paths = []
    for seed, name in enumerate(("one_ct.nii.gz", "two.nii")):
        hu = np.full((24, 22, 18), -1000, np.int16)
        hu[3:-3, 3:-3] = np.random.default_rng(seed).normal(40, 60, (18, 16, 18))
        nib.save(nib.Nifti1Image(hu, AFFINE), tmp_path / name)
        paths.append(tmp_path / name)
    return paths


@pytest.fixture
def segment(network, capsys):
    """Run the verb; return its status and what it said on both ways out."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        argv = [*map(str, words), "--checkpoint", str(network), "--engine", "torch", "--device", "cpu"]
        status = main(["segment", *argv])
        return status, *capsys.readouterr()

    return run


def test_labels_lie_on_the_scan_s_own_grid(scans, segment, tmp_path):
    out = tmp_path / "labels.nii.gz"
    status, said, _ = segment(scans[0], "--out", out)
    image = nib.load(out)
    assert status == 0
    assert image.shape == (24, 22, 18)
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(image.affine, nib.load(scans[0]).affine)
    assert str(out) in said
    assert "artery" in said


def test_python_and_the_command_line_agree(scans, segment, network, tmp_path):
    from napari_kidnet import load_checkpoint, read_labels, read_scan
    from napari_kidnet import segment as segment_in_python
    from napari_kidnet.segmentation import SegmentSettings

    assert segment(scans[0], "--out", tmp_path / "labels.nii.gz")[0] == 0
    scan = read_scan(scans[0])
    expected = segment_in_python(
        scan, load_checkpoint(network), SegmentSettings(device="cpu", engine="torch")
    )
    assert np.array_equal(read_labels(tmp_path / "labels.nii.gz", scan), expected)


def test_a_batch_goes_on_after_a_scan_that_fails(scans, segment, tmp_path):
    out, summary = tmp_path / "results", tmp_path / "summary.json"
    missing = tmp_path / "missing.nii.gz"
    status, _, err = segment(scans[0], missing, scans[1], "--out", out, "--json", summary, "--quiet")
    assert status == 1
    assert sorted(path.name for path in out.iterdir()) == ["one_labels.nii.gz", "two_labels.nii.gz"]
    reports = json.loads(summary.read_text())["scans"]
    assert [report["error"] is None for report in reports] == [True, False, True]
    assert reports[1]["scan"] == str(missing)
    last = err.splitlines()[-1]
    assert "2 of 3" in last
    assert "missing.nii.gz" in last
    assert all(line.startswith("kidnet: ") for line in err.splitlines())


def test_the_summary_agrees_with_the_files(scans, segment, tmp_path):
    out = tmp_path / "labels.nii.gz"
    status, said, _ = segment(scans[0], "--out", out, "--sensitivity", 1, "--json", "-")
    (report,) = json.loads(said)["scans"]
    labels = np.asarray(nib.load(out).dataobj)
    assert status == 0
    names = ("artery", "vein", "collecting_system")
    assert report["voxels"] == {name: int((labels == at).sum()) for at, name in enumerate(names, 1)}
    volume = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    assert report["ml"] == {name: pytest.approx(n * volume, abs=1e-3) for name, n in report["voxels"].items()}
    assert (report["device"], report["sensitivity"], report["labels"]) == ("cpu", 1.0, str(out))
    assert set(report) == {
        *("scan", "error", "labels", "probabilities", "seconds", "device", "engine", "ran_on", "notes"),
        *("sensitivity", "voxels", "ml"),
    }


def test_probabilities_add_up_and_agree_with_the_labels(scans, segment, tmp_path):
    out = tmp_path / "results"
    status, _, _ = segment(scans[0], "--out", out, "--probabilities", out, "--sensitivity", 1)
    values = np.asarray(nib.load(out / "one_probabilities.nii.gz").dataobj)
    labels = np.asarray(nib.load(out / "one_labels.nii.gz").dataobj)
    assert status == 0
    assert values.shape == (24, 22, 18, 4)
    assert np.allclose(values.sum(-1), 1, atol=0.01)
    likely = np.sort(values, axis=-1)
    clear = likely[..., -1] - likely[..., -2] > 0.01
    assert np.array_equal(values.argmax(-1)[clear], labels[clear])


def test_the_file_of_probabilities_says_how_the_labels_were_decided(scans, segment, tmp_path):
    from napari_kidnet.scans import are_predicted, read_labels, read_probabilities, read_scan
    from napari_kidnet.segmentation import decide

    out = tmp_path / "results"
    segment(scans[0], "--out", out, "--probabilities", out, "--sensitivity", 0.6)
    scan = read_scan(scans[0])
    kept = read_probabilities(out / "one_probabilities.nii.gz", scan)
    labels = read_labels(out / "one_labels.nii.gz", scan)
    assert kept.sensitivity == pytest.approx(0.6)
    assert (decide(kept.log, kept.weights, kept.sensitivity) == labels).mean() > 0.99
    assert are_predicted(out / "one_labels.nii.gz")


def test_nothing_is_labelled_outside_of_the_box(scans, segment, tmp_path):
    from napari_kidnet import read_labels, read_scan

    out = tmp_path / "labels.nii.gz"
    assert segment(scans[0], "--out", out, "--sensitivity", 1, "--box", 2, 9, 4, 20, 3, 12)[0] == 0
    labels = read_labels(out, read_scan(scans[0]))
    inside = np.zeros(labels.shape, bool)
    inside[2:9, 4:20, 3:12] = True
    assert not labels[~inside].any()


def test_overwrite_replaces_and_nothing_else_is_left(scans, segment, tmp_path):
    out = tmp_path / "results"
    assert segment(scans[0], "--out", out)[0] == 0
    (out / "one_labels.nii.gz").write_bytes(b"old")
    assert segment(scans[0], "--out", out)[0] == 1
    assert (out / "one_labels.nii.gz").read_bytes() == b"old"
    assert segment(scans[0], "--out", out, "--overwrite")[0] == 0
    assert nib.load(out / "one_labels.nii.gz").shape == (24, 22, 18)
    assert [path.name for path in out.iterdir()] == ["one_labels.nii.gz"]


def test_quiet_is_quiet(scans, segment, tmp_path):
    assert segment(scans[0], "--out", tmp_path / "labels.nii.gz", "--quiet")[2] == ""


def test_a_wish_that_cannot_be_met_is_told(scans, segment, tmp_path):
    out = tmp_path / "labels.nii.gz"
    for words, said in ((("--sensitivity", 7), "7"), (("--box", 5, 5, 0, 9, 0, 9), "box")):
        status, _, err = segment(scans[0], "--out", out, *words)
        assert status == 1
        assert said in err.splitlines()[-1]
    assert not out.exists()


# Starts the verb again and again, each time in a child whose modules are loaded already (and nothing
# else: threads do not survive a fork), and kills it: every other time at a moment drawn at random,
# else as soon as any file appears, which is when a careless writer would be caught.
KILLER = """
import contextlib, io, os, random, signal, sys, time
import nibabel, scipy.ndimage, torch
import napari_kidnet.network.engines, napari_kidnet.scans.reading, napari_kidnet.segmentation.steps
from napari_kidnet.cli import main
torch.set_num_threads(1)
out, argv = sys.argv[1], sys.argv[2:]
folder, chance = os.path.dirname(out), random.Random(5)

def start():
    child = os.fork()
    if child == 0:
        sys.stdout = io.StringIO()
        os._exit(main(argv))
    return child

def clear():
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))

began = time.monotonic()
assert os.waitpid(start(), 0)[1] == 0
took = time.monotonic() - began
whole = open(out, "rb").read()
for turn in range(6):
    clear()
    child = start()
    if turn % 2:
        time.sleep(chance.uniform(0, 1.2 * took))
    else:
        while not os.listdir(folder):
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended without a file"
            time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if os.path.exists(out):
        assert open(out, "rb").read() == whole, "part of a result under the final name"
    assert all(name.startswith(".") or name == os.path.basename(out) for name in os.listdir(folder))
clear()
assert os.waitpid(start(), 0)[1] == 0
assert open(out, "rb").read() == whole
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_run_leaves_nothing_under_the_final_name(scans, network, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    out = folder / "labels.nii.gz"
    argv = ["segment", scans[0], "--out", out, "--checkpoint", network, "--engine", "torch", "--quiet"]
    command = [sys.executable, "-c", KILLER, str(out), *map(str, [*argv, "--device", "cpu", "--threads", 1])]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=one_thread)
    assert done.returncode == 0, done.stderr
