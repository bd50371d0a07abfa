"""Notes on the checkpoints of a folder, and putting away those that nobody needs, never for good.

``notes.json`` beside the checkpoints holds what a person wrote about each, by the hash of its file, so that a
checkpoint's own file never changes. What is put away lies in the folder ``put away``, from where it can be
moved back by hand.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_kidnet.errors import CheckpointError, OutputError
from napari_kidnet.network.header import default_checkpoint_path
from napari_kidnet.scans.writing import write_atomically

if TYPE_CHECKING:
    from napari_kidnet.training.lineage import Node

__all__ = ["children_of", "note_on", "notes_in", "put_away"]

NOTES: Final = "notes.json"
AWAY: Final = "put away"


def notes_in(folder: Path | str) -> dict[str, str]:
    """Return the notes of a folder by the hash of the checkpoint; a damaged file counts as none."""
    try:
        found = json.loads((Path(folder) / NOTES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(text) for key, text in found.items()} if isinstance(found, dict) else {}


def note_on(node: Node, text: str, folder: Path | str) -> None:
    """Write a note on a checkpoint; an empty one takes it away.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    notes = notes_in(folder)
    notes.pop(node.hash, None)
    if text.strip():
        notes[node.hash] = text.strip()
    with write_atomically(Path(folder) / NOTES) as partial:
        partial.write_text(json.dumps(notes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def children_of(node: Node, nodes: list[Node]) -> list[Node]:
    """Return the checkpoints that were fine-tuned from this one."""
    return [each for each in nodes if each.parent == node.hash]


def put_away(node: Node) -> Path:
    """Move a checkpoint out of its tree, and return where it is now.

    Raises
    ------
    CheckpointError
        It is in use, or comes with the package.
    OutputError
        It cannot be moved.
    """
    if node.active:
        raise CheckpointError(f"{node.path.name} is in use; activate another checkpoint first.")
    if node.path == default_checkpoint_path():
        raise CheckpointError("The checkpoint that comes with the package stays.")
    away = node.path.parent / AWAY
    try:
        away.mkdir(exist_ok=True)
        target = away / node.path.name
        number = 2
        while target.exists():
            target = away / f"{node.path.stem}-{number}{node.path.suffix}"
            number += 1
        os.replace(node.path, target)
    except OSError as error:
        raise OutputError(
            f"{node.path.name} cannot be moved to {away} ({error.strerror or error})."
        ) from error
    return target
