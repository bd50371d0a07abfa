"""Headers of checkpoints: which files are ours does not depend on how long a header happens to be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings, load_checkpoint, save_checkpoint
from napari_kidnet.network.checkpoint import network_weights

if TYPE_CHECKING:
    from pathlib import Path


def test_a_checkpoint_of_any_length_is_read(tmp_path: Path) -> None:
    """Its first byte is the header's length modulo 256, of which 0x80 also begins a pickle."""
    settings = KidNetSettings(base=2, levels=2)
    made = Checkpoint(settings, network_weights(KidNet(settings)))
    path = tmp_path / "a.safetensors"
    first_bytes = set()
    for length in range(0, 256, 8):
        save_checkpoint(path, replace(made, record={"note": "x" * length}))
        first_bytes.add(path.read_bytes()[0])
        assert load_checkpoint(path).record["note"] == "x" * length
    assert 0x80 in first_bytes
