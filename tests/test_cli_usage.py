"""Wrong usage is status 2 and one line; help and version are status 0."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from napari_kidnet.cli import main


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"kidnet {version('napari-kidnet')}"


@pytest.mark.parametrize(
    "verb", ["demo", "open", "prefer", "segment", "phantom", "train", "evaluate", "islands", "checkpoint"]
)
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"kidnet {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "VERB"),
        (["segmentt"], "segmentt"),
        (["segment"], "SCAN, --out"),
        (["segment", "a.nii", "--out", "b.nii", "--box", "1", "2"], "--box"),
        (["segment", "a.nii", "--out", "b.nii", "--device", "tpu"], "tpu"),
        (["segment", "a.nii", "--out", "b.nii", "--spacing", "1", "0", "1"], "larger than 0"),
        (["segment", "a.nii", "--out", "b.nii", "--threads", "0"], "from 1 on"),
        (["segment", "a.nii", "--out", "b.nii", "--json", "b.nii"], "must end in .json"),
        (["segment", "a.nii", "b.nii", "--out", ".", "--series", "1.2"], "one SCAN"),
        (["phantom", "--out", ".", "--cases", "many"], "many"),
        (["phantom", "--out", ".", "--anatomy", "labels.nii"], "--names"),
        (["phantom", "--out", ".", "--seed", "-1"], "--seed"),
        (["train", "--cases", ".", "--out", "network.pt"], ".safetensors"),
        (["evaluate", "--labels", "a", "--truth", "b", "--html", "report"], ".html"),
        (["evaluate", "--labels", "a", "--truth", "b", "--scan", "s.nii"], "--html"),
        (["demo", "--seed", "3"], "1000"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(argv, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kidnet: ")
    assert err.count("\n") == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_two_scans_of_one_name_cannot_share_a_folder(tmp_path, capsys):
    scans = [str(tmp_path / folder / "ct.nii.gz") for folder in ("a", "b")]
    assert main(["segment", *scans, "--out", str(tmp_path)]) == 2
    assert "both be written" in capsys.readouterr().err
