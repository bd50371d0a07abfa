"""What a checkpoint file says about itself, read from its header alone.

A safetensors file begins with the length of a JSON header; the checkpoint's own facts are in it. So
a list of checkpoints costs some kilobytes each, and no PyTorch.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["CheckpointCard", "list_cards", "read_card", "shipped_path"]

_LARGEST_HEADER: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class CheckpointCard:
    """The facts about a checkpoint that a person chooses by.

    Attributes
    ----------
    path : Path
        The file.
    facts : tuple of str
        Short statements: network, training, validation.
    sensitivity : float or None
        What it was tuned to.
    problem : str
        Why it cannot be used; empty where it seems fine (loading it checks all of it).
    """

    path: Path
    facts: tuple[str, ...] = ()
    sensitivity: float | None = None
    problem: str = ""

    @property
    def title(self) -> str:
        """What to call it in a list."""
        return "Kid-Net (comes with the plugin)" if self.path == shipped_path() else self.path.stem


def shipped_path() -> Path:
    """Return where the checkpoint that comes with the package lies."""
    return Path(__file__).parents[1] / "checkpoints" / "default.safetensors"


def list_cards(*more: Path) -> list[CheckpointCard]:
    """Return the cards of the shipped checkpoint, of those beside it, and of these files."""
    shipped = shipped_path()
    beside = sorted(each for each in shipped.parent.glob("*.safetensors") if each != shipped)
    return [read_card(each) for each in dict.fromkeys([shipped, *beside, *more])]


def read_card(path: Path) -> CheckpointCard:
    """Read a checkpoint's card; a foreign or missing file gives a card with a problem."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LARGEST_HEADER:
                raise ValueError
            header = json.loads(stream.read(length))
        facts = _unpack(header["__metadata__"])
    except FileNotFoundError:
        return CheckpointCard(path, problem=f"{path.name} is not there.")
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return CheckpointCard(path, problem=f"{path.name} is not a checkpoint of napari-kidnet.")
    sensitivity = facts.get("sensitivity")
    return CheckpointCard(
        path,
        facts=tuple(_facts_of(facts)),
        sensitivity=float(sensitivity) if isinstance(sensitivity, (int, float)) else None,
    )


def _unpack(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header's own entries; safetensors keeps texts only, so ours are JSON in them."""
    entries: dict[str, Any] = {}
    for key, text in metadata.items():
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if isinstance(value, dict) and len(metadata) == 1:
            entries.update(value)
        else:
            entries[key] = value
    return entries


def _facts_of(entries: Mapping[str, Any]) -> list[str]:
    facts = []
    network = entries.get("network")
    if isinstance(network, Mapping) and {"base", "levels"} <= network.keys():
        facts.append(f"{network['levels']} levels, {network['base']} first channels")
    spacing = entries.get("spacing")
    if isinstance(spacing, (list, tuple)) and len(spacing) == 3:
        facts.append("works at " + " × ".join(f"{s:g}" for s in spacing) + " mm")
    elif "spacing" in entries:
        facts.append("works on the scan's own grid")
    record = entries.get("record")
    if isinstance(record, Mapping):
        if isinstance(record.get("steps"), int):
            facts.append(f"trained for {record['steps']:,} steps")
        scores = record.get("validation")
        if isinstance(scores, Mapping):
            named = [(c, scores.get(c)) for c in ("artery", "vein", "collecting_system")]
            shown = [f"{c.replace('_', ' ')} {s:.2f}" for c, s in named if isinstance(s, float)]
            if shown:
                facts.append("validation F1: " + ", ".join(shown))
    if entries.get("parent"):
        facts.append("fine-tuned")
    return facts
