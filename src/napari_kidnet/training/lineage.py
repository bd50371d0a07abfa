"""Checkpoints and what they came from: which one is active, and the tree of all in a folder.

Nothing is ever overwritten: a fine-tuning adds a file, and a small ``active.json`` beside it says which one
is used. Going back is activating an older file, which has not changed by a bit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from napari_kidnet.errors import CheckpointError
from napari_kidnet.network.header import default_checkpoint_path, read_checkpoint_header
from napari_kidnet.scans.writing import write_atomically
from napari_kidnet.training.shelf import notes_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Node", "activate", "active_checkpoint", "describe_tree", "file_hash", "lineage", "scan_roles"]

ACTIVE_FILE: Final = "active.json"


@dataclass(frozen=True, slots=True)
class Node:
    """One checkpoint of a tree.

    Attributes
    ----------
    path : Path
        Its file.
    hash : str
        SHA-256 of the file.
    parent : str, optional
        Hash of the checkpoint that it was fine-tuned from.
    depth : int
        Fine-tunings between it and the root of its tree, as far as their files are here.
    active : bool
        Whether it is the one in use.
    record : dict
        Its fine-tuning: scans, steps, seed, figures before and after; empty for a trained one.
    note : str
        What a person wrote about it.
    """

    path: Path
    hash: str
    parent: str | None
    depth: int
    active: bool
    record: dict[str, Any]
    note: str = ""


def file_hash(path: Path | str) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def active_checkpoint(folder: Path | str, must_exist: bool = True) -> Path | None:
    """Return the checkpoint in use among those in a folder; None where none was chosen (the shipped one).

    Parameters
    ----------
    folder : Path or str
        Where checkpoints lie.
    must_exist : bool
        Refuse a choice whose file is gone; otherwise whoever reads it will.

    Raises
    ------
    CheckpointError
        The choice cannot be read, or its file is gone.
    """
    chosen = Path(folder) / ACTIVE_FILE
    try:
        name = json.loads(chosen.read_text(encoding="utf-8"))["active"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{chosen} is damaged; activate a checkpoint again.") from error
    if name is None:
        return None
    # a name, never a path: the file may come from elsewhere
    path = Path(folder) / Path(str(name)).name
    if must_exist and not path.is_file():
        raise CheckpointError(f"{path} is the active checkpoint and is gone; activate another one.")
    return path


def activate(path: Path | str | None, folder: Path | str | None = None) -> None:
    """Put a checkpoint in use; None, with the folder, goes back to the shipped one."""
    if path is None and folder is None:
        raise CheckpointError("Neither a checkpoint nor a folder was named; name the one to activate.")
    home = Path(path).parent if path is not None else Path(folder or ".")
    content: dict[str, Any] = {"active": None, "hash": None}
    if path is not None:
        read_checkpoint_header(path)
        content = {"active": Path(path).name, "hash": file_hash(path)}
    with write_atomically(home / ACTIVE_FILE) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def lineage(folder: Path | str) -> list[Node]:
    """Return the checkpoints of a folder as trees, each parent before its children; foreign files left out.

    The shipped checkpoint is among them when something in the folder descends from it.
    """
    folder = Path(folder)
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found.setdefault(file_hash(path), (path, read_checkpoint_header(path)))
        except CheckpointError:
            continue
    shipped = default_checkpoint_path()
    if shipped.is_file():
        own = file_hash(shipped)
        if any(header["parent"] == own for _, header in found.values()):
            found.setdefault(own, (shipped, read_checkpoint_header(shipped)))
    chosen = active_checkpoint(folder, must_exist=False)
    notes = notes_in(folder)
    nodes: list[Node] = []

    def add(digest: str, depth: int) -> None:
        path, header = found[digest]
        if chosen is None:
            active = path == shipped
        else:
            active = path == chosen
        about = header["record"].get("finetuning", {})
        nodes.append(Node(path, digest, header["parent"], depth, active, about, notes.get(digest, "")))
        for child, (_, other) in found.items():
            if other["parent"] == digest:
                add(child, depth + 1)

    # a hash cannot be its own ancestor's, so this ends
    for digest, (_, header) in found.items():
        if header["parent"] not in found:
            add(digest, 0)
    return nodes


def describe_tree(nodes: Iterable[Node]) -> str:
    """Return the tree as text, one checkpoint a line, the active one with a star."""
    lines = []
    for node in nodes:
        words = [f"{'  ' * node.depth}{'*' if node.active else '-'} {node.path.name}", node.hash[:12]]
        if node.record:
            learned = [each["name"] for each in node.record.get("scans", ()) if each["role"] == "training"]
            words.append(f"{node.record.get('steps')} steps on {', '.join(learned)}")
            before, after = (node.record.get(key, {}).get("mean_f1") for key in ("before", "after"))
            if before is not None and after is not None:
                words.append(f"mean F1 {before:.3f} to {after:.3f}")
        if node.note:
            words.append(f"({node.note})")
        lines.append("  ".join(words))
    return "\n".join(lines)


def scan_roles(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the role, training or validation, of each scan by its hash in all fine-tunings so far."""
    roles: dict[str, str] = {}
    for each in (*record.get("ancestry", ()), record.get("finetuning", {})):
        roles |= {scan["hash"]: scan["role"] for scan in each.get("scans", ())}
    return roles
