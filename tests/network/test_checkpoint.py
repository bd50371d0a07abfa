"""Checkpoints come back exactly, and nothing foreign or damaged comes in."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save, save_file

from napari_kidnet.errors import CheckpointError, OutputError
from napari_kidnet.network import (
    Checkpoint,
    KidNet,
    KidNetSettings,
    build_network,
    load_checkpoint,
    read_checkpoint_header,
    save_checkpoint,
)
from napari_kidnet.network.checkpoint import network_weights
from napari_kidnet.network.header import METADATA_KEY


def checkpoint(**changes: Any) -> Checkpoint:
    torch.manual_seed(3)
    net = KidNet(KidNetSettings(base=2, levels=3, norm="batch"))
    ours = Checkpoint(
        net.settings,
        network_weights(net),
        spacing=(1.5, 1.0, 1.0),
        schema={"name": "dw+rs", "V": [0.9, 0.04, 0.05, 0.01], "patches_seen": 12},
        sensitivity=0.4,
        record={"steps": 6, "cases": ["a"], "by": {"10": 1, "9": 2}},
        parent="ab" * 32,
    )
    return replace(ours, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "net.safetensors"
    save_checkpoint(file, checkpoint())
    return file


def rewrite(
    path: Path, change: Any = None, weights: Any = None, metadata: dict[str, str] | None = None
) -> None:
    """Write the file anew with its JSON or its weights changed."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    record, tensors = json.loads(header["__metadata__"][METADATA_KEY]), load(content)
    if change:
        change(record)
    if weights:
        weights(tensors)
    text = {METADATA_KEY: json.dumps(record)} if metadata is None else metadata
    path.write_bytes(save(tensors, metadata=text))


def test_all_comes_back(path: Path) -> None:
    before, after = checkpoint(), load_checkpoint(path)
    assert before.weights.keys() == after.weights.keys()
    assert all(torch.equal(value, after.weights[name]) for name, value in before.weights.items())
    for name in ("network", "classes", "window", "spacing", "schema", "sensitivity", "record", "parent"):
        assert getattr(before, name) == getattr(after, name), name


def test_the_hash_is_the_files(path: Path) -> None:
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_checkpoint(path).hash == expected
    assert checkpoint().hash == expected  # the same content, the same file
    assert replace(load_checkpoint(path), sensitivity=0.7).hash != expected


def test_half_precision_is_half_the_size_and_nearly_the_same(path: Path) -> None:
    whole = len(path.read_bytes())
    save_checkpoint(path, checkpoint(), half=True)
    after = load_checkpoint(path)
    assert all(each.dtype == torch.float32 for each in after.weights.values())
    header = int.from_bytes(path.read_bytes()[:8], "little") + 8
    assert len(path.read_bytes()) - header < 0.6 * (whole - header)
    for name, value in checkpoint().weights.items():
        assert torch.allclose(value, after.weights[name], rtol=1e-3, atol=1e-4)


def test_the_network_is_built_from_it(path: Path) -> None:
    net = build_network(load_checkpoint(path))
    assert not net.training
    assert all(torch.equal(net.state_dict()[name], value) for name, value in checkpoint().weights.items())


def test_the_header_is_read_without_torch(path: Path) -> None:
    code = (
        "import sys; from napari_kidnet.network import read_checkpoint_header; "
        f"print(read_checkpoint_header({str(path)!r})['network']['base'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert read_checkpoint_header(path)["tensors"]["encoder.0.conv1.weight"] == [2, 1, 3, 3, 3]


def drop(name: str) -> Any:
    return lambda tensors: tensors.pop(name)


def put(name: str, value: Any) -> Any:
    return lambda values: values.__setitem__(name, value)


WEIGHT = "encoder.0.conv1.weight"


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        (drop(WEIGHT), f"lacks the weights {WEIGHT}"),
        (put("stowaway", torch.zeros(3)), "unknown weights stowaway"),
        (put(WEIGHT, torch.zeros(2, 1, 3, 3, 2)), "expected"),
        (put(WEIGHT, torch.full((2, 1, 3, 3, 3), float("nan"))), "not finite"),
        (put(WEIGHT, torch.full((2, 1, 3, 3, 3), float("-inf"))), "not finite"),
        (put(WEIGHT, torch.zeros(2, 1, 3, 3, 3, dtype=torch.int64)), "int64"),
        (put("encoder.0.norm1.running_var", torch.full((2,), -1.0)), "negative variances"),
    ],
)
def test_tampered_weights(path: Path, weights: Any, word: str) -> None:
    rewrite(path, weights=weights)
    with pytest.raises(CheckpointError, match=word) as caught:
        load_checkpoint(path)
    assert "net.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("half", [False, True])
