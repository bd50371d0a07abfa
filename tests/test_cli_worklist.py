"""``kidnet worklist``: the list in words, as JSON, as a page; predicting and marking without a window."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_kidnet.cli import main
from napari_kidnet.labelling.worklist import LIST_FILE, Worklist, WorkState
from tests.labelling.worklists import SHAPE, fake_network, write_ct, write_mask


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("p1_ct.nii.gz", "p2_ct.nii.gz")):
        write_ct(tmp_path / "scans" / name, seed)
    return tmp_path / "scans"


def run(capsys, *argv):
    status = main(["worklist", *map(str, argv)])
    return (status, *capsys.readouterr())


def test_looking_writes_nothing(folder, capsys):
    before = sorted(folder.iterdir())
    status, out, err = run(capsys, folder)
    assert (status, err) == (0, "")
    assert "p1_ct.nii.gz    new" in out
    assert out.rstrip().endswith("Next: p1_ct.nii.gz")
    assert sorted(folder.iterdir()) == before


def test_new_scans_are_predicted_and_one_that_fails_is_said(folder, capsys, monkeypatch):
    fake_network(monkeypatch, fails_on=[("p2", RuntimeError("no room"))])
    status, out, err = run(capsys, folder, "--predict", "--checkpoint", "shipped")
    assert status == 1
    assert "kidnet: p2_ct.nii.gz failed (RuntimeError: no room)." in err
    assert "1 scan was predicted; 1 was not: p2_ct.nii.gz." in err
    assert "Next: p1_ct.nii.gz" in out
    assert (folder / "p1_labels.nii.gz").is_file()
    fake_network(monkeypatch)
    assert run(capsys, folder, "--predict", "--checkpoint", "shipped", "--quiet")[::2] == (0, "")


def test_with_a_real_network(folder, capsys, tmp_path):
    from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings, save_checkpoint
    from napari_kidnet.network.checkpoint import network_weights

    settings = KidNetSettings(base=4, levels=2)
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, Checkpoint(network=settings, weights=network_weights(KidNet(settings))))
    status, out, _ = run(
        capsys, folder, "--predict", "--checkpoint", path, "--engine", "torch", "--json", "-", "--quiet"
    )
    assert status == 0
    scans = json.loads(out)["scans"]
    assert [each["state"] for each in scans] == ["predicted", "predicted"]
    assert all(0 <= each["entropy"] <= 1 for each in scans)


def test_json_and_page(folder, capsys, tmp_path):
    worklist = Worklist(folder)
    write_mask(folder / "p1_labels.nii.gz", np.ones(SHAPE))
    worklist.add_work("p1_ct.nii.gz", 150, 12)
    worklist.note_review("p1_ct.nii.gz", 1.0, 4, 0)
    worklist.set_state("p1_ct.nii.gz", WorkState.DONE)
    worklist.note_finetuning("tuned-001.safetensors", True)
    page, data = tmp_path / "list.html", tmp_path / "list.json"
    status, _out, err = run(capsys, folder, "--json", data, "--html", page)
    assert (status, err) == (0, "")
    content = json.loads(data.read_text("utf-8"))
    assert content["next"] == "p2_ct.nii.gz"
    assert content["scans"][0] == {
        "scan": "p1_ct.nii.gz",
        "state": "done",
        "problem": None,
        "reviewed": 1.0,
        "islands": 4,
        "islands_left": 0,
        "expected_wrong_ml": None,
        "entropy": None,
        "minutes": 2.5,
        "actions": 12,
    }
    assert content["curve"] == {
        "scans": ["p1_ct.nii.gz"],
        "minutes": [2.5],
        "actions": [12],
        "finetunings": [{"after": 1, "checkpoint": "tuned-001.safetensors", "activated": True}],
    }
    text = page.read_text("utf-8")
    assert text.count("<svg") == 2
    assert "tuned-001.safetensors" in text
    assert "1 scan is done: it took 2.5 min and 12 actions." in text


def test_a_scan_is_marked(folder, capsys):
    assert run(capsys, folder, "--mark", "p1_ct.nii.gz", "in work")[0] == 0
    assert Worklist(folder).row("p1_ct.nii.gz").state is WorkState.IN_WORK
    status, _, err = run(capsys, folder, "--mark", "p9_ct.nii.gz", "done")
    assert status == 2
    assert "holds no scan 'p9_ct.nii.gz'" in err
    assert run(capsys, folder, "--mark", "p1_ct.nii.gz", "new")[0] == 2


def test_errors_are_one_sentence(folder, capsys, tmp_path):
    status, _, err = run(capsys, tmp_path / "missing")
    assert (status, err.count("\n")) == (1, 1)
    assert "does not exist" in err
    (tmp_path / "empty").mkdir()
    status, out, _ = run(capsys, tmp_path / "empty")
    assert status == 0
    assert "holds no scans; put" in out
    (folder / LIST_FILE).write_text("{")
    status, out, err = run(capsys, folder)
    assert status == 0
    assert "is damaged" in err
    assert err.count("\n") == 1
