"""The worklist's file: plain JSON beside the scans, merged with what others wrote, never silently dropped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from napari_kidnet.errors import WorklistError
from napari_kidnet.labelling.worklist.records import Record, merge
from napari_kidnet.scans.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LIST_FILE", "Stored", "copies_of", "read_list", "read_lists", "write_list"]

LIST_FILE: Final = "kidnet-worklist.json"
FORMAT: Final = "kidnet worklist"
VERSION: Final = 1


@dataclass(slots=True)
class Stored:
    """What files say.

    Attributes
    ----------
    records : dict of Record
        By scan.
    damaged : list of Path
        Files that cannot be read, or in part only.
    """

    records: dict[str, Record] = field(default_factory=dict)
    damaged: list[Path] = field(default_factory=list)


def copies_of(path: Path) -> list[Path]:
    """Return a file of a worklist, if it is there, and the copies that a synchronising folder made of it."""
    return sorted(each for each in path.parent.glob(f"{path.stem}*{path.suffix}") if each.is_file())


def read_lists(path: Path) -> Stored:
    """Read the worklist's file and its copies together.

    Raises
    ------
    WorklistError
        A file is of a later version than this program knows.
    """
    found = Stored()
    for each in copies_of(path):
        records, whole = read_list(each)
        found.records = merge(found.records, records)
        if not whole:
            found.damaged.append(each)
    return found


def read_list(path: Path) -> tuple[dict[str, Record], bool]:
    """Return the records of one file, and whether all of it could be read.

    Raises
    ------
    WorklistError
        It is of a later version than this program knows.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return {}, False
        version, entries = content["version"], content["scans"]
        if not isinstance(version, int) or not isinstance(entries, dict):
            return {}, False
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}, False
    if version > VERSION:
        raise WorklistError(
            f"{path} is of version {version}, and this program knows versions up to {VERSION}: update "
            "napari-kidnet to go on with it."
        )
    records, whole = {}, True
    for key, entry in entries.items():
        try:
            records[key] = Record.from_dict(entry)
        except ValueError:
            whole = False
    return records, whole


def write_list(path: Path, records: Mapping[str, Record]) -> dict[str, Record]:
    """Write records, merged with those that are in the file by now; return the merged ones.

    A file that cannot be read is kept under another name.

    Raises
    ------
    OutputError
        It cannot be written there.
    WorklistError
        The file is of a later version by now.
    """
    merged = dict(records)
    if path.is_file():
        there, whole = read_list(path)
        merged = merge(there, records)
        if whole and there == merged:
            return merged
        if not whole:
            _keep_aside(path)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "scans": {key: record.as_dict() for key, record in merged.items()},
    }
    with write_atomically(path) as partial:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
    return merged


def _keep_aside(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with write_atomically(aside) as partial:
        partial.write_bytes(path.read_bytes())
