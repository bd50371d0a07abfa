"""What a checkpoint file says about itself, for a list to choose from: its header alone is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_kidnet.classes import VESSELS
from napari_kidnet.errors import CheckpointError
from napari_kidnet.network import default_checkpoint_path, read_checkpoint_header

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CheckpointCard", "list_cards", "read_card"]


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
        return "Kid-Net, as shipped" if self.path == default_checkpoint_path() else self.path.stem


def list_cards(*more: Path) -> list[CheckpointCard]:
    """Return the cards of the shipped checkpoint, of those beside it, and of these files."""
    shipped = default_checkpoint_path()
    beside = sorted(each for each in shipped.parent.glob("*.safetensors") if each != shipped)
    return [read_card(each) for each in dict.fromkeys([shipped, *beside, *more])]


def read_card(path: Path) -> CheckpointCard:
    """Read a checkpoint's card; a foreign or missing file gives a card with a problem."""
    if path == default_checkpoint_path() and not path.exists():
        return CheckpointCard(path, problem="No network comes with this copy: choose one with “…”.")
    try:
        header = read_checkpoint_header(path)
    except CheckpointError as error:
        return CheckpointCard(path, problem=str(error))
    return CheckpointCard(path, tuple(_facts_of(header)), float(header["sensitivity"]))


def _facts_of(entries: Mapping[str, Any]) -> list[str]:
    network, record, spacing = entries["network"], entries["record"], entries["spacing"]
    facts = []
    if {"base", "levels"} <= network.keys():
        facts.append(f"{network['levels']} levels, {network['base']} first channels")
    if spacing is None:
        facts.append("works on the scan's own grid")
    else:
        facts.append("works at " + " × ".join(f"{step:.3g}" for step in spacing) + " mm")
    if isinstance(record.get("steps"), int):
        facts.append(f"trained for {record['steps']:,} steps")
    scores = record.get("validation")
    if isinstance(scores, Mapping):
        named = [(each.title.lower(), scores.get(each.name)) for each in VESSELS]
        shown = [f"{title} {score:.2f}" for title, score in named if isinstance(score, float)]
        if shown:
            facts.append("validation F1: " + ", ".join(shown))
    if isinstance(record.get("finetuning"), Mapping):
        facts.append("fine-tuned on corrected scans")
    elif entries["parent"]:
        facts.append("continues an earlier one")
    return facts