def test_one_changed_bit_of_the_weights_is_told(path: Path, half: bool) -> None:
    save_checkpoint(path, checkpoint(), half)
    load_checkpoint(path)
    content = bytearray(path.read_bytes())
    content[-101] ^= 1  # a weight a little larger or smaller: finite, of the right shape, and wrong
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="checksum does not fit"):
        load_checkpoint(path)


def test_a_changed_description_is_told(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'\\"sensitivity\\": 0.4', b'\\"sensitivity\\": 0.9'))
    with pytest.raises(CheckpointError, match="checksum does not fit"):
        load_checkpoint(path)


def test_a_file_written_without_a_checksum_is_read(path: Path) -> None:
    rewrite(path, drop("checksum"))
    assert load_checkpoint(path).sensitivity == 0.4


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (put("format", 99), "format 99"),
        (put("extra", 1), "unknown extra"),
        (drop("schema"), "lacks schema"),
        (put("classes", ["background", "artery", "vein", "ureter"]), "classes"),
        (put("classes", ["background"]), "classes"),
        (put("window", [5, -5]), "window"),
        (put("window", ["a", "b"]), "window"),
        (put("spacing", [1, 0, 1]), "spacing"),
        (put("sensitivity", 3), "sensitivity"),
        (put("sensitivity", True), "sensitivity"),
        (put("temperature", 0), "temperature"),
        (put("schema", {"V": [1, 0, 0]}), "volumes V"),
        (put("schema", {"V": [0.5, 0.5, 0.5, 0.5]}), "volumes V"),
        (put("parent", 5), "parent"),
        (put("network", {"base": 2}), "lack"),
        (put("record", []), "record"),
        (lambda record: record["network"].update(base=100_000), "base"),
        (lambda record: record["network"].update(base=4), "expected"),
        (lambda record: record["network"].update(levels=4), "lacks the weights"),
        (lambda record: record["network"].update(attention=True), "unknown attention"),
        (put("sensitivity", float("nan")), "not valid JSON"),
    ],
)
def test_tampered_descriptions(path: Path, change: Any, word: str) -> None:
    rewrite(path, change)
    with pytest.raises(CheckpointError, match=word):
        load_checkpoint(path)


def test_a_file_of_another_program(path: Path) -> None:
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="another program"):
        load_checkpoint(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("unpickled").touch, ())


@pytest.mark.parametrize("kind", ["pickle", "torch", "text", "empty", "numbers"])
def test_files_that_are_no_checkpoint(
    path: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "torch":
        torch.save({"bomb": torch.zeros(2)}, path)
    elif kind == "text":
        path.write_text("this is not a checkpoint")
    elif kind == "numbers":
        np.arange(100).tofile(path)
    else:
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"net\.safetensors"):
        load_checkpoint(path)
    assert not (tmp_path / "unpickled").exists()


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path)


CONTENT = None


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_cut_or_flipped_bytes_are_told_or_harmless(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Whatever happens to the bytes: a CheckpointError, or a checkpoint whose weights are finite and fit."""
    global CONTENT
    path = tmp_path_factory.mktemp("bytes") / "net.safetensors"
    if CONTENT is None:
        save_checkpoint(path, checkpoint())
        CONTENT = path.read_bytes()
    content = bytearray(CONTENT)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, min(len(content), 4000) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        found = load_checkpoint(path)
    except CheckpointError:
        return
    assert all(bool(torch.isfinite(each).all()) for each in build_network(found).state_dict().values())


def test_a_cut_file_is_damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_nothing_bad_is_written(tmp_path: Path) -> None:
    ours = checkpoint()
    bad = {**ours.weights, WEIGHT: torch.full((2, 1, 3, 3, 3), float("nan"))}
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(tmp_path / "a.safetensors", replace(ours, weights=bad))
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(tmp_path / "a.safetensors", replace(ours, record={"loss": float("nan")}))
    with pytest.raises(OutputError):
        save_checkpoint(tmp_path / "nowhere" / "a.safetensors", ours)
    assert list(tmp_path.iterdir()) == []
