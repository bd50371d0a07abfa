"""``kidnet checkpoint``: what a network's file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from napari_kidnet.commands.console import Console

if TYPE_CHECKING:
    import argparse

__all__ = ["declare"]

OWN: Final = Path("")
"""The person's own folder, which is only known when the verb runs."""


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "checkpoint",
        help="show what a checkpoint is and how it was trained",
        description="Show a checkpoint's card: network, classes, input, training, lineage.",
    )
    verb.add_argument("file", nargs="?", type=Path, metavar="F", help="default: the shipped checkpoint")
    verb.add_argument(
        "--tree",
        nargs="?",
        const=OWN,
        type=Path,
        metavar="DIR",
        help="instead: a folder's checkpoints as a tree (default: your own)",
    )
    verb.add_argument("--json", action="store_true", help="the card as JSON on standard output")
    verb.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    console = Console()
    if options.tree is not None:
        console.say(_tree(options.tree))
        return 0
    card = _card(options.file)
    if options.json:
        console.say(json.dumps(card, indent=2, ensure_ascii=False, default=str))
    else:
        console.say(_in_words(card))
    return 0


def _tree(folder: Path) -> str:
    from napari_kidnet.labelling.in_use import own_folder
    from napari_kidnet.training.lineage import describe_tree, lineage

    folder = own_folder() if folder == OWN else folder
    return describe_tree(lineage(folder)) or f"{folder} holds no checkpoint."


def _card(file: Path | None) -> dict[str, Any]:
    from dataclasses import asdict

    from napari_kidnet.network import default_checkpoint_path, load_checkpoint

    path = default_checkpoint_path() if file is None else file
    checkpoint = load_checkpoint(path)
    parameters = sum(each.numel() for each in checkpoint.weights.values())
    return {
        "file": str(path),
        "bytes": Path(path).stat().st_size,
        "hash": checkpoint.hash,
        "network": asdict(checkpoint.network),
        "parameters": parameters,
        "classes": list(checkpoint.classes),
        "window_hu": [float(end) for end in checkpoint.window],
        "spacing_mm": None if checkpoint.spacing is None else [float(mm) for mm in checkpoint.spacing],
        "sensitivity": float(checkpoint.sensitivity),
        "temperature": float(checkpoint.temperature),
        "schema": dict(checkpoint.schema),
        "record": dict(checkpoint.record),
        "parent": checkpoint.parent,
    }


def _in_words(card: dict[str, Any]) -> str:
    low, high = card["window_hu"]
    spacing = card["spacing_mm"]
    rows = [
        ("file", f"{card['file']} ({card['bytes'] / 1e6:.1f} MB)"),
        ("hash", card["hash"]),
        ("parent", card["parent"] or "none: trained from the beginning"),
        ("network", f"{_listed(card['network'])}; {card['parameters']:,} parameters"),
        ("classes", ", ".join(card["classes"])),
        ("window", f"{low:g} to {high:g} HU"),
        (
            "grid",
            "the scan's own" if spacing is None else _millimetres(spacing),
        ),
        ("sensitivity", f"{card['sensitivity']:g}, temperature {card['temperature']:g}"),
        ("schema", _listed(card["schema"])),
        *((f"record: {key}", _short(value)) for key, value in card["record"].items()),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows)


def _millimetres(spacing: list[float]) -> str:
    return " × ".join(f"{mm:g}" for mm in spacing) + " mm (z, y, x)"


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    """Return a value on one line: long lists by their ends, floats to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "{" + _listed(value) + "}"
    if isinstance(value, list | tuple):
        shown = [_short(each) for each in value]
        if len(shown) > 8:
            shown = [*shown[:3], f"… {len(shown)} in all …", *shown[-2:]]
        return "[" + ", ".join(shown) + "]"
    return str(value)
